#include "arrays.h"

namespace mossrt::python {

void BindPlugins(py::module_& module) {
  module.def(
      "calculate",
      [](const py::str& expression) {
        return Interruptible(
            [text = std::string(Utf8(expression))] { return mossrt::Calculate(text); });
      },
      py::arg("expression"));
  module.def(
      "solve",
      [](const py::str& equations) {
        return Interruptible([text = std::string(Utf8(equations))] { return mossrt::Solve(text); });
      },
      py::arg("equations"));
}

}  // namespace mossrt::python
