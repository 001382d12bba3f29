// Which tensors a model needs, of which shape, and how a matrix of the model reads its rows from
// them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "mossrt/runtime/arch_spec.h"
#include "mossrt/runtime/checkpoint.h"

namespace mossrt::runtime {

enum class Role : std::uint8_t {
  kEmbedding,
  kNorm1,
  kNorm2,
  kQ,
  kK,
  kV,
  kAttnOut,
  kMlpUp,
  kMlpGate,
  kMlpDown,
  kFinalNorm,
  kHead,
};
std::string_view RoleName(Role role);

// One matrix or vector of the model and where it comes from.
struct WeightRule {
  Role role;
  int layer;             // -1 outside layers
  bool bias;             // a vector added to the outputs of `role` (or a norm's), else the weights
  std::string tensor{};  // full name in the checkpoint
  std::vector<std::int64_t> shape{};  // of the tensor in the checkpoint
  char qkv_part = 0;                  // 'q', 'k' or 'v': rows go through QkvRowMap
  bool transposed = false;            // stored [in, out]
  std::int64_t rows = 0, cols = 1;    // of the matrix (cols 1 for vectors)

  // A matrix may have one column, so the tensor's rank tells.
  bool matrix() const { return shape.size() == 2; }
};

// "transformer.h.3."
std::string LayerPrefix(const ArchSpec& spec, std::int64_t layer);
std::string ShapeText(const std::vector<std::int64_t>& shape);  // "[2, 3]"

// All rules of a model, in the order of loading.
std::vector<WeightRule> WeightRules(const ArchSpec& spec, const HyperParams& params);

// Row r of the query (key, value) matrix -> row of the tensor it stands in: the fused layout and
// the interleaved rotary order folded into one map. Empty if it is the identity.
std::vector<std::int64_t> QkvRowMap(const ArchSpec& spec, const HyperParams& params, char part);
// Within a head: dimension d of our order -> the checkpoint's. Empty: the same.
std::vector<std::int64_t> RotaryOrder(const ArchSpec& spec, const HyperParams& params);

// Strict both ways: every rule's tensor is there with its shape and a float type (or the tensors
// of GPTQ in its place), and every tensor of the checkpoint is used or named as ignored. One
// message lists all that is wrong. `ignored` receives what the spec ignores, and biases of GPTQ
// matrices that the spec has none for: these are read, must be all zero, and are counted in
// `notes`.
absl::Status CheckTensors(const ArchSpec& spec, const HyperParams& params,
                          const std::vector<WeightRule>& rules, const Checkpoint& checkpoint,
                          std::vector<std::string>* ignored, std::vector<std::string>* notes);

}  // namespace mossrt::runtime
