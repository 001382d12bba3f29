#include <cstring>

#include "bindings.h"

namespace mossrt::python {

// The exception types are Python's own (mossrt/errors.py), so that they can be subclasses of both
// mossrt.Error and the built-in type that fits.
void BindErrors() {
  py::register_local_exception_translator([](std::exception_ptr p) {
    try {
      if (p) std::rethrow_exception(p);
    } catch (const Error& e) {
      try {
        // Names of files may hold bytes that are no UTF-8.
        const auto text = py::reinterpret_steal<py::object>(PyUnicode_DecodeUTF8(
            e.what(), static_cast<Py_ssize_t>(std::strlen(e.what())), "replace"));
        if (!text) throw py::error_already_set();
        const py::object exception = py::module_::import("mossrt.errors")
                                         .attr("from_code")(static_cast<int>(e.code()), text);
        PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(exception.ptr())), exception.ptr());
      } catch (py::error_already_set& nested) {
        nested.restore();
      }
    }
  });
}

}  // namespace mossrt::python
