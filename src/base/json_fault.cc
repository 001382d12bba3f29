#include "base/json_fault.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/cat.h"
#include "base/utf8.h"

namespace mossrt::runtime {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string Hex(unsigned byte) {
  char text[8];
  std::snprintf(text, sizeof text, "%02X", byte);
  return text;
}

class Scanner {
 public:
  explicit Scanner(std::string_view text) : text_(text) {
    if (text.starts_with("\xEF\xBB\xBF")) at_ = 3;  // a byte order mark, which the parser skips
  }

  std::optional<JsonFault> Find() {
    while (!fault_ && !done_) {
      while (IsSpace(Peek())) ++at_;
      Step();
    }
    return std::move(fault_);
  }

 private:
  enum class Next { kValue, kValueOrEnd, kKey, kKeyOrEnd, kSeparator };

  // '\0' at the end too; the parser takes that character for the end.
  char Peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void Step() {
    const char c = Peek();
    switch (next_) {
      case Next::kSeparator:
        return Separator(c);
      case Next::kKeyOrEnd:
        if (c == '}') return Close();
        [[fallthrough]];
      case Next::kKey:
        return c == '"' ? Key()
                        : Fail(next_ == Next::kKey ? "a key in double quotes"
                                                   : "a key in double quotes or \"}\"");
      case Next::kValueOrEnd:
        if (c == ']') return Close();
        [[fallthrough]];
      case Next::kValue:
        return Value(c);
    }
  }

  void Separator(char c) {
    if (open_.empty()) {
      done_ = c == '\0';
      if (!done_) Fail("nothing after the value");
      return;
    }
    const bool object = open_.back() == '{';
    if (c == (object ? '}' : ']')) return Close();
    if (c != ',') return Fail(object ? "\",\" or \"}\"" : "\",\" or \"]\"");
    ++at_;
    next_ = object ? Next::kKey : Next::kValue;
  }

  void Close() {
    ++at_;
    open_.pop_back();
    next_ = Next::kSeparator;
  }

  void Key() {
    String();
    if (fault_) return;
    while (IsSpace(Peek())) ++at_;
    if (Peek() != ':') return Fail("\":\" after the key");
    ++at_;
    next_ = Next::kValue;
  }

  void Value(char c) {
    if (c == '{' || c == '[') {
      ++at_;
      open_.push_back(c);
      next_ = c == '{' ? Next::kKeyOrEnd : Next::kValueOrEnd;
      return;
    }
    const std::string_view wanted = next_ == Next::kValue ? "a value" : "a value or \"]\"";
    next_ = Next::kSeparator;
    if (c == '"') return String();
    if (c == '-' || IsDigit(c)) return Number();
    for (const std::string_view literal : {"true", "false", "null"}) {
      if (!text_.substr(at_).starts_with(literal)) continue;
      at_ += literal.size();
      return;
    }
    Fail(wanted);
  }

  void Number() {
    const std::size_t begin = at_;
    if (Peek() == '-') ++at_;
    if (Peek() == '0') {
      ++at_;
    } else if (!Digits()) {
      return;
    }
    if (Peek() == '.') {
      ++at_;
      if (!Digits()) return;
    }
    if (Peek() == 'e' || Peek() == 'E') {
      ++at_;
      if (Peek() == '+' || Peek() == '-') ++at_;
      if (!Digits()) return;
    }
    const std::string number(text_.substr(begin, at_ - begin));
    if (std::isfinite(std::strtod(number.c_str(), nullptr))) return;
    at_ = begin;
    Fail("a number of at most 1.8e308");
  }

  bool Digits() {
    if (!IsDigit(Peek())) Fail("a digit");
    while (IsDigit(Peek())) ++at_;
    return !fault_;
  }

  void String() {
    ++at_;
    while (true) {
      if (at_ >= text_.size()) return Fail("the quotation mark that ends a string");
      const char c = text_[at_];
      if (c == '"') break;
      if (c == '\\') {
        if (!Escape()) return;
        continue;
      }
      const DecodedCodePoint code_point = DecodeUtf8(text_.substr(at_));
      if (!code_point.valid) {
        return Fail("UTF-8", "the byte 0x" + Hex(static_cast<unsigned char>(c)));
      }
      if (code_point.code_point < 0x20) {
        return Fail("the quotation mark that ends a string, or an escape such as \\n",
                    c == '\n' ? "a line break" : "the character U+00" + Hex(code_point.code_point));
      }
      at_ += static_cast<std::size_t>(code_point.bytes);
    }
    ++at_;
  }

  bool Escape() {
    const std::size_t begin = at_++;
    constexpr std::string_view kSingle = "\"\\/bfnrt";
    if (at_ < text_.size() && kSingle.find(text_[at_]) != kSingle.npos) {
      ++at_;
      return true;
    }
    const unsigned unit = CodeUnit();
    const bool leads = unit >= 0xD800 && unit <= 0xDBFF, trails = unit >= 0xDC00 && unit <= 0xDFFF;
    if (unit <= 0xFFFF && !leads && !trails) return true;
    if (leads && Peek() == '\\') {
      ++at_;
      const unsigned second = CodeUnit();
      if (second >= 0xDC00 && second <= 0xDFFF) return true;
    }
    at_ = begin;
    Fail(
        "an escape: one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t, or \\u with four hexadecimal digits, "
        "two of them for a surrogate pair");
    return false;
  }

  // Of u and four digits; more than 0xFFFF if there are none.
  unsigned CodeUnit() {
    constexpr unsigned kNone = 0x10000;
    if (Peek() != 'u' || text_.size() - at_ < 5) return kNone;
    unsigned unit = 0;
    for (std::size_t i = at_ + 1; i < at_ + 5; ++i) {
      const char c = text_[i];
      const char lower = static_cast<char>(c | 0x20);
      if (!IsDigit(c) && (lower < 'a' || lower > 'f')) return kNone;
      unit = unit * 16 + static_cast<unsigned>(IsDigit(c) ? c - '0' : lower - 'a' + 10);
    }
    at_ += 5;
    return unit;
  }

  void Fail(std::string_view expected) { Fail(expected, Found()); }
  void Fail(std::string_view expected, std::string found) {
    const std::string_view before = text_.substr(0, at_);
    const std::size_t line_begin = before.rfind('\n') + 1;  // npos + 1 is 0
    const std::string_view line = before.substr(line_begin);
    fault_ = JsonFault{
        .line = 1 + static_cast<std::size_t>(std::count(before.begin(), before.end(), '\n')),
        .column = 1 + static_cast<std::size_t>(std::count_if(
                          line.begin(), line.end(), [](char c) { return (c & 0xC0) != 0x80; })),
        .expected = std::string(expected),
        .found = std::move(found)};
  }

  // One mark, or a word up to the next mark.
  std::string Found() const {
    if (at_ >= text_.size()) return "the end of the text";
    constexpr std::string_view kMarks = "{}[],:\"";
    constexpr std::size_t kLongest = 40;
    std::size_t end = at_ + 1;
    if (kMarks.find(text_[at_]) == kMarks.npos) {
      while (end < text_.size() && end < at_ + kLongest && !IsSpace(text_[end]) &&
             kMarks.find(text_[end]) == kMarks.npos) {
        ++end;
      }
      // No code point is cut in two.
      while (end < text_.size() && (text_[end] & 0xC0) == 0x80) ++end;
    }
    std::string word;
    AppendReplacingInvalid(text_.substr(at_, end - at_), &word);
    std::replace_if(
        word.begin(), word.end(),
        [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, '?');
    return word == "\"" ? "'\"'" : Cat("\"", word, "\"");
  }

  std::string_view text_;
  std::size_t at_ = 0;
  Next next_ = Next::kValue;
  std::vector<char> open_;
  bool done_ = false;
  std::optional<JsonFault> fault_;
};

}  // namespace

std::optional<JsonFault> FindJsonFault(std::string_view text) { return Scanner(text).Find(); }

}  // namespace mossrt::runtime
