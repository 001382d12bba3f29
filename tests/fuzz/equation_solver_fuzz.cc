// The input is a list of equations. A solution has lines of the form "name = value".
#include <cstdlib>
#include <string>

#include "dialogue/equation_solver.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto solution =
      mossrt::runtime::SolveEquations({reinterpret_cast<const char*>(data), size});
  if (!solution.ok()) {
    const absl::StatusCode code = solution.status().code();
    if (code != absl::StatusCode::kInvalidArgument && code != absl::StatusCode::kUnimplemented) {
      std::abort();
    }
    return 0;
  }
  std::string_view rest = *solution;
  while (!rest.empty()) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    const std::size_t sign = line.find(" = ");
    if (sign == 0 || sign == std::string_view::npos || sign + 3 == line.size()) std::abort();
    rest.remove_prefix(line.size() == rest.size() ? rest.size() : line.size() + 1);
  }
  return 0;
}
