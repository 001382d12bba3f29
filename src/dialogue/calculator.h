// Arithmetic as MOSS's plugin Calculate has it: Python's, with ^ for a power.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace mossrt::runtime {

// The value of an expression, written as Python's repr writes it. Ends within about a second
// whatever the expression is. Every error is InvalidArgument, a sentence about the expression.
absl::StatusOr<std::string> Calculate(std::string_view expression);

}  // namespace mossrt::runtime
