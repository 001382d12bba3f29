#include "dialogue/equation_solver.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/float_mode.h"
#include "base/status.h"
#include "dialogue/equation_parser.h"
#include "dialogue/linear_system.h"
#include "dialogue/roots.h"
#include "dialogue/sympy_text.h"

namespace mossrt::runtime {
namespace mp = boost::multiprecision;
namespace {

absl::Status NoSolution() { return absl::InvalidArgumentError("the equations have no solution"); }

// A polynomial in the only unknown with integers as coefficients.
absl::StatusOr<IntegerPolynomial> ToIntegers(const Polynomial& p) {
  BigInt common = 1;
  for (const auto& [monomial, coefficient] : p.terms()) {
    common = mp::lcm(common, mp::denominator(coefficient));
    if (BitLength(common) > 2 * Polynomial::kMaxBits) {
      return absl::UnimplementedError(
          "the coefficients of an equation have too long a common denominator for the solver");
    }
  }
  IntegerPolynomial out(static_cast<std::size_t>(p.Degree()) + 1);
  for (const auto& [monomial, coefficient] : p.terms()) {
    out[monomial.empty() ? 0 : monomial[0]] =
        mp::numerator(coefficient) * (common / mp::denominator(coefficient));
  }
  out = Primitive(std::move(out));
  MOSSRT_RETURN_IF_ERROR(CheckSize(out));
  return out;
}

absl::StatusOr<std::string> SolvePolynomial(const EquationSystem& system) {
  IntegerPolynomial p;
  for (const Polynomial& equation : system.equations) {
    MOSSRT_ASSIGN_OR_RETURN(IntegerPolynomial next, ToIntegers(equation));
    p = CommonDivisor(std::move(p), std::move(next));
  }
  for (const Polynomial& divisor : system.nonzero) {
    MOSSRT_ASSIGN_OR_RETURN(const IntegerPolynomial zeros, ToIntegers(divisor));
    IntegerPolynomial common, rest;
    while ((common = CommonDivisor(p, zeros)).size() > 1) {
      if (!DivideExactly(p, common, &rest)) {
        return absl::InternalError("a polynomial is not divisible by a divisor of its own");
      }
      p = std::move(rest);
    }
  }
  if (p.size() <= 1) return NoSolution();
  MOSSRT_ASSIGN_OR_RETURN(const std::vector<Root> roots, FindRoots(p));
  std::string out;
  for (std::size_t i = 0; i < roots.size(); ++i) {
    if (i > 0) out += '\n';
    out += system.unknowns[0];
    if (roots.size() > 1) out += Cat("_", i);
    out += " = ";
    const Surd* surd = system.decimal ? nullptr : std::get_if<Surd>(&roots[i]);
    out += surd != nullptr ? SympyText(*surd) : SympyText(Approximation(roots[i]));
  }
  return out;
}

absl::StatusOr<std::string> SolveSystem(const EquationSystem& system) {
  const std::size_t unknowns = system.unknowns.size();
  MOSSRT_ASSIGN_OR_RETURN(const std::vector<Rational> values,
                          SolveLinear(system.equations, unknowns));
  for (const Polynomial& divisor : system.nonzero) {
    MOSSRT_ASSIGN_OR_RETURN(const Rational value, divisor.At(values));
    if (value.is_zero()) return NoSolution();
  }
  std::string out;
  for (std::size_t i = 0; i < unknowns; ++i) {
    if (i > 0) out += '\n';
    out += Cat(system.unknowns[i], " = ",
               system.decimal ? SympyText(ToDouble(values[i])) : SympyText(values[i]));
  }
  return out;
}

}  // namespace

absl::StatusOr<std::string> SolveEquations(std::string_view equations) {
  const FloatMode float_mode;
  MOSSRT_ASSIGN_OR_RETURN(EquationSystem system, ParseEquations(equations));
  std::vector<Polynomial> open;  // what is not true anyway
  for (Polynomial& equation : system.equations) {
    if (equation.IsZero()) continue;
    if (equation.IsConstant()) return NoSolution();
    open.push_back(std::move(equation));
  }
  system.equations = std::move(open);
  if (system.equations.empty()) {
    return absl::InvalidArgumentError("the equations are true whatever their unknowns are");
  }
  const bool linear = std::all_of(system.equations.begin(), system.equations.end(),
                                  [](const Polynomial& p) { return p.Degree() == 1; });
  if (system.unknowns.size() == 1) return SolvePolynomial(system);
  if (linear) return SolveSystem(system);
  return absl::UnimplementedError(
      Cat("the solver knows linear systems and polynomials in one unknown; these equations have ",
          system.unknowns.size(), " unknowns and are not linear"));
}

}  // namespace mossrt::runtime
