#include "text/encode_input.h"

#include <algorithm>
#include <cstdio>
#include <cstring>

#include "base/status.h"
#include "base/utf8.h"

namespace mossrt::runtime {
namespace {

constexpr std::size_t kMaxText = (std::size_t{1} << 31) - 1;

// Most texts are mostly ASCII: whole words of it are skipped before anything is decoded.
std::size_t SkipAscii(std::string_view text, std::size_t i) {
  std::uint64_t word;
  while (i + sizeof word <= text.size()) {
    std::memcpy(&word, text.data() + i, sizeof word);
    if ((word & 0x8080808080808080u) != 0) break;
    i += sizeof word;
  }
  return i;
}

std::size_t FirstInvalid(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    i = SkipAscii(text, i);
    const std::size_t stop = std::min(text.size(), i + 64);
    while (i < stop) {
      const DecodedCodePoint c = DecodeUtf8(text.substr(i));
      if (!c.valid) return i;
      i += static_cast<std::size_t>(c.bytes);
    }
  }
  return std::string_view::npos;
}

}  // namespace

absl::StatusOr<std::string_view> CheckInput(std::string_view text, InvalidUtf8 invalid,
                                            std::string* storage) {
  if (text.size() > kMaxText) {
    return absl::InvalidArgumentError(Cat("The text has ", text.size(), " bytes; at most ",
                                          kMaxText,
                                          " can be encoded at once, so encode it in parts"));
  }
  const std::size_t bad = FirstInvalid(text);
  if (bad == std::string_view::npos) return text;
  if (invalid == InvalidUtf8::kError) {
    char byte[8];
    std::snprintf(byte, sizeof byte, "0x%02X", static_cast<unsigned char>(text[bad]));
    return absl::InvalidArgumentError(
        Cat("The text is not valid UTF-8: byte ", byte, " at offset ", bad,
            " begins no code point; convert the text to UTF-8 or ask for replacement"));
  }
  storage->clear();
  AppendReplacingInvalid(text, storage);
  if (storage->size() > kMaxText) {
    return absl::InvalidArgumentError(Cat(
        "The text has ", storage->size(), " bytes after its invalid bytes were replaced; at most ",
        kMaxText, " can be encoded at once, so encode it in parts"));
  }
  return *storage;
}

}  // namespace mossrt::runtime
