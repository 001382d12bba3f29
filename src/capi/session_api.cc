#include <algorithm>
#include <memory>

#include "base/status.h"
#include "capi/memory.h"
#include "capi/model_json.h"
#include "capi/option_values.h"
#include "capi/session_calls.h"
#include "mossrt/mossrt.h"

namespace mossrt::capi {

absl::Status Eval(SessionState& state, std::span<const std::int32_t> ids,
                  const runtime::EvalOptions& options, runtime::Monitor* monitor) {
  const std::size_t before = state.session->tokens().size();
  const absl::Status status = state.session->Eval(ids, options, monitor);
  // The cache may also have run out of memory, which absl calls by the same name.
  const auto context = static_cast<std::size_t>(state.session->context());
  if (absl::IsResourceExhausted(status) && ids.size() > context - std::min(context, before)) {
    return CodedError(MOSSRT_E_CONTEXT_FULL, runtime::Message(status));
  }
  return status;
}

namespace {

mossrt_error* GiveMatrix(const char* function, const mossrt_session* s, const float** data,
                         size_t* rows, size_t* cols, size_t* stride,
                         absl::StatusOr<runtime::ConstMatrix> (*read)(const runtime::Session&,
                                                                      std::int32_t),
                         std::int32_t layer) {
  return Guard(function, [&]() -> absl::Status {
    MOSSRT_NEED(s);
    MOSSRT_NEED(data);
    MOSSRT_NEED(rows);
    MOSSRT_NEED(cols);
    MOSSRT_NEED(stride);
    const Use use(&s->state->in_use, Use::kExclusive);
    if (!use.held()) return Busy("session");
    MOSSRT_ASSIGN_OR_RETURN(const runtime::ConstMatrix m, read(*s->state->session, layer));
    *data = m.data;
    *rows = static_cast<size_t>(m.rows);
    *cols = static_cast<size_t>(m.cols);
    *stride = static_cast<size_t>(m.stride);
    return absl::OkStatus();
  });
}

// Of two ways to say where a saved session is, exactly one.
absl::Status NotBoth() {
  return absl::InvalidArgumentError(
      runtime::Cat(CallFrame::Current()->function(),
                   ": path and buffer are both given; with a path, buffer must be NULL, and len "
                   "NULL or 0"));
}

absl::Status Save(const mossrt_session* s, const char* path, void** buffer, size_t* len,
                  mossrt_monitor* m) {
  MOSSRT_NEED(s);
  if (path == nullptr) {
    MOSSRT_NEED(buffer);
    MOSSRT_NEED(len);
  } else if (buffer != nullptr || len != nullptr) {
    return NotBoth();
  }
  const Use use(&s->state->in_use, Use::kExclusive);
  if (!use.held()) return Busy("session");
  const Use use_monitor(m == nullptr ? nullptr : &m->state->in_use, Use::kExclusive);
  if (!use_monitor.held()) return Busy("monitor");
  runtime::Monitor* const monitor = m == nullptr ? nullptr : &m->state->monitor;
  const runtime::Session& session = *s->state->session;
  if (path != nullptr) return session.Save(path, monitor);
  const auto fill = [&session, monitor](std::span<std::uint8_t> out) {
    const auto take = [&out](std::span<const std::uint8_t> piece) {
      std::copy(piece.begin(), piece.end(), out.begin());
      out = out.subspan(piece.size());
      return absl::OkStatus();
    };
    return session.SaveTo(take, monitor);
  };
  return GiveBytes(session.saved_bytes(), fill, buffer, len);
}

absl::Status Restore(const mossrt_model* model, const char* path, const void* buffer, size_t len,
                     mossrt_monitor* m, mossrt_session** out) {
  MOSSRT_NEED(model);
  MOSSRT_NEED(out);
  if (path == nullptr) {
    MOSSRT_NEED(buffer);
  } else if (buffer != nullptr || len != 0) {
    return NotBoth();
  }
  const Use use(m == nullptr ? nullptr : &m->state->in_use, Use::kExclusive);
  if (!use.held()) return Busy("monitor");
  runtime::Monitor* const monitor = m == nullptr ? nullptr : &m->state->monitor;
  auto state = std::make_shared<SessionState>();
  state->model = model->state;
  const runtime::Model& loaded = *model->state->model;
  MOSSRT_ASSIGN_OR_RETURN(
      state->session, path != nullptr
                          ? runtime::Session::Restore(loaded, path, monitor)
                          : runtime::Session::RestoreBytes(
                                loaded, {static_cast<const std::uint8_t*>(buffer), len}, monitor));
  *out = new mossrt_session{std::move(state)};
  return absl::OkStatus();
}

absl::Status CheckHookPlace(const runtime::Model& model, const char* name, std::int32_t layer,
                            runtime::HookPoint* point) {
  const auto found = runtime::HookByName(name);
  if (!found) {
    std::vector<std::string_view> names;
    for (int i = 0; i < runtime::kHookPoints; ++i) {
      names.push_back(runtime::HookName(static_cast<runtime::HookPoint>(i)));
    }
    return absl::InvalidArgumentError(runtime::Cat("there is no hook named \"", name,
                                                   "\"; known are ", runtime::Join(names, ", ")));
  }
  const std::int64_t layers = runtime::HookHasLayers(*found) ? model.params().layers : 0;
  if (layer < -1 || layer >= layers) {
    return absl::InvalidArgumentError(
        layers == 0
            ? runtime::Cat("hook \"", name, "\" has no layers: layer must be -1, found ", layer)
            : runtime::Cat("hook \"", name, "\": layer must be from 0 to ", layers - 1,
                           " or -1 for all, found ", layer));
  }
  *point = *found;
  return absl::OkStatus();
}

}  // namespace
}  // namespace mossrt::capi

using namespace mossrt::capi;     // NOLINT: the definitions below are the C functions
using namespace mossrt::runtime;  // NOLINT

mossrt_error* mossrt_session_create(const mossrt_model* model, const mossrt_options* o,
                                    mossrt_session** out) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(model);
    MOSSRT_NEED(out);
    MOSSRT_ASSIGN_OR_RETURN(const SessionOptions options, SessionOptionsOf(o));
    auto state = std::make_shared<SessionState>();
    state->model = model->state;
    MOSSRT_ASSIGN_OR_RETURN(state->session, Session::Create(*model->state->model, options));
    *out = new mossrt_session{std::move(state)};
    return absl::OkStatus();
  });
}

void mossrt_session_free(mossrt_session* s) {
  GuardVoid(__func__, [&] { delete s; });
}

mossrt_error* mossrt_session_eval(mossrt_session* s, const int32_t* ids, size_t n,
                                  const mossrt_options* o, mossrt_monitor* m) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(s);
    if (n > 0) MOSSRT_NEED(ids);
    MOSSRT_ASSIGN_OR_RETURN(const EvalOptions options, EvalOptionsOf(o));
    const Use use(&s->state->in_use, Use::kExclusive);
    if (!use.held()) return Busy("session");
    const Use use_monitor(m == nullptr ? nullptr : &m->state->in_use, Use::kExclusive);
    if (!use_monitor.held()) return Busy("monitor");
    return Eval(*s->state, {ids, n}, options, m == nullptr ? nullptr : &m->state->monitor);
  });
}

mossrt_error* mossrt_session_logits(const mossrt_session* s, const float** data, size_t* rows,
                                    size_t* cols, size_t* stride) {
  return GiveMatrix(
      __func__, s, data, rows, cols, stride,
      [](const Session& session, std::int32_t) { return session.logits(); }, 0);
}

mossrt_error* mossrt_session_hidden(const mossrt_session* s, int32_t layer, const float** data,
                                    size_t* rows, size_t* cols, size_t* stride) {
  return GiveMatrix(
      __func__, s, data, rows, cols, stride,
      [](const Session& session, std::int32_t at) { return session.hidden(at); }, layer);
}

mossrt_error* mossrt_session_tokens(const mossrt_session* s, const int32_t** ids, size_t* n) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(s);
    MOSSRT_NEED(ids);
    MOSSRT_NEED(n);
    const Use use(&s->state->in_use, Use::kExclusive);
    if (!use.held()) return Busy("session");
    const std::span<const std::int32_t> tokens = s->state->session->tokens();
    *ids = tokens.data();
    *n = tokens.size();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_session_rewind(mossrt_session* s, size_t n_tokens) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(s);
    const Use use(&s->state->in_use, Use::kExclusive);
    if (!use.held()) return Busy("session");
    const std::size_t held = s->state->session->tokens().size();
    if (n_tokens > held) {
      return absl::InvalidArgumentError(Cat("mossrt_session_rewind: n_tokens is ", n_tokens,
                                            ", but the session holds ", held, " tokens"));
    }
    return s->state->session->Rewind(static_cast<std::int64_t>(n_tokens));
  });
}

mossrt_error* mossrt_session_fork(const mossrt_session* s, mossrt_session** out) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(s);
    MOSSRT_NEED(out);
    const Use use(&s->state->in_use, Use::kExclusive);
    if (!use.held()) return Busy("session");
    auto state = std::make_shared<SessionState>();
    state->model = s->state->model;
    MOSSRT_ASSIGN_OR_RETURN(state->session, s->state->session->Fork());
    *out = new mossrt_session{std::move(state)};
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_session_save(const mossrt_session* s, const char* path, void** buffer,
                                  size_t* len) {
  return Guard(__func__, [&] { return Save(s, path, buffer, len, nullptr); });
}

mossrt_error* mossrt_session_save_monitored(const mossrt_session* s, const char* path,
                                            void** buffer, size_t* len, mossrt_monitor* m) {
  return Guard(__func__, [&] { return Save(s, path, buffer, len, m); });
}

mossrt_error* mossrt_session_restore(const mossrt_model* model, const char* path,
                                     const void* buffer, size_t len, mossrt_session** out) {
  return Guard(__func__, [&] { return Restore(model, path, buffer, len, nullptr, out); });
}

mossrt_error* mossrt_session_restore_monitored(const mossrt_model* model, const char* path,
                                               const void* buffer, size_t len, mossrt_monitor* m,
                                               mossrt_session** out) {
  return Guard(__func__, [&] { return Restore(model, path, buffer, len, m, out); });
}

mossrt_error* mossrt_session_info(const mossrt_session* s, char** json, size_t* len) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(s);
    MOSSRT_NEED(json);
    MOSSRT_NEED(len);
    const Use use(&s->state->in_use, Use::kExclusive);
    if (!use.held()) return Busy("session");
    const Session& session = *s->state->session;
    const std::string numerics = session.numerics();
    return GiveText(DumpJson({{"tokens", session.tokens().size()},
                              {"context", session.context()},
                              {"kv_dtype", std::string(DTypeName(*session.options().kv_dtype))},
                              {"kv_bytes", session.kv_bytes()},
                              {"numerics", numerics},
                              {"numerics_hash", NumericsHash(numerics)},
                              {"evaluated_tokens", session.evaluated_tokens()},
                              {"eval_seconds", session.eval_seconds()}}),
                    json, len);
  });
}

mossrt_error* mossrt_session_set_hook(mossrt_session* s, const char* name, int32_t layer,
                                      mossrt_hook_fn fn, void* user) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(s);
    MOSSRT_NEED(name);
    HookPoint point = HookPoint::kEmbed;
    MOSSRT_RETURN_IF_ERROR(CheckHookPlace(*s->state->model->model, name, layer, &point));
    const Use use(&s->state->in_use, Use::kExclusive);
    if (!use.held()) return Busy("session");
    HookSet& hooks = s->state->session->hooks();
    const std::pair<std::string, std::int32_t> place(name, layer);
    if (const auto old = s->state->hooks.find(place); old != s->state->hooks.end()) {
      hooks.Remove(old->second);
      s->state->hooks.erase(old);
    }
    if (fn == nullptr) return absl::OkStatus();
    s->state->hooks[place] = hooks.Add(point, layer, [fn, user, place](const HookCall& call) {
      return CallBack(
          Cat("the hook function at \"", place.first, "\", layer ", call.layer, ","), [&] {
            return fn(user, place.first.c_str(), call.layer, call.first_position, call.values.data,
                      static_cast<size_t>(call.values.rows), static_cast<size_t>(call.values.cols),
                      static_cast<size_t>(call.values.stride));
          });
    });
    return absl::OkStatus();
  });
}
