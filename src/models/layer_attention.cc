#include <algorithm>

#include "models/layer_parts.h"

namespace mossrt::runtime {
namespace {

// q and k are shown in the checkpoint's order of dimensions, which interleaved rotary weights do
// not keep inside.
absl::Status CallHeadHooks(const Pass& pass, HookPoint point, int layer, Matrix values) {
  const std::vector<std::int64_t>& order = pass.model.rotary_order;
  if (order.empty()) return pass.CallHooks(point, layer, values);
  const auto head_dim = static_cast<std::int64_t>(order.size());
  const Matrix shown = pass.Rows(pass.ws.reorder).Cols(0, values.cols);
  const auto deal = [&](bool inwards) {
    for (std::int64_t i = 0; i < pass.rows; ++i) {
      for (std::int64_t c = 0; c < values.cols; ++c) {
        const std::int64_t there =
            c / head_dim * head_dim + order[static_cast<std::size_t>(c % head_dim)];
        if (inwards) {
          values.Row(i)[c] = shown.Row(i)[there];
        } else {
          shown.Row(i)[there] = values.Row(i)[c];
        }
      }
    }
  };
  deal(false);
  MOSSRT_RETURN_IF_ERROR(pass.CallHooks(point, layer, shown));
  deal(true);
  return absl::OkStatus();
}

// `heads` heads of a row, in place.
void RotateHeads(const Pass& pass, std::int64_t row, std::int64_t heads, float* x) {
  const HyperParams& p = pass.model.params();
  if (p.rotary_dim == 0) return;
  pass.model.rope.Apply(pass.ws.places[static_cast<std::size_t>(row)].position, heads, p.head_dim,
                        x);
}

void Rotate(const Pass& pass, bool queries, bool keys, std::int64_t first, std::int64_t end) {
  const HyperParams& p = pass.model.params();
  for (std::int64_t i = first; i < end; ++i) {
    if (queries) RotateHeads(pass, i, p.heads, pass.ws.q.Row(i));
    if (keys) RotateHeads(pass, i, p.kv_heads, pass.ws.k.Row(i));
  }
}

// Rows [first, end), successive positions of the cache of one sequence.
void StoreHead(const Pass& pass, int layer, std::int64_t head, std::int64_t first,
               std::int64_t end) {
  const std::int64_t head_dim = pass.model.params().head_dim;
  const RowPlace& start = pass.ws.places[static_cast<std::size_t>(first)];
  KvCache& kv = *pass.inputs[static_cast<std::size_t>(start.sequence)].kv;
  const auto of_head = [&](const Matrix& all) {
    return all.Rows(first, end - first).Cols(head * head_dim, head_dim);
  };
  kv.StoreKeys(start.position, layer, head, of_head(pass.ws.k));
  kv.StoreValues(start.position, layer, head, of_head(pass.ws.v));
}

void Store(const Pass& pass, int layer, std::int64_t first, std::int64_t end) {
  const auto sequence = [&](std::int64_t row) {
    return pass.ws.places[static_cast<std::size_t>(row)].sequence;
  };
  for (std::int64_t last = first; first < end; first = last) {
    while (last < end && sequence(last) == sequence(first)) ++last;
    for (std::int64_t head = 0; head < pass.model.params().kv_heads; ++head) {
      StoreHead(pass, layer, head, first, last);
    }
  }
}

class DecodedTokens final : public NewestTokens {
 public:
  DecodedTokens(const Pass& pass, int layer) : pass_(pass), layer_(layer) {}

  void RotateQueries(std::int64_t row, float* queries) const override {
    const HyperParams& p = pass_.model.params();
    RotateHeads(pass_, row, p.heads / p.kv_heads, queries);
  }
  void StoreKeyAndValue(std::int64_t row, std::int64_t head) const override {
    RotateHeads(pass_, row, 1, pass_.ws.k.Row(row) + head * pass_.model.params().head_dim);
    StoreHead(pass_, layer_, head, row, row + 1);
  }

 private:
  const Pass& pass_;
  int layer_;
};

}  // namespace

void RotateQueries(const Pass& pass) {
  ForRows(pass.rows, *pass.model.team,
          [&](std::int64_t first, std::int64_t end) { Rotate(pass, true, false, first, end); });
}

void RotateAndStoreKeys(const Pass& pass, int layer) {
  ForRows(pass.rows, *pass.model.team, [&](std::int64_t first, std::int64_t end) {
    Rotate(pass, false, true, first, end);
    Store(pass, layer, first, end);
  });
}

void Attend(const Pass& pass, int layer, const NewestTokens* newest) {
  const HyperParams& p = pass.model.params();
  Workspace::Impl& ws = pass.ws;
  const AttentionShape shape{.heads = p.heads,
                             .kv_heads = p.kv_heads,
                             .head_dim = p.head_dim,
                             .block_tokens = kKvBlockTokens,
                             .kv_dtype = pass.inputs[0].kv->shape().dtype,
                             .scale = 1.0f / __builtin_sqrtf(static_cast<float>(p.head_dim))};
  Attention(shape, layer, ws.sequences, pass.Rows(ws.q), pass.Rows(ws.attn),
            ws.attention_scratch.data(), *pass.model.team, newest);
}

absl::Status RunAttention(const Pass& pass, int layer) {
  Workspace::Impl& ws = pass.ws;
  ThreadTeam& team = *pass.model.team;
  MOSSRT_RETURN_IF_ERROR(pass.CallHooks(HookPoint::kV, layer, pass.Rows(ws.v)));
  const bool queries = pass.Hooked(HookPoint::kQ, layer), keys = pass.Hooked(HookPoint::kK, layer);
  const bool apart = queries || keys;
  if (!apart && pass.rows == static_cast<std::int64_t>(ws.sequences.size())) {
    const DecodedTokens newest(pass, layer);
    Attend(pass, layer, &newest);
    return pass.CallHooks(HookPoint::kAttnOut, layer, pass.Rows(ws.attn));
  }
  ForRows(pass.rows, team, [&](std::int64_t first, std::int64_t end) {
    Rotate(pass, true, true, first, end);
    if (!apart) Store(pass, layer, first, end);
  });
  if (queries) {
    MOSSRT_RETURN_IF_ERROR(CallHeadHooks(pass, HookPoint::kQ, layer, pass.Rows(ws.q)));
  }
  if (keys) {
    MOSSRT_RETURN_IF_ERROR(CallHeadHooks(pass, HookPoint::kK, layer, pass.Rows(ws.k)));
  }
  if (apart) {
    ForRows(pass.rows, team,
            [&](std::int64_t first, std::int64_t end) { Store(pass, layer, first, end); });
  }
  Attend(pass, layer);
  return pass.CallHooks(HookPoint::kAttnOut, layer, pass.Rows(ws.attn));
}

}  // namespace mossrt::runtime
