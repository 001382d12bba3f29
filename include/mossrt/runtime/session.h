// One conversation's state: tokens and their KV cache; and generation on top of it. Owned by
// src/generate.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mossrt/runtime/decoder.h"
#include "mossrt/runtime/sampler.h"
#include "mossrt/runtime/tokenizer.h"

namespace mossrt::runtime {

struct SessionOptions {
  std::optional<DType> kv_dtype = {};  // kF32, kBF16 or kI8; none: ModelPlan::kv_dtype
  std::int64_t context = 0;            // tokens; 0: the model's max_positions
  // Tokens per Forward; 0: at most kPromptRows, fewer where a cancel would not be seen within 100
  // ms.
  std::int64_t prefill_chunk = 0;
};

enum class WantLogits : std::uint8_t { kNone, kLast, kAll };

struct EvalOptions {
  WantLogits logits = WantLogits::kLast;
  // Layers whose output (hook point resid) is kept for all rows of this call.
  std::vector<int> hidden = {};
};

// The model must outlive the session.
class Session {
 public:
  static absl::StatusOr<std::unique_ptr<Session>> Create(const Model& model,
                                                         const SessionOptions& options);
  ~Session();
  const Model& model() const;
  const SessionOptions& options() const;  // with the kv_dtype in use
  std::int64_t context() const;
  std::string numerics() const;  // the model's, with the KV dtype

  // Appends ids, in chunks of its own choice (which never change a bit). kResourceExhausted with
  // finish value CONTEXT_FULL semantics if they do not fit: nothing has changed then. On a cancel
  // the tokens of finished chunks stay (see tokens()). Without ids it evaluates what Append left.
  absl::Status Eval(std::span<const std::int32_t> ids, const EvalOptions& options,
                    Monitor* monitor);
  // Appends a token that is evaluated together with whatever comes next, so that the last token of
  // an answer costs no pass over the model. logits() is an error until then.
  absl::Status Append(std::int32_t token);
  // Logits of the last Eval: [1 or n, vocab] float32 as asked; an error that says which option to
  // give if not asked.
  absl::StatusOr<ConstMatrix> logits() const;
  // Logits behind the last token; empty if the last Eval did not ask for them, or the tokens have
  // changed since.
  std::span<const float> last_logits() const;
  absl::StatusOr<ConstMatrix> hidden(int layer) const;  // [n, hidden]
  std::span<const std::int32_t> tokens() const;         // appended ones included
  absl::Status Rewind(std::int64_t tokens);             // keep the first `tokens`
  // Evaluates the last token anew with the next Eval, so that its logits come to hand.
  absl::Status Reopen();
  // Shares the cache up to here; logits come along, hooks and hidden states do not.
  absl::StatusOr<std::unique_ptr<Session>> Fork() const;

  // The session as bytes (docs/saved-session.md): tokens, the keys and values of those that are
  // evaluated, and the last logits if they are at hand; no hooks, no hidden states, no counters.
  // Equal sessions give equal bytes.
  using Sink = std::function<absl::Status(std::span<const std::uint8_t>)>;
  std::uint64_t saved_bytes() const;  // how many
  // In pieces of at most 1 MiB, from the front, after each of which the monitor's stage "save"
  // goes on.
  absl::Status SaveTo(const Sink& sink, Monitor* monitor = nullptr) const;
  // One file, which appears whole or not at all. A saved session of that name is replaced, any
  // other file is not.
  absl::Status Save(const std::string& path, Monitor* monitor = nullptr) const;
  // A session that goes on as the saved one would have, to the bit. All is checked before it is
  // there: kDataLoss for what is damaged or no saved session, kInvalidArgument for what a model of
  // another shape, other numerics or other weights has saved, kUnimplemented for
  // another version. The monitor's stage is "restore", in bytes.
  static absl::StatusOr<std::unique_ptr<Session>> Restore(const Model& model,
                                                          const std::string& path,
                                                          Monitor* monitor = nullptr);
  static absl::StatusOr<std::unique_ptr<Session>> RestoreBytes(const Model& model,
                                                               std::span<const std::uint8_t> bytes,
                                                               Monitor* monitor = nullptr);

  HookSet& hooks();
  std::size_t kv_bytes() const;
  std::int64_t evaluated_tokens() const;  // over the session's life, rewound ones included
  double eval_seconds() const;

 private:
  struct Impl;
  struct Restorer;
  explicit Session(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

enum class Finish : std::uint8_t {
  kNone,
  kStopToken,
  kStopString,
  kLength,
  kContextFull,
  kCancelled
};
std::string_view FinishName(
    Finish finish);  // "stop_token", "stop_string", "length", "context_full", "cancelled"

struct GenerateOptions {
  SamplingOptions sampling{};
  std::int64_t max_new_tokens = -1;          // -1: until the context is full
  std::int64_t min_new_tokens = 0;           // end tokens are forbidden before
  std::vector<std::int32_t> eos_token_id{};  // a set
  std::vector<std::string> stop{};           // strings; never emitted, not even in part
  bool mask_undefined = true;       // ids at and beyond the tokenizer's size get no probability
  bool skip_special_tokens = true;  // in the text, not in the ids
};

// Where a value came from: "argument", "generation_config.json", "config.json", "recipe:moss",
// "tokenizer", "default"; or, for settings of generation_config.json that mossrt does not have and
// that would change the result, "generation_config.json (ignored)".
struct OptionOrigin {
  std::string key{}, value{}, origin{};
};
// Options from JSON (keys as Hugging Face names them, unknown ones are errors naming the nearest),
// filled up from generation_config.json, then the family's recipe, then defaults. Empty texts and
// null values are as if absent. A recipe that samples does not apply where do_sample is set to
// false. What is wrong in one of the files, and no argument makes up for, is kDataLoss; the message
// begins with the file's name.
struct ResolvedGenerateOptions {
  GenerateOptions options;
  std::vector<OptionOrigin> origins{};  // one per key, in the order of the option table
};
absl::StatusOr<ResolvedGenerateOptions> ResolveGenerateOptions(
    std::string_view arguments_json, std::string_view generation_config_json,
    std::string_view config_json, const HyperParams& params, const Tokenizer* tokenizer);

struct GenerationStep {
  TokenChoice choice;  // token -1 when generation ended without one
  std::string text{};  // whole code points released by this step; may be empty
  Finish finish = Finish::kNone;
};

// Pull: each Next() makes one token and appends it to the session (see Session::Append), so that
// session.tokens() is always prompt + new_ids(), stop tokens included. Text and new ids belong
// together: the text is new_ids() decoded, but a stop string and what follows it, and with
// skip_special_tokens the token that ended generation, are left out. Session, tokenizer and monitor
// must outlive it.
class Generation {
 public:
  // Starts after the session's tokens, which must not be empty; if its last logits are not at hand,
  // the first Next() evaluates the last token again. `tokenizer` may be null: then there is no text
  // and stop strings are an error.
  static absl::StatusOr<std::unique_ptr<Generation>> Start(Session& session,
                                                           const Tokenizer* tokenizer,
                                                           const GenerateOptions& options,
                                                           Monitor* monitor);
  ~Generation();
  void AddProcessor(LogitsProcessor processor);
  // After the end: the same finish value again, no token, no text. A cancel is Finish::kCancelled,
  // a full context Finish::kContextFull: never errors.
  absl::Status Next(GenerationStep* step);
  std::span<const std::int32_t> new_ids() const;

 private:
  struct Impl;
  explicit Generation(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mossrt::runtime
