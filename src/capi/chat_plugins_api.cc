// Plugins that are attached to a conversation, and the step that runs them.
#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "capi/chat_calls.h"
#include "dialogue/builtin_plugins.h"
#include "mossrt/mossrt.h"

// Lives on the stack of the thread that runs the plugin's function.
struct mossrt_plugin_call {
  mossrt::runtime::PluginCall* call;
};

namespace mossrt::capi {
namespace {

using runtime::Plugin;

absl::Status CheckName(const mossrt_chat& c, std::string_view name) {
  for (const std::string& known : c.chat->plugins()) {
    if (known == name) return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      runtime::Cat("the conversation knows no command \"", name,
                   "\", so that the model is never told of it; name it in the option plugins"));
}

std::string_view View(const char* text, std::size_t len) {
  return len == 0 ? std::string_view() : std::string_view(text, len);
}

// The program's function and what belongs to it.
class Function {
 public:
  Function(mossrt_plugin_fn fn, void* user) : fn_(fn), user_(user) {}
  ~Function() {
    if (destroy_ != nullptr) destroy_(user_);
  }
  Function(const Function&) = delete;
  Function& operator=(const Function&) = delete;
  void Own(mossrt_destroy_fn destroy) { destroy_ = destroy; }

  bool Run(runtime::PluginCall& call) const {
    mossrt_plugin_call handle = {&call};
    const std::string& argument = call.argument();
    const std::int32_t code = fn_(user_, argument.c_str(), argument.size(), &handle);
    if (code < 0 && call.error.empty()) call.error = runtime::Cat("its function returned ", code);
    return code >= 0;
  }

 private:
  mossrt_plugin_fn fn_;
  void* user_;
  mossrt_destroy_fn destroy_ = nullptr;
};

// Commands that have no result yet, as jobs; `places`: their indices.
absl::StatusOr<std::vector<runtime::PluginJob>> Jobs(const mossrt_chat& c,
                                                     std::vector<std::size_t>* places) {
  std::vector<runtime::PluginJob> jobs;
  const auto commands = c.chat->commands();
  for (std::size_t i = 0; i < commands.size(); ++i) {
    if (i < c.results.size() && c.results[i]) continue;
    const auto plugin = c.plugins.find(commands[i].name);
    if (plugin == c.plugins.end()) {
      return absl::NotFoundError(runtime::Cat(
          "no plugin is attached for the command ", commands[i].name,
          "; add it with mossrt_chat_add_plugin, or set the result with mossrt_chat_set_result"));
    }
    jobs.push_back({plugin->second, commands[i].argument});
    places->push_back(i);
  }
  return jobs;
}

}  // namespace
}  // namespace mossrt::capi

using namespace mossrt::capi;     // NOLINT: the definitions below are the C functions
using namespace mossrt::runtime;  // NOLINT

mossrt_error* mossrt_chat_add_plugin(mossrt_chat* c, const char* name, const char* description,
                                     double timeout, mossrt_plugin_fn fn, void* user,
                                     mossrt_destroy_fn destroy) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    MOSSRT_NEED(name);
    MOSSRT_NEED(fn);
    MOSSRT_RETURN_IF_ERROR(CheckName(*c, name));
    if (!std::isfinite(timeout) || timeout <= 0) {
      return absl::InvalidArgumentError(
          Cat("timeout must be a positive number of seconds, found ", timeout));
    }
    const auto function = std::make_shared<Function>(fn, user);
    c->plugins[name] = std::make_shared<const Plugin>(
        Plugin{.name = name,
               .description = description == nullptr ? "" : description,
               .timeout = timeout,
               .run = [function](PluginCall& call) { return function->Run(call); }});
    function->Own(destroy);
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_add_builtin_plugin(mossrt_chat* c, const char* name) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    MOSSRT_NEED(name);
    MOSSRT_ASSIGN_OR_RETURN(auto plugin, BuiltinPlugin(name));
    MOSSRT_RETURN_IF_ERROR(CheckName(*c, name));
    c->plugins[name] = std::move(plugin);
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_run_commands(mossrt_chat* c, mossrt_monitor* m) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    const Use use_monitor(m == nullptr ? nullptr : &m->state->in_use, Use::kExclusive);
    if (!use_monitor.held()) return Busy("monitor");
    std::vector<std::size_t> places;
    MOSSRT_ASSIGN_OR_RETURN(const std::vector<PluginJob> jobs, Jobs(*c, &places));
    if (!jobs.empty()) {
      MOSSRT_ASSIGN_OR_RETURN(std::vector<CommandResult> results,
                              RunPlugins(jobs, m == nullptr ? nullptr : &m->state->monitor));
      c->results.resize(c->chat->commands().size());
      for (std::size_t i = 0; i < places.size(); ++i) {
        c->results[places[i]] = std::move(results[i]);
      }
    }
    return EndCommands(*c);
  });
}

mossrt_error* mossrt_plugin_set_text(mossrt_plugin_call* call, const char* text, size_t len) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(call);
    if (len > 0) MOSSRT_NEED(text);
    call->call->result.ok = true;
    call->call->result.text = View(text, len);
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_plugin_add_snippet(mossrt_plugin_call* call, const char* title,
                                        size_t title_len, const char* text, size_t len) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(call);
    if (title_len > 0) MOSSRT_NEED(title);
    if (len > 0) MOSSRT_NEED(text);
    call->call->result.ok = true;
    call->call->result.snippets.push_back(
        {std::string(View(title, title_len)), std::string(View(text, len))});
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_plugin_set_error(mossrt_plugin_call* call, const char* text, size_t len) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(call);
    if (len > 0) MOSSRT_NEED(text);
    call->call->error = View(text, len);
    return absl::OkStatus();
  });
}

// Neither computes nor allocates, so it needs no guard.
std::int32_t mossrt_plugin_wanted(const mossrt_plugin_call* call) {
  return call != nullptr && call->call->wanted() ? 1 : 0;
}
