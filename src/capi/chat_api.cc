// Conversations: creation, the steps of a turn, what to keep.
#include <algorithm>
#include <memory>
#include <string>
#include <utility>

#include "base/status.h"
#include "capi/chat_calls.h"
#include "capi/memory.h"
#include "capi/option_values.h"
#include "capi/session_calls.h"
#include "capi/tokenizer_state.h"
#include "mossrt/mossrt.h"

namespace mossrt::capi {

absl::StatusOr<runtime::ChatOptions> FullChatOptions(const mossrt_tokenizer& t,
                                                     const mossrt_options* o) {
  MOSSRT_ASSIGN_OR_RETURN(runtime::ChatOptions options, ChatOptionsOf(o));
  MOSSRT_ASSIGN_OR_RETURN(const bool wanted, runtime::WantsMetaFile(options));
  if (!wanted) return options;
  MOSSRT_ASSIGN_OR_RETURN(options.meta_file, t.state->packed_meta);
  if (!options.meta_file && !t.state->path.empty()) {
    auto file = runtime::ReadMetaFile(t.state->path);
    if (!file.ok()) return BlameFile(file.status());
    options.meta_file = *std::move(file);
  }
  return options;
}

absl::Status ChatStatus(const absl::Status& status) {
  return absl::IsResourceExhausted(status)
             ? CodedError(MOSSRT_E_CONTEXT_FULL, runtime::Message(status))
             : status;
}

namespace {

std::int32_t ActionCode(runtime::ChatAction action) {
  switch (action) {
    case runtime::ChatAction::kDone:
      return MOSSRT_CHAT_DONE;
    case runtime::ChatAction::kGenerate:
      return MOSSRT_CHAT_GENERATE;
    case runtime::ChatAction::kRunCommands:
      return MOSSRT_CHAT_RUN_COMMANDS;
  }
  return MOSSRT_CHAT_DONE;
}

}  // namespace
}  // namespace mossrt::capi

using namespace mossrt::capi;     // NOLINT: the definitions below are the C functions
using namespace mossrt::runtime;  // NOLINT

mossrt_error* mossrt_chat_create(const mossrt_tokenizer* t, const mossrt_options* o,
                                 mossrt_chat** out) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(t);
    MOSSRT_NEED(out);
    MOSSRT_ASSIGN_OR_RETURN(const ChatOptions options, FullChatOptions(*t, o));
    auto c = std::make_unique<mossrt_chat>();
    c->tokenizer = t->state;
    auto chat = Chat::Create(*t->state->tokenizer, options);
    if (!chat.ok()) return ChatStatus(chat.status());
    c->chat = *std::move(chat);
    *out = c.release();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_load(const mossrt_tokenizer* t, const char* saved, size_t len,
                               const mossrt_options* o, mossrt_chat** out) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(t);
    MOSSRT_NEED(saved);
    MOSSRT_NEED(out);
    MOSSRT_ASSIGN_OR_RETURN(const ChatOptions options, ChatOptionsOf(o));
    auto c = std::make_unique<mossrt_chat>();
    c->tokenizer = t->state;
    auto chat = Chat::Load(*t->state->tokenizer, std::string_view(saved, len), options);
    if (!chat.ok()) return ChatStatus(chat.status());
    c->chat = *std::move(chat);
    *out = c.release();
    return absl::OkStatus();
  });
}

void mossrt_chat_free(mossrt_chat* c) {
  GuardVoid(__func__, [&] { delete c; });
}

mossrt_error* mossrt_chat_send(mossrt_chat* c, const char* text, size_t len) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    if (len > 0) MOSSRT_NEED(text);
    MOSSRT_RETURN_IF_ERROR(ChatStatus(c->chat->Send(std::string_view(text, len))));
    c->results.clear();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_next(const mossrt_chat* c, const int32_t* held, size_t n_held,
                               int32_t* action, size_t* keep, const int32_t** add, size_t* n_add) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    if (n_held > 0) MOSSRT_NEED(held);
    MOSSRT_NEED(action);
    const ChatStep step = c->chat->Next(std::span(held, n_held));
    *action = ActionCode(step.action);
    if (keep != nullptr) *keep = step.keep;
    if (add != nullptr) *add = step.add.data();
    if (n_add != nullptr) *n_add = step.add.size();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_eval(const mossrt_chat* c, mossrt_session* s, mossrt_monitor* m) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    MOSSRT_NEED(s);
    const Use use(&s->state->in_use, Use::kExclusive);
    if (!use.held()) return Busy("session");
    const Use use_monitor(m == nullptr ? nullptr : &m->state->in_use, Use::kExclusive);
    if (!use_monitor.held()) return Busy("monitor");
    const ChatStep step = c->chat->Next(s->state->session->tokens());
    if (step.keep < s->state->session->tokens().size()) {
      MOSSRT_RETURN_IF_ERROR(s->state->session->Rewind(static_cast<std::int64_t>(step.keep)));
    }
    if (step.add.empty()) return absl::OkStatus();
    return Eval(*s->state, step.add, {}, m == nullptr ? nullptr : &m->state->monitor);
  });
}

mossrt_error* mossrt_chat_set_options(const mossrt_chat* c, mossrt_options* o) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    MOSSRT_NEED(o);
    const Use use(&o->in_use, Use::kExclusive);
    if (!use.held()) return Busy("options object");
    if (o->kind != OptionKind::kGenerate) {
      return absl::InvalidArgumentError(Cat("options of kind ", static_cast<int>(o->kind),
                                            " were given where MOSSRT_OPTIONS_GENERATE is needed"));
    }
    const auto stops = c->chat->stop_ids();
    o->values["eos_token_id"] = std::vector<std::int32_t>(stops.begin(), stops.end());
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_push(mossrt_chat* c, int32_t token, int32_t* more) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    const auto goes_on = c->chat->Push(token);
    if (!goes_on.ok()) return ChatStatus(goes_on.status());
    if (more != nullptr) *more = *goes_on ? 1 : 0;
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_end(mossrt_chat* c, int32_t finish) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    switch (finish) {
      case MOSSRT_FINISH_LENGTH:
      case MOSSRT_FINISH_STOP_STRING:
        return ChatStatus(c->chat->End(ChatEnd::kLength));
      case MOSSRT_FINISH_CONTEXT_FULL:
        return ChatStatus(c->chat->End(ChatEnd::kContextFull));
      case MOSSRT_FINISH_CANCELLED:
        MOSSRT_RETURN_IF_ERROR(ChatStatus(c->chat->End(ChatEnd::kCancelled)));
        c->results.clear();
        return absl::OkStatus();
      default:
        return absl::InvalidArgumentError(
            Cat("finish must say why no token came: MOSSRT_FINISH_LENGTH, STOP_STRING, "
                "CONTEXT_FULL or CANCELLED, found ",
                finish));
    }
  });
}

mossrt_error* mossrt_chat_constrain(const mossrt_chat* c, mossrt_generation* g) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    MOSSRT_NEED(g);
    const Use use(&g->in_use, Use::kExclusive);
    if (!use.held()) return Busy("generation");
    MOSSRT_RETURN_IF_ERROR(BeforeFirstToken(*g));
    CommandMask mask = c->chat->ConstrainCommands();
    if (!mask) return absl::OkStatus();
    const std::int64_t chat_room = c->chat->Next({}).room;
    const std::int64_t room = chat_room < 0 ? g->room : std::min(g->room, chat_room);
    g->generation->AddProcessor(
        [mask = std::move(mask), tokenizer = c->tokenizer, room, first = g->prompt_tokens](
            std::span<const std::int32_t> ids, std::span<float> logits) {
          const auto written = ids.subspan(first);
          mask(written, room - static_cast<std::int64_t>(written.size()), logits);
          return absl::OkStatus();
        });
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_ids(const mossrt_chat* c, const int32_t** ids, size_t* n) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    MOSSRT_NEED(ids);
    MOSSRT_NEED(n);
    *ids = c->chat->ids().data();
    *n = c->chat->ids().size();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_stop_ids(const mossrt_chat* c, const int32_t** ids, size_t* n) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    MOSSRT_NEED(ids);
    MOSSRT_NEED(n);
    *ids = c->chat->stop_ids().data();
    *n = c->chat->stop_ids().size();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_undo(mossrt_chat* c, int32_t* undone) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    const bool any = c->chat->Undo();
    c->results.clear();
    if (undone != nullptr) *undone = any ? 1 : 0;
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_chat_save(const mossrt_chat* c, char** saved, size_t* len) {
  return WithChat(__func__, c, [&]() -> absl::Status {
    MOSSRT_NEED(saved);
    MOSSRT_NEED(len);
    MOSSRT_ASSIGN_OR_RETURN(const std::string text, c->chat->Save());
    return GiveText(text, saved, len);
  });
}
