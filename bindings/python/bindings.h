// The extension mossrt._mossrt: a thin door to mossrt.hpp. Names, defaults and documentation that
// users see stand in python/mossrt; here are conversions, the GIL and signals. One file per topic.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <chrono>
#include <cstdint>
#include <future>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "mossrt/mossrt.hpp"

namespace mossrt::python {

namespace py = pybind11;

void BindErrors();
void BindMonitor(py::module_& module);
void BindTokenizer(py::module_& module);
void BindSession(py::module_& module);
void BindGeneration(py::module_& module);
void BindPlugins(py::module_& module);
void BindModel(py::module_& module);
void BindChat(py::module_& module);
void BindBandwidth(py::module_& module);

// A Python object that C++ may drop on any thread, with or without the GIL.
class Held {
 public:
  explicit Held(py::object object)
      : object_(new py::object(std::move(object)), [](const py::object* p) {
          const py::gil_scoped_acquire gil;
          delete p;
        }) {}
  const py::object& operator*() const { return *object_; }

 private:
  std::shared_ptr<const py::object> object_;
};

// Runs f() -> R on a thread of its own while this one looks for signals every 50 ms: for calls that
// have no monitor. After Ctrl-C f runs on unobserved, so it owns all that it touches. The GIL is
// held by the caller and not by f.
template <typename F>
auto Interruptible(F f) {
  using Result = decltype(f());
  std::packaged_task<Result()> task(std::move(f));
  std::future<Result> result = task.get_future();
  std::thread(std::move(task)).detach();
  while (true) {
    {
      const py::gil_scoped_release release;
      if (result.wait_for(std::chrono::milliseconds(50)) == std::future_status::ready) break;
    }
    if (PyErr_CheckSignals() != 0) throw py::error_already_set();
  }
  return result.get();
}

}  // namespace mossrt::python
