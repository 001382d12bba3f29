#include "dialogue/functions.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/status.h"

namespace mossrt::runtime {
namespace mp = boost::multiprecision;
namespace {

using Result = Arithmetic::Result;
using Arguments = std::span<const Number>;
using Unary = double (*)(double);

absl::Status Needs(const char* name, const char* what) {
  return absl::InvalidArgumentError(Cat(name, " needs ", what));
}

// The integer of an argument.
absl::StatusOr<BigInt> Whole(const Number& x, const char* name) {
  if (!IsInteger(x)) return Needs(name, "whole numbers (3, not 3.0)");
  return std::get<BigInt>(x);
}
absl::StatusOr<BigInt> Natural(const Number& x, const char* name) {
  MOSSRT_ASSIGN_OR_RETURN(BigInt value, Whole(x, name));
  if (value < 0) return Needs(name, "numbers that are not negative");
  return value;
}

// A function of one double, from the C library as Python's are.
template <Unary kFunction>
Result OfFloat(Arithmetic& arithmetic, Arguments x) {
  MOSSRT_ASSIGN_OR_RETURN(const double value, arithmetic.Float(x[0]));
  return Arithmetic::Finite(kFunction(value), "the function");
}

template <double (*kFunction)(double, double)>
Result OfFloats(Arithmetic& arithmetic, Arguments x) {
  MOSSRT_ASSIGN_OR_RETURN(const double a, arithmetic.Float(x[0]));
  MOSSRT_ASSIGN_OR_RETURN(const double b, arithmetic.Float(x[1]));
  return Arithmetic::Finite(kFunction(a, b), "the function");
}

// A logarithm, also of integers beyond the range of doubles.
absl::StatusOr<double> Logarithm(Unary log, const Number& x) {
  if (CompareNumbers(x, BigInt(0)) <= 0) return Needs("a logarithm", "a positive number");
  if (!IsInteger(x)) return log(std::get<double>(x));
  const auto& value = std::get<BigInt>(x);
  const double nearest = ToDouble(value);
  if (std::isfinite(nearest)) return log(nearest);
  auto exponent = static_cast<unsigned>(BitLength(value));
  double mantissa = RatioToDouble(value, BigInt(1) << exponent);
  if (mantissa == 1.0) {
    mantissa = 0.5;
    ++exponent;
  }
  return log(mantissa) + log(2.0) * exponent;
}

template <Unary kLog>
Result Log(Arithmetic& arithmetic, Arguments x) {
  MOSSRT_ASSIGN_OR_RETURN(const double value, Logarithm(kLog, x[0]));
  if (x.size() == 1) return value;
  MOSSRT_ASSIGN_OR_RETURN(const double base, Logarithm(kLog, x[1]));
  return arithmetic.Divide(value, base);
}

Result Abs(Arithmetic&, Arguments x) {
  if (IsInteger(x[0])) return Number(BigInt(mp::abs(std::get<BigInt>(x[0]))));
  return std::fabs(std::get<double>(x[0]));
}

template <Unary kRound>
Result ToInteger(Arithmetic&, Arguments x) {
  if (IsInteger(x[0])) return x[0];
  return Number(Truncate(kRound(std::get<double>(x[0]))));
}

Result ToFloat(Arithmetic& arithmetic, Arguments x) { return arithmetic.Float(x[0]); }

Result Round(Arithmetic& arithmetic, Arguments x) {
  int digits = 0;
  if (x.size() == 2) {
    MOSSRT_ASSIGN_OR_RETURN(const BigInt wanted, Whole(x[1], "round"));
    constexpr int kMost = static_cast<int>(Arithmetic::kMaxBits);
    digits = static_cast<int>(std::clamp<BigInt>(wanted, -kMost, kMost));
  }
  if (const auto* whole = std::get_if<BigInt>(&x[0])) {
    if (digits >= 0) return x[0];
    if (static_cast<std::size_t>(-digits) > BitLength(*whole)) return Number(BigInt(0));
    const BigInt unit = PowerOfTen(-digits);
    MOSSRT_RETURN_IF_ERROR(arithmetic.Spend(*whole, unit));
    return Number(BigInt(RoundedQuotient(*whole, unit) * unit));
  }
  const double value = std::get<double>(x[0]);
  // No double has digits beyond these.
  if (digits > 323) return value;
  if (digits < -308) return 0.0 * value;
  const Rational exact = ExactValue(value);
  const BigInt scale = PowerOfTen(std::abs(digits));
  const BigInt rounded =
      digits >= 0 ? RoundedQuotient(mp::numerator(exact) * scale, mp::denominator(exact))
                  : RoundedQuotient(mp::numerator(exact), mp::denominator(exact) * scale);
  if (x.size() == 1) return Number(rounded);
  const double result =
      digits >= 0 ? RatioToDouble(rounded, scale) : ToDouble(BigInt(rounded * scale));
  return Arithmetic::Finite(std::copysign(result, value), "round");
}

Result Pow(Arithmetic& arithmetic, Arguments x) {
  if (x.size() == 2) return arithmetic.Power(x[0], x[1]);
  MOSSRT_ASSIGN_OR_RETURN(const BigInt base, Whole(x[0], "pow with a modulus"));
  MOSSRT_ASSIGN_OR_RETURN(const BigInt exponent, Natural(x[1], "pow with a modulus"));
  MOSSRT_ASSIGN_OR_RETURN(const BigInt modulus, Whole(x[2], "pow with a modulus"));
  if (modulus.is_zero()) return Needs("pow", "a modulus that is not 0");
  const std::uint64_t words = (BitLength(modulus) + BitLength(base)) / 64 + 1;
  MOSSRT_RETURN_IF_ERROR(arithmetic.Spend(4 * words * words * (BitLength(exponent) + 1)));
  const BigInt size = mp::abs(modulus);
  const BigInt residue = base - FloorDivide(base, size) * size;
  return arithmetic.Modulo(BigInt(mp::powm(residue, exponent, size)), modulus);
}

Result FloatPow(Arithmetic& arithmetic, Arguments x) {
  MOSSRT_ASSIGN_OR_RETURN(const double base, arithmetic.Float(x[0]));
  MOSSRT_ASSIGN_OR_RETURN(const double exponent, arithmetic.Float(x[1]));
  return arithmetic.Power(base, exponent);
}

// n (n - 1) ... (n - k + 1), divided by k! where asked.
Result FallingProduct(Arithmetic& arithmetic, const BigInt& n, const BigInt& k, bool divide) {
  BigInt product = 1;
  for (BigInt i = 0; i < k; ++i) {
    const BigInt factor = n - i;
    MOSSRT_RETURN_IF_ERROR(arithmetic.Spend(product, factor));
    product *= factor;
    if (divide) product /= i + 1;
    MOSSRT_RETURN_IF_ERROR(Arithmetic::Bounded(product).status());
  }
  return Number(product);
}

Result Factorial(Arithmetic& arithmetic, Arguments x) {
  MOSSRT_ASSIGN_OR_RETURN(const BigInt n, Natural(x[0], "factorial"));
  return FallingProduct(arithmetic, n, n, false);
}

Result Perm(Arithmetic& arithmetic, Arguments x) {
  if (x.size() == 1) return Factorial(arithmetic, x);
  MOSSRT_ASSIGN_OR_RETURN(const BigInt n, Natural(x[0], "perm"));
  MOSSRT_ASSIGN_OR_RETURN(const BigInt k, Natural(x[1], "perm"));
  if (k > n) return Number(BigInt(0));
  return FallingProduct(arithmetic, n, k, false);
}

Result Comb(Arithmetic& arithmetic, Arguments x) {
  MOSSRT_ASSIGN_OR_RETURN(const BigInt n, Natural(x[0], "comb"));
  MOSSRT_ASSIGN_OR_RETURN(const BigInt k, Natural(x[1], "comb"));
  if (k > n) return Number(BigInt(0));
  return FallingProduct(arithmetic, n, std::min<BigInt>(k, n - k), true);
}

Result Gcd(Arithmetic& arithmetic, Arguments x) {
  BigInt result = 0;
  for (const Number& argument : x) {
    MOSSRT_ASSIGN_OR_RETURN(const BigInt value, Whole(argument, "gcd"));
    MOSSRT_RETURN_IF_ERROR(arithmetic.Spend(64 * (BitLength(value) + BitLength(result))));
    MOSSRT_RETURN_IF_ERROR(arithmetic.Spend(value, result));
    result = mp::gcd(result, value);
  }
  return Number(result);
}

Result Lcm(Arithmetic& arithmetic, Arguments x) {
  BigInt result = 1;
  for (const Number& argument : x) {
    MOSSRT_ASSIGN_OR_RETURN(const BigInt value, Whole(argument, "lcm"));
    if (value.is_zero() || result.is_zero()) {
      result = 0;  // the arguments that follow must be integers all the same
      continue;
    }
    MOSSRT_RETURN_IF_ERROR(arithmetic.Spend(64 * (BitLength(value) + BitLength(result))));
    MOSSRT_RETURN_IF_ERROR(arithmetic.Spend(value, result));
    result = mp::abs(BigInt(result / mp::gcd(result, value) * value));
    MOSSRT_RETURN_IF_ERROR(Arithmetic::Bounded(result).status());
  }
  return Number(result);
}

Result Isqrt(Arithmetic& arithmetic, Arguments x) {
  MOSSRT_ASSIGN_OR_RETURN(const BigInt n, Natural(x[0], "isqrt"));
  MOSSRT_RETURN_IF_ERROR(arithmetic.Spend(BitLength(n) * (BitLength(n) / 64 + 1)));
  return Number(BigInt(mp::sqrt(n)));
}

Result Sum(Arithmetic& arithmetic, Arguments x) {
  Number sum = BigInt(0);
  for (const Number& argument : x) {
    MOSSRT_ASSIGN_OR_RETURN(sum, arithmetic.Add(sum, argument));
  }
  return sum;
}

template <int kSign>  // 1: the largest, -1: the smallest; of equal ones the first
Result Extreme(Arithmetic& arithmetic, Arguments x) {
  const Number* best = &x[0];
  for (const Number& argument : x.subspan(1)) {
    MOSSRT_RETURN_IF_ERROR(arithmetic.Spend(1024));
    if (CompareNumbers(argument, *best) * kSign > 0) best = &argument;
  }
  return *best;
}

double Degrees(double x) { return x * (180.0 / std::numbers::pi); }
double Radians(double x) { return x * (std::numbers::pi / 180.0); }
double Identity(double x) { return x; }

constexpr std::size_t kAny = 1000;
constexpr MathFunction kFunctions[] = {
    {"abs", 1, 1, Abs},
    {"acos", 1, 1, OfFloat<std::acos>},
    {"acosh", 1, 1, OfFloat<std::acosh>},
    {"arccos", 1, 1, OfFloat<std::acos>},
    {"arcsin", 1, 1, OfFloat<std::asin>},
    {"arctan", 1, 1, OfFloat<std::atan>},
    {"asin", 1, 1, OfFloat<std::asin>},
    {"asinh", 1, 1, OfFloat<std::asinh>},
    {"atan", 1, 1, OfFloat<std::atan>},
    {"atan2", 2, 2, OfFloats<std::atan2>},
    {"atanh", 1, 1, OfFloat<std::atanh>},
    {"cbrt", 1, 1, OfFloat<std::cbrt>},
    {"ceil", 1, 1, ToInteger<std::ceil>},
    {"comb", 2, 2, Comb},
    {"cos", 1, 1, OfFloat<std::cos>},
    {"cosh", 1, 1, OfFloat<std::cosh>},
    {"degrees", 1, 1, OfFloat<Degrees>},
    {"exp", 1, 1, OfFloat<std::exp>},
    {"exp2", 1, 1, OfFloat<std::exp2>},
    {"expm1", 1, 1, OfFloat<std::expm1>},
    {"fabs", 1, 1, OfFloat<std::fabs>},
    {"factorial", 1, 1, Factorial},
    {"float", 1, 1, ToFloat},
    {"floor", 1, 1, ToInteger<std::floor>},
    {"fmod", 2, 2, OfFloats<std::fmod>},
    {"gcd", 1, kAny, Gcd},
    {"hypot", 2, 2, OfFloats<std::hypot>},
    {"int", 1, 1, ToInteger<Identity>},
    {"isqrt", 1, 1, Isqrt},
    {"lcm", 1, kAny, Lcm},
    {"lg", 1, 1, Log<std::log10>},
    {"ln", 1, 1, Log<std::log>},
    {"log", 1, 2, Log<std::log>},
    {"log10", 1, 1, Log<std::log10>},
    {"log1p", 1, 1, OfFloat<std::log1p>},
    {"log2", 1, 1, Log<std::log2>},
    {"math.pow", 2, 2, FloatPow},
    {"max", 1, kAny, Extreme<1>},
    {"min", 1, kAny, Extreme<-1>},
    {"perm", 1, 2, Perm},
    {"pow", 2, 3, Pow},
    {"radians", 1, 1, OfFloat<Radians>},
    {"round", 1, 2, Round},
    {"sin", 1, 1, OfFloat<std::sin>},
    {"sinh", 1, 1, OfFloat<std::sinh>},
    {"sqrt", 1, 1, OfFloat<std::sqrt>},
    {"sum", 1, kAny, Sum},
    {"tan", 1, 1, OfFloat<std::tan>},
    {"tanh", 1, 1, OfFloat<std::tanh>},
    {"trunc", 1, 1, ToInteger<Identity>},
};

struct Constant {
  std::string_view name;
  double value;
};
constexpr Constant kConstants[] = {
    {"e", std::numbers::e}, {"pi", std::numbers::pi}, {"tau", 2 * std::numbers::pi}};

}  // namespace

const MathFunction* FindMathFunction(std::string_view name) {
  const auto* found = std::find_if(std::begin(kFunctions), std::end(kFunctions),
                                   [name](const MathFunction& f) { return f.name == name; });
  return found == std::end(kFunctions) ? nullptr : found;
}

const double* FindMathConstant(std::string_view name) {
  const auto* found = std::find_if(std::begin(kConstants), std::end(kConstants),
                                   [name](const Constant& c) { return c.name == name; });
  return found == std::end(kConstants) ? nullptr : &found->value;
}

}  // namespace mossrt::runtime
