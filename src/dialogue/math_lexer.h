// Formulas as people type them, cut into numbers, names and signs: full-width letters, × ÷ − ², √,
// π and thousands separators are read as what they mean.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace mossrt::runtime {

struct MathToken {
  enum class Kind { kNumber, kName, kSign, kEnd };
  Kind kind = Kind::kEnd;
  // A number without separators; a name; one of + - * / % ( ) [ ] { } , ; = ! or the longer signs
  // "**" (also for ^), "//" and "==".
  std::string text;
  bool decimal = false;  // a number with a point or an exponent

  bool Is(std::string_view sign) const { return kind == Kind::kSign && text == sign; }
};

inline constexpr std::size_t kMaxFormula = 4096;  // bytes

// The text in ASCII, but for letters of other scripts.
absl::StatusOr<std::string> PlainFormula(std::string_view text);
// Tokens of a plain formula, kEnd last.
absl::StatusOr<std::vector<MathToken>> CutFormula(std::string_view plain);

// The text for an error: cut short where it is long.
std::string QuoteFormula(std::string_view text);
// How an error names a token: its text in quotes, or "the end".
std::string NameToken(const MathToken& token);

}  // namespace mossrt::runtime
