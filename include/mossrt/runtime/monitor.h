// Progress, cancellation and signal polling of one long call. Owned by src/base.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>

#include "absl/status/status.h"

namespace mossrt::runtime {

// Cancel() is one atomic store: callable from any thread and from a signal handler. Tick() belongs
// to the thread that made the call; workers look at cancelled() only.
class Monitor {
 public:
  // Returns a negative number to end the call; that number comes back in the status (see TickCode).
  using TickFn = std::function<int(const char* stage, std::uint64_t done, std::uint64_t total)>;

  explicit Monitor(TickFn tick = nullptr,
                   std::chrono::milliseconds min_interval = std::chrono::milliseconds(50))
      : tick_(std::move(tick)), min_interval_(min_interval) {}

  void Cancel() { cancelled_.store(true, std::memory_order_relaxed); }
  bool cancelled() const { return cancelled_.load(std::memory_order_relaxed); }

  // kCancelled if Cancel() was called or the tick function returned a negative number. The tick
  // function is called at most once per interval, except at the end of a stage (done == total).
  absl::Status Tick(const char* stage, std::uint64_t done, std::uint64_t total);

  // The negative number the tick function returned, or 0.
  int tick_code() const { return tick_code_; }

 private:
  std::atomic<bool> cancelled_{false};
  static_assert(std::atomic<bool>::is_always_lock_free);
  TickFn tick_;
  std::chrono::milliseconds min_interval_;
  std::chrono::steady_clock::time_point last_{};
  int tick_code_ = 0;
};

// Null-tolerant forms.
inline absl::Status Tick(Monitor* monitor, const char* stage, std::uint64_t done,
                         std::uint64_t total) {
  return monitor == nullptr ? absl::OkStatus() : monitor->Tick(stage, done, total);
}
inline bool Cancelled(const Monitor* monitor) { return monitor != nullptr && monitor->cancelled(); }

}  // namespace mossrt::runtime
