#include "session_py.h"

namespace mossrt::python {
namespace {

Hook MakeHook(const py::object& function) {
  return [held = Held(function)](const HookCall& call) {
    const py::gil_scoped_acquire gil;
    const Lent values(call.values);
    (*held)(py::str(call.name.data(), call.name.size()), call.layer, call.first_position,
            values.array());
    values.WriteBack();
  };
}

void Eval(const PySession& self, const py::object& ids, const std::string& options_json,
          const std::shared_ptr<Monitor>& monitor) {
  const std::vector<std::int32_t> tokens = IdsFrom(ids, "ids");
  const std::shared_ptr<Session> session = self.GetToChange("eval");
  const py::gil_scoped_release release;
  session->Eval(tokens, {.more_json = options_json}, monitor.get());
}

}  // namespace

void BindSession(py::module_& module) {
  py::class_<PySession>(module, "Session")
      .def("eval", &Eval, py::arg("ids"), py::arg("options_json"), py::arg("monitor"))
      .def(
          "logits",
          [](const PySession& self, bool copy) {
            return self.Read(copy, [](const Session& s) { return s.Logits(); });
          },
          py::arg("copy"))
      .def(
          "hidden",
          [](const PySession& self, std::int32_t layer, bool copy) {
            return self.Read(copy, [layer](const Session& s) { return s.Hidden(layer); });
          },
          py::arg("layer"), py::arg("copy"))
      .def("tokens", [](const PySession& self) { return ToArray(self.Get()->Tokens()); })
      .def(
          "rewind",
          [](const PySession& self, std::size_t tokens) {
            const std::shared_ptr<Session> session = self.GetToChange("rewind");
            const py::gil_scoped_release release;
            session->Rewind(tokens);
          },
          py::arg("tokens"))
      .def("fork",
           [](const PySession& self) {
             const std::shared_ptr<Session> session = self.Get();
             const py::gil_scoped_release release;
             return std::make_unique<PySession>(session->Fork());
           })
      .def(
          "save",
          [](const PySession& self, const py::bytes& path,
             const std::shared_ptr<Monitor>& monitor) {
            const std::string held = path;
            const std::shared_ptr<Session> session = self.Get();
            const py::gil_scoped_release release;
            session->Save(held, monitor.get());
          },
          py::arg("path"), py::arg("monitor"))
      .def(
          "save_bytes",
          [](const PySession& self, const std::shared_ptr<Monitor>& monitor) {
            const std::shared_ptr<Session> session = self.Get();
            std::vector<std::byte> bytes;
            {
              const py::gil_scoped_release release;
              bytes = session->SaveBytes(monitor.get());
            }
            return py::bytes(reinterpret_cast<const char*>(bytes.data()), bytes.size());
          },
          py::arg("monitor"))
      .def("info", [](const PySession& self) { return self.Get()->Info(); })
      .def(
          "set_hook",
          [](const PySession& self, const std::string& name, std::int32_t layer,
             const py::object& function) {
            self.Get()->SetHook(name, layer, function.is_none() ? Hook() : MakeHook(function));
          },
          py::arg("name"), py::arg("layer"), py::arg("function"))
      .def("closed", &PySession::closed)
      .def("close", &PySession::Close);

  module.def(
      "to_ids",
      [](const py::object& ids, const char* argument) { return ToArray(IdsFrom(ids, argument)); },
      py::arg("ids"), py::arg("argument"));
}

}  // namespace mossrt::python
