// Equations as MOSS's plugin Solve has them: linear systems and polynomials in one unknown, with
// answers written as SymPy prints them.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mossrt::runtime {

// "x = 160/3", one unknown a line in the order of their names; several roots are x_0, x_1, ...
// Equations are separated by ";", "," or new lines; "2x(y + 1)" is a product; a part without "=" is
// 0. Ends within seconds whatever the text is.
// InvalidArgument: no equations, or no solution. Unimplemented: equations that have some, but of
// another kind or size.
absl::StatusOr<std::string> SolveEquations(std::string_view equations);

}  // namespace mossrt::runtime
