// What the session, sampler and generation calls share.
#pragma once

#include <span>

#include "absl/status/status.h"
#include "capi/handles.h"

namespace mossrt::capi {

// Session::Eval; a context that is full has its own code. The session is held by the caller.
absl::Status Eval(SessionState& state, std::span<const std::int32_t> ids,
                  const runtime::EvalOptions& options, runtime::Monitor* monitor);

// Every out parameter may be null.
inline void GiveLogprobs(const runtime::TokenChoice& choice, float* logprob,
                         const std::int32_t** top_ids, const float** top_logprobs, std::size_t* n) {
  if (logprob != nullptr) *logprob = choice.logprob;
  if (top_ids != nullptr) *top_ids = choice.top_ids.data();
  if (top_logprobs != nullptr) *top_logprobs = choice.top_logprobs.data();
  if (n != nullptr) *n = choice.top_ids.size();
}

// An error if it has made a token: its processors are fixed then.
absl::Status BeforeFirstToken(const mossrt_generation& g);
// The program's logits function as the runtime calls it.
runtime::LogitsProcessor Processor(mossrt_logits_fn fn, void* user);

}  // namespace mossrt::capi
