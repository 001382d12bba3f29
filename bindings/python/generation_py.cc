#include "session_py.h"

namespace mossrt::python {
namespace {

const char* FinishName(Finish finish) {
  switch (finish) {
    case Finish::kNone:
      return nullptr;
    case Finish::kStopToken:
      return "stop_token";
    case Finish::kStopString:
      return "stop_string";
    case Finish::kLength:
      return "length";
    case Finish::kContextFull:
      return "context_full";
    case Finish::kCancelled:
      return "cancelled";
  }
  return nullptr;
}

class PyGeneration {
 public:
  PyGeneration(const PySession& session, const std::string& options_json,
               const std::shared_ptr<Monitor>& monitor)
      : views_(session.views()),
        generation_(
            session.GetToChange("generate")->Generate({.more_json = options_json}, monitor.get())) {
  }

  // (text, token, logprob, top_ids, top_logprobs, finish), or None after the end.
  py::object Next() {
    views_->RefuseIfAlive("generate");
    std::optional<Chunk> chunk;
    {
      const py::gil_scoped_release release;
      chunk = generation_.Next();
    }
    if (!chunk) return py::none();
    const Logprobs& top = chunk->logprobs;
    py::list ids, logprobs;
    for (const std::int32_t id : top.top_ids) ids.append(id);
    for (const float logprob : top.top_logprobs) logprobs.append(logprob);
    return py::make_tuple(py::str(chunk->text), chunk->token, top.logprob, ids, logprobs,
                          FinishName(chunk->finish));
  }

  void AddProcessor(const py::object& function) {
    generation_.AddProcessor(
        [held = Held(function)](std::span<const std::int32_t> ids, std::span<float> logits) {
          const py::gil_scoped_acquire gil;
          Lent values(Matrix{logits.data(), 1, logits.size(), logits.size()});
          const py::object row = values.array()[py::int_(0)];
          const py::object result = (*held)(ToArray(ids), row);
          if (!result.is_none() && !result.is(row)) values.Replace(result);
          values.WriteBack();
        });
  }

  void Constrain(const Chat& chat) { chat.Constrain(generation_); }

  std::string Info() const { return generation_.Info(); }

 private:
  std::shared_ptr<Views> views_;
  Generation generation_;
};

}  // namespace

void BindGeneration(py::module_& module) {
  py::class_<PyGeneration>(module, "Generation")
      .def(py::init<const PySession&, const std::string&, const std::shared_ptr<Monitor>&>(),
           py::arg("session"), py::arg("options_json"), py::arg("monitor"))
      .def("next", &PyGeneration::Next)
      .def("add_processor", &PyGeneration::AddProcessor, py::arg("function"))
      .def("constrain", &PyGeneration::Constrain, py::arg("chat"))
      .def("info", &PyGeneration::Info);
}

}  // namespace mossrt::python
