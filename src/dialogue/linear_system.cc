#include "dialogue/linear_system.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace mossrt::runtime {
namespace mp = boost::multiprecision;
namespace {

constexpr std::size_t kMaxBits = 4096;  // of a solution, about: they grow with the unknowns

}  // namespace

absl::StatusOr<std::vector<Rational>> SolveLinear(const std::vector<Polynomial>& equations,
                                                  std::size_t unknowns) {
  // Rows [coefficients..., what they must sum up to].
  std::vector<std::vector<Rational>> rows;
  for (const Polynomial& equation : equations) {
    std::vector<Rational>& row = rows.emplace_back(unknowns + 1);
    for (const auto& [monomial, coefficient] : equation.terms()) {
      if (monomial.empty()) {
        row.back() = -coefficient;
      } else {
        row[monomial.size() - 1] = coefficient;  // its last power is 1, the others are 0
      }
    }
  }
  std::size_t bits = 0;
  for (const auto& row : rows) {
    for (const Rational& x : row) {
      bits = std::max(bits, BitLength(mp::numerator(x)) + BitLength(mp::denominator(x)));
    }
  }
  if (bits * unknowns > kMaxBits) {
    return absl::UnimplementedError(
        Cat("the solver takes linear systems whose unknowns times the bits of a coefficient are ",
            kMaxBits, " at most, found ", bits * unknowns));
  }
  std::size_t rank = 0;
  for (std::size_t column = 0; column < unknowns; ++column) {
    std::size_t pivot = rank;
    while (pivot < rows.size() && rows[pivot][column].is_zero()) ++pivot;
    if (pivot == rows.size()) continue;
    std::swap(rows[rank], rows[pivot]);
    const Rational scale = rows[rank][column];
    for (Rational& x : rows[rank]) x /= scale;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Rational factor = rows[i][column];
      if (i == rank || factor.is_zero()) continue;
      for (std::size_t k = column; k <= unknowns; ++k) rows[i][k] -= factor * rows[rank][k];
    }
    ++rank;
  }
  for (std::size_t i = rank; i < rows.size(); ++i) {
    if (!rows[i].back().is_zero()) {
      return absl::InvalidArgumentError("the equations contradict each other: no solution");
    }
  }
  if (rank < unknowns) {
    return absl::UnimplementedError(
        Cat("the equations leave some of their ", unknowns, " unknowns open; add equations"));
  }
  std::vector<Rational> solution;
  for (std::size_t i = 0; i < unknowns; ++i) solution.push_back(rows[i].back());
  return solution;
}

}  // namespace mossrt::runtime
