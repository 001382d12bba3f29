// UTF-8 as Unicode 15 defines it: no surrogates, no overlong forms, nothing above U+10FFFF.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace mossrt::runtime {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";

struct DecodedCodePoint {
  char32_t code_point = 0;  // meaningless if !valid
  int bytes = 1;            // length of the code point, or of the maximal invalid part (at least 1)
  bool valid = false;
  bool truncated = false;  // invalid only because the text ends too early
};

// The code point that starts at text[0]; text must not be empty.
DecodedCodePoint DecodeUtf8(std::string_view text);
void AppendUtf8(char32_t code_point, std::string* out);
// Offset of the first invalid byte, or npos.
std::size_t FindInvalidUtf8(std::string_view text);
// Each maximal invalid part becomes one U+FFFD, as Python's errors="replace" does.
void AppendReplacingInvalid(std::string_view bytes, std::string* out);
// Length of the prefix that needs no further byte to be judged; at most 3 bytes are left over.
std::size_t CompleteUtf8Prefix(std::string_view bytes);

}  // namespace mossrt::runtime
