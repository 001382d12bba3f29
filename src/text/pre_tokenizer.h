// GPT-2's split rule, by hand: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+|
// ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace mossrt::runtime {

enum class CharClass : std::uint8_t { kOther = 0, kLetter = 1, kNumber = 2, kSpace = 3 };

// Classes of all code points by Unicode 15: \p{L}, \p{N} and White_Space, which is what \s means to
// the Python module `regex`. Pages of 256 code points are shared where equal (about 40 KB in all).
class CharClasses {
 public:
  static const CharClasses& Get();
  CharClass Of(char32_t c) const {
    return static_cast<CharClass>(pages_[std::size_t{page_of_[c >> 8]} * 256 + (c & 0xFF)]);
  }

 private:
  CharClasses();
  std::vector<std::uint16_t> page_of_;
  std::vector<std::uint8_t> pages_;
};

// Python's str.isspace(): White_Space and U+001C to U+001F.
bool IsPythonSpace(char32_t c);

// Cuts `text`, which must be valid UTF-8, into the pieces that are merged one by one.
class PreTokenizer {
 public:
  explicit PreTokenizer(std::string_view text) : text_(text), classes_(CharClasses::Get()) {}
  // False at the end. Pieces are never empty and join to the text.
  bool Next(std::string_view* piece);

 private:
  struct Char {
    CharClass kind;
    std::size_t bytes;
  };
  Char At(std::size_t i) const;
  std::size_t SkipRun(std::size_t i, CharClass kind) const;
  std::size_t Contraction(std::size_t i) const;

  std::string_view text_;
  const CharClasses& classes_;
  std::size_t position_ = 0;
};

}  // namespace mossrt::runtime
