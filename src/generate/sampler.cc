#include "mossrt/runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/float_mode.h"
#include "base/math.h"
#include "base/philox.h"
#include "base/status.h"
#include "generate/ranking.h"

namespace mossrt::runtime {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();
constexpr std::int32_t kMaxAlternatives = 64;

absl::Status CheckNumber(std::string_view key, double value, bool good, std::string_view wanted) {
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(Cat(key, " must be ", wanted, ", found ", value));
}

absl::Status CheckOptions(const SamplingOptions& o) {
  MOSSRT_RETURN_IF_ERROR(CheckNumber("repetition_penalty", o.repetition_penalty,
                                     o.repetition_penalty > 0 && o.repetition_penalty < 1e30,
                                     "a number above 0 (1: no penalty)"));
  if (o.top_logprobs < 0 || o.top_logprobs > kMaxAlternatives) {
    return absl::InvalidArgumentError(
        Cat("top_logprobs must be from 0 to ", kMaxAlternatives, ", found ", o.top_logprobs));
  }
  if (!o.do_sample) return absl::OkStatus();
  MOSSRT_RETURN_IF_ERROR(
      CheckNumber("temperature", o.temperature, o.temperature > 0 && o.temperature < 1e30,
                  "a number above 0 when do_sample is true (for greedy choice set do_sample to "
                  "false)"));
  MOSSRT_RETURN_IF_ERROR(
      CheckNumber("top_p", o.top_p, o.top_p >= 0 && o.top_p <= 1, "from 0 to 1 (1: off)"));
  MOSSRT_RETURN_IF_ERROR(
      CheckNumber("min_p", o.min_p, o.min_p >= 0 && o.min_p <= 1, "from 0 to 1 (0: off)"));
  if (o.top_k < 0) {
    return absl::InvalidArgumentError(Cat("top_k must be at least 0 (0: off), found ", o.top_k));
  }
  return absl::OkStatus();
}

// Neither NaN nor +infinity can be ranked or normalised. One pass without branches finds that there
// is one, the rare second one says where.
absl::Status CheckLogits(std::span<const float> logits, std::string_view whose) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  bool good = true;
  for (const float logit : logits) good &= logit < kInfinity;  // false for NaN
  if (good) return absl::OkStatus();
  const auto bad =
      std::find_if(logits.begin(), logits.end(), [](float logit) { return !(logit < kInfinity); });
  return absl::FailedPreconditionError(
      Cat(whose, ": the logit of token ", bad - logits.begin(), " is ",
          std::isnan(*bad) ? "NaN" : "infinite",
          ", so no token can be chosen; the checkpoint, a hook or a processor is at fault"));
}

// log of the sum of exp(logit), in eight chains, so that additions overlap.
double LogSumExp(std::span<const float> logits, float max) {
  if (max == kMasked) return max;
  double sum[8] = {};
  std::size_t i = 0;
  for (; i + 8 <= logits.size(); i += 8) {
    for (std::size_t lane = 0; lane < 8; ++lane) {
      sum[lane] += Exp(static_cast<double>(logits[i + lane]) - max);
    }
  }
  for (; i < logits.size(); ++i) sum[i % 8] += Exp(static_cast<double>(logits[i]) - max);
  return max +
         Log(((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7])));
}

}  // namespace

struct Sampler::Impl {
  SamplingOptions options;
  std::vector<LogitsProcessor> processors;
  Ranking ranking;
  std::vector<std::uint32_t> penalised;  // per token id: the round in which it was penalised
  std::uint32_t round = 0;
  std::vector<std::uint64_t> best;  // keys of the alternatives
  std::vector<float> raw;           // the model's own logits, for the log-probability

  void Penalise(std::span<const std::int32_t> ids, std::span<float> logits);
  std::int32_t Draw(std::span<const float> logits, std::uint64_t position);
};

// Once for every different id, however often it stands in `ids`.
void Sampler::Impl::Penalise(std::span<const std::int32_t> ids, std::span<float> logits) {
  const auto penalty = static_cast<float>(options.repetition_penalty);
  if (penalty == 1.0f) return;
  if (penalised.size() < logits.size() || ++round == 0) {
    penalised.assign(std::max(penalised.size(), logits.size()), 0);
    round = 1;
  }
  for (const std::int32_t id : ids) {
    const auto i = static_cast<std::size_t>(id);
    if (id < 0 || i >= logits.size() || penalised[i] == round) continue;
    penalised[i] = round;
    logits[i] = logits[i] < 0 ? logits[i] * penalty : logits[i] / penalty;
  }
}

// All three filters keep a prefix of the descending order: top_k the k best and their ties; top_p
// those before which less than top_p of the (remaining) probability lies, which is Hugging Face's
// "drop while the ascending sum is at most 1 - top_p"; min_p those of at least min_p times the
// best.
std::int32_t Sampler::Impl::Draw(std::span<const float> logits, std::uint64_t position) {
  ranking.Assign(logits);
  ranking.KeepBest(static_cast<std::size_t>(options.top_k));
  const double max = LogitOfKey(ranking.At(0));
  const auto weight = [&](double logit) { return Exp((logit - max) / options.temperature); };

  double total = 0.0;
  if (ranking.size() <= 1024) {
    for (std::size_t i = 0; i < ranking.size(); ++i) total += weight(LogitOfKey(ranking.At(i)));
  } else {
    // In the order of ids, which is at hand without sorting them all.
    const float least = options.top_k > 0 ? LogitOfKey(ranking.At(ranking.size() - 1)) : kMasked;
    double sum[8] = {};
    for (std::size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] >= least) sum[i % 8] += weight(logits[i]);
    }
    for (const double s : sum) total += s;
  }

  std::size_t kept = ranking.size();
  double mass = total;
  if (options.top_p < 1.0 || options.min_p > 0.0) {
    const double limit =
        options.top_p < 1.0 ? options.top_p * total : std::numeric_limits<double>::infinity();
    kept = 0;
    mass = 0.0;
    while (kept < ranking.size()) {
      const double w = weight(LogitOfKey(ranking.At(kept)));
      if (kept > 0 && (mass >= limit || w < options.min_p)) break;
      mass += w;
      ++kept;
    }
  }

  const double target = PhiloxUniform(options.seed, options.sample_index, position) * mass;
  double sum = 0.0;
  std::int32_t token = IdOfKey(ranking.At(0));
  for (std::size_t i = 0; i < kept; ++i) {
    const std::uint64_t key = ranking.At(i);
    const double w = weight(LogitOfKey(key));
    if (w == 0.0) break;  // and so are all that follow; rounding of the sums may lead here
    token = IdOfKey(key);
    sum += w;
    if (sum > target) break;
  }
  return token;
}

Sampler::Sampler(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Sampler::~Sampler() = default;
const SamplingOptions& Sampler::options() const { return impl_->options; }

absl::StatusOr<std::unique_ptr<Sampler>> Sampler::Create(const SamplingOptions& options) {
  MOSSRT_RETURN_IF_ERROR(CheckOptions(options));
  auto impl = std::make_unique<Impl>();
  impl->options = options;
  impl->best.resize(static_cast<std::size_t>(options.top_logprobs));
  return std::unique_ptr<Sampler>(new Sampler(std::move(impl)));
}

void Sampler::AddProcessor(LogitsProcessor processor) {
  impl_->processors.push_back(std::move(processor));
}

absl::Status Sampler::Sample(std::span<const std::int32_t> ids, std::span<float> logits,
                             std::span<const std::int32_t> forbidden, std::int64_t allowed_vocab,
                             TokenChoice* choice) {
  const FloatMode mode;
  Impl& s = *impl_;
  if (logits.empty() || logits.size() > static_cast<std::size_t>(INT32_MAX)) {
    return absl::InvalidArgumentError(
        Cat("logits must hold from 1 to 2^31 - 1 values, found ", logits.size()));
  }
  MOSSRT_RETURN_IF_ERROR(CheckLogits(logits, "the model's logits"));
  const double log_sum = LogSumExp(logits, *std::max_element(logits.begin(), logits.end()));
  const std::size_t alternatives = SelectBest(logits, s.best);
  s.raw.assign(logits.begin(), logits.end());

  for (const std::int32_t id : forbidden) {
    if (id >= 0 && static_cast<std::size_t>(id) < logits.size()) {
      logits[static_cast<std::size_t>(id)] = kMasked;
    }
  }
  const auto allowed = static_cast<std::size_t>(std::max<std::int64_t>(allowed_vocab, 0));
  if (allowed < logits.size()) {
    std::fill(logits.begin() + static_cast<std::ptrdiff_t>(allowed), logits.end(), kMasked);
  }
  s.Penalise(ids, logits);
  for (const LogitsProcessor& processor : s.processors) {
    MOSSRT_RETURN_IF_ERROR(processor(ids, logits));
  }
  if (!s.processors.empty()) {
    MOSSRT_RETURN_IF_ERROR(CheckLogits(logits, "after the logits processors"));
  }
  const auto best = std::max_element(logits.begin(), logits.end());  // the first of equal ones
  if (*best == kMasked) {
    return absl::FailedPreconditionError(
        "every token is masked, so none can be chosen; check min_new_tokens, mask_undefined and "
        "the logits processors");
  }
  std::int32_t token = static_cast<std::int32_t>(best - logits.begin());
  if (s.options.do_sample) token = s.Draw(logits, ids.size());
  choice->token = token;
  choice->logprob =
      static_cast<float>(static_cast<double>(s.raw[static_cast<std::size_t>(token)]) - log_sum);
  choice->top_ids.clear();
  choice->top_logprobs.clear();
  for (std::size_t i = 0; i < alternatives; ++i) {
    choice->top_ids.push_back(IdOfKey(s.best[i]));
    choice->top_logprobs.push_back(
        static_cast<float>(static_cast<double>(LogitOfKey(s.best[i])) - log_sum));
  }
  return absl::OkStatus();
}

}  // namespace mossrt::runtime
