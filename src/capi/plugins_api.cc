#include "base/status.h"
#include "capi/guard.h"
#include "capi/memory.h"
#include "dialogue/calculator.h"
#include "dialogue/equation_solver.h"
#include "mossrt/mossrt.h"

using namespace mossrt::capi;     // NOLINT: the definitions below are the C functions
using namespace mossrt::runtime;  // NOLINT

mossrt_error* mossrt_calculate(const char* expression, size_t len, char** value,
                               size_t* value_len) {
  return Guard(__func__, [&]() -> absl::Status {
    if (len > 0) MOSSRT_NEED(expression);
    MOSSRT_NEED(value);
    MOSSRT_NEED(value_len);
    MOSSRT_ASSIGN_OR_RETURN(const std::string text, Calculate({expression, len}));
    return GiveText(text, value, value_len);
  });
}

mossrt_error* mossrt_solve(const char* equations, size_t len, char** solution,
                           size_t* solution_len) {
  return Guard(__func__, [&]() -> absl::Status {
    if (len > 0) MOSSRT_NEED(equations);
    MOSSRT_NEED(solution);
    MOSSRT_NEED(solution_len);
    MOSSRT_ASSIGN_OR_RETURN(const std::string text, SolveEquations({equations, len}));
    return GiveText(text, solution, solution_len);
  });
}
