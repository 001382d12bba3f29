#include "session_py.h"

namespace mossrt::python {

void BindModel(py::module_& module) {
  using SharedModel = std::shared_ptr<Model>;
  py::class_<Model, SharedModel>(module, "Model")
      .def_static(
          "load",
          [](const py::bytes& path, const std::string& options_json,
             const std::shared_ptr<Monitor>& monitor) {
            const std::string held = path;
            const py::gil_scoped_release release;
            return std::make_shared<Model>(
                Model::Load(held, {.more_json = options_json}, monitor.get()));
          },
          py::arg("path"), py::arg("options_json"), py::arg("monitor"))
      .def(
          "save_packed",
          [](const SharedModel& model, const py::bytes& path,
             const std::shared_ptr<Monitor>& monitor) {
            const std::string held = path;
            const py::gil_scoped_release release;
            model->SavePacked(held, monitor.get());
          },
          py::arg("path"), py::arg("monitor"))
      .def("info", [](const Model& m) { return py::str(std::string(m.Info())); })
      .def("tokenizer",
           [](const Model& m) { return std::make_shared<mossrt::Tokenizer>(m.Tokenizer()); })
      .def(
          "generation_options",
          [](const Model& m, const std::string& options_json) {
            return m.GenerationOptions({.more_json = options_json});
          },
          py::arg("options_json"))
      .def(
          "session",
          [](const Model& m, const std::string& options_json) {
            const py::gil_scoped_release release;
            return std::make_unique<PySession>(m.CreateSession({.more_json = options_json}));
          },
          py::arg("options_json"))
      .def(
          "restore_session",
          [](const SharedModel& model, const py::bytes& path,
             const std::shared_ptr<Monitor>& monitor) {
            const std::string held = path;
            const py::gil_scoped_release release;
            return std::make_unique<PySession>(model->RestoreSession(held, monitor.get()));
          },
          py::arg("path"), py::arg("monitor"))
      .def(
          "restore_session_bytes",
          [](const SharedModel& model, const py::bytes& saved,
             const std::shared_ptr<Monitor>& monitor) {
            const std::string_view held = saved;
            const py::gil_scoped_release release;
            return std::make_unique<PySession>(
                model->RestoreSession(std::as_bytes(std::span(held)), monitor.get()));
          },
          py::arg("saved"), py::arg("monitor"))
      .def(
          "tensor",
          [](const SharedModel& model, const std::string& name) {
            Tensor tensor = Interruptible([model, name] { return model->ReadTensor(name); });
            return ToArray(std::move(tensor.values), tensor.shape);
          },
          py::arg("name"));

  module.def(
      "inspect",
      [](const py::bytes& path, const std::string& options_json) {
        return Interruptible([path = std::string(path), options_json] {
          return Model::Inspect(path, {.more_json = options_json});
        });
      },
      py::arg("path"), py::arg("options_json"));
}

}  // namespace mossrt::python
