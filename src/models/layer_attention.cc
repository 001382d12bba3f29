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

void Rotate(const Pass& pass, bool queries, bool keys, std::int64_t first, std::int64_t end) {
  const Model::Impl& m = pass.model;
  const HyperParams& p = m.params();
  const Workspace::Impl& ws = pass.ws;
  if (p.rotary_dim == 0) return;
  for (std::int64_t i = first; i < end; ++i) {
    const std::int64_t position = ws.places[static_cast<std::size_t>(i)].position;
    if (queries) m.rope.Apply(position, p.heads, p.head_dim, ws.q.Row(i));
    if (keys) m.rope.Apply(position, p.kv_heads, p.head_dim, ws.k.Row(i));
  }
}

// Rows of one sequence are successive positions of its cache.
void Store(const Pass& pass, int layer, std::int64_t first, std::int64_t end) {
  const HyperParams& p = pass.model.params();
  const Workspace::Impl& ws = pass.ws;
  const auto place = [&ws](std::int64_t row) { return ws.places[static_cast<std::size_t>(row)]; };
  for (std::int64_t last = first; first < end; first = last) {
    const RowPlace& start = place(first);
    while (last < end && place(last).sequence == start.sequence) ++last;
    KvCache& kv = *pass.inputs[static_cast<std::size_t>(start.sequence)].kv;
    for (std::int64_t head = 0; head < p.kv_heads; ++head) {
      const auto of_head = [&](const Matrix& all) {
        return all.Rows(first, last - first).Cols(head * p.head_dim, p.head_dim);
      };
      kv.StoreKeys(start.position, layer, head, of_head(ws.k));
      kv.StoreValues(start.position, layer, head, of_head(ws.v));
    }
  }
}

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

void Attend(const Pass& pass, int layer) {
  const HyperParams& p = pass.model.params();
  Workspace::Impl& ws = pass.ws;
  const AttentionShape shape{.heads = p.heads,
                             .kv_heads = p.kv_heads,
                             .head_dim = p.head_dim,
                             .block_tokens = kKvBlockTokens,
                             .kv_dtype = pass.inputs[0].kv->shape().dtype,
                             .scale = 1.0f / __builtin_sqrtf(static_cast<float>(p.head_dim))};
  Attention(shape, layer, ws.sequences, pass.Rows(ws.q), pass.Rows(ws.attn),
            ws.attention_scratch.data(), *pass.model.team);
}

absl::Status RunAttention(const Pass& pass, int layer) {
  Workspace::Impl& ws = pass.ws;
  ThreadTeam& team = *pass.model.team;
  MOSSRT_RETURN_IF_ERROR(pass.CallHooks(HookPoint::kV, layer, pass.Rows(ws.v)));
  const bool queries = pass.Hooked(HookPoint::kQ, layer), keys = pass.Hooked(HookPoint::kK, layer);
  const bool apart = queries || keys;
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
