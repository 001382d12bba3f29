// A model's weights in memory.
#pragma once

#include <memory>
#include <vector>

#include "base/page_buffer.h"
#include "models/weight_rules.h"
#include "mossrt/runtime/decoder.h"
#include "ops/elementwise.h"

namespace mossrt::runtime {

// Rows [vocab, hidden] in the file's type, gathered one at a time.
class EmbeddingTable {
 public:
  static std::size_t Bytes(const HyperParams& params, const WeightFormat& held);
  static WeightFormat HeldAs(DType file, const WeightFormat& wanted);
  void Row(std::int64_t token, float* out) const;  // [hidden]

  PageBuffer memory;
  DType dtype = DType::kF32;
  std::int64_t hidden = 0;
};

struct NormVectors {
  std::vector<float> weight, bias;
  NormWeights view() const { return {weight.data(), bias.empty() ? nullptr : bias.data()}; }
};

struct Linear {
  std::unique_ptr<PackedWeight> weight;
  std::vector<float> bias;  // [weight->rows()], or empty
  const float* bias_or_null() const { return bias.empty() ? nullptr : bias.data(); }
};

struct LayerWeights {
  NormVectors norm1, norm2;
  Linear q, k, v, attn_out, mlp_up, mlp_gate, mlp_down;
};

struct Weights {
  PageBuffer packed;         // all matrices
  EmbeddingTable embedding;  // of no size if the head is tied: then its rows serve
  std::vector<LayerWeights> layers;
  NormVectors final_norm;
  Linear head;
  std::uint64_t bytes = 0;  // packed, table and vectors
};

// PlanModel with the backend that will hold the weights.
absl::StatusOr<ModelPlan> PlanFor(const Checkpoint& checkpoint, const LoadOptions& options,
                                  const GemmBackend& backend);

absl::StatusOr<Weights> LoadWeights(const Checkpoint& checkpoint, const ModelPlan& plan,
                                    const LoadOptions& options, GemmBackend& backend,
                                    ThreadTeam& team, Monitor* monitor);

}  // namespace mossrt::runtime
