#include "bindings.h"

namespace py = pybind11;

PYBIND11_MODULE(_mossrt, module) {
  namespace python = mossrt::python;
  module.doc() = "The C++ half of mossrt; use the package mossrt, which documents it.";
  python::BindErrors();
  python::BindMonitor(module);
  python::BindTokenizer(module);
  python::BindSession(module);
  python::BindGeneration(module);
  python::BindModel(module);
  python::BindChat(module);
  python::BindBandwidth(module);
  python::BindPlugins(module);
  module.def("version", &mossrt::Version);
  module.def("system_info", &mossrt::SystemInfo);
  module.def(
      "describe_options",
      [](std::int32_t kind) {
        return mossrt::DescribeOptions(static_cast<mossrt::OptionKind>(kind));
      },
      py::arg("kind"));
}
