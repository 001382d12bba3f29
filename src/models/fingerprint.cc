#include <algorithm>
#include <array>
#include <charconv>

#include "base/cat.h"
#include "base/status.h"
#include "models/model_impl.h"
#include "mossrt/runtime/decoder.h"

namespace mossrt::runtime {
namespace {

constexpr std::int64_t kProbeTokens = 8;

// The i-th of `count` tokens from the first to the last of the vocabulary.
std::int64_t Spread(std::int64_t i, std::int64_t count, std::int64_t vocab) {
  return i * (vocab - 1) / (count - 1);
}

absl::StatusOr<std::vector<float>> Probe(const Model& model, Monitor* monitor) {
  const HyperParams& p = model.params();
  std::vector<std::int32_t> tokens;
  for (std::int64_t i = 0; i < std::min(kProbeTokens, p.max_positions); ++i) {
    tokens.push_back(static_cast<std::int32_t>(Spread(i, kProbeTokens, p.vocab)));
  }
  std::vector<float> probe;
  HookSet hooks;
  hooks.Add(HookPoint::kFinalNorm, -1, [&probe](const HookCall& call) {
    const auto row = call.values.RowSpan(0);
    probe.assign(row.begin(), row.end());
    return absl::OkStatus();
  });
  KvCache kv({.layers = p.layers, .kv_heads = p.kv_heads, .head_dim = p.head_dim}, p.max_positions);
  MOSSRT_ASSIGN_OR_RETURN(const auto workspace,
                          Workspace::Create(model, static_cast<std::int64_t>(tokens.size())));
  SequenceInput input;
  input.kv = &kv;
  input.tokens = tokens;
  MOSSRT_ASSIGN_OR_RETURN(
      const Matrix logits,
      model.Forward({&input, 1}, {.hooks = &hooks, .monitor = monitor}, *workspace));
  for (std::int64_t i = 0; i < Fingerprint::kLogits; ++i) {
    probe.push_back(logits.Row(0)[Spread(i, Fingerprint::kLogits, p.vocab)]);
  }
  return probe;
}

// The shortest digits that give this very value again, in any locale.
std::string Exact(double value) {
  std::array<char, 32> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), value).ptr;
  return {text.data(), end};
}

}  // namespace

std::string Model::shape_text() const {
  const HyperParams& p = params();
  // Without what says only how the file of weights is laid out.
  return Cat("architecture=", p.architecture, " vocab=", p.vocab, " hidden=", p.hidden,
             " layers=", p.layers, " heads=", p.heads, " kv_heads=", p.kv_heads,
             " head_dim=", p.head_dim, " inner=", p.inner, " max_positions=", p.max_positions,
             " rotary_dim=", p.rotary_dim, " rope_theta=", Exact(p.rope_theta),
             " norm_eps=", Exact(p.norm_eps), " residual=", ResidualName(p.residual),
             " activation=", ActivationName(p.activation), " tied_head=", p.tied_head);
}

absl::StatusOr<const Fingerprint*> Model::fingerprint(Monitor* monitor) const {
  Impl& m = *impl_;
  {
    const std::lock_guard lock(m.fingerprint_mutex);
    if (m.fingerprint != nullptr) return m.fingerprint.get();
  }
  // Without the lock, which a backend's callback could want as well; of two the first one counts.
  MOSSRT_ASSIGN_OR_RETURN(std::vector<float> probe, Probe(*this, monitor));
  auto made = std::make_unique<Fingerprint>();
  made->shape = shape_text();
  made->probe = std::move(probe);
  const std::lock_guard lock(m.fingerprint_mutex);
  if (m.fingerprint == nullptr) m.fingerprint = std::move(made);
  return m.fingerprint.get();
}

}  // namespace mossrt::runtime
