#include <algorithm>
#include <chrono>
#include <memory>

#include "base/status.h"
#include "capi/memory.h"
#include "capi/option_values.h"
#include "capi/session_calls.h"
#include "capi/tokenizer_state.h"
#include "mossrt/mossrt.h"

namespace mossrt::capi {
namespace {

using runtime::Finish;
using runtime::Json;

const runtime::Tokenizer* TokenizerOf(const ModelState& model) {
  return model.tokenizer == nullptr ? nullptr : model.tokenizer->tokenizer.get();
}

absl::StatusOr<runtime::ResolvedGenerateOptions> Resolve(const ModelState& model,
                                                         const mossrt_options* o) {
  MOSSRT_ASSIGN_OR_RETURN(const Json arguments, ValuesOf(o, runtime::OptionKind::kGenerate));
  auto resolved =
      runtime::ResolveGenerateOptions(runtime::DumpJson(arguments), model.generation_config_json,
                                      model.config_json, model.model->params(), TokenizerOf(model));
  if (!resolved.ok()) return runtime::InFolder(resolved.status(), model.path);
  return resolved;
}

Json OriginsJson(const std::vector<runtime::OptionOrigin>& origins) {
  Json options = Json::array();
  for (const runtime::OptionOrigin& origin : origins) {
    auto value = runtime::ParseJson(origin.value, origin.key);
    options.push_back({{"key", origin.key},
                       {"value", value.ok() ? *std::move(value) : Json(origin.value)},
                       {"origin", origin.origin}});
  }
  return options;
}

// The session is held by the caller.
absl::StatusOr<std::unique_ptr<mossrt_generation>> Start(
    const std::shared_ptr<SessionState>& session, const mossrt_options* o,
    std::shared_ptr<MonitorState> monitor) {
  const ModelState& model = *session->model;
  MOSSRT_ASSIGN_OR_RETURN(runtime::ResolvedGenerateOptions resolved, Resolve(model, o));
  auto g = std::make_unique<mossrt_generation>();
  g->session = session;
  g->monitor = std::move(monitor);
  g->origins = std::move(resolved.origins);
  g->prompt_tokens = session->session->tokens().size();
  g->room = session->session->context() - static_cast<std::int64_t>(g->prompt_tokens);
  if (resolved.options.max_new_tokens >= 0) {
    g->room = std::min(g->room, resolved.options.max_new_tokens);
  }
  MOSSRT_ASSIGN_OR_RETURN(
      g->generation,
      runtime::Generation::Start(*session->session, TokenizerOf(model), resolved.options,
                                 g->monitor == nullptr ? nullptr : &g->monitor->monitor));
  return g;
}

// Generation, session and monitor are held by the caller.
absl::Status Next(mossrt_generation& g) {
  g.started = true;
  const auto start = std::chrono::steady_clock::now();
  runtime::GenerationStep step;
  MOSSRT_RETURN_IF_ERROR(g.generation->Next(&step));
  g.seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  g.step = std::move(step);
  // A cancel is an expected end, a number that the monitor's function returned in this call is not.
  const std::int32_t callback = CallFrame::Current()->callback_code();
  if (g.step.finish == Finish::kCancelled && callback != 0) {
    return absl::CancelledError(runtime::Cat("the monitor's function returned ", callback));
  }
  return absl::OkStatus();
}

std::int32_t FinishCode(Finish finish) {
  switch (finish) {
    case Finish::kNone:
      return MOSSRT_FINISH_NONE;
    case Finish::kStopToken:
      return MOSSRT_FINISH_STOP_TOKEN;
    case Finish::kStopString:
      return MOSSRT_FINISH_STOP_STRING;
    case Finish::kLength:
      return MOSSRT_FINISH_LENGTH;
    case Finish::kContextFull:
      return MOSSRT_FINISH_CONTEXT_FULL;
    case Finish::kCancelled:
      return MOSSRT_FINISH_CANCELLED;
  }
  return MOSSRT_FINISH_NONE;
}

InUse* InUseOf(const std::shared_ptr<MonitorState>& monitor) {
  return monitor == nullptr ? nullptr : &monitor->in_use;
}

absl::Status EvalPrompt(SessionState& session, std::string_view prompt, std::uint32_t flags,
                        runtime::Monitor* monitor) {
  if (session.model->tokenizer == nullptr) return session.model->tokenizer_status;
  std::vector<std::int32_t> ids;
  MOSSRT_RETURN_IF_ERROR(
      session.model->tokenizer->tokenizer->Encode(prompt, EncodeOptionsOf(flags), &ids));
  return ids.empty() ? absl::OkStatus() : Eval(session, ids, {}, monitor);
}

}  // namespace

absl::Status BeforeFirstToken(const mossrt_generation& g) {
  if (!g.started) return absl::OkStatus();
  return absl::FailedPreconditionError(
      "logits processors must be added before the first mossrt_generation_next");
}

}  // namespace mossrt::capi

using namespace mossrt::capi;     // NOLINT: the definitions below are the C functions
using namespace mossrt::runtime;  // NOLINT

mossrt_error* mossrt_generation_start(mossrt_session* s, const mossrt_options* o, mossrt_monitor* m,
                                      mossrt_generation** out) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(s);
    MOSSRT_NEED(out);
    const Use use(&s->state->in_use, Use::kExclusive);
    if (!use.held()) return Busy("session");
    const Use use_monitor(m == nullptr ? nullptr : &m->state->in_use, Use::kExclusive);
    if (!use_monitor.held()) return Busy("monitor");
    MOSSRT_ASSIGN_OR_RETURN(auto generation, Start(s->state, o, m == nullptr ? nullptr : m->state));
    *out = generation.release();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_model_generation_options(const mossrt_model* model, const mossrt_options* o,
                                              char** json, size_t* len) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(model);
    MOSSRT_NEED(json);
    MOSSRT_NEED(len);
    MOSSRT_ASSIGN_OR_RETURN(const ResolvedGenerateOptions resolved, Resolve(*model->state, o));
    return GiveText(DumpJson(OriginsJson(resolved.origins)), json, len);
  });
}

mossrt_error* mossrt_generation_add_processor(mossrt_generation* g, mossrt_logits_fn fn,
                                              void* user) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(g);
    MOSSRT_NEED(fn);
    const Use use(&g->in_use, Use::kExclusive);
    if (!use.held()) return Busy("generation");
    MOSSRT_RETURN_IF_ERROR(BeforeFirstToken(*g));
    g->generation->AddProcessor(Processor(fn, user));
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_generation_next(mossrt_generation* g, int32_t* token, const char** text,
                                     size_t* len, int32_t* finish) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(g);
    const Use use(&g->in_use, Use::kExclusive);
    if (!use.held()) return Busy("generation");
    const Use use_session(&g->session->in_use, Use::kExclusive);
    if (!use_session.held()) return Busy("session");
    const Use use_monitor(InUseOf(g->monitor), Use::kExclusive);
    if (!use_monitor.held()) return Busy("monitor");
    MOSSRT_RETURN_IF_ERROR(Next(*g));
    if (token != nullptr) *token = g->step.choice.token;
    if (text != nullptr) *text = g->step.text.c_str();
    if (len != nullptr) *len = g->step.text.size();
    if (finish != nullptr) *finish = FinishCode(g->step.finish);
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_generation_logprobs(const mossrt_generation* g, float* logprob,
                                         const int32_t** top_ids, const float** top_logprobs,
                                         size_t* n) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(g);
    const Use use(&g->in_use, Use::kExclusive);
    if (!use.held()) return Busy("generation");
    if (g->step.choice.token < 0) {
      return absl::FailedPreconditionError("the last step of the generation chose no token");
    }
    GiveLogprobs(g->step.choice, logprob, top_ids, top_logprobs, n);
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_generation_info(const mossrt_generation* g, char** json, size_t* len) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(g);
    MOSSRT_NEED(json);
    MOSSRT_NEED(len);
    const Use use(&g->in_use, Use::kExclusive);
    if (!use.held()) return Busy("generation");
    return GiveText(DumpJson({{"options", OriginsJson(g->origins)},
                              {"prompt_tokens", g->prompt_tokens},
                              {"new_tokens", g->generation->new_ids().size()},
                              {"finish", g->step.finish == Finish::kNone
                                             ? Json(nullptr)
                                             : Json(std::string(FinishName(g->step.finish)))},
                              {"seconds", g->seconds}}),
                    json, len);
  });
}

void mossrt_generation_free(mossrt_generation* g) {
  GuardVoid(__func__, [&] { delete g; });
}

mossrt_error* mossrt_generate(mossrt_session* s, const char* prompt, size_t len,
                              uint32_t encode_flags, const mossrt_options* o, mossrt_monitor* m,
                              mossrt_text_fn fn, void* user, int32_t* finish) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(s);
    if (len > 0) MOSSRT_NEED(prompt);
    MOSSRT_NEED(fn);
    MOSSRT_RETURN_IF_ERROR(KnownFlags(encode_flags, kEncodeFlags));
    const Use use(&s->state->in_use, Use::kExclusive);
    if (!use.held()) return Busy("session");
    const Use use_monitor(m == nullptr ? nullptr : &m->state->in_use, Use::kExclusive);
    if (!use_monitor.held()) return Busy("monitor");
    // Options are judged before the prompt is evaluated, so that a wrong one costs nothing.
    MOSSRT_RETURN_IF_ERROR(ValuesOf(o, OptionKind::kGenerate).status());
    MOSSRT_RETURN_IF_ERROR(EvalPrompt(*s->state, std::string_view(prompt, len), encode_flags,
                                      m == nullptr ? nullptr : &m->state->monitor));
    MOSSRT_ASSIGN_OR_RETURN(const auto generation,
                            Start(s->state, o, m == nullptr ? nullptr : m->state));
    const GenerationStep& step = generation->step;
    do {
      MOSSRT_RETURN_IF_ERROR(Next(*generation));
      MOSSRT_RETURN_IF_ERROR(CallBack("the text function", [&] {
        return fn(user, step.text.c_str(), step.text.size(), step.choice.token);
      }));
    } while (step.finish == Finish::kNone);
    if (finish != nullptr) *finish = FinishCode(step.finish);
    return absl::OkStatus();
  });
}
