// What is in a conversation's turn: events, commands, results, reports; and texts without one.
#include <algorithm>
#include <string>
#include <utility>

#include "base/json.h"
#include "base/status.h"
#include "capi/chat_calls.h"
#include "capi/memory.h"
#include "mossrt/mossrt.h"

namespace mossrt::capi {
namespace {

absl::Status CheckIndex(const mossrt_chat& c, std::size_t index) {
  const std::size_t n = c.chat->commands().size();
  if (index < n) return absl::OkStatus();
  return absl::InvalidArgumentError(
      runtime::Cat("index ", index, " is not one of the ", n,
                   " commands that wait for results (mossrt_chat_commands)"));
}

runtime::CommandResult& ResultOf(mossrt_chat* c, std::size_t index) {
  c->results.resize(c->chat->commands().size());
  auto& result = c->results[index];
  if (!result) result.emplace();
  return *result;
}

std::string_view View(const char* text, std::size_t len) {
  return len == 0 ? std::string_view() : std::string_view(text, len);
}

}  // namespace

absl::Status EndCommands(mossrt_chat& c) {
  std::vector<runtime::CommandResult> results;
  for (const auto& result : c.results) {
    results.push_back(result.value_or(runtime::CommandResult()));
  }
  results.resize(c.chat->commands().size());
  MOSSRT_RETURN_IF_ERROR(ChatStatus(c.chat->SetResults(results)));
  c.results.clear();
  return absl::OkStatus();
}

}  // namespace mossrt::capi

using namespace mossrt::capi;     // NOLINT: the definitions below are the C functions
using namespace mossrt::runtime;  // NOLINT

mossrt_error* mossrt_chat_event(mossrt_chat* c, int32_t* type, const char** text, size_t* len,
                                const int64_t** numbers, size_t* n) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    MOSSRT_NEED(type);
    const bool any = c->chat->TakeEvent(&c->event);
    if (!any) c->event = ChatEvent();
    *type = any ? static_cast<std::int32_t>(c->event.type) : MOSSRT_CHAT_EVENT_NONE;
    if (text != nullptr) *text = c->event.text.c_str();
    if (len != nullptr) *len = c->event.text.size();
    if (numbers != nullptr) *numbers = c->event.numbers.data();
    if (n != nullptr) *n = c->event.numbers.size();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_commands(const mossrt_chat* c, size_t* n) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    MOSSRT_NEED(n);
    *n = c->chat->commands().size();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_command(const mossrt_chat* c, size_t index, const char** name,
                                  const char** argument, size_t* len) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    MOSSRT_NEED(name);
    MOSSRT_NEED(argument);
    MOSSRT_NEED(len);
    MOSSRT_RETURN_IF_ERROR(CheckIndex(*c, index));
    const Command& command = c->chat->commands()[index];
    *name = command.name.c_str();
    *argument = command.argument.c_str();
    *len = command.argument.size();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_set_result(mossrt_chat* c, size_t index, const char* text, size_t len) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    if (len > 0) MOSSRT_NEED(text);
    MOSSRT_RETURN_IF_ERROR(CheckIndex(*c, index));
    CommandResult& result = ResultOf(c, index);
    result = {};
    if (text == nullptr) return absl::OkStatus();
    result.ok = true;
    result.text = View(text, len);
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_add_snippet(mossrt_chat* c, size_t index, const char* title,
                                      size_t title_len, const char* text, size_t len) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    if (title_len > 0) MOSSRT_NEED(title);
    if (len > 0) MOSSRT_NEED(text);
    MOSSRT_RETURN_IF_ERROR(CheckIndex(*c, index));
    CommandResult& result = ResultOf(c, index);
    result.ok = true;
    result.snippets.push_back({std::string(View(title, title_len)), std::string(View(text, len))});
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_end_commands(mossrt_chat* c) {
  return WithChat(__func__, c, [&]() -> absl::Status { return EndCommands(*c); });
}

mossrt_error* mossrt_chat_turn(const mossrt_chat* c, char** json, size_t* len) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    MOSSRT_NEED(json);
    MOSSRT_NEED(len);
    return GiveText(c->chat->TurnJson(), json, len);
  });
}

mossrt_error* mossrt_chat_info(const mossrt_chat* c, char** json, size_t* len) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    MOSSRT_NEED(json);
    MOSSRT_NEED(len);
    Json attached = Json::array();
    for (const auto& [name, plugin] : c->plugins) {
      attached.push_back(
          {{"name", name}, {"description", plugin->description}, {"timeout", plugin->timeout}});
    }
    Json info = Json::parse(c->chat->InfoJson());
    info["attached"] = std::move(attached);
    return GiveText(DumpJson(info), json, len);
  });
}

mossrt_error* mossrt_chat_render(const mossrt_tokenizer* t, const mossrt_options* o,
                                 const char* turns, size_t len, int32_t** ids, size_t* n) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(t);
    MOSSRT_NEED(turns);
    MOSSRT_NEED(ids);
    MOSSRT_NEED(n);
    MOSSRT_ASSIGN_OR_RETURN(const ChatOptions options, FullChatOptions(*t, o));
    MOSSRT_ASSIGN_OR_RETURN(const RenderedTurns rendered,
                            RenderTurns(*t->state->tokenizer, options, View(turns, len)));
    return GiveIds(rendered.ids, ids, n);
  });
}

mossrt_error* mossrt_chat_parse_commands(const char* text, size_t len, int32_t strict,
                                         const char* names, char** json, size_t* json_len) {
  return Guard(__func__, [&]() -> absl::Status {
    if (len > 0) MOSSRT_NEED(text);
    MOSSRT_NEED(json);
    MOSSRT_NEED(json_len);
    std::vector<std::string> known;
    for (std::string_view rest = names == nullptr ? "" : names; !rest.empty();) {
      const std::size_t comma = std::min(rest.find(','), rest.size());
      known.emplace_back(rest.substr(0, comma));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    }
    const ParsedCommands parsed = ParseCommands(
        View(text, len), strict != 0 ? CommandGrammar::kStrict : CommandGrammar::kTolerant,
        names == nullptr ? TrainedCommands() : known);
    Json commands = Json::array();
    for (const Command& command : parsed.commands) {
      commands.push_back({{"name", command.name}, {"argument", command.argument}});
    }
    return GiveText(DumpJson({{"commands", std::move(commands)},
                              {"strict", parsed.strict},
                              {"unknown", parsed.unknown},
                              {"rest", parsed.rest}}),
                    json, json_len);
  });
}
