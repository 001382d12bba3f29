// Polynomials in several unknowns with fractions as coefficients, small ones: what is larger than
// anybody types is refused.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "absl/status/statusor.h"
#include "dialogue/exact.h"

namespace mossrt::runtime {

// Powers of the unknowns, by their numbers; no trailing zeros.
using Monomial = std::vector<std::uint16_t>;

class Polynomial {
 public:
  static constexpr int kMaxDegree = 60;
  static constexpr std::size_t kMaxTerms = 500;
  static constexpr std::size_t kMaxBits = 4096;  // of a coefficient's halves together

  Polynomial() = default;  // 0
  explicit Polynomial(const Rational& constant);
  static Polynomial Unknown(std::size_t number);

  const std::map<Monomial, Rational>& terms() const { return terms_; }
  bool IsZero() const { return terms_.empty(); }
  bool IsConstant() const { return terms_.empty() || (terms_.size() == 1 && Degree() == 0); }
  Rational Constant() const;  // of the term without unknowns
  int Degree() const;
  // Bit i: unknown i occurs.
  std::uint64_t Unknowns() const;

  bool operator==(const Polynomial& other) const { return terms_ == other.terms_; }

  // Every unknown gets a value.
  absl::StatusOr<Rational> At(const std::vector<Rational>& values) const;

 private:
  friend class PolynomialWork;
  std::map<Monomial, Rational> terms_;
};

// Arithmetic with one allowance of work. Errors are Unimplemented: valid, but too large.
class PolynomialWork {
 public:
  using Result = absl::StatusOr<Polynomial>;
  Result Add(const Polynomial& a, const Polynomial& b);
  Result Subtract(const Polynomial& a, const Polynomial& b);
  Result Multiply(const Polynomial& a, const Polynomial& b);
  Result Power(const Polynomial& base, unsigned exponent);

 private:
  Result Sum(const Polynomial& a, const Polynomial& b, int sign);
  // Before so many operations on coefficients of these polynomials.
  absl::Status Spend(std::size_t operations, const Polynomial& a, const Polynomial& b);

  std::size_t work_left_ = 500'000;  // on short coefficients about a microsecond each
};

}  // namespace mossrt::runtime
