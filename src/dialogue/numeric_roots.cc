#include "dialogue/numeric_roots.h"

#include <cmath>
#include <numbers>

namespace mossrt::runtime {
namespace mp = boost::multiprecision;
namespace {

constexpr int kRounds = 200;  // a few dozen are the rule

// log2 of |x|, also beyond the range of doubles.
double Log2(const BigInt& x) {
  const std::size_t bits = BitLength(x);
  return std::log2(std::fabs(RatioToDouble(x, BigInt(1) << bits))) + static_cast<double>(bits);
}

// Starts on circles whose radii the sizes of the coefficients tell: the slopes of the upper hull
// of the points (i, log |a_i|), after Bini.
std::vector<BigComplex> Starts(const IntegerPolynomial& p) {
  std::vector<std::size_t> hull;
  const auto slope = [&](std::size_t i, std::size_t k) {
    return (Log2(p[k]) - Log2(p[i])) / static_cast<double>(k - i);
  };
  for (std::size_t i = 0; i < p.size(); ++i) {
    if (p[i].is_zero()) continue;
    while (hull.size() >= 2 && slope(hull[hull.size() - 2], hull.back()) <= slope(hull.back(), i)) {
      hull.pop_back();
    }
    hull.push_back(i);
  }
  std::vector<BigComplex> starts;
  for (std::size_t h = 1; h < hull.size(); ++h) {
    const std::size_t count = hull[h] - hull[h - 1];
    const double exponent = -slope(hull[h - 1], hull[h]);
    const BigFloat radius = mp::ldexp(BigFloat(std::exp2(exponent - std::floor(exponent))),
                                      static_cast<int>(std::floor(exponent)));
    for (std::size_t i = 0; i < count; ++i) {
      // Turned by an angle that no symmetry of the roots shares.
      const double angle =
          2 * std::numbers::pi * static_cast<double>(i) / static_cast<double>(count) + 0.7 +
          static_cast<double>(h);
      starts.push_back({radius * std::cos(angle), radius * std::sin(angle)});
    }
  }
  return starts;
}

}  // namespace

std::vector<BigComplex> NumericRoots(const IntegerPolynomial& polynomial) {
  std::vector<BigFloat> coefficients;
  for (const BigInt& c : polynomial) coefficients.emplace_back(c);
  std::vector<BigComplex> z = Starts(polynomial);
  const BigFloat settled = mp::ldexp(BigFloat(1), -400);  // of a squared relative step: 60 digits
  // Aberth's iteration: Newton's step, with the other roots divided out.
  for (int round = 0; round < kRounds; ++round) {
    bool moving = false;
    for (std::size_t i = 0; i < z.size(); ++i) {
      BigComplex value = {0, 0}, slope = {0, 0};
      for (std::size_t k = coefficients.size(); k-- > 0;) {
        slope = slope * z[i] + value;
        value = value * z[i] + BigComplex{coefficients[k], 0};
      }
      if (Norm(value).is_zero()) continue;
      BigComplex denominator = slope / value;
      for (std::size_t j = 0; j < z.size(); ++j) {
        const BigComplex gap = z[i] - z[j];
        if (j != i && !Norm(gap).is_zero()) denominator = denominator - BigComplex{1, 0} / gap;
      }
      if (Norm(denominator).is_zero()) return {};
      const BigComplex step = BigComplex{1, 0} / denominator;
      z[i] = z[i] - step;
      if (Norm(step) > Norm(z[i]) * settled) moving = true;
    }
    if (!moving) return z;
  }
  return {};
}

}  // namespace mossrt::runtime
