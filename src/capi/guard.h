// The one place where a status, or whatever was thrown, becomes an error object of the C interface.
// Every exported function that can fail, or whose work could, runs inside Guard.
#pragma once

#include <cstdint>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "base/cat.h"
#include "mossrt/mossrt.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::capi {

// One running call of the C interface on this thread. Callbacks run on the calling thread, so their
// numbers need not travel through the rooms in between, which know nothing of them.
class CallFrame {
 public:
  explicit CallFrame(const char* function) : function_(function), outer_(current_) {
    current_ = this;
  }
  ~CallFrame() { current_ = outer_; }
  CallFrame(const CallFrame&) = delete;
  CallFrame& operator=(const CallFrame&) = delete;

  // Never null below Guard; null on threads that run no call.
  static CallFrame* Current() { return current_; }
  const char* function() const { return function_; }
  std::int32_t callback_code() const { return callback_code_; }
  void set_callback_code(std::int32_t code) { callback_code_ = code; }

 private:
  static thread_local CallFrame* current_;
  const char* function_;
  CallFrame* outer_;
  std::int32_t callback_code_ = 0;
};

// A status with a code that absl has no word for (MOSSRT_E_BUSY, MOSSRT_E_CONTEXT_FULL, ...).
absl::Status CodedError(std::int32_t code, std::string_view message);
// MOSSRT_E_* of a status.
std::int32_t CodeOf(const absl::Status& status);

// Neither throws; without memory for the text they return a static error object that says so.
mossrt_error* MakeError(std::int32_t code, std::int32_t callback_code,
                        std::string_view text) noexcept;
mossrt_error* OutOfMemory() noexcept;

template <typename F>
mossrt_error* Guard(const char* function, F&& f) noexcept {
  const cpu::FloatModeGuard float_mode;
  const CallFrame frame(function);
  try {
    const absl::Status status = std::forward<F>(f)();
    if (status.ok()) return nullptr;
    const std::int32_t callback = frame.callback_code();
    return MakeError(callback == 0 ? CodeOf(status) : MOSSRT_E_CALLBACK, callback,
                     runtime::Message(status));
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  } catch (const std::length_error&) {
    return OutOfMemory();  // a container was asked for more than any memory holds
  } catch (const std::exception& e) {
    return MakeError(MOSSRT_E_INTERNAL, 0, e.what());
  } catch (...) {
    return MakeError(MOSSRT_E_INTERNAL, 0, "something that is no std::exception was thrown");
  }
}

// The same for functions that return nothing.
template <typename F>
void GuardVoid(const char* function, F&& f) noexcept {
  mossrt_error_free(Guard(function, [&] {
    f();
    return absl::OkStatus();
  }));
}

inline absl::Status NullArgument(const char* parameter) {
  return absl::InvalidArgumentError(
      runtime::Cat(CallFrame::Current()->function(), ": ", parameter, " must not be NULL"));
}

// Runs a callback of the program's. Negative numbers, and exceptions, which must not cross the
// rooms, end the call.
template <typename F>
absl::Status CallBack(std::string_view what, F&& f) {
  std::int32_t code = -1;
  std::string end = "threw an exception";
  try {
    code = std::forward<F>(f)();
    if (code >= 0) return absl::OkStatus();
    end = runtime::Cat("returned ", code);
  } catch (...) {
    code = -1;
  }
  if (CallFrame* frame = CallFrame::Current()) frame->set_callback_code(code);
  return absl::AbortedError(runtime::Cat(what, " ", end));
}

}  // namespace mossrt::capi

#define MOSSRT_NEED(parameter) \
  if ((parameter) == nullptr) return ::mossrt::capi::NullArgument(#parameter)
