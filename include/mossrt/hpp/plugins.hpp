// Plugins that need no model; include mossrt/mossrt.hpp.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "mossrt/hpp/library.hpp"

namespace mossrt {

inline std::string Calculate(std::string_view expression) {
  detail::CheckAbi();
  return detail::TakeText([expression](char** value, std::size_t* len) {
    return mossrt_calculate(expression.data(), expression.size(), value, len);
  });
}

inline std::string Solve(std::string_view equations) {
  detail::CheckAbi();
  return detail::TakeText([equations](char** solution, std::size_t* len) {
    return mossrt_solve(equations.data(), equations.size(), solution, len);
  });
}

}  // namespace mossrt
