// Looking inside while a model runs: named points, read and write. Owned by src/models.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "mossrt/runtime/tensor_view.h"

namespace mossrt::runtime {

enum class HookPoint : std::uint8_t {
  kEmbed,  // token embeddings                                  [n, hidden]
  kNorm1,  // the layer's first norm: input of q, k, v          [n, hidden]
  kQ,      // queries after the rotary embedding, dimensions in the checkpoint's order  [n, heads *
           // head_dim]
  kK,      // keys, likewise                                    [n, kv_heads * head_dim]
  kV,      // values                                            [n, kv_heads * head_dim]
  kAttnOut,    // heads' outputs, before the output projection      [n, heads * head_dim]
  kMlpIn,      // what the MLP reads, after its norm                [n, hidden]
  kMlpAct,     // neurons: after activation (and gate), input of the down projection  [n, inner]
  kMlpOut,     // what the MLP adds to the residual stream          [n, hidden]
  kResid,      // residual stream after the layer                   [n, hidden]
  kFinalNorm,  // after the final norm, rows whose logits are wanted  [rows, hidden]
  kLogits,     // [rows, vocab]
};
inline constexpr int kHookPoints = 12;

// "embed norm1 q k v attn_out mlp_in mlp_act mlp_out resid final_norm logits"
std::string_view HookName(HookPoint point);
std::optional<HookPoint> HookByName(std::string_view name);
bool HookHasLayers(HookPoint point);

struct HookCall {
  HookPoint point;
  int layer;                    // -1 where the point has none
  std::int64_t first_position;  // of the sequence's first row
  int sequence;                 // index in the Forward call
  Matrix values;                // in place; what is written here goes on
};
// An error ends the Forward call with it. The function may not change the set it is called from.
using HookFn = std::function<absl::Status(const HookCall&)>;

class HookSet {
 public:
  static constexpr int kAllLayers = -1;
  // Several functions at one point run in the order they were added. Returns an id for Remove.
  int Add(HookPoint point, int layer, HookFn fn);
  void Remove(int id);
  bool empty() const { return hooks_.empty(); }
  bool Wanted(HookPoint point, int layer) const;
  // Bit p is set if there is a function at point p: a Forward asks once instead of at every point.
  std::uint32_t points() const { return points_; }
  // kInvalidArgument if a function is empty or its layer is none of `layers`.
  absl::Status Check(int layers) const;
  absl::Status Call(const HookCall& call) const;

 private:
  struct Entry {
    int id, layer;
    HookPoint point;
    HookFn fn;
  };
  std::vector<Entry> hooks_;
  std::uint32_t points_ = 0;
  int next_id_ = 1;
};

}  // namespace mossrt::runtime
