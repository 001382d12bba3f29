#include "base/utf8.h"

namespace mossrt::runtime {

DecodedCodePoint DecodeUtf8(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return {.code_point = lead, .bytes = 1, .valid = true};
  int length = 0;
  // The range of the second byte excludes overlong forms, surrogates and values above U+10FFFF.
  unsigned low = 0x80, high = 0xBF;
  char32_t value = 0;
  if (lead >= 0xC2 && lead <= 0xDF) {
    length = 2;
    value = lead & 0x1F;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    length = 3;
    value = lead & 0x0F;
    if (lead == 0xE0) low = 0xA0;
    if (lead == 0xED) high = 0x9F;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    length = 4;
    value = lead & 0x07;
    if (lead == 0xF0) low = 0x90;
    if (lead == 0xF4) high = 0x8F;
  } else {
    return {};
  }
  for (int i = 1; i < length; ++i) {
    if (static_cast<std::size_t>(i) >= text.size()) return {.bytes = i, .truncated = true};
    const unsigned next = byte(static_cast<std::size_t>(i));
    if (next < low || next > high) return {.bytes = i};
    value = (value << 6) | (next & 0x3F);
    low = 0x80;
    high = 0xBF;
  }
  return {.code_point = value, .bytes = length, .valid = true};
}

void AppendUtf8(char32_t c, std::string* out) {
  const auto put = [out](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | (c >> 6));
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | (c >> 12));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | (c >> 18));
    put(0x80 | ((c >> 12) & 0x3F));
    put(0x80 | ((c >> 6) & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

std::size_t FindInvalidUtf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const DecodedCodePoint d = DecodeUtf8(text.substr(i));
    if (!d.valid) return i;
    i += static_cast<std::size_t>(d.bytes);
  }
  return std::string_view::npos;
}

void AppendReplacingInvalid(std::string_view bytes, std::string* out) {
  for (std::size_t i = 0; i < bytes.size();) {
    const DecodedCodePoint d = DecodeUtf8(bytes.substr(i));
    const auto length = static_cast<std::size_t>(d.bytes);
    out->append(d.valid ? bytes.substr(i, length) : kReplacementCharacter);
    i += length;
  }
}

std::size_t CompleteUtf8Prefix(std::string_view bytes) {
  const std::size_t start = bytes.size() > 3 ? bytes.size() - 3 : 0;
  for (std::size_t i = start; i < bytes.size(); ++i) {
    // Only a lead byte whose code point runs past the end is incomplete.
    if ((static_cast<unsigned char>(bytes[i]) & 0xC0) == 0x80) continue;
    if (DecodeUtf8(bytes.substr(i)).truncated) return i;
  }
  return bytes.size();
}

}  // namespace mossrt::runtime
