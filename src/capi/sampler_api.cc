#include <memory>

#include "base/status.h"
#include "capi/option_values.h"
#include "capi/session_calls.h"
#include "mossrt/mossrt.h"

namespace mossrt::capi {

runtime::LogitsProcessor Processor(mossrt_logits_fn fn, void* user) {
  return [fn, user](std::span<const std::int32_t> ids, std::span<float> logits) {
    return CallBack("a logits processor",
                    [&] { return fn(user, ids.data(), ids.size(), logits.data(), logits.size()); });
  };
}

}  // namespace mossrt::capi

using namespace mossrt::capi;     // NOLINT: the definitions below are the C functions
using namespace mossrt::runtime;  // NOLINT

mossrt_error* mossrt_sampler_create(const mossrt_options* o, mossrt_sampler** out) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(out);
    MOSSRT_ASSIGN_OR_RETURN(const Json values, ValuesOf(o, OptionKind::kGenerate));
    MOSSRT_ASSIGN_OR_RETURN(const ResolvedGenerateOptions resolved,
                            ResolveGenerateOptions(DumpJson(values), "", "", {}, nullptr));
    auto sampler = std::make_unique<mossrt_sampler>();
    MOSSRT_ASSIGN_OR_RETURN(sampler->sampler, Sampler::Create(resolved.options.sampling));
    *out = sampler.release();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_sampler_sample(mossrt_sampler* p, const int32_t* ids, size_t n_ids,
                                    const float* logits, size_t n, int32_t* token) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(p);
    if (n_ids > 0) MOSSRT_NEED(ids);
    MOSSRT_NEED(logits);
    if (n == 0) return absl::InvalidArgumentError("mossrt_sampler_sample: n must be at least 1");
    MOSSRT_NEED(token);
    const Use use(&p->in_use, Use::kExclusive);
    if (!use.held()) return Busy("sampler");
    p->scratch.assign(logits, logits + n);
    TokenChoice choice;
    MOSSRT_RETURN_IF_ERROR(
        p->sampler->Sample({ids, n_ids}, p->scratch, {}, static_cast<std::int64_t>(n), &choice));
    p->choice = std::move(choice);
    *token = p->choice.token;
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_sampler_logprobs(const mossrt_sampler* p, float* logprob,
                                      const int32_t** top_ids, const float** top_logprobs,
                                      size_t* n) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(p);
    const Use use(&p->in_use, Use::kExclusive);
    if (!use.held()) return Busy("sampler");
    if (p->choice.token < 0) {
      return absl::FailedPreconditionError("the sampler has chosen no token yet");
    }
    GiveLogprobs(p->choice, logprob, top_ids, top_logprobs, n);
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_sampler_add_processor(mossrt_sampler* p, mossrt_logits_fn fn, void* user) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(p);
    MOSSRT_NEED(fn);
    const Use use(&p->in_use, Use::kExclusive);
    if (!use.held()) return Busy("sampler");
    p->sampler->AddProcessor(Processor(fn, user));
    return absl::OkStatus();
  });
}

void mossrt_sampler_free(mossrt_sampler* p) {
  GuardVoid(__func__, [&] { delete p; });
}
