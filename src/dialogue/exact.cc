#include "dialogue/exact.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string_view>
#include <system_error>

namespace mossrt::runtime {
namespace mp = boost::multiprecision;

std::size_t BitLength(const BigInt& x) {
  return x.is_zero() ? 0 : static_cast<std::size_t>(mp::msb(mp::abs(x))) + 1;
}

BigInt FloorDivide(const BigInt& a, const BigInt& b) {
  BigInt quotient, remainder;
  mp::divide_qr(a, b, quotient, remainder);
  if (!remainder.is_zero() && (remainder < 0) != (b < 0)) --quotient;
  return quotient;
}

BigInt PowerOfTen(int n) { return mp::pow(BigInt(10), static_cast<unsigned>(n)); }

BigInt RoundedQuotient(const BigInt& n, const BigInt& d) {
  BigInt quotient = FloorDivide(n, d);
  const BigInt twice = (n - quotient * d) * 2;
  if (twice > d || (twice == d && mp::bit_test(mp::abs(quotient), 0))) ++quotient;
  return quotient;
}

double RatioToDouble(const BigInt& n, const BigInt& d) {
  const bool negative = (n < 0) != (d < 0);
  if (n.is_zero()) return negative ? -0.0 : 0.0;
  BigInt a = mp::abs(n), b = mp::abs(d);
  // A quotient of 62 or 63 bits, its last bit set if anything was left over.
  const auto size = [](const BigInt& x) { return static_cast<std::int64_t>(BitLength(x)); };
  const std::int64_t shift = 62 - (size(a) - size(b));
  if (shift > 0) {
    a <<= shift;
  } else {
    b <<= -shift;
  }
  BigInt quotient, remainder;
  mp::divide_qr(a, b, quotient, remainder);
  auto bits = static_cast<std::uint64_t>(quotient);
  if (!remainder.is_zero()) bits |= 1;

  const std::int64_t length = size(quotient);
  // Subnormals have fewer than 53 bits: the last one is worth 2^-1074.
  const std::int64_t keep = std::min<std::int64_t>(53, length - shift + 1074);
  const std::int64_t drop = length - keep;
  double value = 0.0;
  if (keep >= 0 && drop < 64) {
    const std::uint64_t half = std::uint64_t{1} << (drop - 1);
    const std::uint64_t rest = bits & (2 * half - 1);
    std::uint64_t mantissa = bits >> drop;
    if (rest > half || (rest == half && (mantissa & 1) != 0)) ++mantissa;
    const auto exponent = std::clamp<std::int64_t>(drop - shift, -5000, 5000);
    value = std::ldexp(static_cast<double>(mantissa), static_cast<int>(exponent));
  }
  return negative ? -value : value;
}

double ToDouble(const Rational& x) { return RatioToDouble(mp::numerator(x), mp::denominator(x)); }

Rational ExactValue(double x) {
  int exponent = 0;
  const double fraction = std::frexp(x, &exponent);
  BigInt mantissa = static_cast<std::int64_t>(std::ldexp(fraction, 53));
  exponent -= 53;
  if (exponent >= 0) return Rational(mantissa << exponent);
  return Rational(mantissa, BigInt(1) << -exponent);
}

BigInt Truncate(double x) {
  if (std::fabs(x) < 0x1p62) return static_cast<std::int64_t>(x);
  return mp::numerator(ExactValue(x));  // so large a double is an integer
}

std::string Digits(const BigInt& x) {
  // Nineteen at a time, from the last ones.
  constexpr std::uint64_t kChunk = 10'000'000'000'000'000'000u;
  BigInt rest = mp::abs(x), chunk;
  std::string reversed;
  do {
    mp::divide_qr(BigInt(rest), BigInt(kChunk), rest, chunk);
    auto value = static_cast<std::uint64_t>(chunk);
    for (int i = 0; i < 19 && (value != 0 || !rest.is_zero()); ++i, value /= 10) {
      reversed.push_back(static_cast<char>('0' + value % 10));
    }
  } while (!rest.is_zero());
  if (reversed.empty()) reversed.push_back('0');
  if (x < 0) reversed.push_back('-');
  std::reverse(reversed.begin(), reversed.end());
  return reversed;
}

std::string PythonRepr(double x) {
  char buffer[40];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, x, std::chars_format::scientific);
  std::string_view text(buffer, static_cast<std::size_t>(end.ptr - buffer));
  std::string out;
  if (text.front() == '-') {
    out = "-";
    text.remove_prefix(1);
  }
  const std::size_t e = text.find('e');
  std::string digits(1, text[0]);
  if (e > 2) digits += text.substr(2, e - 2);
  const std::string_view power = text.substr(e + (text[e + 1] == '+' ? 2 : 1));
  int exponent = 0;
  std::from_chars(power.data(), power.data() + power.size(), exponent);
  const auto count = static_cast<int>(digits.size());

  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (count > 1) out += "." + digits.substr(1);
    out += exponent < 0 ? "e-" : "e+";
    if (std::abs(exponent) < 10) out += "0";
    return out + std::to_string(std::abs(exponent));
  }
  if (exponent < 0)
    return out + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return out + digits + std::string(whole - digits.size(), '0') + ".0";
  return out + digits.substr(0, whole) + "." + digits.substr(whole);
}

}  // namespace mossrt::runtime
