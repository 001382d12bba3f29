#include "capi/guard.h"

#include <cstdlib>
#include <cstring>

#include "absl/strings/cord.h"

struct mossrt_error {
  std::int32_t code;
  std::int32_t callback_code;
  const char* text;  // behind the struct, in the same allocation, or static
};

namespace mossrt::capi {
namespace {

constexpr char kCodePayload[] = "mossrt.code";

const mossrt_error kOutOfMemory = {MOSSRT_E_OUT_OF_MEMORY, 0,
                                   "the system has no memory left for this call"};

}  // namespace

thread_local CallFrame* CallFrame::current_ = nullptr;

absl::Status CodedError(std::int32_t code, std::string_view message) {
  absl::Status status = absl::UnknownError({message.data(), message.size()});
  status.SetPayload(kCodePayload, absl::Cord(std::to_string(code)));
  return status;
}

std::int32_t CodeOf(const absl::Status& status) {
  if (const auto code = status.GetPayload(kCodePayload)) return std::stoi(std::string(*code));
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return MOSSRT_OK;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kAlreadyExists:
      return MOSSRT_E_INVALID_ARGUMENT;
    case absl::StatusCode::kNotFound:
      return MOSSRT_E_NOT_FOUND;
    case absl::StatusCode::kPermissionDenied:
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kAborted:
    case absl::StatusCode::kDeadlineExceeded:
      return MOSSRT_E_IO;
    case absl::StatusCode::kDataLoss:
      return MOSSRT_E_FORMAT;
    case absl::StatusCode::kUnimplemented:
      return MOSSRT_E_UNSUPPORTED;
    case absl::StatusCode::kResourceExhausted:
      return MOSSRT_E_OUT_OF_MEMORY;
    case absl::StatusCode::kCancelled:
      return MOSSRT_E_CANCELLED;
    case absl::StatusCode::kFailedPrecondition:
      return MOSSRT_E_STATE;
    default:
      return MOSSRT_E_INTERNAL;
  }
}

mossrt_error* OutOfMemory() noexcept { return const_cast<mossrt_error*>(&kOutOfMemory); }

mossrt_error* MakeError(std::int32_t code, std::int32_t callback_code,
                        std::string_view text) noexcept {
  void* memory = std::malloc(sizeof(mossrt_error) + text.size() + 1);
  if (memory == nullptr) return OutOfMemory();
  char* copy = static_cast<char*>(memory) + sizeof(mossrt_error);
  std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  return new (memory) mossrt_error{code, callback_code, copy};
}

}  // namespace mossrt::capi

// These four neither compute nor allocate, so they need no guard.
std::int32_t mossrt_error_code(const mossrt_error* e) { return e == nullptr ? MOSSRT_OK : e->code; }

std::int32_t mossrt_error_callback_code(const mossrt_error* e) {
  return e == nullptr ? 0 : e->callback_code;
}

const char* mossrt_error_message(const mossrt_error* e) { return e == nullptr ? "" : e->text; }

void mossrt_error_free(mossrt_error* e) {
  if (e != &mossrt::capi::kOutOfMemory) std::free(e);
}
