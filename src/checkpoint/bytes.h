// Little-endian numbers from unaligned bytes, and names from files made fit for a message.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/utf8.h"

namespace mossrt::runtime {

template <typename T>
T LoadLittle(const std::uint8_t* bytes) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value | static_cast<T>(T{bytes[i]} << (8 * i)));
  }
  return value;
}

inline const std::uint8_t* AsBytes(std::string_view text) {
  return reinterpret_cast<const std::uint8_t*>(text.data());
}

// In double quotes; control characters and invalid UTF-8 replaced, at most about 160 bytes.
inline std::string Quoted(std::string_view name) {
  constexpr std::size_t kLongest = 160;
  std::string text = "\"";
  AppendReplacingInvalid(name.substr(0, kLongest), &text);
  std::replace_if(
      text.begin(), text.end(),
      [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, '?');
  if (name.size() > kLongest) text += "...";
  return text + "\"";
}

// Up to `most` names in quotes, then how many more there are.
template <typename Names>
std::string QuotedList(const Names& names, std::size_t most = 20) {
  std::string text;
  std::size_t shown = 0;
  for (const auto& name : names) {
    if (shown == most) break;
    if (shown++ > 0) text += ", ";
    text += Quoted(name);
  }
  if (names.size() > shown) text += " and " + std::to_string(names.size() - shown) + " more";
  return text;
}

}  // namespace mossrt::runtime
