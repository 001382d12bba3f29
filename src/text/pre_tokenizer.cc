#include "text/pre_tokenizer.h"

#include <utf8proc.h>

#include <array>
#include <map>

namespace mossrt::runtime {
namespace {

constexpr char32_t kCodePoints = 0x110000;

// The White_Space property has had these members since Unicode 6.3.
bool IsWhiteSpace(char32_t c) {
  return (c >= 0x09 && c <= 0x0D) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

CharClass Classify(char32_t c) {
  if (IsWhiteSpace(c)) return CharClass::kSpace;
  switch (utf8proc_category(static_cast<utf8proc_int32_t>(c))) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return CharClass::kLetter;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
      return CharClass::kNumber;
    default:
      return CharClass::kOther;
  }
}

}  // namespace

CharClasses::CharClasses() : page_of_(kCodePoints / 256) {
  std::map<std::array<std::uint8_t, 256>, std::uint16_t> known;
  for (char32_t page = 0; page < kCodePoints / 256; ++page) {
    std::array<std::uint8_t, 256> kinds;
    for (char32_t i = 0; i < 256; ++i) {
      kinds[i] = static_cast<std::uint8_t>(Classify(page * 256 + i));
    }
    const auto [it, added] = known.emplace(kinds, static_cast<std::uint16_t>(known.size()));
    if (added) pages_.insert(pages_.end(), kinds.begin(), kinds.end());
    page_of_[page] = it->second;
  }
}

const CharClasses& CharClasses::Get() {
  static const auto* classes = new CharClasses;
  return *classes;
}

bool IsPythonSpace(char32_t c) { return IsWhiteSpace(c) || (c >= 0x1C && c <= 0x1F); }

// The text is known to be valid, so the lead byte alone tells the length.
PreTokenizer::Char PreTokenizer::At(std::size_t i) const {
  const auto byte = [&](std::size_t k) {
    return static_cast<char32_t>(static_cast<unsigned char>(text_[i + k]));
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {classes_.Of(lead), 1};
  if (lead < 0xE0) return {classes_.Of((lead & 0x1F) << 6 | (byte(1) & 0x3F)), 2};
  if (lead < 0xF0) {
    return {classes_.Of((lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F)), 3};
  }
  return {classes_.Of((lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 |
                      (byte(3) & 0x3F)),
          4};
}

std::size_t PreTokenizer::SkipRun(std::size_t i, CharClass kind) const {
  while (i < text_.size()) {
    const Char c = At(i);
    if (c.kind != kind) break;
    i += c.bytes;
  }
  return i;
}

// Length of 's 't 're 've 'm 'll 'd at `i`, or 0.
std::size_t PreTokenizer::Contraction(std::size_t i) const {
  if (i + 1 >= text_.size()) return 0;
  const char a = text_[i + 1];
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  if (i + 2 >= text_.size()) return 0;
  const char b = text_[i + 2];
  return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

bool PreTokenizer::Next(std::string_view* piece) {
  if (position_ >= text_.size()) return false;
  const std::size_t start = position_;
  std::size_t end = 0;
  Char c = At(start);
  if (text_[start] == '\'' && (end = Contraction(start)) != 0) {
    end += start;
  } else if (c.kind != CharClass::kSpace) {
    end = SkipRun(start + c.bytes, c.kind);
  } else {
    // A run of spaces gives its last character away when something follows, unless it is the only
    // one; a last U+0020 then leads the next piece.
    std::size_t last = start;
    end = start + c.bytes;
    while (end < text_.size()) {
      c = At(end);
      if (c.kind != CharClass::kSpace) break;
      last = end;
      end += c.bytes;
    }
    if (end < text_.size()) {
      if (last != start) {
        end = last;
      } else if (text_[start] == ' ') {
        end = SkipRun(end + c.bytes, c.kind);
      }
    }
  }
  *piece = text_.substr(start, end - start);
  position_ = end;
  return true;
}

}  // namespace mossrt::runtime
