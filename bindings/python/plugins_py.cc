#include "arrays.h"

namespace mossrt::python {

void BindPlugins(py::module_& module) {
  // Bounded to about a second, so that no signal need be looked for.
  module.def(
      "calculate",
      [](const py::str& expression) {
        const std::string_view text = Utf8(expression);
        const py::gil_scoped_release release;
        return Calculate(text);
      },
      py::arg("expression"));
}

}  // namespace mossrt::python
