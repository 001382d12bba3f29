// What the calls of conversations share.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "capi/handles.h"
#include "mossrt/mossrt.h"

namespace mossrt::capi {

// The options, with meta_instruction.txt of the checkpoint where they want it.
absl::StatusOr<runtime::ChatOptions> FullChatOptions(const mossrt_tokenizer& t,
                                                     const mossrt_options* o);

// A conversation that is too long has a code of its own.
absl::Status ChatStatus(const absl::Status& status);

// Gives the results that were set to the turn.
absl::Status EndCommands(mossrt_chat& c);

// f() -> absl::Status while no other call uses c.
template <typename Handle, typename F>
mossrt_error* WithChat(const char* function, Handle* c, F&& f) noexcept {
  return Guard(function, [&]() -> absl::Status {
    MOSSRT_NEED(c);
    const Use use(&c->in_use, Use::kExclusive);
    if (!use.held()) return Busy("chat");
    return std::forward<F>(f)();
  });
}

}  // namespace mossrt::capi
