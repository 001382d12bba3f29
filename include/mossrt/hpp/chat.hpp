// Conversations in MOSS's protocol; include mossrt/mossrt.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mossrt/hpp/library.hpp"
#include "mossrt/hpp/session.hpp"
#include "mossrt/hpp/tokenizer.hpp"

namespace mossrt {

enum class ChatAction : std::int32_t {
  kDone = MOSSRT_CHAT_DONE,
  kGenerate = MOSSRT_CHAT_GENERATE,
  kRunCommands = MOSSRT_CHAT_RUN_COMMANDS,
};

struct ChatStep {
  ChatAction action = ChatAction::kDone;
  std::size_t keep = 0;               // of the tokens given
  std::span<const std::int32_t> add;  // behind them; borrowed
};

struct ChatEvent {
  enum class Type : std::int32_t {
    kThought = MOSSRT_CHAT_EVENT_THOUGHT,
    kCommand = MOSSRT_CHAT_EVENT_COMMAND,
    kResult = MOSSRT_CHAT_EVENT_RESULT,
    kAnswer = MOSSRT_CHAT_EVENT_ANSWER,
    kCitation = MOSSRT_CHAT_EVENT_CITATION,
    kNotice = MOSSRT_CHAT_EVENT_NOTICE,
  };
  Type type = Type::kNotice;
  std::string text;
  std::vector<std::int64_t> numbers;  // of a citation
};

struct ChatCommand {
  std::string name, argument;
};

// The result of a command by its argument, from a thread of the library's (mossrt.h,
// mossrt_chat_add_plugin). None, and what it throws, are failures, which the log tells.
using ChatPlugin = std::function<std::optional<std::string>(std::string_view argument)>;
struct ChatSnippet {
  std::string title, text;
};
// Findings of a Search, best first.
using ChatSearch = std::function<std::vector<ChatSnippet>(std::string_view query)>;
struct PluginOptions {
  std::string description = {};
  double timeout = 20;  // seconds
};

namespace detail {
// What a plugin's function gives, into the call.
inline bool GiveResult(mossrt_plugin_call* call, const std::optional<std::string>& text) {
  if (text) Check(mossrt_plugin_set_text(call, text->data(), text->size()));
  return text.has_value();
}
inline bool GiveResult(mossrt_plugin_call* call, const std::vector<ChatSnippet>& found) {
  for (const ChatSnippet& one : found) {
    Check(mossrt_plugin_add_snippet(call, one.title.data(), one.title.size(), one.text.data(),
                                    one.text.size()));
  }
  return !found.empty();
}
template <typename Function>
std::int32_t CallPlugin(void* user, const char* argument, std::size_t len,
                        mossrt_plugin_call* call) noexcept {
  const auto failed = [call](std::string_view why) {
    mossrt_error_free(mossrt_plugin_set_error(call, why.data(), why.size()));
    return -1;
  };
  try {
    const auto& function = *static_cast<const Function*>(user);
    return GiveResult(call, function(std::string_view(argument, len))) ? 0
                                                                       : failed("it found none");
  } catch (const std::exception& e) {
    return failed(e.what());
  } catch (...) {
    return failed("it threw something that is no std::exception");
  }
}
}  // namespace detail

class Chat {
 public:
  explicit Chat(const Tokenizer& tokenizer, const ChatOptions& options = {}) {
    const detail::Options o(options);
    mossrt_chat* c = nullptr;
    detail::Check(mossrt_chat_create(tokenizer.handle_.get(), o.get(), &c));
    handle_.reset(c);
  }
  // What Save gave.
  static Chat Load(const Tokenizer& tokenizer, std::string_view saved,
                   const ChatOptions& options = {}) {
    const detail::Options o(options);
    mossrt_chat* c = nullptr;
    detail::Check(
        mossrt_chat_load(tokenizer.handle_.get(), saved.data(), saved.size(), o.get(), &c));
    return Chat(c);
  }

  void Send(std::string_view text) {
    detail::Check(mossrt_chat_send(get(), text.data(), text.size()));
  }
  ChatStep Next(std::span<const std::int32_t> held = {}) const {
    std::int32_t action = MOSSRT_CHAT_DONE;
    ChatStep step;
    const std::int32_t* add = nullptr;
    std::size_t n = 0;
    detail::Check(mossrt_chat_next(get(), held.data(), held.size(), &action, &step.keep, &add, &n));
    step.action = static_cast<ChatAction>(action);
    step.add = {add, n};
    return step;
  }
  // Does this generation go on?
  bool Push(std::int32_t token) {
    std::int32_t more = 0;
    detail::Check(mossrt_chat_push(get(), token, &more));
    return more != 0;
  }
  void End(Finish finish) {
    detail::Check(mossrt_chat_end(get(), static_cast<std::int32_t>(finish)));
  }
  std::optional<ChatEvent> TakeEvent() {
    return Event([&](auto*... out) { return mossrt_chat_event(get(), out...); });
  }
  std::vector<ChatCommand> Commands() const {
    std::size_t n = 0;
    detail::Check(mossrt_chat_commands(get(), &n));
    std::vector<ChatCommand> commands;
    for (std::size_t i = 0; i < n; ++i) {
      const char *name = nullptr, *argument = nullptr;
      std::size_t len = 0;
      detail::Check(mossrt_chat_command(get(), i, &name, &argument, &len));
      commands.push_back({name, std::string(argument, len)});
    }
    return commands;
  }
  // None: it failed.
  void SetResult(std::size_t index, std::optional<std::string_view> text) {
    detail::Check(mossrt_chat_set_result(get(), index, text ? NotNull(*text) : nullptr,
                                         text ? text->size() : 0));
  }
  void AddSnippet(std::size_t index, std::string_view title, std::string_view text) {
    detail::Check(mossrt_chat_add_snippet(get(), index, title.data(), title.size(), text.data(),
                                          text.size()));
  }
  // Attaches a function to a command of ChatOptions::plugins; one of that name is replaced. What it
  // refers to must live until it has run, also when it is late and nobody waits for it any more.
  void AddPlugin(const std::string& name, ChatPlugin function, const PluginOptions& options = {}) {
    Add(name, std::move(function), options);
  }
  void AddSearch(const std::string& name, ChatSearch function, const PluginOptions& options = {}) {
    Add(name, std::move(function), options);
  }
  // "Calculate" or "Solve".
  void AddBuiltinPlugin(const std::string& name) {
    detail::Check(mossrt_chat_add_builtin_plugin(get(), name.c_str()));
  }
  // Runs the plugins of all commands that have no result yet, side by side, and ends the commands.
  void RunCommands(Monitor* monitor = nullptr) {
    detail::Check(mossrt_chat_run_commands(get(), Monitor::Get(monitor)));
  }
  void EndCommands() { detail::Check(mossrt_chat_end_commands(get())); }

  // A whole turn: sends, generates, runs plugins, and gives every event to `show`, if there is one.
  // Returns TurnJson(). A cancel ends the turn: an answer stays as far as it came, a turn without
  // one is taken back. After an exception the turn is open; Undo() takes it back.
  std::string Say(Session& session, std::string_view text, const GenerateOptions& options = {},
                  const std::function<void(const ChatEvent&)>& show = {},
                  Monitor* monitor = nullptr) {
    Send(text);
    while (const auto event = Advance(session, options, monitor)) {
      if (show) show(*event);
    }
    return TurnJson();
  }
  // The next event of the turn that Send began; none: it is over. Generates and runs plugins as far
  // as that takes.
  std::optional<ChatEvent> Advance(Session& session, const GenerateOptions& options = {},
                                   Monitor* monitor = nullptr) {
    const detail::Options o(options);
    return Event([&](auto*... out) {
      return mossrt_chat_advance(get(), session.get(), o.get(), Monitor::Get(monitor), out...);
    });
  }
  // Makes the session hold the conversation.
  void Eval(Session& session, Monitor* monitor = nullptr) const {
    detail::Check(mossrt_chat_eval(get(), session.get(), Monitor::Get(monitor)));
  }
  // Before the generation's first Next(): see the option "commands".
  void Constrain(Generation& generation) const {
    detail::Check(mossrt_chat_constrain(get(), generation.handle_.get()));
  }
  // Ids that end what the model writes.
  std::vector<std::int32_t> StopIds() const {
    const std::int32_t* ids = nullptr;
    std::size_t n = 0;
    detail::Check(mossrt_chat_stop_ids(get(), &ids, &n));
    return std::vector<std::int32_t>(ids, ids + n);
  }
  std::vector<std::int32_t> Ids() const {
    const std::int32_t* ids = nullptr;
    std::size_t n = 0;
    detail::Check(mossrt_chat_ids(get(), &ids, &n));
    return std::vector<std::int32_t>(ids, ids + n);
  }
  std::string TurnJson() const { return Text(mossrt_chat_turn); }
  std::string Info() const { return Text(mossrt_chat_info); }  // JSON
  std::string Save() const { return Text(mossrt_chat_save); }  // JSON
  bool Undo() {
    std::int32_t undone = 0;
    detail::Check(mossrt_chat_undo(get(), &undone));
    return undone != 0;
  }

  static std::vector<std::int32_t> Render(const Tokenizer& tokenizer, const ChatOptions& options,
                                          std::string_view turns_json) {
    const detail::Options o(options);
    std::int32_t* ids = nullptr;
    std::size_t n = 0;
    detail::Check(mossrt_chat_render(tokenizer.handle_.get(), o.get(), turns_json.data(),
                                     turns_json.size(), &ids, &n));
    const detail::Buffer<std::int32_t> owner(ids);
    return std::vector<std::int32_t>(ids, ids + n);
  }
  // JSON. names: joined by commas; none: those that MOSS was trained with.
  static std::string ParseCommands(std::string_view text, bool strict = false,
                                   const std::optional<std::string>& names = {}) {
    detail::CheckAbi();
    return detail::TakeText([&](char** json, std::size_t* len) {
      return mossrt_chat_parse_commands(text.data(), text.size(), strict ? 1 : 0,
                                        names ? names->c_str() : nullptr, json, len);
    });
  }

 private:
  explicit Chat(mossrt_chat* c) : handle_(c) {}
  mossrt_chat* get() const { return handle_.get(); }
  static const char* NotNull(std::string_view text) { return text.empty() ? "" : text.data(); }
  template <typename F>
  std::string Text(F function) const {
    return detail::TakeText(
        [&](char** text, std::size_t* len) { return function(get(), text, len); });
  }
  template <typename Function>
  void Add(const std::string& name, Function function, const PluginOptions& options) {
    auto held = std::make_unique<Function>(std::move(function));
    detail::Check(mossrt_chat_add_plugin(get(), name.c_str(), options.description.c_str(),
                                         options.timeout, detail::CallPlugin<Function>, held.get(),
                                         [](void* user) { delete static_cast<Function*>(user); }));
    held.release();
  }
  template <typename F>
  static std::optional<ChatEvent> Event(F take) {
    std::int32_t type = MOSSRT_CHAT_EVENT_NONE;
    const char* text = nullptr;
    std::size_t len = 0, n = 0;
    const std::int64_t* numbers = nullptr;
    detail::Check(take(&type, &text, &len, &numbers, &n));
    if (type == MOSSRT_CHAT_EVENT_NONE) return std::nullopt;
    return ChatEvent{static_cast<ChatEvent::Type>(type), std::string(text, len),
                     std::vector<std::int64_t>(numbers, numbers + n)};
  }
  detail::Handle<mossrt_chat, mossrt_chat_free> handle_;
};

}  // namespace mossrt
