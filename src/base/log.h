// Warnings and notes for a person. Silent unless the program sets a sink; never stdout.
#pragma once

#include <functional>
#include <string_view>

namespace mossrt::runtime {

enum class LogLevel { kOff = 0, kError = 1, kWarn = 2, kInfo = 3, kDebug = 4 };

using LogSink = std::function<void(LogLevel level, std::string_view text)>;

// Replaces the sink of the process; an empty one silences. Thread-safe.
void SetLogSink(LogSink sink, LogLevel level);
bool LogEnabled(LogLevel level);
void Log(LogLevel level, std::string_view text);

}  // namespace mossrt::runtime
