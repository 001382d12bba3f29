// The block: one page for every architecture.
#include <algorithm>
#include <array>

#include "base/status.h"
#include "models/model_impl.h"

namespace mossrt::runtime {
namespace {

// Products as one parallel region. Matrices that read the same rows in the same form share one
// prepared input.
class Products {
 public:
  explicit Products(const Pass& pass) : pass_(pass) { pass_.ws.calls.clear(); }
  absl::Status Add(Matrix x, const Linear& linear, Matrix y,
                   Activation activation = Activation::kNone) {
    MOSSRT_ASSIGN_OR_RETURN(const PreparedInput* input, Prepared(x, linear));
    pass_.ws.calls.push_back(
        {.x = input,
         .w = linear.weight.get(),
         .y = pass_.Rows(y),
         .epilogue = {.bias = linear.bias_or_null(), .activation = activation}});
    return absl::OkStatus();
  }
  absl::Status Run() { return pass_.model.backend->Run(pass_.ws.calls, *pass_.model.team); }

 private:
  absl::StatusOr<const PreparedInput*> Prepared(Matrix x, const Linear& reader) {
    GemmBackend& backend = *pass_.model.backend;
    const int kind = backend.InputKind(*reader.weight);
    for (std::size_t i = 0; i < used_; ++i) {
      if (known_[i].rows == x.data && known_[i].kind == kind) return pass_.ws.inputs[i].get();
    }
    PreparedInput* input = pass_.ws.inputs[used_].get();
    MOSSRT_RETURN_IF_ERROR(backend.Prepare(pass_.Rows(x), kind, input, *pass_.model.team));
    known_[used_++] = {x.data, kind};
    return input;
  }

  struct Known {
    const float* rows;
    int kind;
  };
  const Pass& pass_;
  std::array<Known, kMostInputs> known_{};
  std::size_t used_ = 0;
};

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

void Rotate(const Pass& pass) {
  const Model::Impl& m = pass.model;
  const HyperParams& p = m.params();
  const Workspace::Impl& ws = pass.ws;
  if (p.rotary_dim == 0) return;
  ForRows(pass.rows, *m.team, [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t i = first; i < end; ++i) {
      const std::int64_t position = ws.places[static_cast<std::size_t>(i)].position;
      m.rope.Apply(position, p.heads, p.head_dim, ws.q.Row(i));
      m.rope.Apply(position, p.kv_heads, p.head_dim, ws.k.Row(i));
    }
  });
}

// Each thread stores whole heads, so that the lines of a key panel are written by one core.
void StoreKeysAndValues(const Pass& pass, int layer) {
  const HyperParams& p = pass.model.params();
  const Workspace::Impl& ws = pass.ws;
  const auto store = [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t head = first; head < end; ++head) {
      for (std::int64_t i = 0; i < pass.rows; ++i) {
        const RowPlace& place = ws.places[static_cast<std::size_t>(i)];
        KvCache& kv = *pass.inputs[static_cast<std::size_t>(place.sequence)].kv;
        kv.StoreKey(place.position, layer, head, ws.k.Row(i) + head * p.head_dim);
        kv.StoreValue(place.position, layer, head, ws.v.Row(i) + head * p.head_dim);
      }
    }
  };
  if (pass.rows == 1) {
    store(0, p.kv_heads);
  } else {
    ForRows(p.kv_heads, *pass.model.team, store);
  }
}

absl::Status RunAttention(const Pass& pass, int layer) {
  const Model::Impl& m = pass.model;
  Workspace::Impl& ws = pass.ws;
  const HyperParams& p = m.params();
  MOSSRT_RETURN_IF_ERROR(pass.CallHooks(HookPoint::kV, layer, pass.Rows(ws.v)));
  Rotate(pass);
  if (pass.Hooked(HookPoint::kQ, layer)) {
    MOSSRT_RETURN_IF_ERROR(CallHeadHooks(pass, HookPoint::kQ, layer, pass.Rows(ws.q)));
  }
  if (pass.Hooked(HookPoint::kK, layer)) {
    MOSSRT_RETURN_IF_ERROR(CallHeadHooks(pass, HookPoint::kK, layer, pass.Rows(ws.k)));
  }
  StoreKeysAndValues(pass, layer);
  const AttentionShape shape{.heads = p.heads,
                             .kv_heads = p.kv_heads,
                             .head_dim = p.head_dim,
                             .block_tokens = kKvBlockTokens,
                             .kv_dtype = pass.inputs[0].kv->shape().dtype,
                             .scale = 1.0f / __builtin_sqrtf(static_cast<float>(p.head_dim))};
  Attention(shape, layer, ws.sequences, pass.Rows(ws.q), pass.Rows(ws.attn),
            ws.attention_scratch.data(), *m.team);
  return pass.CallHooks(HookPoint::kAttnOut, layer, pass.Rows(ws.attn));
}

}  // namespace

absl::Status RunLayer(const Pass& pass, int layer) {
  const Model::Impl& m = pass.model;
  const ArchSpec& spec = m.plan.spec;
  const HyperParams& p = m.params();
  const LayerWeights& w = m.weights.layers[static_cast<std::size_t>(layer)];
  Workspace::Impl& ws = pass.ws;
  const bool gated = spec.mlp == Mlp::kGated;
  const bool parallel = p.residual != Residual::kSequential;
  // A parallel MLP reads its input beside attention: the shared norm itself, unless the MLP has a
  // norm of its own or a hook wants to change what the MLP alone reads.
  const bool own_input = parallel && (p.residual == Residual::kParallelTwoNorms ||
                                      pass.Hooked(HookPoint::kMlpIn, layer));

  const auto mlp_input = [&]() -> absl::Status {
    if (p.residual == Residual::kParallelSharedNorm) {
      for (std::int64_t i = 0; i < pass.rows; ++i)
        std::copy_n(ws.norm.Row(i), p.hidden, ws.norm2.Row(i));
    } else {
      ApplyNorm(spec.norm, w.norm2.view(), p.norm_eps, pass.Rows(ws.resid), pass.Rows(ws.norm2),
                *m.team);
    }
    return pass.CallHooks(HookPoint::kMlpIn, layer, pass.Rows(ws.norm2));
  };
  const auto add_mlp = [&](Products* products, Matrix x) {
    MOSSRT_RETURN_IF_ERROR(
        products->Add(x, w.mlp_up, ws.up, gated ? Activation::kNone : p.activation));
    return gated ? products->Add(x, w.mlp_gate, ws.gate, p.activation) : absl::OkStatus();
  };
  const auto finish_mlp_act = [&]() -> absl::Status {
    if (gated) Multiply(pass.Rows(ws.gate), pass.Rows(ws.up), *m.team);
    return pass.CallHooks(HookPoint::kMlpAct, layer, pass.Rows(ws.up));
  };

  ApplyNorm(spec.norm, w.norm1.view(), p.norm_eps, pass.Rows(ws.resid), pass.Rows(ws.norm),
            *m.team);
  MOSSRT_RETURN_IF_ERROR(pass.CallHooks(HookPoint::kNorm1, layer, pass.Rows(ws.norm)));
  if (own_input) MOSSRT_RETURN_IF_ERROR(mlp_input());
  {
    Products products(pass);
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.norm, w.q, ws.q));
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.norm, w.k, ws.k));
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.norm, w.v, ws.v));
    if (parallel) MOSSRT_RETURN_IF_ERROR(add_mlp(&products, own_input ? ws.norm2 : ws.norm));
    MOSSRT_RETURN_IF_ERROR(products.Run());
  }
  MOSSRT_RETURN_IF_ERROR(RunAttention(pass, layer));

  if (parallel) {
    MOSSRT_RETURN_IF_ERROR(finish_mlp_act());
    Products products(pass);
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.attn, w.attn_out, ws.attn_proj));
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.up, w.mlp_down, ws.down));
    MOSSRT_RETURN_IF_ERROR(products.Run());
    MOSSRT_RETURN_IF_ERROR(pass.CallHooks(HookPoint::kMlpOut, layer, pass.Rows(ws.down)));
    AddBoth(pass.Rows(ws.attn_proj), pass.Rows(ws.down), pass.Rows(ws.resid), *m.team);
  } else {
    Products out(pass);
    MOSSRT_RETURN_IF_ERROR(out.Add(ws.attn, w.attn_out, ws.attn_proj));
    MOSSRT_RETURN_IF_ERROR(out.Run());
    Add(pass.Rows(ws.attn_proj), pass.Rows(ws.resid), *m.team);
    MOSSRT_RETURN_IF_ERROR(mlp_input());
    Products up(pass);
    MOSSRT_RETURN_IF_ERROR(add_mlp(&up, ws.norm2));
    MOSSRT_RETURN_IF_ERROR(up.Run());
    MOSSRT_RETURN_IF_ERROR(finish_mlp_act());
    Products down(pass);
    MOSSRT_RETURN_IF_ERROR(down.Add(ws.up, w.mlp_down, ws.down));
    MOSSRT_RETURN_IF_ERROR(down.Run());
    MOSSRT_RETURN_IF_ERROR(pass.CallHooks(HookPoint::kMlpOut, layer, pass.Rows(ws.down)));
    Add(pass.Rows(ws.down), pass.Rows(ws.resid), *m.team);
  }
  return pass.CallHooks(HookPoint::kResid, layer, pass.Rows(ws.resid));
}

}  // namespace mossrt::runtime
