// One token after another: evaluate, choose, decode, look for an end.
#include <algorithm>

#include "base/status.h"
#include "generate/stop.h"
#include "mossrt/runtime/session.h"

namespace mossrt::runtime {

std::string_view FinishName(Finish finish) {
  switch (finish) {
    case Finish::kNone:
      return "none";
    case Finish::kStopToken:
      return "stop_token";
    case Finish::kStopString:
      return "stop_string";
    case Finish::kLength:
      return "length";
    case Finish::kContextFull:
      return "context_full";
    case Finish::kCancelled:
      return "cancelled";
  }
  return "none";
}

struct Generation::Impl {
  Impl(Session& s, const Tokenizer* t, const GenerateOptions& o, StopMatcher m, Monitor* mon)
      : session(s), tokenizer(t), options(o), stop(std::move(m)), monitor(mon) {
    if (t != nullptr) {
      decoder.emplace(*t, DecodeOptions{.skip_special_tokens = o.skip_special_tokens});
    }
  }

  Session& session;
  const Tokenizer* tokenizer;
  GenerateOptions options;
  StopMatcher stop;
  Monitor* monitor;
  std::unique_ptr<Sampler> sampler;
  std::optional<IncrementalDecoder> decoder;
  std::int64_t allowed_vocab = 0;
  std::vector<float> scratch;  // logits that the sampler may overwrite
  std::string piece;
  std::vector<std::int32_t> new_ids;
  Finish finish = Finish::kNone;

  std::int64_t made() const { return static_cast<std::int64_t>(new_ids.size()); }
  bool AtLength() const { return options.max_new_tokens >= 0 && made() >= options.max_new_tokens; }
  bool AtContext() const {
    return static_cast<std::int64_t>(session.tokens().size()) >= session.context();
  }
  absl::Status NeedLogits();
  absl::Status Choose(TokenChoice* choice);
  absl::Status Decode(std::int32_t token, std::string* text);
  void End(Finish why, std::string* text);
};

// Logits behind the last token. What the last step appended is evaluated only now.
absl::Status Generation::Impl::NeedLogits() {
  if (!session.last_logits().empty()) return absl::OkStatus();
  MOSSRT_RETURN_IF_ERROR(session.Reopen());
  return session.Eval({}, EvalOptions{}, monitor);
}

absl::Status Generation::Impl::Choose(TokenChoice* choice) {
  const std::span<const float> logits = session.last_logits();
  scratch.assign(logits.begin(), logits.end());
  std::span<const std::int32_t> forbidden;
  if (made() < options.min_new_tokens) forbidden = options.eos_token_id;
  return sampler->Sample(session.tokens(), scratch, forbidden, allowed_vocab, choice);
}

// The token's text, less what may become part of a stop string.
absl::Status Generation::Impl::Decode(std::int32_t token, std::string* text) {
  // With mask_undefined off the model may choose an id that the tokenizer has no text for.
  if (!decoder || token >= tokenizer->size()) return absl::OkStatus();
  piece.clear();
  MOSSRT_RETURN_IF_ERROR(decoder->Push(token, &piece));
  if (stop.Push(piece, text)) finish = Finish::kStopString;
  return absl::OkStatus();
}

void Generation::Impl::End(Finish why, std::string* text) {
  finish = why;
  if (!decoder) return;
  piece.clear();
  decoder->Flush(&piece);
  if (stop.Push(piece, text)) {
    finish = Finish::kStopString;  // a stop string may end in U+FFFD
  } else {
    stop.Flush(text);
  }
}

Generation::Generation(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Generation::~Generation() = default;
void Generation::AddProcessor(LogitsProcessor processor) {
  impl_->sampler->AddProcessor(std::move(processor));
}
std::span<const std::int32_t> Generation::new_ids() const { return impl_->new_ids; }

absl::StatusOr<std::unique_ptr<Generation>> Generation::Start(Session& session,
                                                              const Tokenizer* tokenizer,
                                                              const GenerateOptions& options,
                                                              Monitor* monitor) {
  const std::int64_t vocab = session.model().params().vocab;
  if (session.tokens().empty()) {
    return absl::FailedPreconditionError(
        "generation continues a session's tokens, but it has none; evaluate a prompt first");
  }
  if (options.max_new_tokens < -1 || options.min_new_tokens < 0) {
    return absl::InvalidArgumentError(
        Cat("max_new_tokens must be at least 0 (-1: until the context is full) and min_new_tokens "
            "at least 0, found ",
            options.max_new_tokens, " and ", options.min_new_tokens));
  }
  if (options.max_new_tokens >= 0 && options.min_new_tokens > options.max_new_tokens) {
    return absl::InvalidArgumentError(Cat("min_new_tokens is ", options.min_new_tokens,
                                          ", more than max_new_tokens, ", options.max_new_tokens,
                                          "; raise max_new_tokens or lower min_new_tokens"));
  }
  for (const std::int32_t id : options.eos_token_id) {
    if (id < 0 || id >= vocab) {
      return absl::InvalidArgumentError(
          Cat("eos_token_id: ", id, " is outside of the model's vocabulary, 0 to ", vocab - 1));
    }
  }
  if (tokenizer == nullptr && !options.stop.empty()) {
    return absl::FailedPreconditionError(
        "stop strings need a tokenizer, and this model was loaded without one; use eos_token_id");
  }
  MOSSRT_ASSIGN_OR_RETURN(StopMatcher stop, StopMatcher::Create(options.stop));
  auto impl = std::make_unique<Impl>(session, tokenizer, options, std::move(stop), monitor);
  MOSSRT_ASSIGN_OR_RETURN(impl->sampler, Sampler::Create(options.sampling));
  impl->allowed_vocab = vocab;
  if (options.mask_undefined && tokenizer != nullptr) {
    impl->allowed_vocab = std::min<std::int64_t>(vocab, tokenizer->size());
  }
  // So that the token loop allocates nothing.
  const std::int64_t room = session.context() - static_cast<std::int64_t>(session.tokens().size());
  const std::int64_t most = options.max_new_tokens < 0 ? room : options.max_new_tokens;
  impl->new_ids.reserve(static_cast<std::size_t>(std::clamp<std::int64_t>(most, 0, room)));
  impl->scratch.reserve(static_cast<std::size_t>(vocab));
  impl->piece.reserve(256);
  return std::unique_ptr<Generation>(new Generation(std::move(impl)));
}

absl::Status Generation::Next(GenerationStep* step) {
  Impl& g = *impl_;
  step->choice.token = -1;
  step->choice.logprob = 0;
  step->choice.top_ids.clear();
  step->choice.top_logprobs.clear();
  step->text.clear();
  step->finish = g.finish;
  if (g.finish != Finish::kNone) return absl::OkStatus();

  const auto end = [&](Finish why) {
    g.End(why, &step->text);
    step->finish = g.finish;
    return absl::OkStatus();
  };
  if (g.AtLength()) return end(Finish::kLength);
  if (g.AtContext()) return end(Finish::kContextFull);
  if (Cancelled(g.monitor)) return end(Finish::kCancelled);
  if (const absl::Status status = g.NeedLogits(); !status.ok()) {
    return status.code() == absl::StatusCode::kCancelled ? end(Finish::kCancelled) : status;
  }
  MOSSRT_RETURN_IF_ERROR(g.Choose(&step->choice));
  const std::int32_t token = step->choice.token;
  MOSSRT_RETURN_IF_ERROR(g.session.Append(token));
  g.new_ids.push_back(token);

  const std::vector<std::int32_t>& eos = g.options.eos_token_id;
  const bool stops = std::find(eos.begin(), eos.end(), token) != eos.end();
  if (!stops || !g.options.skip_special_tokens) {
    MOSSRT_RETURN_IF_ERROR(g.Decode(token, &step->text));
  }
  step->finish = g.finish;  // a stop string, perhaps
  if (g.finish != Finish::kNone) return absl::OkStatus();
  if (stops) return end(Finish::kStopToken);
  if (g.AtLength()) return end(Finish::kLength);
  if (g.AtContext()) return end(Finish::kContextFull);
  return absl::OkStatus();
}

}  // namespace mossrt::runtime
