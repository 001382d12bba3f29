#include "base/log.h"

#include <atomic>
#include <mutex>
#include <utility>

namespace mossrt::runtime {
namespace {

std::atomic<int> threshold{0};
std::mutex mutex;
LogSink& Sink() {
  static LogSink* sink = new LogSink;  // outlives every static object that may still log
  return *sink;
}

}  // namespace

void SetLogSink(LogSink sink, LogLevel level) {
  const std::lock_guard lock(mutex);
  threshold.store(sink ? static_cast<int>(level) : 0, std::memory_order_relaxed);
  Sink() = std::move(sink);
}

bool LogEnabled(LogLevel level) {
  return static_cast<int>(level) <= threshold.load(std::memory_order_relaxed);
}

void Log(LogLevel level, std::string_view text) {
  if (!LogEnabled(level)) return;
  const std::lock_guard lock(mutex);
  if (Sink()) Sink()(level, text);
}

}  // namespace mossrt::runtime
