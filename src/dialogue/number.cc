#include "dialogue/number.h"

#include <cmath>

#include "base/status.h"

namespace mossrt::runtime {
namespace mp = boost::multiprecision;
namespace {

absl::Status DivisionByZero() { return absl::InvalidArgumentError("division by zero"); }

absl::Status TooLarge() {
  return absl::InvalidArgumentError(
      Cat("an integer of more than ", Arithmetic::kMaxBits,
          " bits would arise; use smaller numbers, or write one as a decimal (2.0 in place of 2)"));
}

std::uint64_t Words(const BigInt& x) { return BitLength(x) / 64 + 1; }

// What Python's float does with both // and %.
struct Quotient {
  double floor, remainder;
};
Quotient DivideFloats(double a, double b) {
  double remainder = std::fmod(a, b);
  double quotient = (a - remainder) / b;
  if (remainder != 0.0) {
    if ((b < 0.0) != (remainder < 0.0)) {
      remainder += b;
      quotient -= 1.0;
    }
  } else {
    remainder = std::copysign(0.0, b);
  }
  if (quotient == 0.0) return {std::copysign(0.0, a / b), remainder};
  double floor = std::floor(quotient);
  if (quotient - floor > 0.5) floor += 1.0;
  return {floor, remainder};
}

}  // namespace

int CompareNumbers(const Number& a, const Number& b) {
  if (const auto* x = std::get_if<BigInt>(&a), *y = std::get_if<BigInt>(&b); x && y) {
    return x->compare(*y);
  }
  const auto exact = [](const Number& n) {
    return IsInteger(n) ? Rational(std::get<BigInt>(n)) : ExactValue(std::get<double>(n));
  };
  return exact(a).compare(exact(b));
}

absl::StatusOr<double> Arithmetic::Float(const Number& x) {
  if (const double* value = std::get_if<double>(&x)) return *value;
  const double value = ToDouble(std::get<BigInt>(x));
  if (std::isinf(value)) {
    return absl::InvalidArgumentError("an integer is too large for a decimal number (1.8e308)");
  }
  return value;
}

Arithmetic::Result Arithmetic::Finite(double value, const char* what) {
  if (std::isfinite(value)) return value;
  return absl::InvalidArgumentError(Cat("the result of ", what,
                                        std::isnan(value)
                                            ? " is not a real number"
                                            : " is too large for a decimal number (1.8e308)"));
}

Arithmetic::Result Arithmetic::Bounded(BigInt value) {
  if (BitLength(value) > kMaxBits) return TooLarge();
  return value;
}

absl::Status Arithmetic::Spend(std::uint64_t products) {
  if (products > work_left_) {
    work_left_ = 0;
    return absl::InvalidArgumentError(
        "the expression takes too long; use fewer operations on numbers of thousands of digits");
  }
  work_left_ -= products;
  return absl::OkStatus();
}

absl::Status Arithmetic::Spend(const BigInt& a, const BigInt& b) {
  return Spend(Words(a) * Words(b));
}

// Both integers, or both as doubles.
template <typename Integers, typename Floats>
Arithmetic::Result Arithmetic::Apply(const Number& a, const Number& b, Integers integers,
                                     Floats floats) {
  const auto *x = std::get_if<BigInt>(&a), *y = std::get_if<BigInt>(&b);
  if (x != nullptr && y != nullptr) {
    MOSSRT_RETURN_IF_ERROR(Spend(*x, *y));
    return integers(*x, *y);
  }
  MOSSRT_ASSIGN_OR_RETURN(const double p, Float(a));
  MOSSRT_ASSIGN_OR_RETURN(const double q, Float(b));
  return floats(p, q);
}

Arithmetic::Result Arithmetic::Add(const Number& a, const Number& b) {
  return Apply(
      a, b, [](const BigInt& x, const BigInt& y) { return Bounded(x + y); },
      [](double x, double y) { return Finite(x + y, "+"); });
}

Arithmetic::Result Arithmetic::Subtract(const Number& a, const Number& b) {
  return Apply(
      a, b, [](const BigInt& x, const BigInt& y) { return Bounded(x - y); },
      [](double x, double y) { return Finite(x - y, "-"); });
}

Arithmetic::Result Arithmetic::Multiply(const Number& a, const Number& b) {
  return Apply(
      a, b, [](const BigInt& x, const BigInt& y) { return Bounded(x * y); },
      [](double x, double y) { return Finite(x * y, "*"); });
}

Arithmetic::Result Arithmetic::Divide(const Number& a, const Number& b) {
  return Apply(
      a, b,
      [](const BigInt& x, const BigInt& y) -> Result {
        if (y.is_zero()) return DivisionByZero();
        return Finite(RatioToDouble(x, y), "/");
      },
      [](double x, double y) -> Result {
        if (y == 0.0) return DivisionByZero();
        return Finite(x / y, "/");
      });
}

Arithmetic::Result Arithmetic::FloorDivide(const Number& a, const Number& b) {
  return Apply(
      a, b,
      [](const BigInt& x, const BigInt& y) -> Result {
        if (y.is_zero()) return DivisionByZero();
        return Number(runtime::FloorDivide(x, y));
      },
      [](double x, double y) -> Result {
        if (y == 0.0) return DivisionByZero();
        return Finite(DivideFloats(x, y).floor, "//");
      });
}

Arithmetic::Result Arithmetic::Modulo(const Number& a, const Number& b) {
  return Apply(
      a, b,
      [](const BigInt& x, const BigInt& y) -> Result {
        if (y.is_zero()) return DivisionByZero();
        return Number(BigInt(x - runtime::FloorDivide(x, y) * y));
      },
      [](double x, double y) -> Result {
        if (y == 0.0) return DivisionByZero();
        return Finite(DivideFloats(x, y).remainder, "%");
      });
}

Arithmetic::Result Arithmetic::Power(const Number& a, const Number& b) {
  const auto *x = std::get_if<BigInt>(&a), *y = std::get_if<BigInt>(&b);
  if (x != nullptr && y != nullptr && *y >= 0) return IntegerPower(*x, *y);
  MOSSRT_ASSIGN_OR_RETURN(const double p, Float(a));
  MOSSRT_ASSIGN_OR_RETURN(const double q, Float(b));
  return FloatPower(p, q);
}

Arithmetic::Result Arithmetic::IntegerPower(const BigInt& base, const BigInt& exponent) {
  if (exponent.is_zero()) return Number(BigInt(1));
  if (base.is_zero() || base == 1) return base;
  if (base == -1) return Number(mp::bit_test(exponent, 0) ? base : BigInt(1));
  // |base| >= 2^(bits - 1), so the result has at least (bits - 1) * exponent + 1 bits.
  const std::size_t bits = BitLength(base);
  if (exponent > kMaxBits || (bits - 1) * static_cast<std::size_t>(exponent) > kMaxBits) {
    return TooLarge();
  }
  const std::uint64_t words = bits * static_cast<std::uint64_t>(exponent) / 64 + 1;
  MOSSRT_RETURN_IF_ERROR(Spend(words * words));
  return Bounded(mp::pow(base, static_cast<unsigned>(exponent)));
}

Arithmetic::Result Arithmetic::FloatPower(double base, double exponent) {
  if (exponent == 0.0 || base == 1.0) return 1.0;
  if (base == 0.0 && exponent < 0.0) {
    return absl::InvalidArgumentError("0 cannot be raised to a negative power");
  }
  if (base < 0.0 && exponent != std::floor(exponent)) {
    return absl::InvalidArgumentError(
        "a negative number raised to a broken power is not a real number");
  }
  return Finite(std::pow(base, exponent), "a power");
}

Arithmetic::Result Arithmetic::Negate(const Number& a) {
  if (const double* value = std::get_if<double>(&a)) return -*value;
  return Number(BigInt(-std::get<BigInt>(a)));
}

absl::StatusOr<std::string> Arithmetic::Repr(const Number& x) {
  if (const double* value = std::get_if<double>(&x)) return PythonRepr(*value);
  const BigInt& value = std::get<BigInt>(x);
  std::string digits = Digits(value);
  if (digits.size() - (value < 0 ? 1 : 0) > kMaxDigits) {
    return absl::InvalidArgumentError(
        Cat("the result has more than ", kMaxDigits, " digits; ask for a part of it"));
  }
  return digits;
}

}  // namespace mossrt::runtime
