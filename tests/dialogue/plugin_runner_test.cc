// Commands that run side by side, come late, fail, throw and are cancelled. Nothing here is decided
// by the clock: where something must wait, it waits for an event.
#include "dialogue/plugin_runner.h"

#include <gtest/gtest.h>

#include <barrier>
#include <chrono>
#include <future>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "base/log.h"
#include "base/status.h"
#include "dialogue/builtin_plugins.h"

namespace mossrt::runtime {
namespace {

constexpr double kForever = 3600;  // seconds; no test waits for it
constexpr double kAtOnce = 1e-3;

using Function = std::function<bool(PluginCall&)>;

PluginJob Job(Function run, double timeout = kForever, std::string argument = "1+2") {
  return {std::make_shared<const Plugin>(
              Plugin{.name = "Mine", .description = "", .timeout = timeout, .run = std::move(run)}),
          std::move(argument)};
}

Function Gives(std::string text) {
  return [text = std::move(text)](PluginCall& call) {
    call.result.ok = true;
    call.result.text = text;
    return true;
  };
}

bool UntilNobodyWaits(PluginCall& call) {
  while (call.wanted()) std::this_thread::yield();
  return Gives("too late")(call);
}

// What is logged while it lives.
class Logged {
 public:
  Logged() {
    SetLogSink(
        [this](LogLevel, std::string_view text) {
          const std::lock_guard lock(mutex_);
          text_.append(text).append("\n");
        },
        LogLevel::kWarn);
  }
  ~Logged() { SetLogSink(nullptr, LogLevel::kOff); }
  std::string text() {
    const std::lock_guard lock(mutex_);
    return text_;
  }

 private:
  std::mutex mutex_;
  std::string text_;
};

std::vector<CommandResult> Results(std::vector<PluginJob> jobs, Monitor* monitor = nullptr) {
  auto results = RunPlugins(jobs, monitor);
  EXPECT_TRUE(results.ok()) << results.status();
  return results.ok() ? *std::move(results) : std::vector<CommandResult>(jobs.size());
}

TEST(PluginRunner, ResultsByCommand) {
  std::vector<PluginJob> jobs;
  for (const char* argument : {"a", "b", "c"}) {
    jobs.push_back(Job([](PluginCall& call) { return Gives("<" + call.argument() + ">")(call); },
                       kForever, argument));
  }
  const auto results = Results(jobs);
  ASSERT_EQ(results.size(), 3u);
  EXPECT_EQ(results[0].text, "<a>");
  EXPECT_EQ(results[1].text, "<b>");
  EXPECT_EQ(results[2].text, "<c>");
  EXPECT_TRUE(results[0].ok && results[1].ok && results[2].ok);
  EXPECT_TRUE(Results({}).empty());
}

TEST(PluginRunner, SideBySide) {
  // Each waits for all four: one after another, none would end.
  auto together = std::make_shared<std::barrier<>>(4);
  const std::thread::id caller = std::this_thread::get_id();
  const Function run = [together, caller](PluginCall& call) {
    together->arrive_and_wait();
    return std::this_thread::get_id() != caller && Gives("met")(call);
  };
  for (const CommandResult& result : Results({Job(run), Job(run), Job(run), Job(run)})) {
    EXPECT_TRUE(result.ok);
    EXPECT_EQ(result.text, "met");
  }
}

TEST(PluginRunner, EachHasItsOwnTime) {
  Logged logged;
  // The first is late; the second ends only when the first was given up.
  auto given_up = std::make_shared<std::promise<void>>();
  const auto gone = given_up->get_future().share();
  const Function late = [given_up](PluginCall& call) {
    while (call.wanted()) std::this_thread::yield();
    given_up->set_value();
    return Gives("late")(call);
  };
  const Function waits = [gone](PluginCall& call) {
    gone.wait();
    return Gives("in time")(call);
  };
  const auto results = Results({Job(late, kAtOnce), Job(waits)});
  EXPECT_FALSE(results[0].ok);
  EXPECT_EQ(results[0].text, "");
  EXPECT_TRUE(results[1].ok);
  EXPECT_EQ(results[1].text, "in time");
  EXPECT_NE(logged.text().find("Mine(\"1+2\") has no result: it took too long"), std::string::npos)
      << logged.text();
}

TEST(PluginRunner, LateOnesLiveOnWhatOutlivesTheCall) {
  std::promise<void> go;
  auto state = std::make_shared<std::string>("shared");
  const std::weak_ptr<std::string> watched = state;
  {
    const Function run = [state, wait = go.get_future().share()](PluginCall& call) {
      wait.wait();
      return Gives(*state)(call);
    };
    const auto results = Results({Job(run, kAtOnce, std::string(1000, 'x'))});
    EXPECT_FALSE(results[0].ok);
  }
  state.reset();
  EXPECT_FALSE(watched.expired()) << "its thread still needs it";
  go.set_value();
  while (!watched.expired()) std::this_thread::yield();
}

TEST(PluginRunner, NoThreadHoldsAPluginWhoseResultIsThere) {
  for (int i = 0; i < 50; ++i) {
    auto state = std::make_shared<int>(i);
    const std::weak_ptr<int> watched = state;
    Results({Job([state = std::move(state)](PluginCall& call) { return Gives("1")(call); })});
    EXPECT_TRUE(watched.expired());
  }
}

TEST(PluginRunner, Failures) {
  Logged logged;
  const auto results = Results({
      Job([](PluginCall&) -> bool { throw std::runtime_error("no such city"); }),
      Job([](PluginCall&) -> bool { throw 5; }),
      Job([](PluginCall&) { return true; }),
      Job([](PluginCall& call) {
        call.error = "the server is gone";
        return !Gives("half")(call);
      }),
      Job(Gives("fine")),
  });
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_FALSE(results[i].ok) << i;
    EXPECT_EQ(results[i].text, "") << i;
  }
  EXPECT_TRUE(results[4].ok);
  for (const char* part :
       {"no such city", "no std::exception", "it gave none", "the server is gone"}) {
    EXPECT_NE(logged.text().find(part), std::string::npos) << part << "\n" << logged.text();
  }
}

TEST(PluginRunner, ACancelEndsTheWaiting) {
  Monitor monitor;
  // They are told, too, and are waited for here, since they use this stack.
  auto cancels_left = std::make_shared<std::promise<void>>();
  auto waits_left = std::make_shared<std::promise<void>>();
  const Function cancels = [&monitor, left = cancels_left](PluginCall& call) {
    monitor.Cancel();
    UntilNobodyWaits(call);
    left->set_value();
    return true;
  };
  const Function waits = [left = waits_left](PluginCall& call) {
    UntilNobodyWaits(call);
    left->set_value();
    return true;
  };
  const std::vector<PluginJob> jobs = {Job(cancels), Job(waits)};
  const auto results = RunPlugins(jobs, &monitor);
  EXPECT_EQ(results.status().code(), absl::StatusCode::kCancelled);
  cancels_left->get_future().wait();
  waits_left->get_future().wait();
  bool ran = false;
  const std::vector<PluginJob> more = {Job([&ran](PluginCall&) { return ran = true; })};
  EXPECT_EQ(RunPlugins(more, &monitor).status().code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(ran) << "a monitor stays cancelled";
}

TEST(PluginRunner, TheMonitorsFunction) {
  std::vector<std::uint64_t> seen;
  const std::thread::id caller = std::this_thread::get_id();
  Monitor monitor(
      [&](const char* stage, std::uint64_t done, std::uint64_t total) {
        EXPECT_STREQ(stage, "plugins");
        EXPECT_EQ(total, 2u);
        EXPECT_EQ(std::this_thread::get_id(), caller);
        seen.push_back(done);
        return 0;
      },
      std::chrono::milliseconds(0));
  Results({Job(Gives("a")), Job(Gives("b"))}, &monitor);
  EXPECT_EQ(seen.front(), 0u);
  EXPECT_EQ(seen.back(), 2u);

  Monitor ends([](const char*, std::uint64_t, std::uint64_t) { return -7; },
               std::chrono::milliseconds(0));
  const std::vector<PluginJob> jobs = {Job(UntilNobodyWaits)};
  EXPECT_EQ(RunPlugins(jobs, &ends).status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(ends.tick_code(), -7);
}

TEST(PluginRunner, AnyTimeout) {
  for (const double timeout : {1e6, 1e300, std::numeric_limits<double>::infinity()}) {
    EXPECT_TRUE(Results({Job(Gives("1"), timeout)})[0].ok) << timeout;
  }
}

TEST(BuiltinPlugins, CalculateAndSolve) {
  Logged logged;
  const auto run = [](std::string_view name, const char* argument) {
    const auto plugin = BuiltinPlugin(name);
    EXPECT_TRUE(plugin.ok()) << plugin.status();
    return Results({{*plugin, argument}})[0];
  };
  EXPECT_EQ(run("Calculate", "0.1 + 0.2").text, "0.30000000000000004");
  EXPECT_EQ(run("Solve", "3x = 160").text, "x = 160/3");
  EXPECT_FALSE(run("Calculate", "1/0").ok);
  EXPECT_FALSE(run("Solve", "1 = 2").ok);
  EXPECT_NE(logged.text().find("Calculate(\"1/0\")"), std::string::npos) << logged.text();
  const auto none = BuiltinPlugin("Search");
  EXPECT_EQ(none.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(Message(none.status()).find("Calculate and Solve"), std::string::npos);
}

}  // namespace
}  // namespace mossrt::runtime
