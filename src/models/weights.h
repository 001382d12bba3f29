// A model's weights in memory.
#pragma once

#include <memory>
#include <vector>

#include "base/page_buffer.h"
#include "models/weight_rules.h"
#include "mossrt/runtime/decoder.h"
#include "ops/elementwise.h"

namespace mossrt::runtime {

// Rows [vocab, hidden], gathered one at a time: in the file's type, or as integers of 8 bits in
// groups, each row its scales (float16) and then its bytes.
class EmbeddingTable {
 public:
  static std::size_t Bytes(const HyperParams& params, const WeightFormat& held);
  static WeightFormat HeldAs(DType file, const WeightFormat& wanted);
  void Row(std::int64_t token, float* out) const;  // [hidden]
  // Rows of `dtype` from a slab become rows of the table; many threads at once.
  absl::Status SetRows(std::int64_t first, std::int64_t count, DType dtype,
                       const std::uint8_t* bytes, std::string_view name);

  PageBuffer memory;
  WeightFormat format;
  std::int64_t hidden = 0;

 private:
  static std::size_t RowBytes(const WeightFormat& format, std::int64_t hidden);
  std::size_t row_bytes() const { return RowBytes(format, hidden); }
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

// The matrix or the vector that a rule loads into; the other is null. The lookup table of an
// embedding that is no head has neither.
struct WeightSlot {
  Linear* matrix = nullptr;
  std::vector<float>* vector = nullptr;
};
WeightSlot SlotOf(Weights& weights, const WeightRule& rule, bool tied_head);

// What of a plan does not depend on where weights come from: cache, rotary table, memory there is.
void PlanMachine(const LoadOptions& options, ModelPlan* plan);

// PlanModel with the backend that will hold the weights.
absl::StatusOr<ModelPlan> PlanFor(const Checkpoint& checkpoint, const LoadOptions& options,
                                  const GemmBackend& backend);

absl::StatusOr<Weights> LoadWeights(const Checkpoint& checkpoint, const ModelPlan& plan,
                                    const LoadOptions& options, GemmBackend& backend,
                                    ThreadTeam& team, Monitor* monitor);

}  // namespace mossrt::runtime
