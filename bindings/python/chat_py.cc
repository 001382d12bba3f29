#include <pybind11/stl.h>

#include "session_py.h"

namespace mossrt::python {
namespace {

using SharedTokenizer = std::shared_ptr<Tokenizer>;

const char* ActionName(ChatAction action) {
  switch (action) {
    case ChatAction::kDone:
      return "done";
    case ChatAction::kGenerate:
      return "generate";
    case ChatAction::kRunCommands:
      return "run_commands";
  }
  return "done";
}

const char* EventName(ChatEvent::Type type) {
  switch (type) {
    case ChatEvent::Type::kThought:
      return "thought";
    case ChatEvent::Type::kCommand:
      return "command";
    case ChatEvent::Type::kResult:
      return "result";
    case ChatEvent::Type::kAnswer:
      return "answer";
    case ChatEvent::Type::kCitation:
      return "citation";
    case ChatEvent::Type::kNotice:
      return "notice";
  }
  return "notice";
}

Finish FinishOf(const std::string& name) {
  if (name == "length") return Finish::kLength;
  if (name == "stop_string") return Finish::kStopString;
  if (name == "context_full") return Finish::kContextFull;
  if (name == "cancelled") return Finish::kCancelled;
  throw py::value_error("finish must be 'length', 'stop_string', 'context_full' or 'cancelled'");
}

// (type, text, numbers), or None.
py::object TakeEvent(Chat& chat) {
  const std::optional<ChatEvent> event = chat.TakeEvent();
  if (!event) return py::none();
  py::list numbers;
  for (const std::int64_t number : event->numbers) numbers.append(number);
  return py::make_tuple(EventName(event->type), py::str(event->text), numbers);
}

// (action, how many of the held ids to keep, ids to add).
py::tuple Next(const Chat& chat, const py::object& held) {
  const ChatStep step = chat.Next(IdsFrom(held, "held"));
  return py::make_tuple(ActionName(step.action), step.keep, ToArray(step.add));
}

// text: a str, None for a failure, or a list of (title, text).
void SetResult(Chat& chat, std::size_t index, const py::object& text) {
  chat.SetResult(index, std::nullopt);
  if (text.is_none()) return;
  if (py::isinstance<py::str>(text)) return chat.SetResult(index, Utf8(py::cast<py::str>(text)));
  for (const py::handle item : py::cast<py::list>(text)) {
    const auto pair = py::cast<py::tuple>(item);
    chat.AddSnippet(index, Utf8(py::cast<py::str>(pair[0])), Utf8(py::cast<py::str>(pair[1])));
  }
}

py::list Commands(const Chat& chat) {
  py::list commands;
  for (const ChatCommand& command : chat.Commands()) {
    commands.append(py::make_tuple(py::str(command.name), py::str(command.argument)));
  }
  return commands;
}

}  // namespace

void BindChat(py::module_& module) {
  py::class_<Chat>(module, "Chat")
      .def(py::init([](const SharedTokenizer& tokenizer, const std::string& options_json) {
             return Chat(*tokenizer, {.more_json = options_json});
           }),
           py::arg("tokenizer"), py::arg("options_json"))
      .def_static(
          "load",
          [](const SharedTokenizer& tokenizer, const py::str& saved,
             const std::string& options_json) {
            const std::string_view utf8 = Utf8(saved);
            const py::gil_scoped_release release;
            return Chat::Load(*tokenizer, utf8, {.more_json = options_json});
          },
          py::arg("tokenizer"), py::arg("saved"), py::arg("options_json"))
      .def(
          "send",
          [](Chat& chat, const py::str& text) {
            const std::string_view utf8 = Utf8(text);
            const py::gil_scoped_release release;
            chat.Send(utf8);
          },
          py::arg("text"))
      .def("next", &Next, py::arg("held"))
      .def("push", &Chat::Push, py::arg("token"))
      .def(
          "end", [](Chat& chat, const std::string& finish) { chat.End(FinishOf(finish)); },
          py::arg("finish"))
      .def("take_event", &TakeEvent)
      .def("commands", &Commands)
      .def("set_result", &SetResult, py::arg("index"), py::arg("text"))
      .def("end_commands", &Chat::EndCommands)
      .def("ids", [](const Chat& chat) { return ToArray(chat.Ids()); })
      .def("stop_ids",
           [](const Chat& chat) {
             py::list ids;
             for (const std::int32_t id : chat.StopIds()) ids.append(id);
             return ids;
           })
      .def("turn", [](const Chat& chat) { return py::str(chat.TurnJson()); })
      .def("info", [](const Chat& chat) { return py::str(chat.Info()); })
      .def("save", [](const Chat& chat) { return py::str(chat.Save()); })
      .def("undo", &Chat::Undo);

  module.def(
      "render_turns",
      [](const SharedTokenizer& tokenizer, const std::string& options_json, const py::str& turns) {
        const std::string_view utf8 = Utf8(turns);
        std::vector<std::int32_t> ids;
        {
          const py::gil_scoped_release release;
          ids = Chat::Render(*tokenizer, {.more_json = options_json}, utf8);
        }
        return ToArray(ids);
      },
      py::arg("tokenizer"), py::arg("options_json"), py::arg("turns"));
  module.def(
      "parse_commands",
      [](const py::str& text, bool strict, const std::optional<std::string>& names) {
        return py::str(Chat::ParseCommands(Utf8(text), strict, names));
      },
      py::arg("text"), py::arg("strict"), py::arg("names"));
}

}  // namespace mossrt::python
