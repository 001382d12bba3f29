#include "mossrt/runtime/monitor.h"

namespace mossrt::runtime {

absl::Status Monitor::Tick(const char* stage, std::uint64_t done, std::uint64_t total) {
  if (cancelled()) return absl::CancelledError("cancelled by the caller");
  if (!tick_) return absl::OkStatus();
  const auto now = std::chrono::steady_clock::now();
  if (done != total && now - last_ < min_interval_) return absl::OkStatus();
  last_ = now;
  const int code = tick_(stage, done, total);
  if (code >= 0)
    return cancelled() ? absl::CancelledError("cancelled by the caller") : absl::OkStatus();
  tick_code_ = code;
  Cancel();
  return absl::CancelledError("ended by the monitor's callback");
}

}  // namespace mossrt::runtime
