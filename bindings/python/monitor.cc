#include "bindings.h"

namespace mossrt::python {

// Long calls look at their monitor; it takes the GIL every 50 ms to let Python handle signals.
void BindMonitor(py::module_& module) {
  py::class_<Monitor, std::shared_ptr<Monitor>>(module, "Monitor")
      .def(py::init([](const py::object& progress) {
             const bool silent = progress.is_none();
             return std::make_shared<Monitor>(
                 [held = Held(progress), silent](std::string_view stage, std::uint64_t done,
                                                 std::uint64_t total) {
                   const py::gil_scoped_acquire gil;
                   if (PyErr_CheckSignals() != 0) throw py::error_already_set();
                   if (!silent) (*held)(py::str(stage.data(), stage.size()), done, total);
                   return 0;
                 });
           }),
           py::arg("progress") = py::none())
      .def("cancel", &Monitor::Cancel);
}

}  // namespace mossrt::python
