// Equations as people type them, as polynomials that must be zero.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "dialogue/polynomial.h"

namespace mossrt::runtime {

struct EquationSystem {
  std::vector<std::string> unknowns;  // by their numbers in the polynomials; in order of the bytes
  std::vector<Polynomial> equations;  // each is 0
  std::vector<Polynomial> nonzero;    // what the equations divide by
  bool decimal = false;               // a number with a point occurs: so have the answers
};

// Errors: InvalidArgument for what is no equation, Unimplemented for what is none of polynomials.
absl::StatusOr<EquationSystem> ParseEquations(std::string_view text);

}  // namespace mossrt::runtime
