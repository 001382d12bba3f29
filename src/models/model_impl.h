// What stands behind Model and Workspace, shared by the files of this room.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "models/weights.h"
#include "mossrt/runtime/decoder.h"
#include "ops/attention.h"
#include "ops/rope.h"

namespace mossrt::runtime {

struct Model::Impl {
  ModelPlan plan;
  std::unique_ptr<GemmBackend> backend;
  std::unique_ptr<ThreadTeam> team;
  Weights weights;
  RopeTable rope;
  std::vector<std::int64_t> rotary_order;  // dimension of ours -> the checkpoint's, or empty
  std::string numerics;
  PackedOrigin asked;  // the options of loading that a packed file tells
  std::mutex fingerprint_mutex;
  std::unique_ptr<const Fingerprint> fingerprint;  // set once

  const HyperParams& params() const { return plan.params; }
  void EmbeddingRow(std::int64_t token, float* out) const {
    if (plan.params.tied_head) {
      backend->ReadRow(*weights.head.weight, token, out);
    } else {
      weights.embedding.Row(token, out);
    }
  }
};

// Where a row of the batch belongs.
struct RowPlace {
  int sequence = 0;
  std::int64_t position = 0;
};

// Prepared inputs of one region of products: q, k, v, up and gate may all read in forms of their
// own.
inline constexpr std::size_t kMostInputs = 5;

struct Workspace::Impl {
  const Model::Impl* model = nullptr;  // whose sizes it has
  std::int64_t max_rows = 0;
  PageBuffer memory;
  Matrix resid, norm, norm2, q, k, v, attn, attn_proj, up, gate, down, reorder;  // [max_rows, ...]
  // What the residual stream has yet to receive: nothing, the first, or the sum of both.
  std::array<Matrix, 2> due{};
  // As many as one region of products needs: one for each form in which its matrices read rows.
  std::vector<std::unique_ptr<PreparedInput>> inputs;
  std::unique_ptr<PreparedInput> up_input;  // what mlp_down reads
  PageBuffer attention_scratch;
  std::vector<RowPlace> places;  // of the rows of this call
  std::vector<AttentionSequence> sequences;
  std::vector<std::int64_t> wanted;  // rows whose logits are wanted
  std::vector<GemmCall> calls;
  // Wanted rows: their final norms, their prepared form, their logits.
  std::int64_t max_wanted = 0;
  PageBuffer wanted_memory;
  Matrix final_norm, logits;
  std::unique_ptr<PreparedInput> head_input;
};

// One call of Forward on its way through the layers.
struct Pass {
  const Model::Impl& model;
  Workspace::Impl& ws;
  std::span<const SequenceInput> inputs;
  const HookSet* hooks;
  std::uint32_t hook_points;  // hooks->points(), or 0
  std::int64_t rows;

  Matrix Rows(const Matrix& buffer) const { return buffer.Rows(0, rows); }
  bool Hooked(HookPoint point, int layer) const {
    return (hook_points >> static_cast<unsigned>(point) & 1) != 0 && hooks->Wanted(point, layer);
  }
  // Rows [first, end) of the residual stream receive what is due to them.
  void PayDue(std::int64_t first, std::int64_t end) const;
  // Shows each sequence's rows of `values` to the hooks of this point.
  absl::Status CallHooks(HookPoint point, int layer, Matrix values) const;
};

// Layer `layer` on ws.resid in place; keys and values of the rows go to the caches.
absl::Status RunLayer(const Pass& pass, int layer);
// The same for the last layer where no hook looks at it: all rows give keys and values, and only
// the wanted ones, which then are all that `pass` has, go further.
absl::Status RunLastLayer(Pass* pass, int layer);

// Room for the final norms and logits of `rows` wanted rows.
absl::Status GrowWanted(const Model::Impl& model, std::int64_t rows, Workspace::Impl* ws);

}  // namespace mossrt::runtime
