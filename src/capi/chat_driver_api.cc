// A whole turn, an event at a time: what a program would otherwise do with the calls of
// chat_api.cc.
#include <cstdint>
#include <memory>
#include <utility>

#include "base/json.h"
#include "base/status.h"
#include "capi/chat_calls.h"
#include "capi/handles.h"
#include "capi/option_values.h"
#include "mossrt/mossrt.h"

namespace mossrt::capi {
namespace {

// Is what the generation has read still the conversation? Not after calls in between, nor for
// another session.
mossrt_error* Continues(const mossrt_chat* c, const mossrt_session* s, bool* continues) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    const Use use(&s->state->in_use, Use::kExclusive);
    if (!use.held()) return Busy("session");
    if (c->generation == nullptr || c->generation->session != s->state) return absl::OkStatus();
    const auto held = s->state->session->tokens();
    const runtime::ChatStep step = c->chat->Next(held);
    // The last token is read when the next one is wanted.
    *continues = step.keep == held.size() && step.add.size() <= 1;
    return absl::OkStatus();
  });
}

// The program's options, as a generation of this conversation takes them.
mossrt_error* GenerateOptionsOf(const mossrt_options* o, mossrt_options** out) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_ASSIGN_OR_RETURN(runtime::Json values, ValuesOf(o, runtime::OptionKind::kGenerate));
    auto own = std::make_unique<mossrt_options>();
    own->kind = runtime::OptionKind::kGenerate;
    own->values = std::move(values);
    *out = own.release();
    return absl::OkStatus();
  });
}

mossrt_error* Start(mossrt_chat* c, mossrt_session* s, const mossrt_options* o, mossrt_monitor* m) {
  mossrt_options* own = nullptr;
  mossrt_generation* g = nullptr;
  mossrt_error* e = GenerateOptionsOf(o, &own);
  if (e == nullptr) e = mossrt_chat_set_options(c, own);
  if (e == nullptr) e = mossrt_chat_eval(c, s, m);
  if (e == nullptr) e = mossrt_generation_start(s, own, m, &g);
  mossrt_options_free(own);
  c->generation.reset(g);
  if (e == nullptr) e = mossrt_chat_constrain(c, g);
  return e;
}

// One token of what the model writes.
mossrt_error* Generate(mossrt_chat* c, mossrt_session* s, const mossrt_options* o,
                       mossrt_monitor* m) {
  bool continues = false;
  mossrt_error* e = Continues(c, s, &continues);
  if (e == nullptr && !continues) e = Start(c, s, o, m);
  if (e != nullptr) return e;
  std::int32_t token = -1, more = 1, finish = MOSSRT_FINISH_NONE;
  e = mossrt_generation_next(c->generation.get(), &token, nullptr, nullptr, &finish);
  if (e == nullptr && token >= 0) e = mossrt_chat_push(c, token, &more);
  if (e == nullptr && more != 0 && finish != MOSSRT_FINISH_NONE) {
    e = mossrt_chat_end(c, finish);
    more = 0;
  }
  if (e == nullptr && more == 0) c->generation.reset();
  return e;
}

mossrt_error* Act(mossrt_chat* c, mossrt_session* s, const mossrt_options* o, mossrt_monitor* m,
                  std::int32_t action) {
  mossrt_error* e =
      action == MOSSRT_CHAT_GENERATE ? Generate(c, s, o, m) : mossrt_chat_run_commands(c, m);
  if (e == nullptr) return nullptr;
  c->generation.reset();
  if (mossrt_error_code(e) != MOSSRT_E_CANCELLED) return e;
  mossrt_error_free(e);
  return mossrt_chat_end(c, MOSSRT_FINISH_CANCELLED);
}

}  // namespace
}  // namespace mossrt::capi

using namespace mossrt::capi;  // NOLINT: the definition below is the C function

mossrt_error* mossrt_chat_advance(mossrt_chat* c, mossrt_session* s, const mossrt_options* o,
                                  mossrt_monitor* m, int32_t* type, const char** text, size_t* len,
                                  const int64_t** numbers, size_t* n) {
  const Use use(c == nullptr ? nullptr : &c->driven, Use::kExclusive);
  mossrt_error* e = Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(c);
    MOSSRT_NEED(s);
    MOSSRT_NEED(type);
    return use.held() ? absl::OkStatus() : Busy("chat");
  });
  // What follows has guards of its own, one for each call.
  while (e == nullptr) {
    e = mossrt_chat_event(c, type, text, len, numbers, n);
    if (e != nullptr || *type != MOSSRT_CHAT_EVENT_NONE) return e;
    std::int32_t action = MOSSRT_CHAT_DONE;
    e = mossrt_chat_next(c, nullptr, 0, &action, nullptr, nullptr, nullptr);
    if (e != nullptr || action == MOSSRT_CHAT_DONE) return e;
    e = Act(c, s, o, m, action);
  }
  return e;
}
