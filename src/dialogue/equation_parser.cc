#include "dialogue/equation_parser.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <map>
#include <set>
#include <utility>

#include "base/status.h"
#include "dialogue/functions.h"
#include "dialogue/math_lexer.h"

namespace mossrt::runtime {
namespace mp = boost::multiprecision;
namespace {

using Kind = MathToken::Kind;

constexpr std::size_t kMaxUnknowns = 20;
constexpr std::size_t kMaxEquations = 40;

struct Fraction {
  Polynomial top;
  Polynomial bottom = Polynomial(Rational(1));
};

// The value of a number's text; the exponent is bounded by the caller.
absl::StatusOr<Rational> ReadRational(const MathToken& token) {
  const std::string_view text = token.text;
  const std::size_t e = std::min(text.find_first_of("eE"), text.size());
  int exponent = 0;
  if (e < text.size()) {
    const std::size_t first = e + (text[e + 1] == '+' ? 2 : 1);
    const auto read = std::from_chars(text.data() + first, text.data() + text.size(), exponent);
    if (read.ec != std::errc() || std::abs(exponent) > 400) {
      return absl::InvalidArgumentError(
          Cat("the exponent of ", QuoteFormula(text), " must lie within -400 and 400"));
    }
  }
  std::string digits;
  for (std::size_t i = 0; i < e; ++i) {
    if (text[i] == '.') {
      exponent -= static_cast<int>(e - i - 1);
    } else if (text[i] != '0' || !digits.empty()) {  // Boost reads octal behind a 0
      digits += text[i];
    }
  }
  if (digits.empty()) return Rational(0);
  if (digits.size() > 1000 || exponent < -1000) {
    return absl::InvalidArgumentError(
        Cat("the number ", QuoteFormula(text), " has more than 1000 digits"));
  }
  const BigInt whole(digits);
  const BigInt scale = PowerOfTen(std::abs(exponent));
  return exponent >= 0 ? Rational(whole * scale) : Rational(whole, scale);
}

class Parser {
 public:
  Parser(std::vector<MathToken> tokens, std::string_view text)
      : tokens_(std::move(tokens)), text_(text) {}

  absl::StatusOr<EquationSystem> Run() {
    MOSSRT_RETURN_IF_ERROR(CollectUnknowns());
    bool compared = false;
    std::vector<std::pair<std::size_t, Fraction>> bare;  // pieces without "=", where they begin
    while (Next().kind != Kind::kEnd) {
      if (Take(";") || Take(",")) continue;
      const std::size_t begin = at_;
      MOSSRT_ASSIGN_OR_RETURN(Fraction left, Sum());
      if (!Next().Is("=") && !Next().Is("==")) bare.emplace_back(begin, left);
      while (Take("=") || Take("==")) {
        compared = true;
        MOSSRT_ASSIGN_OR_RETURN(Fraction right, Sum());
        MOSSRT_RETURN_IF_ERROR(Equate(left, right));
        left = std::move(right);
      }
      if (Next().kind != Kind::kEnd && !Next().Is(";") && !Next().Is(",")) {
        return Unexpected("\"=\", an operator or the next equation");
      }
    }
    for (const auto& [begin, piece] : bare) {
      // "3x = 6, x" names what is asked for; "x - 2" alone is meant to be 0.
      const MathToken& behind = tokens_[begin + 1];
      const bool name = tokens_[begin].kind == Kind::kName &&
                        (behind.kind == Kind::kEnd || behind.Is(",") || behind.Is(";"));
      if (compared && name) continue;
      if (piece.top.IsConstant()) {
        return absl::InvalidArgumentError(
            Cat(QuoteFormula(text_), " holds a part without an unknown and without \"=\""));
      }
      MOSSRT_RETURN_IF_ERROR(Equate(piece, Fraction()));
    }
    if (system_.equations.empty() || system_.unknowns.empty()) {
      return absl::InvalidArgumentError(
          Cat(QuoteFormula(text_), " holds no equation with an unknown such as x"));
    }
    return std::move(system_);
  }

 private:
  static constexpr int kMaxDepth = 100;

  const MathToken& Next() const { return tokens_[at_]; }
  bool Take(std::string_view sign) {
    if (!Next().Is(sign)) return false;
    ++at_;
    return true;
  }

  absl::Status Unexpected(std::string_view wanted) const {
    const std::string after =
        at_ == 0 ? "at the start" : Cat("after ", NameToken(tokens_[at_ - 1]));
    return absl::InvalidArgumentError(Cat("the equations ", QuoteFormula(text_), " need ", wanted,
                                          " ", after, ", found ", NameToken(Next())));
  }
  static absl::Status Beyond(std::string_view what) {
    return absl::UnimplementedError(
        Cat("the solver knows linear systems and polynomials in one unknown, and not ", what));
  }

  bool IsCall(std::size_t i) const {
    return FindMathFunction(tokens_[i].text) != nullptr &&
           (tokens_[i + 1].Is("(") || tokens_[i].text == "sqrt");
  }

  // "xy" is x times y where x and y also stand alone, else the name of one unknown.
  absl::Status CollectUnknowns() {
    std::set<std::string> names, letters;
    for (const MathToken& token : tokens_) {
      if (token.kind == Kind::kName && token.text.size() == 1) letters.insert(token.text);
    }
    for (std::size_t i = 0; i + 1 < tokens_.size(); ++i) {
      const MathToken& token = tokens_[i];
      if (token.kind != Kind::kName || IsCall(i)) continue;
      const std::string& name = token.text;
      if (name == "pi" || name == "E" || name == "I") {
        return Beyond(Cat("the constant ", name));
      }
      const bool product = name.size() > 1 && std::all_of(name.begin(), name.end(), [&](char c) {
                             return letters.count(std::string(1, c)) != 0;
                           });
      if (product) products_.insert(name);
      if (!product) names.insert(name);
    }
    if (names.size() > kMaxUnknowns) {
      return absl::UnimplementedError(
          Cat("the solver takes ", kMaxUnknowns, " unknowns, found ", names.size()));
    }
    for (const std::string& name : names) {
      numbers_[name] = system_.unknowns.size();
      system_.unknowns.push_back(name);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<Fraction> Combine(const Fraction& a, const Fraction& b, bool minus) {
    Fraction left = a, right = b;
    if (!(a.bottom == b.bottom)) {
      MOSSRT_ASSIGN_OR_RETURN(left.top, work_.Multiply(a.top, b.bottom));
      MOSSRT_ASSIGN_OR_RETURN(right.top, work_.Multiply(b.top, a.bottom));
      MOSSRT_ASSIGN_OR_RETURN(left.bottom, work_.Multiply(a.bottom, b.bottom));
    }
    MOSSRT_ASSIGN_OR_RETURN(
        left.top, minus ? work_.Subtract(left.top, right.top) : work_.Add(left.top, right.top));
    return left;
  }

  absl::Status Equate(const Fraction& left, const Fraction& right) {
    if (system_.equations.size() == kMaxEquations) {
      return absl::UnimplementedError(Cat("the solver takes ", kMaxEquations, " equations"));
    }
    MOSSRT_ASSIGN_OR_RETURN(Fraction difference, Combine(left, right, true));
    system_.equations.push_back(std::move(difference.top));
    return absl::OkStatus();
  }

  absl::StatusOr<Fraction> Divide(const Fraction& a, const Fraction& b) {
    if (b.top.IsZero()) return absl::InvalidArgumentError("the equations divide by zero");
    Fraction out;
    if (b.top.IsConstant() && b.bottom.IsConstant()) {
      const Polynomial inverse(b.bottom.Constant() / b.top.Constant());
      MOSSRT_ASSIGN_OR_RETURN(out.top, work_.Multiply(a.top, inverse));
      out.bottom = a.bottom;
      return out;
    }
    if (!b.top.IsConstant()) system_.nonzero.push_back(b.top);
    MOSSRT_ASSIGN_OR_RETURN(out.top, work_.Multiply(a.top, b.bottom));
    MOSSRT_ASSIGN_OR_RETURN(out.bottom, work_.Multiply(a.bottom, b.top));
    return out;
  }

  absl::StatusOr<Fraction> Multiply(const Fraction& a, const Fraction& b) {
    Fraction out;
    MOSSRT_ASSIGN_OR_RETURN(out.top, work_.Multiply(a.top, b.top));
    MOSSRT_ASSIGN_OR_RETURN(out.bottom, work_.Multiply(a.bottom, b.bottom));
    return out;
  }

  absl::StatusOr<Fraction> Sum() {
    MOSSRT_ASSIGN_OR_RETURN(Fraction value, Product());
    while (Next().Is("+") || Next().Is("-")) {
      const bool minus = tokens_[at_++].Is("-");
      MOSSRT_ASSIGN_OR_RETURN(const Fraction right, Product());
      MOSSRT_ASSIGN_OR_RETURN(value, Combine(value, right, minus));
    }
    return value;
  }

  // Factors beside each other are multiplied; but "2 3" and "x 3" are slips of the pen.
  bool AtFactor() const {
    const Kind kind = Next().kind;
    return kind == Kind::kName || Next().Is("(") || Next().Is("[") || Next().Is("{") ||
           (kind == Kind::kNumber && tokens_[at_ - 1].Is(")"));
  }

  absl::StatusOr<Fraction> Product() {
    MOSSRT_ASSIGN_OR_RETURN(Fraction value, Signed());
    while (true) {
      if (Take("*")) {
        MOSSRT_ASSIGN_OR_RETURN(const Fraction right, Signed());
        MOSSRT_ASSIGN_OR_RETURN(value, Multiply(value, right));
      } else if (Take("/")) {
        MOSSRT_ASSIGN_OR_RETURN(const Fraction right, Signed());
        MOSSRT_ASSIGN_OR_RETURN(value, Divide(value, right));
      } else if (AtFactor()) {
        MOSSRT_ASSIGN_OR_RETURN(const Fraction right, Power());
        MOSSRT_ASSIGN_OR_RETURN(value, Multiply(value, right));
      } else {
        return value;
      }
    }
  }

  absl::StatusOr<Fraction> Signed() {
    if (depth_ >= kMaxDepth) {
      return absl::InvalidArgumentError(
          Cat("the equations are nested more than ", kMaxDepth, " levels deep"));
    }
    ++depth_;
    auto value = Take("+") ? Signed() : Take("-") ? Negated() : Power();
    --depth_;
    return value;
  }

  absl::StatusOr<Fraction> Negated() {
    MOSSRT_ASSIGN_OR_RETURN(Fraction value, Signed());
    MOSSRT_ASSIGN_OR_RETURN(value.top, work_.Subtract(Polynomial(), value.top));
    return value;
  }

  absl::StatusOr<Fraction> Power() {
    MOSSRT_ASSIGN_OR_RETURN(Fraction base, Primary());
    while (Take("%")) {  // no remainder in an equation, so it is per cent
      MOSSRT_ASSIGN_OR_RETURN(base, Divide(base, {Polynomial(Rational(100))}));
    }
    if (!Take("**")) return base;
    MOSSRT_ASSIGN_OR_RETURN(const Fraction exponent, Signed());
    if (!exponent.top.IsConstant() || !exponent.bottom.IsConstant()) {
      return Beyond("an unknown in an exponent");
    }
    const Rational power = exponent.top.Constant() / exponent.bottom.Constant();
    if (mp::denominator(power) != 1) return Beyond("a broken exponent");
    if (mp::abs(power) > 4096) return Beyond("an exponent above 4096");
    const auto whole = static_cast<int>(mp::numerator(power));
    Fraction out;
    MOSSRT_ASSIGN_OR_RETURN(out.top, work_.Power(base.top, static_cast<unsigned>(std::abs(whole))));
    MOSSRT_ASSIGN_OR_RETURN(out.bottom,
                            work_.Power(base.bottom, static_cast<unsigned>(std::abs(whole))));
    return whole >= 0 ? absl::StatusOr<Fraction>(out) : Divide({Polynomial(Rational(1))}, out);
  }

  absl::StatusOr<Fraction> Primary() {
    static constexpr std::pair<std::string_view, std::string_view> kBrackets[] = {
        {"(", ")"}, {"[", "]"}, {"{", "}"}};
    if (Next().kind == Kind::kNumber) {
      const MathToken& token = tokens_[at_++];
      system_.decimal |= token.decimal;
      MOSSRT_ASSIGN_OR_RETURN(const Rational value, ReadRational(token));
      return Fraction{Polynomial(value)};
    }
    if (Next().kind == Kind::kName) return Name();
    for (const auto& [open, close] : kBrackets) {
      if (!Take(open)) continue;
      MOSSRT_ASSIGN_OR_RETURN(Fraction value, Sum());
      if (!Take(close)) return Unexpected(Cat("\"", close, "\""));
      return value;
    }
    return Unexpected("a number or an unknown");
  }

  absl::StatusOr<Fraction> Name() {
    const std::string& name = tokens_[at_].text;
    if (IsCall(at_)) {
      if (name != "sqrt") return Beyond(Cat("the function ", name));
      ++at_;
      return SquareRoot();
    }
    ++at_;
    if (products_.count(name) == 0) return Fraction{Polynomial::Unknown(numbers_[name])};
    Fraction product{Polynomial(Rational(1))};
    for (const char c : name) {
      const Polynomial letter = Polynomial::Unknown(numbers_[std::string(1, c)]);
      MOSSRT_ASSIGN_OR_RETURN(product.top, work_.Multiply(product.top, letter));
    }
    return product;
  }

  absl::StatusOr<Fraction> SquareRoot() {
    if (depth_ >= kMaxDepth) return Unexpected("fewer roots of roots");
    ++depth_;
    auto value = Primary();
    --depth_;
    if (!value.ok()) return value;
    if (!value->top.IsConstant() || !value->bottom.IsConstant()) {
      return Beyond("a root of an unknown");
    }
    const Rational square = value->top.Constant() / value->bottom.Constant();
    if (square < 0) return Beyond("a root of a negative number");
    const Rational root(mp::sqrt(mp::numerator(square)), mp::sqrt(mp::denominator(square)));
    if (root * root != square) return Beyond("an irrational root");
    return Fraction{Polynomial(root)};
  }

  std::vector<MathToken> tokens_;
  std::string_view text_;
  std::size_t at_ = 0;
  int depth_ = 0;
  std::map<std::string, std::size_t> numbers_;
  std::set<std::string> products_;
  PolynomialWork work_;
  EquationSystem system_;
};

}  // namespace

absl::StatusOr<EquationSystem> ParseEquations(std::string_view text) {
  MOSSRT_ASSIGN_OR_RETURN(std::string plain, PlainFormula(text));
  std::replace(plain.begin(), plain.end(), '\n', ';');
  MOSSRT_ASSIGN_OR_RETURN(std::vector<MathToken> tokens, CutFormula(plain));
  return Parser(std::move(tokens), plain).Run();
}

}  // namespace mossrt::runtime
