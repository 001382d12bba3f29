#include "dialogue/sympy_text.h"

#include <charconv>
#include <cmath>
#include <cstdlib>
#include <string_view>

#include "base/cat.h"

namespace mossrt::runtime {
namespace mp = boost::multiprecision;
namespace {

constexpr int kDigits = 15;

// x = 0.d1 d2 ... times a power of ten, rounded half up: the digits and the power of the first one.
struct Decimal {
  std::string digits;
  int exponent = 0;
};
Decimal Round(double x) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, std::fabs(x),
                                 std::chars_format::scientific, 30);
  const std::string_view text(buffer, static_cast<std::size_t>(end.ptr - buffer));
  const std::size_t e = text.find('e');
  Decimal out;
  out.digits.push_back(text[0]);
  out.digits += text.substr(2, kDigits - 1);
  const std::string_view power = text.substr(e + (text[e + 1] == '+' ? 2 : 1));
  std::from_chars(power.data(), power.data() + power.size(), out.exponent);
  if (text[1 + kDigits] < '5') return out;
  std::size_t i = out.digits.size();
  while (i > 0 && out.digits[i - 1] == '9') out.digits[--i] = '0';
  if (i > 0) {
    ++out.digits[i - 1];
  } else {
    out.digits.insert(out.digits.begin(), '1');
    out.digits.pop_back();
    ++out.exponent;
  }
  return out;
}

void StripZeros(std::string* text) {
  while (text->back() == '0') text->pop_back();
  if (text->back() == '.') text->push_back('0');
}

// factor * sqrt(radicand) * I / denominator without its sign.
std::string SecondTerm(const Surd& x) {
  const BigInt top = mp::abs(mp::numerator(x.factor)), bottom = mp::denominator(x.factor);
  std::string out;
  const auto times = [&](const std::string& factor) {
    if (!out.empty()) out.push_back('*');
    out += factor;
  };
  if (top != 1) times(Digits(top));
  if (x.radicand != 1) times(Cat("sqrt(", Digits(x.radicand), ")"));
  if (x.imaginary) times("I");
  return bottom == 1 ? out : Cat(out, "/", Digits(bottom));
}

std::string Sum(const std::string& first, bool negative, const std::string& second) {
  if (first.empty()) return Cat(negative ? "-" : "", second);
  return Cat(first, negative ? " - " : " + ", second);
}

}  // namespace

std::string SympyText(const Rational& x) {
  const std::string top = Digits(mp::numerator(x));
  return mp::denominator(x) == 1 ? top : Cat(top, "/", Digits(mp::denominator(x)));
}

std::string SympyText(double x, bool part) {
  if (x == 0.0) return part ? "0.0" : "0";
  Decimal decimal = Round(x);
  std::string out = x < 0 ? "-" : "";
  if (decimal.exponent <= -5 || decimal.exponent >= kDigits) {
    std::string mantissa = decimal.digits.substr(0, 1) + "." + decimal.digits.substr(1);
    if (part) StripZeros(&mantissa);
    return out + mantissa + (decimal.exponent < 0 ? "e-" : "e+") +
           std::to_string(std::abs(decimal.exponent));
  }
  if (decimal.exponent < 0) {
    out +=
        "0." + std::string(static_cast<std::size_t>(-decimal.exponent - 1), '0') + decimal.digits;
  } else {
    const auto whole = static_cast<std::size_t>(decimal.exponent) + 1;
    out += decimal.digits.substr(0, whole) + "." + decimal.digits.substr(whole);
  }
  if (part) StripZeros(&out);
  return out;
}

std::string SympyText(const Approximate& x) {
  if (x.imaginary == 0.0) return SympyText(x.real);
  return Sum(x.real == 0.0 ? "" : SympyText(x.real, true), x.imaginary < 0,
             SympyText(std::fabs(x.imaginary), true) + "*I");
}

std::string SympyText(const Surd& x) {
  if (x.factor.is_zero()) return SympyText(x.rational);
  const std::string first = x.rational.is_zero() ? "" : SympyText(x.rational);
  const std::string second = SecondTerm(x);
  // SymPy's order of two numbers: the smaller one first, but 1 - sqrt(5).
  const bool same_sign = (x.rational < 0) == (x.factor < 0);
  if (!x.imaginary && !x.rational.is_zero() && same_sign) {
    const bool second_smaller =
        (x.factor * x.factor * Rational(x.radicand) < x.rational * x.rational) == (x.factor > 0);
    if (second_smaller) {
      return Sum(Cat(x.factor < 0 ? "-" : "", second), x.rational < 0,
                 SympyText(Rational(mp::abs(x.rational))));
    }
  }
  return Sum(first, x.factor < 0, second);
}

}  // namespace mossrt::runtime
