// All complex roots of a polynomial in one unknown: fractions and square roots exactly, others to
// the nearest double.
#pragma once

#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "dialogue/exact.h"

namespace mossrt::runtime {

// Coefficients from the constant one up; the last is not 0, and they have no common factor.
using IntegerPolynomial = std::vector<BigInt>;

// Divided by the common factor of its coefficients; leading zeros are dropped.
IntegerPolynomial Primitive(IntegerPolynomial p);
// Unimplemented for what is too large for the functions below to end soon.
absl::Status CheckSize(const IntegerPolynomial& p);
// The greatest common divisor, primitive; {1} if it is a constant. Not both may be empty.
IntegerPolynomial CommonDivisor(IntegerPolynomial a, IntegerPolynomial b);
// a / b where b divides a; both primitive.
bool DivideExactly(const IntegerPolynomial& a, const IntegerPolynomial& b, IntegerPolynomial* out);

// rational + factor * sqrt(radicand), times I in the second term where it is imaginary. The
// radicand is positive and free of small squares; factor is 0 for a fraction.
struct Surd {
  Rational rational;
  Rational factor;
  BigInt radicand = 1;
  bool imaginary = false;
};
struct Approximate {
  double real = 0.0, imaginary = 0.0;
};
using Root = std::variant<Surd, Approximate>;

// Each root once: real ones in order, then the others by real part, -I before I. Unimplemented if
// the polynomial is too large to be sure of its roots.
absl::StatusOr<std::vector<Root>> FindRoots(const IntegerPolynomial& polynomial);

// The value of a root to the nearest doubles.
Approximate Approximation(const Root& root);

}  // namespace mossrt::runtime
