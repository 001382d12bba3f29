#include "dialogue/plugin_runner.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "base/blocked_signals.h"
#include "base/log.h"
#include "base/status.h"

namespace mossrt::runtime {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::milliseconds kLook(20);  // how often the monitor is looked at
constexpr double kLongest = 1e6;                // seconds; longer ones are no limit anyway

// One command, shared by the caller and its thread, whichever ends later.
struct Seat {
  explicit Seat(const PluginJob& job)
      : plugin(job.plugin), what(Cat(plugin->name, "(\"", job.argument, "\")")) {}
  std::shared_ptr<const Plugin> plugin;  // the thread's
  const std::string what;
  std::atomic<bool> wanted{true};
  CommandResult result;  // under the board's mutex, like all below
  bool waiting = true;
  Clock::time_point deadline;
};

struct Board {
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::unique_ptr<Seat>> seats;
};

void LogFailure(const Seat& seat, std::string_view why) {
  Log(LogLevel::kWarn, Cat("the command ", seat.what, " has no result: ", why));
}

CommandResult Call(const Seat& seat, std::string argument) {
  PluginCall call(std::move(argument), &seat.wanted);
  bool fine = false;
  try {
    fine = seat.plugin->run(call);
  } catch (const std::exception& e) {
    call.error = Cat("it threw an exception: ", e.what());
  } catch (...) {
    call.error = "it threw something that is no std::exception";
  }
  if (fine && call.result.ok) return std::move(call.result);
  if (call.error.empty()) call.error = fine ? "it gave none" : "it failed";
  LogFailure(seat, call.error);
  return {};
}

void Work(Board& board, Seat& seat, std::string argument) noexcept {
  CommandResult result;
  try {
    result = Call(seat, std::move(argument));
  } catch (...) {  // no memory: no result
  }
  seat.plugin.reset();
  const std::lock_guard lock(board.mutex);
  if (!seat.waiting) return;
  seat.result = std::move(result);
  seat.waiting = false;
  board.changed.notify_all();
}

void Start(const std::shared_ptr<Board>& board, Seat& seat, const std::string& argument) {
  try {
    const BlockedSignals blocked;
    std::thread([board, &seat, argument] { Work(*board, seat, argument); }).detach();
  } catch (const std::system_error& e) {
    LogFailure(seat, Cat("the system gives no thread: ", e.what()));
    seat.waiting = false;
  }
}

void Close(Seat& seat) {
  seat.waiting = false;
  seat.wanted.store(false, std::memory_order_relaxed);
}

// Under the mutex. How many are waited for, when the next of them comes too late, and which do now.
std::size_t CloseLate(Board& board, Clock::time_point* next, std::vector<const Seat*>* late) {
  std::size_t waiting = 0;
  const Clock::time_point now = Clock::now();
  for (const auto& seat : board.seats) {
    if (!seat->waiting) continue;
    if (seat->deadline <= now) {
      Close(*seat);
      late->push_back(seat.get());
      continue;
    }
    ++waiting;
    *next = std::min(*next, seat->deadline);
  }
  return waiting;
}

}  // namespace

absl::StatusOr<std::vector<CommandResult>> RunPlugins(std::span<const PluginJob> jobs,
                                                      Monitor* monitor) {
  const auto board = std::make_shared<Board>();
  const Clock::time_point start = Clock::now();
  for (const PluginJob& job : jobs) {
    Seat& seat = *board->seats.emplace_back(std::make_unique<Seat>(job));
    seat.deadline =
        start + std::chrono::duration_cast<Clock::duration>(
                    std::chrono::duration<double>(std::min(job.plugin->timeout, kLongest)));
  }
  const std::size_t total = jobs.size();
  MOSSRT_RETURN_IF_ERROR(Tick(monitor, "plugins", 0, total));
  for (std::size_t i = 0; i < total; ++i) Start(board, *board->seats[i], jobs[i].argument);
  std::unique_lock lock(board->mutex);
  while (true) {
    Clock::time_point next = Clock::now() + kLook;
    std::vector<const Seat*> late;
    const std::size_t waiting = CloseLate(*board, &next, &late);
    lock.unlock();  // log and monitor call functions of the program
    for (const Seat* seat : late) LogFailure(*seat, "it took too long");
    const absl::Status status = Tick(monitor, "plugins", total - waiting, total);
    lock.lock();
    if (!status.ok()) {
      for (const auto& seat : board->seats) Close(*seat);
      return status;
    }
    if (waiting == 0) break;
    board->changed.wait_until(lock, next);
  }
  std::vector<CommandResult> results;
  for (const auto& seat : board->seats) results.push_back(std::move(seat->result));
  return results;
}

}  // namespace mossrt::runtime
