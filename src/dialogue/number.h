// Python's numbers: exact integers and doubles, and what its operators make of them. What has no
// finite real value is an error; so is what would take long.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "absl/status/statusor.h"
#include "dialogue/exact.h"

namespace mossrt::runtime {

using Number = std::variant<BigInt, double>;

inline bool IsInteger(const Number& x) { return std::holds_alternative<BigInt>(x); }

// Exact, also between an integer and a double: negative, 0 or positive.
int CompareNumbers(const Number& a, const Number& b);

// One evaluation: its operations share one allowance of work, some tenths of a second.
class Arithmetic {
 public:
  using Result = absl::StatusOr<Number>;

  static constexpr std::size_t kMaxBits = 65536;   // of an integer on the way: 19728 digits
  static constexpr std::size_t kMaxDigits = 4300;  // of a result, as Python's str()

  Result Add(const Number& a, const Number& b);
  Result Subtract(const Number& a, const Number& b);
  Result Multiply(const Number& a, const Number& b);
  Result Divide(const Number& a, const Number& b);       // a / b
  Result FloorDivide(const Number& a, const Number& b);  // a // b
  Result Modulo(const Number& a, const Number& b);       // a % b, its sign is that of b
  Result Power(const Number& a, const Number& b);
  Result Negate(const Number& a);

  // As float(x): an error if no double is large enough.
  absl::StatusOr<double> Float(const Number& x);
  // A double that a function gave, unless it is infinite or no number.
  static Result Finite(double value, const char* what);
  // The integer, unless it has too many bits.
  static Result Bounded(BigInt value);
  // For operations on integers of so many 64-bit words.
  absl::Status Spend(std::uint64_t products);
  // The same before an operation whose cost is the product of the sizes.
  absl::Status Spend(const BigInt& a, const BigInt& b);

  // As repr(x).
  static absl::StatusOr<std::string> Repr(const Number& x);

 private:
  template <typename Integers, typename Floats>
  Result Apply(const Number& a, const Number& b, Integers integers, Floats floats);
  Result IntegerPower(const BigInt& base, const BigInt& exponent);
  static Result FloatPower(double base, double exponent);

  std::uint64_t work_left_ = std::uint64_t{1} << 27;
};

}  // namespace mossrt::runtime
