#include <algorithm>
#include <chrono>
#include <new>

#include "base/memory_info.h"
#include "base/status.h"
#include "generate/session_impl.h"

namespace mossrt::runtime {
namespace {

using Clock = std::chrono::steady_clock;

KvShape ShapeOf(const Model& model, DType dtype) {
  const HyperParams& p = model.params();
  return {.layers = p.layers, .kv_heads = p.kv_heads, .head_dim = p.head_dim, .dtype = dtype};
}

// Makes room for `count` floats, first comparing a large need with what is available.
absl::Status Resize(std::vector<float>* values, std::uint64_t count, std::string_view what) {
  const std::uint64_t bytes = count * sizeof(float);
  if (count > values->capacity() && bytes > (std::uint64_t{16} << 20)) {
    const MemoryInfo memory = AvailableMemory();
    if (bytes > memory.available) {
      return absl::ResourceExhaustedError(Cat(what, " take ", bytes >> 20, " MiB, but ",
                                              memory.available >> 20,
                                              " MiB are available (limited by ", memory.limited_by,
                                              "); evaluate fewer tokens at a "
                                              "time"));
    }
  }
  try {
    values->resize(static_cast<std::size_t>(count));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(Cat("no memory for ", what, " (", bytes, " bytes)"));
  }
  return absl::OkStatus();
}

// Takes hooks out again, however the call ends.
class AddedHooks {
 public:
  explicit AddedHooks(HookSet& hooks) : hooks_(hooks) {}
  ~AddedHooks() {
    for (const int id : ids_) hooks_.Remove(id);
  }
  AddedHooks(const AddedHooks&) = delete;
  AddedHooks& operator=(const AddedHooks&) = delete;
  void Add(HookPoint point, int layer, HookFn fn) {
    ids_.push_back(hooks_.Add(point, layer, std::move(fn)));
  }

 private:
  HookSet& hooks_;
  std::vector<int> ids_;
};

}  // namespace

absl::Status Session::Impl::Check(std::span<const std::int32_t> ids,
                                  const EvalOptions& eval) const {
  const HyperParams& p = model.params();
  if (ids.empty() && pending() == 0) {
    return absl::InvalidArgumentError("eval needs at least one token id, found none");
  }
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= p.vocab) {
      return absl::InvalidArgumentError(Cat("token id ", ids[i], " at index ", i,
                                            " is outside of the model's vocabulary, 0 to ",
                                            p.vocab - 1));
    }
  }
  for (const int layer : eval.hidden) {
    if (layer < 0 || layer >= p.layers) {
      return absl::InvalidArgumentError(Cat(
          "hidden: layer ", layer, " does not exist; the model has layers 0 to ", p.layers - 1));
    }
  }
  const auto count = static_cast<std::int64_t>(ids.size());
  if (count > context - size()) {
    return absl::ResourceExhaustedError(
        Cat("context full: ", size(), " tokens + ", count, " new ones exceed the session's ",
            context, "; rewind, shorten the prompt or create a session with a larger context"));
  }
  return absl::OkStatus();
}

absl::Status Session::Impl::GrowWorkspace(std::int64_t rows) {
  if (workspace != nullptr && workspace->max_rows() >= rows) return absl::OkStatus();
  workspace.reset();  // before its successor takes memory
  MOSSRT_ASSIGN_OR_RETURN(workspace, Workspace::Create(model, rows));
  return absl::OkStatus();
}

absl::Status Session::Impl::EvalChunk(std::span<const std::int32_t> ids, WantLogits want,
                                      Monitor* monitor) {
  const auto count = static_cast<std::int64_t>(ids.size());
  MOSSRT_RETURN_IF_ERROR(GrowWorkspace(count));
  SequenceInput input;
  input.kv = kv.get();
  input.tokens = ids;
  input.want = want == WantLogits::kNone   ? SequenceInput::Rows::kNone
               : want == WantLogits::kLast ? SequenceInput::Rows::kLast
                                           : SequenceInput::Rows::kAll;
  const Clock::time_point start = Clock::now();
  MOSSRT_ASSIGN_OR_RETURN(
      const Matrix result,
      model.Forward({&input, 1}, {.hooks = hooks.empty() ? nullptr : &hooks, .monitor = monitor},
                    *workspace));
  const double seconds_taken = std::chrono::duration<double>(Clock::now() - start).count();
  seconds += seconds_taken;
  evaluated += count;
  if (want != WantLogits::kAll && count >= ChunkPolicy::kMinRows) {
    policy.Measured(count, seconds_taken / static_cast<double>(model.params().layers));
  }
  for (std::int64_t r = 0; r < result.rows && want != WantLogits::kNone; ++r) {
    std::copy_n(result.Row(r), result.cols, logits.data() + (logits_rows + r) * result.cols);
  }
  if (want != WantLogits::kNone) logits_rows += result.rows;
  return absl::OkStatus();
}

// Evaluates tokens [kv->length(), end).
absl::Status Session::Impl::EvalUpTo(std::int64_t end, WantLogits want, Monitor* monitor) {
  Prefill prefill{.outer = monitor, .before = call_start, .total = size() - call_start};
  // One captured pointer: a larger function object would allocate in the token loop.
  Monitor tokens_done([p = &prefill](const char*, std::uint64_t layer,
                                     std::uint64_t layers) { return p->Tick(layer, layers); },
                      std::chrono::milliseconds(0));
  while (kv->length() < end) {
    const std::int64_t first = kv->length();
    const std::int64_t rows = std::min(policy.Rows(monitor != nullptr), end - first);
    const bool last = first + rows == end;
    const WantLogits now = want == WantLogits::kLast && !last ? WantLogits::kNone : want;
    prefill.first = first;
    prefill.rows = rows;
    const absl::Status status = EvalChunk(
        std::span(tokens).subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(rows)),
        now, monitor == nullptr ? nullptr : &tokens_done);
    MOSSRT_RETURN_IF_ERROR(prefill.status);  // says who cancelled
    MOSSRT_RETURN_IF_ERROR(status);
  }
  return absl::OkStatus();
}

// The rows asked for begin at `boundary`; what is pending before it is evaluated without.
absl::Status Session::Impl::EvalFrom(std::int64_t boundary, const EvalOptions& eval,
                                     Monitor* monitor) {
  const HyperParams& p = model.params();
  const auto rows = static_cast<std::uint64_t>(size() - boundary);
  const std::uint64_t wanted = eval.logits == WantLogits::kAll    ? rows
                               : eval.logits == WantLogits::kLast ? 1
                                                                  : 0;
  MOSSRT_RETURN_IF_ERROR(
      Resize(&logits, wanted * static_cast<std::uint64_t>(p.vocab), "logits of all tokens"));
  for (const int layer : eval.hidden) {
    MOSSRT_RETURN_IF_ERROR(Resize(&hidden[layer], rows * static_cast<std::uint64_t>(p.hidden),
                                  "hidden states of all tokens"));
  }
  hidden_rows = static_cast<std::int64_t>(rows);
  call_start = kv->length();
  MOSSRT_RETURN_IF_ERROR(EvalUpTo(boundary, WantLogits::kNone, monitor));
  AddedHooks added(hooks);
  for (auto& entry : hidden) {
    std::vector<float>& values = entry.second;
    added.Add(HookPoint::kResid, entry.first,
              [&values, boundary, hidden_size = p.hidden](const HookCall& call) {
                float* to = values.data() + (call.first_position - boundary) * hidden_size;
                for (std::int64_t r = 0; r < call.values.rows; ++r) {
                  std::copy_n(call.values.Row(r), hidden_size, to + r * hidden_size);
                }
                return absl::OkStatus();
              });
  }
  return EvalUpTo(size(), eval.logits, monitor);
}

Session::Session(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Session::~Session() = default;

absl::StatusOr<std::unique_ptr<Session>> Session::Create(const Model& model,
                                                         const SessionOptions& options) {
  const HyperParams& p = model.params();
  const DType kv_dtype = options.kv_dtype.value_or(model.plan().kv_dtype);
  if (kv_dtype != DType::kF32 && kv_dtype != DType::kBF16 && kv_dtype != DType::kI8) {
    return absl::InvalidArgumentError(
        Cat("kv_dtype must be float32, bfloat16 or int8, found ", DTypeName(kv_dtype)));
  }
  if (kv_dtype == DType::kI8 && p.head_dim > kMostBytesOfHead) {
    return absl::InvalidArgumentError(Cat("kv_dtype int8 needs heads of at most ", kMostBytesOfHead,
                                          " dimensions, this model's have ", p.head_dim,
                                          "; choose bfloat16"));
  }
  if (options.context < 0 || options.context > p.max_positions) {
    return absl::InvalidArgumentError(Cat("context must be from 1 to the model's ", p.max_positions,
                                          " positions (0: all), found ", options.context));
  }
  if (options.prefill_chunk < 0 || options.prefill_chunk > ChunkPolicy::kMostFixedRows) {
    return absl::InvalidArgumentError(Cat("prefill_chunk must be from 0 (adaptive) to ",
                                          ChunkPolicy::kMostFixedRows, ", found ",
                                          options.prefill_chunk));
  }
  auto impl = std::make_unique<Impl>(model, options);
  impl->options.kv_dtype = kv_dtype;
  impl->context = options.context > 0 ? options.context : p.max_positions;
  impl->kv = std::make_unique<KvCache>(ShapeOf(model, kv_dtype), impl->context);
  // So that the token loop allocates nothing; a model of very long context grows as it goes.
  impl->tokens.reserve(static_cast<std::size_t>(std::min<std::int64_t>(impl->context, 1 << 16)));
  return std::unique_ptr<Session>(new Session(std::move(impl)));
}

const Model& Session::model() const { return impl_->model; }
const SessionOptions& Session::options() const { return impl_->options; }
std::int64_t Session::context() const { return impl_->context; }
std::string Session::numerics() const { return impl_->model.numerics(impl_->kv->shape().dtype); }
std::span<const std::int32_t> Session::tokens() const { return impl_->tokens; }
HookSet& Session::hooks() { return impl_->hooks; }
std::size_t Session::kv_bytes() const { return impl_->kv->allocated_bytes(); }
std::int64_t Session::evaluated_tokens() const { return impl_->evaluated; }
double Session::eval_seconds() const { return impl_->seconds; }

absl::Status Session::Eval(std::span<const std::int32_t> ids, const EvalOptions& options,
                           Monitor* monitor) {
  Impl& s = *impl_;
  MOSSRT_RETURN_IF_ERROR(s.Check(ids, options));
  const std::int64_t before = s.size();
  const std::int64_t boundary = ids.empty() ? s.kv->length() : before;
  try {
    // A copy, because the ids may be our own tokens().
    if (s.tokens.capacity() - s.tokens.size() < ids.size()) {
      const std::vector<std::int32_t> copy(ids.begin(), ids.end());
      s.tokens.insert(s.tokens.end(), copy.begin(), copy.end());
    } else {
      s.tokens.insert(s.tokens.end(), ids.begin(), ids.end());
    }
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(Cat("no memory for ", ids.size(), " more tokens"));
  }
  s.ForgetLogits();
  s.hidden.clear();
  const absl::Status status = s.EvalFrom(boundary, options, monitor);
  if (!status.ok()) {
    // What was appended before stays pending, what is new stays as far as it has been evaluated.
    s.tokens.resize(static_cast<std::size_t>(std::max(before, s.kv->length())));
    s.ForgetLogits();
    s.hidden.clear();
    return status;
  }
  s.logits_kind = options.logits;
  s.logits_current = options.logits != WantLogits::kNone;
  return absl::OkStatus();
}

absl::Status Session::Append(std::int32_t token) {
  Impl& s = *impl_;
  MOSSRT_RETURN_IF_ERROR(s.Check({&token, 1}, {}));
  s.tokens.push_back(token);
  s.ForgetLogits();
  return absl::OkStatus();
}

absl::StatusOr<ConstMatrix> Session::logits() const {
  const Impl& s = *impl_;
  if (s.logits_kind == WantLogits::kNone) {
    return absl::FailedPreconditionError(
        "there are no logits: the last eval did not ask for them, or the tokens have changed "
        "since; call eval with logits=\"last\" or \"all\"");
  }
  return ConstMatrix(s.logits.data(), s.logits_rows, s.model.params().vocab);
}

std::span<const float> Session::last_logits() const {
  const Impl& s = *impl_;
  if (!s.logits_current) return {};
  const auto vocab = static_cast<std::size_t>(s.model.params().vocab);
  return {s.logits.data() + static_cast<std::size_t>(s.logits_rows - 1) * vocab, vocab};
}

absl::StatusOr<ConstMatrix> Session::hidden(int layer) const {
  const Impl& s = *impl_;
  const auto it = s.hidden.find(layer);
  if (it == s.hidden.end()) {
    return absl::FailedPreconditionError(
        Cat("there are no hidden states of layer ", layer,
            ": the last eval did not ask for them; call eval with hidden=[", layer, "]"));
  }
  return ConstMatrix(it->second.data(), s.hidden_rows, s.model.params().hidden);
}

absl::Status Session::Rewind(std::int64_t tokens) {
  Impl& s = *impl_;
  if (tokens < 0 || tokens > s.size()) {
    return absl::InvalidArgumentError(Cat("rewind: the session holds ", s.size(),
                                          " tokens, so it cannot keep the first ", tokens));
  }
  if (tokens == s.size()) return absl::OkStatus();
  s.tokens.resize(static_cast<std::size_t>(tokens));
  if (tokens < s.kv->length()) s.kv->Rewind(tokens);
  s.ForgetLogits();
  s.hidden.clear();
  return absl::OkStatus();
}

absl::Status Session::Reopen() {
  Impl& s = *impl_;
  if (s.tokens.empty()) return absl::FailedPreconditionError("the session holds no tokens");
  if (s.pending() > 0) return absl::OkStatus();
  s.kv->Rewind(s.size() - 1);
  s.ForgetLogits();
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Session>> Session::Fork() const {
  const Impl& s = *impl_;
  try {
    auto fork = std::make_unique<Impl>(s.model, s.options);
    fork->policy = s.policy;
    fork->context = s.context;
    fork->kv = s.kv->Fork();
    fork->tokens.reserve(s.tokens.capacity());
    fork->tokens = s.tokens;
    fork->logits_kind = s.logits_kind;
    fork->logits_rows = s.logits_rows;
    fork->logits_current = s.logits_current;
    if (s.logits_kind != WantLogits::kNone) {
      const auto vocab = static_cast<std::int64_t>(s.model.params().vocab);
      fork->logits.assign(s.logits.begin(), s.logits.begin() + s.logits_rows * vocab);
    }
    return std::unique_ptr<Session>(new Session(std::move(fork)));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("no memory for a fork of the session");
  }
}

}  // namespace mossrt::runtime
