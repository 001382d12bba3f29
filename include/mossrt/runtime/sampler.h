// From logits to a token: a chain of processors, then a choice. Owned by src/generate.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mossrt::runtime {

// Hugging Face's names and meanings. The order is HF's as well: repetition penalty, min_new_tokens,
// the user's processors; then, if do_sample, temperature, top_k, top_p, min_p.
struct SamplingOptions {
  bool do_sample = false;
  double temperature = 1.0;
  std::int64_t top_k = 0;           // 0: off
  double top_p = 1.0;               // 1: off
  double min_p = 0.0;               // 0: off
  double repetition_penalty = 1.0;  // counts prompt tokens as well
  std::uint64_t seed = 0;
  std::uint64_t sample_index = 0;  // which of several samples of one request
  std::int32_t top_logprobs = 0;   // alternatives to report for each token, at most 64
};

// Changes logits [vocab] in place before a token is chosen; `ids` are all tokens so far, prompt
// included.
using LogitsProcessor =
    std::function<absl::Status(std::span<const std::int32_t> ids, std::span<float> logits)>;

struct TokenChoice {
  std::int32_t token = -1;
  float logprob = 0;  // natural log, of the model's own distribution (before any processor)
  std::vector<std::int32_t> top_ids{};  // descending by logprob, ties by ascending id
  std::vector<float> top_logprobs{};
};

// Deterministic: the choice depends on the options, the ids and the logits only. Random numbers are
// counter-based (Philox 4x32-10), keyed by (seed, sample_index, position = ids.size()).
class Sampler {
 public:
  static absl::StatusOr<std::unique_ptr<Sampler>> Create(const SamplingOptions& options);
  ~Sampler();
  void AddProcessor(LogitsProcessor processor);
  // Overwrites `logits`. `forbidden`: ids that get -inf first (end tokens before min_new_tokens);
  // ids at and beyond `allowed_vocab` are masked too. If nothing is left (all -inf or NaN):
  // kFailedPrecondition.
  absl::Status Sample(std::span<const std::int32_t> ids, std::span<float> logits,
                      std::span<const std::int32_t> forbidden, std::int64_t allowed_vocab,
                      TokenChoice* choice);
  const SamplingOptions& options() const;

 private:
  struct Impl;
  explicit Sampler(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace mossrt::runtime
