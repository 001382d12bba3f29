// Runs the commands of a turn side by side, each on a thread of its own and within its own time.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mossrt/runtime/chat_commands.h"
#include "mossrt/runtime/monitor.h"

namespace mossrt::runtime {

// What a plugin's function works on; it lives during that call and is its thread's alone.
class PluginCall {
 public:
  PluginCall(std::string argument, const std::atomic<bool>* wanted)
      : argument_(std::move(argument)), wanted_(wanted) {}
  const std::string& argument() const { return argument_; }
  // False: it takes too long or the turn was cancelled, so that nobody waits any more.
  bool wanted() const { return wanted_->load(std::memory_order_relaxed); }

  CommandResult result{};
  std::string error{};  // why there is no result, for the log

 private:
  std::string argument_;
  const std::atomic<bool>* wanted_;
};

struct Plugin {
  std::string name;
  std::string description{};  // for people
  double timeout = 20;        // seconds
  // False, what it throws, and a result that it does not give are failures.
  std::function<bool(PluginCall& call)> run;
};

struct PluginJob {
  std::shared_ptr<const Plugin> plugin;
  std::string argument;
};

// By job; failures and what comes too late are logged and not ok. The calling thread waits, looks
// at the monitor every few milliseconds (stage "plugins") and ends at once if it is cancelled:
// kCancelled. A function that is still running goes on, on a thread that nobody waits for; its
// plugin lives until then. A thread has let go of its plugin before its result is there.
absl::StatusOr<std::vector<CommandResult>> RunPlugins(std::span<const PluginJob> jobs,
                                                      Monitor* monitor);

}  // namespace mossrt::runtime
