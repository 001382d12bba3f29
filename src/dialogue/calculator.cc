#include "dialogue/calculator.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <system_error>
#include <utility>
#include <vector>

#include "base/float_mode.h"
#include "base/status.h"
#include "dialogue/functions.h"
#include "dialogue/math_lexer.h"
#include "dialogue/number.h"

namespace mossrt::runtime {
namespace {

using Result = Arithmetic::Result;
using Kind = MathToken::Kind;

// Of a number beyond the range of doubles: at which end?
bool TooSmall(std::string_view text) {
  const std::size_t e = std::min(text.find_first_of("eE"), text.size());
  const std::size_t point = std::min(text.find('.'), e);
  const std::size_t first = text.find_first_of("123456789");
  std::int64_t exponent = 0;
  if (e < text.size()) {
    const std::size_t digits = e + (text[e + 1] == '+' ? 2 : 1);
    const auto read = std::from_chars(text.data() + digits, text.data() + text.size(), exponent);
    if (read.ec != std::errc()) return text[e + 1] == '-';
  }
  return exponent + static_cast<std::int64_t>(point) - static_cast<std::int64_t>(first) < 0;
}

Result ReadNumber(const MathToken& token) {
  if (!token.decimal) {
    const std::size_t zeros = token.text.find_first_not_of('0');  // or Boost would read octal
    if (zeros == std::string::npos) return Number(BigInt(0));
    return Arithmetic::Bounded(BigInt(token.text.substr(zeros)));
  }
  double value = 0.0;
  const char* end = token.text.data() + token.text.size();
  const auto read = std::from_chars(token.text.data(), end, value);
  if (read.ec == std::errc::result_out_of_range) {
    if (TooSmall(token.text)) return 0.0;
    return absl::InvalidArgumentError(
        Cat(QuoteFormula(token.text), " is too large for a decimal number (1.8e308)"));
  }
  return value;
}

// Precedences as Python's: + - below * / // %, below a sign, below a power, which binds its right
// side first: -2**2 is -4, 2**3**2 is 2**9.
class Parser {
 public:
  Parser(std::vector<MathToken> tokens, std::string_view text)
      : tokens_(std::move(tokens)), text_(text) {}

  Result Run() {
    MOSSRT_ASSIGN_OR_RETURN(Number value, Sum());
    if (Take("=") && Next().kind != Kind::kEnd) --at_;  // "1 + 1 =" asks for the value
    if (Next().kind != Kind::kEnd) return Unexpected("an operator such as + or *");
    return value;
  }

 private:
  static constexpr int kMaxDepth = 200;

  const MathToken& Next() const { return tokens_[at_]; }
  bool Take(std::string_view sign) {
    if (!Next().Is(sign)) return false;
    ++at_;
    return true;
  }

  absl::Status Unexpected(std::string_view wanted) const {
    std::string after = at_ == 0 ? "at the start" : Cat("after ", NameToken(tokens_[at_ - 1]));
    return absl::InvalidArgumentError(Cat("the expression ", QuoteFormula(text_), " needs ", wanted,
                                          " ", after, ", found ", NameToken(Next())));
  }

  // One level deeper for as long as the object lives.
  class Level {
   public:
    explicit Level(Parser* parser) : depth_(&parser->depth_) { ++*depth_; }
    ~Level() { --*depth_; }
    Level(const Level&) = delete;
    Level& operator=(const Level&) = delete;
    absl::Status Check() const {
      if (*depth_ <= kMaxDepth) return absl::OkStatus();
      return absl::InvalidArgumentError(
          Cat("the expression is nested more than ", kMaxDepth, " levels deep; split it"));
    }

   private:
    int* depth_;
  };

  Result Sum() {
    MOSSRT_ASSIGN_OR_RETURN(Number value, Product());
    while (true) {
      if (Take("+")) {
        MOSSRT_ASSIGN_OR_RETURN(const Number right, Product());
        MOSSRT_ASSIGN_OR_RETURN(value, arithmetic_.Add(value, right));
      } else if (Take("-")) {
        MOSSRT_ASSIGN_OR_RETURN(const Number right, Product());
        MOSSRT_ASSIGN_OR_RETURN(value, arithmetic_.Subtract(value, right));
      } else {
        return value;
      }
    }
  }

  Result Product() {
    static constexpr std::pair<std::string_view,
                               Result (Arithmetic::*)(const Number&, const Number&)>
        kOperators[] = {{"*", &Arithmetic::Multiply},
                        {"/", &Arithmetic::Divide},
                        {"//", &Arithmetic::FloorDivide},
                        {"%", &Arithmetic::Modulo}};
    MOSSRT_ASSIGN_OR_RETURN(Number value, Signed());
    bool found = true;
    while (found) {
      found = false;
      for (const auto& [sign, operation] : kOperators) {
        if (!Take(sign)) continue;
        found = true;
        MOSSRT_ASSIGN_OR_RETURN(const Number right, Signed());
        MOSSRT_ASSIGN_OR_RETURN(value, (arithmetic_.*operation)(value, right));
        break;
      }
    }
    return value;
  }

  Result Signed() {
    const Level level(this);
    MOSSRT_RETURN_IF_ERROR(level.Check());
    if (Take("+")) return Signed();
    if (!Take("-")) return Power();
    MOSSRT_ASSIGN_OR_RETURN(const Number value, Signed());
    return arithmetic_.Negate(value);
  }

  Result Power() {
    MOSSRT_ASSIGN_OR_RETURN(Number value, Primary());
    while (Take("!")) {
      MOSSRT_ASSIGN_OR_RETURN(value, FindMathFunction("factorial")->call(arithmetic_, {&value, 1}));
    }
    if (!Take("**")) return value;
    MOSSRT_ASSIGN_OR_RETURN(const Number exponent, Signed());
    return arithmetic_.Power(value, exponent);
  }

  Result Primary() {
    static constexpr std::pair<std::string_view, std::string_view> kBrackets[] = {
        {"(", ")"}, {"[", "]"}, {"{", "}"}};
    if (Next().kind == Kind::kNumber) return ReadNumber(tokens_[at_++]);
    if (Next().kind == Kind::kName) return Name();
    for (const auto& [open, close] : kBrackets) {
      if (!Take(open)) continue;
      MOSSRT_ASSIGN_OR_RETURN(const Number value, Sum());
      if (!Take(close)) return Unexpected(Cat("\"", close, "\""));
      return value;
    }
    if (at_ > 0 && tokens_[at_ - 1].Is("%")) {
      return absl::InvalidArgumentError(
          Cat("\"%\" in ", QuoteFormula(text_),
              " is the remainder of a division and needs a number behind it; write /100 for per "
              "cent"));
    }
    return Unexpected("a number");
  }

  Result Name() {
    std::string name = tokens_[at_++].text;
    if (FindMathFunction(name) == nullptr && FindMathConstant(name) == nullptr) {
      for (char& c : name) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
      }
    }
    if (const double* constant = FindMathConstant(name)) return *constant;
    const MathFunction* function = FindMathFunction(name);
    if (function == nullptr) {
      return absl::InvalidArgumentError(Cat(QuoteFormula(name), " in ", QuoteFormula(text_),
                                            " is neither a function nor a constant"));
    }
    std::vector<Number> arguments;
    if (Take("(")) {
      MOSSRT_RETURN_IF_ERROR(Arguments(&arguments));
    } else if (name == "sqrt") {  // √2
      const Level level(this);
      MOSSRT_RETURN_IF_ERROR(level.Check());
      MOSSRT_ASSIGN_OR_RETURN(arguments.emplace_back(), Primary());
    } else {
      return Unexpected("\"(\"");
    }
    if (arguments.size() < function->min_arguments || arguments.size() > function->max_arguments) {
      return absl::InvalidArgumentError(Cat(name, " takes ", function->min_arguments,
                                            function->min_arguments == function->max_arguments
                                                ? std::string()
                                                : Cat(" to ", function->max_arguments),
                                            " numbers, found ", arguments.size()));
    }
    const auto result = function->call(arithmetic_, arguments);
    if (!result.ok()) return Prefix(result.status(), name);
    return result;
  }

  // Behind "(": numbers, or one list of them in square brackets, and ")".
  absl::Status Arguments(std::vector<Number>* out) {
    const bool list = Take("[");
    while (true) {
      MOSSRT_ASSIGN_OR_RETURN(out->emplace_back(), Sum());
      if (!Take(",")) break;
    }
    if (list && !Take("]")) return Unexpected("\"]\"");
    return Take(")") ? absl::OkStatus() : Unexpected("\")\"");
  }

  std::vector<MathToken> tokens_;
  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
  Arithmetic arithmetic_;
};

}  // namespace

absl::StatusOr<std::string> Calculate(std::string_view expression) {
  const FloatMode float_mode;
  MOSSRT_ASSIGN_OR_RETURN(const std::string plain, PlainFormula(expression));
  MOSSRT_ASSIGN_OR_RETURN(std::vector<MathToken> tokens, CutFormula(plain));
  MOSSRT_ASSIGN_OR_RETURN(const Number value, Parser(std::move(tokens), plain).Run());
  return Arithmetic::Repr(value);
}

}  // namespace mossrt::runtime
