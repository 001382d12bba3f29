// Linear equations, exactly.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "dialogue/polynomial.h"

namespace mossrt::runtime {

// The one solution. InvalidArgument if there is none, Unimplemented if there are many.
absl::StatusOr<std::vector<Rational>> SolveLinear(const std::vector<Polynomial>& equations,
                                                  std::size_t unknowns);

}  // namespace mossrt::runtime
