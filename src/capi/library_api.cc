#include <algorithm>
#include <memory>

#include "base/json.h"
#include "base/log.h"
#include "base/memory_info.h"
#include "base/status.h"
#include "capi/guard.h"
#include "capi/handles.h"
#include "capi/memory.h"
#include "mossrt/mossrt.h"
#include "mossrt/runtime/gemm_backend.h"
#include "mossrt/runtime/thread_team.h"

using namespace mossrt::capi;     // NOLINT: the definitions below are the C functions
using namespace mossrt::runtime;  // NOLINT
namespace cpu = mossrt::cpu;

// Constants need no guard.
uint32_t mossrt_abi_version(void) { return MOSSRT_ABI_MAJOR * 65536u + MOSSRT_ABI_MINOR; }

const char* mossrt_version(void) { return MOSSRT_VERSION_TEXT; }

mossrt_error* mossrt_system_info(char** json, size_t* len) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(json);
    MOSSRT_NEED(len);
    const cpu::KernelTable* kernels = cpu::Kernels();
    if (kernels == nullptr) return absl::InvalidArgumentError(cpu::KernelError());
    Json tables = Json::array();
    int count = 0;
    const cpu::KernelTable* const* all = cpu::KernelTables(&count);
    for (int i = 0; i < count; ++i) {
      tables.push_back({{"name", all[i]->name}, {"available", all[i]->available()}});
    }
    const MemoryInfo memory = AvailableMemory();
    return GiveText(DumpJson({{"version", MOSSRT_VERSION_TEXT},
                              {"isa", kernels->name},
                              {"cpu_features", cpu::CpuFeatureNames()},
                              {"kernel_tables", tables},
                              {"outside_kernels", cpu::OutsideKernelsActive()},
                              {"threads", DefaultThreads()},
                              {"backends", BackendNames()},
                              {"memory_available", memory.available},
                              {"memory_limited_by", memory.limited_by}}),
                    json, len);
  });
}

mossrt_error* mossrt_set_log(mossrt_log_fn fn, void* user, int32_t level) {
  return Guard(__func__, [&]() -> absl::Status {
    if (level < MOSSRT_LOG_OFF || level > MOSSRT_LOG_DEBUG) {
      return absl::InvalidArgumentError(
          Cat("mossrt_set_log: level must be one of MOSSRT_LOG_*, found ", level));
    }
    LogSink sink;
    if (fn != nullptr) {
      sink = [fn, user](LogLevel at, std::string_view text) {
        const std::string terminated(text);
        fn(user, static_cast<int32_t>(at), terminated.c_str(), terminated.size());
      };
    }
    SetLogSink(std::move(sink), static_cast<LogLevel>(level));
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_monitor_create(mossrt_tick_fn fn, void* user, int32_t min_interval_ms,
                                    mossrt_monitor** out) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(out);
    if (min_interval_ms < 0) {
      return absl::InvalidArgumentError(Cat(
          "mossrt_monitor_create: min_interval_ms must not be negative, found ", min_interval_ms));
    }
    Monitor::TickFn tick;
    if (fn != nullptr) {
      tick = [fn, user](const char* stage, std::uint64_t done, std::uint64_t total) {
        const absl::Status status =
            CallBack("the monitor's function", [&] { return fn(user, stage, done, total); });
        return status.ok() ? 0 : std::min(-1, CallFrame::Current()->callback_code());
      };
    }
    auto monitor = std::make_unique<mossrt_monitor>();
    monitor->state =
        std::make_shared<MonitorState>(std::move(tick), std::chrono::milliseconds(min_interval_ms));
    *out = monitor.release();
    return absl::OkStatus();
  });
}

// Callable from a signal handler: nothing but one atomic store.
void mossrt_monitor_cancel(mossrt_monitor* m) {
  if (m != nullptr) m->state->monitor.Cancel();
}

void mossrt_monitor_free(mossrt_monitor* m) {
  GuardVoid(__func__, [&] { delete m; });
}
