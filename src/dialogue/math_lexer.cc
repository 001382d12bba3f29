#include "dialogue/math_lexer.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include "base/status.h"
#include "base/utf8.h"

namespace mossrt::runtime {
namespace {

// What is not ASCII and means the same. Superscripts are handled apart.
constexpr std::pair<char32_t, const char*> kMeanings[] = {
    {U'×', "*"},      {U'·', "*"},      {U'∙', "*"},      {U'⋅', "*"},      {U'•', "*"},
    {U'✕', "*"},      {U'✖', "*"},      {U'∗', "*"},      {U'÷', "/"},      {U'∕', "/"},
    {U'⁄', "/"},      {U'➗', "/"},      {U'−', "-"},      {U'‐', "-"},      {U'‑', "-"},
    {U'‒', "-"},      {U'–', "-"},      {U'—', "-"},      {U'―', "-"},      {U'﹣', "-"},
    {U'➖', "-"},      {U'﹢', "+"},     {U'➕', "+"},      {U'✚', "+"},      {U'√', " sqrt "},
    {U'π', " pi "},   {U'【', "["},     {U'】', "]"},     {U'〔', "("},     {U'〕', ")"},
    {U'﹙', "("},     {U'﹚', ")"},     {U'、', ","},     {U'﹦', "="},     {U'\u00A0', " "},
    {U'\u3000', " "}, {U'\uFEFF', " "}, {U'\u200B', " "}, {U'\u205F', " "}, {U'\u202F', " "},
};
constexpr std::u32string_view kSuperscripts = U"⁰¹²³⁴⁵⁶⁷⁸⁹";

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsLetter(char c) {
  // Bytes of other scripts: PlainFormula lets letters alone through.
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}
bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// Greek letters, and ideographs, which name unknowns in word problems.
bool IsForeignLetter(char32_t c) {
  return (c >= 0x391 && c <= 0x3C9) || (c >= 0x4E00 && c <= 0x9FFF);
}

// Appends what `c` means; false if that is unknown.
bool AppendPlain(char32_t c, std::string* out) {
  if (c >= 0xFF01 && c <= 0xFF5E) c -= 0xFEE0;  // full-width forms of ASCII
  if (c >= 0x2000 && c <= 0x200A) c = ' ';      // spaces of all widths
  if (c < 0x80) {
    if (c < 0x20 && !IsSpace(static_cast<char>(c))) return false;
    out->push_back(static_cast<char>(c));
    return true;
  }
  const auto* meaning = std::find_if(std::begin(kMeanings), std::end(kMeanings),
                                     [c](const auto& pair) { return pair.first == c; });
  if (meaning != std::end(kMeanings)) {
    out->append(meaning->second);
  } else if (IsForeignLetter(c)) {
    AppendUtf8(c, out);
  } else {
    return false;
  }
  return true;
}

class Cutter {
 public:
  explicit Cutter(std::string_view text) : text_(text) {}

  absl::StatusOr<std::vector<MathToken>> Run() {
    while (true) {
      while (at_ < text_.size() && IsSpace(text_[at_])) ++at_;
      if (at_ == text_.size()) break;
      const char c = text_[at_];
      if (IsDigit(c) || (c == '.' && IsDigit(Char(1)))) {
        CutNumber();
      } else if (IsLetter(c)) {
        CutName();
      } else {
        MOSSRT_RETURN_IF_ERROR(CutSign());
      }
    }
    tokens_.emplace_back();
    return std::move(tokens_);
  }

 private:
  char Char(std::size_t ahead) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  std::size_t Digits(std::size_t ahead) const {
    std::size_t count = 0;
    while (IsDigit(Char(ahead + count))) ++count;
    return count;
  }

  // Between the arguments of a function a comma separates them.
  bool InArguments() const { return !calls_.empty() && calls_.back(); }

  void CutNumber() {
    MathToken token{MathToken::Kind::kNumber, {}, false};
    const auto take = [&](std::size_t count) {
      token.text += text_.substr(at_, count);
      at_ += count;
    };
    std::size_t first = Digits(0);
    take(first);
    while (Char(0) == '_' && IsDigit(Char(1))) {  // 1_000 as Python writes it
      ++at_;
      take(Digits(0));
      first = 0;
    }
    if (first >= 1 && first <= 3 && token.text[0] != '0' && !InArguments()) {
      // 1,234,567: groups of three, and nothing that would make another number of it.
      std::size_t ahead = 0;
      while (Char(ahead) == ',' && Digits(ahead + 1) == 3) ahead += 4;
      if (ahead > 0 && !IsLetter(Char(ahead)) &&
          !(Char(ahead) == ',' && IsDigit(Char(ahead + 1)))) {
        for (; ahead > 0; ahead -= 4) {
          ++at_;
          take(3);
        }
      }
    }
    if (Char(0) == '.') {
      token.decimal = true;
      if (token.text.empty()) token.text += '0';
      take(1 + Digits(1));
      if (token.text.back() == '.') token.text += '0';
    }
    if (Char(0) == 'e' || Char(0) == 'E') {
      const std::size_t sign = Char(1) == '+' || Char(1) == '-' ? 1 : 0;
      if (const std::size_t digits = Digits(1 + sign); digits > 0) {
        token.decimal = true;
        take(1 + sign + digits);
      }
    }
    tokens_.push_back(std::move(token));
  }

  void CutName() {
    std::size_t length = 1;
    while (IsLetter(Char(length)) || IsDigit(Char(length))) ++length;
    const std::string_view name = text_.substr(at_, length);
    at_ += length;
    if (name == "math" && Char(0) == '.') {  // math.sqrt is sqrt
      ++at_;
      // But pow(2, 3) is exact, and math.pow(2, 3) a decimal.
      if (text_.substr(at_, 4) != "pow(") return;
      at_ += 3;
      tokens_.push_back({MathToken::Kind::kName, "math.pow", false});
      return;
    }
    tokens_.push_back({MathToken::Kind::kName, std::string(name), false});
  }

  absl::Status CutSign() {
    static constexpr std::array<std::string_view, 3> kLong = {"**", "//", "=="};
    const char c = text_[at_];
    const std::string_view two = text_.substr(at_, 2);
    const bool is_long = std::find(kLong.begin(), kLong.end(), two) != kLong.end();
    std::string_view sign = is_long ? two : two.substr(0, 1);
    at_ += sign.size();
    if (sign == "^") sign = "**";
    if (c == '(' || c == '[' || c == '{') {
      const bool call =
          c == '(' && !tokens_.empty() && tokens_.back().kind == MathToken::Kind::kName;
      calls_.push_back(call || (c == '[' && InArguments()));
    } else if (c == ')' || c == ']' || c == '}') {
      if (!calls_.empty()) calls_.pop_back();
    } else if (std::string_view("+-*/%^,;=!").find(c) == std::string_view::npos) {
      return absl::InvalidArgumentError(
          Cat("\"", sign, "\" in ", QuoteFormula(text_), " has no meaning here"));
    }
    tokens_.push_back({MathToken::Kind::kSign, std::string(sign), false});
    return absl::OkStatus();
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::vector<bool> calls_;  // of the open brackets: is it the list of a function's arguments?
  std::vector<MathToken> tokens_;
};

}  // namespace

absl::StatusOr<std::string> PlainFormula(std::string_view text) {
  if (text.size() > kMaxFormula) {
    return absl::InvalidArgumentError(Cat("a formula may have ", kMaxFormula,
                                          " bytes, this one has ", text.size(), "; split it"));
  }
  std::string out;
  bool raised = false;  // inside a run of superscript digits
  while (!text.empty()) {
    const DecodedCodePoint next = DecodeUtf8(text);
    const auto length = static_cast<std::size_t>(next.bytes);
    if (!next.valid) return absl::InvalidArgumentError("the formula is not valid UTF-8");
    const std::size_t digit = kSuperscripts.find(next.code_point);
    const bool raise = digit != std::u32string_view::npos || next.code_point == U'⁻';
    if (raise != raised) out += raise ? "^(" : ")";
    raised = raise;
    if (raise) {
      out += digit == std::u32string_view::npos ? '-' : static_cast<char>('0' + digit);
    } else if (!AppendPlain(next.code_point, &out)) {
      char code[12];
      std::snprintf(code, sizeof code, "U+%04X", static_cast<unsigned>(next.code_point));
      return absl::InvalidArgumentError(Cat("the character ", code, " (",
                                            text.substr(0, next.code_point < ' ' ? 0 : length),
                                            ") has no meaning in a formula"));
    }
    text.remove_prefix(length);
  }
  if (raised) out += ")";
  return out;
}

absl::StatusOr<std::vector<MathToken>> CutFormula(std::string_view plain) {
  return Cutter(plain).Run();
}

std::string QuoteFormula(std::string_view text) {
  constexpr std::size_t kShown = 60;
  if (text.size() <= kShown) return Cat("\"", text, "\"");
  std::string out = "\"";
  AppendReplacingInvalid(text.substr(0, CompleteUtf8Prefix(text.substr(0, kShown))), &out);
  out += "...\"";
  return out;
}

std::string NameToken(const MathToken& token) {
  return token.kind == MathToken::Kind::kEnd ? "the end" : QuoteFormula(token.text);
}

}  // namespace mossrt::runtime
