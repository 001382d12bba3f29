// The functions and constants of the calculator: Python's math module and the built-in ones that
// make sense on numbers.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

#include "dialogue/number.h"

namespace mossrt::runtime {

struct MathFunction {
  std::string_view name;
  std::size_t min_arguments, max_arguments;
  // arguments.size() lies within the two.
  Arithmetic::Result (*call)(Arithmetic& arithmetic, std::span<const Number> arguments);
};

// nullptr if there is none of that name.
const MathFunction* FindMathFunction(std::string_view name);
const double* FindMathConstant(std::string_view name);

}  // namespace mossrt::runtime
