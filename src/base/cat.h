// Joining text and numbers for messages. Debian's abseil is built with a string_view of its own,
// which std::string_view does not convert to; hence not absl::StrCat.
#pragma once

#include <concepts>
#include <cstdio>
#include <string>
#include <string_view>

#include "absl/status/status.h"

namespace mossrt::runtime {

inline void AppendPiece(std::string* out, std::string_view piece) { out->append(piece); }
template <std::integral T>
void AppendPiece(std::string* out, T piece) {
  if constexpr (std::same_as<T, bool>) {
    out->append(piece ? "true" : "false");
  } else if constexpr (std::same_as<T, char>) {
    out->push_back(piece);
  } else {
    out->append(std::to_string(piece));
  }
}
template <std::floating_point T>
void AppendPiece(std::string* out, T piece) {
  char text[40];
  std::snprintf(text, sizeof text, "%.9g", static_cast<double>(piece));
  out->append(text);
}

template <typename... Pieces>
std::string Cat(const Pieces&... pieces) {
  std::string out;
  (AppendPiece(&out, pieces), ...);
  return out;
}

// `items` joined by `separator`.
template <typename Items>
std::string Join(const Items& items, std::string_view separator) {
  std::string out;
  bool first = true;
  for (const auto& item : items) {
    if (!first) out.append(separator);
    AppendPiece(&out, item);
    first = false;
  }
  return out;
}

inline std::string_view Message(const absl::Status& status) {
  return {status.message().data(), status.message().size()};
}

}  // namespace mossrt::runtime
