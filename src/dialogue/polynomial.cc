#include "dialogue/polynomial.h"

#include <algorithm>
#include <numeric>

#include "base/status.h"

namespace mossrt::runtime {
namespace mp = boost::multiprecision;
namespace {

absl::Status TooLarge(std::string_view what) {
  return absl::UnimplementedError(
      Cat("the equations are too large for the solver: ", what, "; simplify them"));
}

std::size_t Bits(const Rational& x) {
  return BitLength(mp::numerator(x)) + BitLength(mp::denominator(x));
}

std::size_t LongestBits(const Polynomial& p) {
  std::size_t longest = 0;
  for (const auto& [monomial, coefficient] : p.terms()) {
    longest = std::max(longest, Bits(coefficient));
  }
  return longest;
}

int DegreeOf(const Monomial& m) { return std::accumulate(m.begin(), m.end(), 0); }

absl::Status CheckSize(const Polynomial& p) {
  if (p.terms().size() > Polynomial::kMaxTerms) {
    return TooLarge(Cat("more than ", Polynomial::kMaxTerms, " terms"));
  }
  if (p.Degree() > Polynomial::kMaxDegree) {
    return TooLarge(Cat("a degree above ", Polynomial::kMaxDegree));
  }
  if (LongestBits(p) > Polynomial::kMaxBits) {
    return TooLarge(Cat("a coefficient of more than ", Polynomial::kMaxBits, " bits"));
  }
  return absl::OkStatus();
}

}  // namespace

Polynomial::Polynomial(const Rational& constant) {
  if (!constant.is_zero()) terms_[{}] = constant;
}

Polynomial Polynomial::Unknown(std::size_t number) {
  Polynomial p;
  Monomial m(number + 1, 0);
  m.back() = 1;
  p.terms_[std::move(m)] = 1;
  return p;
}

Rational Polynomial::Constant() const {
  const auto it = terms_.find({});
  return it == terms_.end() ? Rational(0) : it->second;
}

int Polynomial::Degree() const {
  int degree = 0;
  for (const auto& [monomial, coefficient] : terms_) degree = std::max(degree, DegreeOf(monomial));
  return degree;
}

std::uint64_t Polynomial::Unknowns() const {
  std::uint64_t found = 0;
  for (const auto& [monomial, coefficient] : terms_) {
    for (std::size_t i = 0; i < monomial.size(); ++i) {
      if (monomial[i] != 0) found |= std::uint64_t{1} << i;
    }
  }
  return found;
}

absl::StatusOr<Rational> Polynomial::At(const std::vector<Rational>& values) const {
  Rational sum = 0;
  for (const auto& [monomial, coefficient] : terms_) {
    Rational product = coefficient;
    for (std::size_t i = 0; i < monomial.size(); ++i) {
      for (int power = 0; power < monomial[i]; ++power) {
        product *= values[i];
        if (Bits(product) > 2 * kMaxBits) return TooLarge("the value of a denominator");
      }
    }
    sum += product;
  }
  return sum;
}

absl::Status PolynomialWork::Spend(std::size_t operations, const Polynomial& a,
                                   const Polynomial& b) {
  const std::size_t cost = operations * (1 + LongestBits(a) * LongestBits(b) / 4096);
  if (cost > work_left_) return TooLarge("too many products");
  work_left_ -= cost;
  return absl::OkStatus();
}

PolynomialWork::Result PolynomialWork::Sum(const Polynomial& a, const Polynomial& b, int sign) {
  MOSSRT_RETURN_IF_ERROR(Spend(a.terms_.size() + b.terms_.size(), a, b));
  Polynomial out = a;
  for (const auto& [monomial, coefficient] : b.terms_) {
    Rational& sum = out.terms_[monomial];
    if (sign > 0) {
      sum += coefficient;
    } else {
      sum -= coefficient;
    }
    if (sum.is_zero()) out.terms_.erase(monomial);
  }
  MOSSRT_RETURN_IF_ERROR(CheckSize(out));
  return out;
}

PolynomialWork::Result PolynomialWork::Add(const Polynomial& a, const Polynomial& b) {
  return Sum(a, b, 1);
}

PolynomialWork::Result PolynomialWork::Subtract(const Polynomial& a, const Polynomial& b) {
  return Sum(a, b, -1);
}

PolynomialWork::Result PolynomialWork::Multiply(const Polynomial& a, const Polynomial& b) {
  MOSSRT_RETURN_IF_ERROR(Spend(a.terms_.size() * b.terms_.size(), a, b));
  if (a.Degree() + b.Degree() > Polynomial::kMaxDegree) {
    return TooLarge(Cat("a degree above ", Polynomial::kMaxDegree));
  }
  Polynomial out;
  for (const auto& [m, x] : a.terms_) {
    for (const auto& [n, y] : b.terms_) {
      Monomial product = m.size() > n.size() ? m : n;
      const Monomial& other = m.size() > n.size() ? n : m;
      std::transform(other.begin(), other.end(), product.begin(), product.begin(),
                     [](int p, int q) { return static_cast<std::uint16_t>(p + q); });
      Rational& sum = out.terms_[product];
      sum += x * y;
      if (sum.is_zero()) out.terms_.erase(product);
    }
  }
  MOSSRT_RETURN_IF_ERROR(CheckSize(out));
  return out;
}

PolynomialWork::Result PolynomialWork::Power(const Polynomial& base, unsigned exponent) {
  Polynomial out(Rational(1)), square = base;
  while (true) {
    if ((exponent & 1) != 0) {
      MOSSRT_ASSIGN_OR_RETURN(out, Multiply(out, square));
    }
    exponent >>= 1;
    if (exponent == 0) return out;
    MOSSRT_ASSIGN_OR_RETURN(square, Multiply(square, square));
  }
}

}  // namespace mossrt::runtime
