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

void Rotate(const Pass& pass, bool queries, bool keys) {
  const Model::Impl& m = pass.model;
  const HyperParams& p = m.params();
  const Workspace::Impl& ws = pass.ws;
  if (p.rotary_dim == 0) return;
  ForRows(pass.rows, *m.team, [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t i = first; i < end; ++i) {
      const std::int64_t position = ws.places[static_cast<std::size_t>(i)].position;
      if (queries) m.rope.Apply(position, p.heads, p.head_dim, ws.q.Row(i));
      if (keys) m.rope.Apply(position, p.kv_heads, p.head_dim, ws.k.Row(i));
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
  MOSSRT_RETURN_IF_ERROR(pass.CallHooks(HookPoint::kV, layer, pass.Rows(ws.v)));
  Rotate(pass, true, true);
  if (pass.Hooked(HookPoint::kQ, layer)) {
    MOSSRT_RETURN_IF_ERROR(CallHeadHooks(pass, HookPoint::kQ, layer, pass.Rows(ws.q)));
  }
  if (pass.Hooked(HookPoint::kK, layer)) {
    MOSSRT_RETURN_IF_ERROR(CallHeadHooks(pass, HookPoint::kK, layer, pass.Rows(ws.k)));
  }
  StoreKeysAndValues(pass, layer);
  Attend(pass, layer);
  return pass.CallHooks(HookPoint::kAttnOut, layer, pass.Rows(ws.attn));
}

// The MLP of a layer and its products, before or beside attention.
class MlpOf {
 public:
  MlpOf(const Pass& pass, int layer)
      : pass_(pass),
        layer_(layer),
        w_(pass.model.weights.layers[static_cast<std::size_t>(layer)]),
        gated_(pass.model.plan.spec.mlp == Mlp::kGated) {}

  // A parallel MLP reads its input beside attention: the shared norm itself, unless the MLP has a
  // norm of its own or a hook wants to change what the MLP alone reads.
  bool OwnInput() const {
    const Residual residual = pass_.model.params().residual;
    return residual != Residual::kParallelSharedNorm || pass_.Hooked(HookPoint::kMlpIn, layer_);
  }
  absl::Status MakeInput() const {
    const Workspace::Impl& ws = pass_.ws;
    const HyperParams& p = pass_.model.params();
    if (p.residual == Residual::kParallelSharedNorm) {
      for (std::int64_t i = 0; i < pass_.rows; ++i)
        std::copy_n(ws.norm.Row(i), p.hidden, ws.norm2.Row(i));
    } else {
      ApplyNorm(pass_.model.plan.spec.norm, w_.norm2.view(), p.norm_eps, pass_.Rows(ws.resid),
                pass_.Rows(ws.norm2), *pass_.model.team);
    }
    return pass_.CallHooks(HookPoint::kMlpIn, layer_, pass_.Rows(ws.norm2));
  }
  absl::Status AddUp(Products* products) const {
    const Workspace::Impl& ws = pass_.ws;
    const Matrix x = OwnInput() ? ws.norm2 : ws.norm;
    const Activation activation = pass_.model.params().activation;
    MOSSRT_RETURN_IF_ERROR(
        products->Add(x, w_.mlp_up, ws.up, gated_ ? Activation::kNone : activation));
    return gated_ ? products->Add(x, w_.mlp_gate, ws.gate, activation) : absl::OkStatus();
  }
  absl::Status FinishAct() const {
    const Workspace::Impl& ws = pass_.ws;
    if (gated_) Multiply(pass_.Rows(ws.gate), pass_.Rows(ws.up), *pass_.model.team);
    return pass_.CallHooks(HookPoint::kMlpAct, layer_, pass_.Rows(ws.up));
  }

 private:
  const Pass& pass_;
  int layer_;
  const LayerWeights& w_;
  bool gated_;
};

bool Parallel(const Pass& pass) { return pass.model.params().residual != Residual::kSequential; }

void FirstNorm(const Pass& pass, int layer) {
  const Model::Impl& m = pass.model;
  ApplyNorm(m.plan.spec.norm, m.weights.layers[static_cast<std::size_t>(layer)].norm1.view(),
            m.params().norm_eps, pass.Rows(pass.ws.resid), pass.Rows(pass.ws.norm), *m.team);
}

// From attention's output (and, where the residual is parallel, the MLP's neurons) to the residual
// stream.
absl::Status FinishLayer(const Pass& pass, int layer, const MlpOf& mlp) {
  const Model::Impl& m = pass.model;
  const LayerWeights& w = m.weights.layers[static_cast<std::size_t>(layer)];
  const Workspace::Impl& ws = pass.ws;
  if (Parallel(pass)) {
    MOSSRT_RETURN_IF_ERROR(mlp.FinishAct());
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
    MOSSRT_RETURN_IF_ERROR(mlp.MakeInput());
    Products up(pass);
    MOSSRT_RETURN_IF_ERROR(mlp.AddUp(&up));
    MOSSRT_RETURN_IF_ERROR(up.Run());
    MOSSRT_RETURN_IF_ERROR(mlp.FinishAct());
    Products down(pass);
    MOSSRT_RETURN_IF_ERROR(down.Add(ws.up, w.mlp_down, ws.down));
    MOSSRT_RETURN_IF_ERROR(down.Run());
    MOSSRT_RETURN_IF_ERROR(pass.CallHooks(HookPoint::kMlpOut, layer, pass.Rows(ws.down)));
    Add(pass.Rows(ws.down), pass.Rows(ws.resid), *m.team);
  }
  return pass.CallHooks(HookPoint::kResid, layer, pass.Rows(ws.resid));
}

// Only the wanted rows go on: they move to the front of the residual stream and of the norm.
void KeepWanted(Pass* pass) {
  Workspace::Impl& ws = pass->ws;
  const auto kept = static_cast<std::int64_t>(ws.wanted.size());
  std::vector<AttentionSequence>& runs = ws.sequences;
  const AttentionSequence any = runs.front();
  runs.clear();
  for (std::int64_t i = 0; i < kept; ++i) {  // wanted rows ascend, so nothing is overwritten
    const std::int64_t row = ws.wanted[static_cast<std::size_t>(i)];
    const RowPlace place = ws.places[static_cast<std::size_t>(row)];
    if (row != i) {
      const std::int64_t hidden = ws.resid.cols;
      std::copy_n(ws.resid.Row(row), hidden, ws.resid.Row(i));
      std::copy_n(ws.norm.Row(row), hidden, ws.norm.Row(i));
    }
    const bool same =
        !runs.empty() &&
        runs.back().cache == pass->inputs[static_cast<std::size_t>(place.sequence)].kv;
    if (same && runs.back().first_position + runs.back().rows == place.position) {
      ++runs.back().rows;
    } else {
      AttentionSequence& run = runs.emplace_back(any);
      run.first_row = i;
      run.rows = 1;
      run.first_position = place.position;
      run.cache = pass->inputs[static_cast<std::size_t>(place.sequence)].kv;
    }
    ws.places[static_cast<std::size_t>(i)] = place;
    ws.wanted[static_cast<std::size_t>(i)] = i;
  }
  pass->rows = kept;
}

}  // namespace

absl::Status RunLayer(const Pass& pass, int layer) {
  const LayerWeights& w = pass.model.weights.layers[static_cast<std::size_t>(layer)];
  const Workspace::Impl& ws = pass.ws;
  const MlpOf mlp(pass, layer);
  FirstNorm(pass, layer);
  MOSSRT_RETURN_IF_ERROR(pass.CallHooks(HookPoint::kNorm1, layer, pass.Rows(ws.norm)));
  if (Parallel(pass) && mlp.OwnInput()) MOSSRT_RETURN_IF_ERROR(mlp.MakeInput());
  {
    Products products(pass);
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.norm, w.q, ws.q));
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.norm, w.k, ws.k));
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.norm, w.v, ws.v));
    if (Parallel(pass)) MOSSRT_RETURN_IF_ERROR(mlp.AddUp(&products));
    MOSSRT_RETURN_IF_ERROR(products.Run());
  }
  MOSSRT_RETURN_IF_ERROR(RunAttention(pass, layer));
  return FinishLayer(pass, layer, mlp);
}

absl::Status RunLastLayer(Pass* pass, int layer) {
  const LayerWeights& w = pass->model.weights.layers[static_cast<std::size_t>(layer)];
  const Workspace::Impl& ws = pass->ws;
  FirstNorm(*pass, layer);
  {
    Products products(*pass);
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.norm, w.k, ws.k));
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.norm, w.v, ws.v));
    MOSSRT_RETURN_IF_ERROR(products.Run());
  }
  Rotate(*pass, false, true);
  StoreKeysAndValues(*pass, layer);
  KeepWanted(pass);
  if (pass->rows == 0) return absl::OkStatus();
  const MlpOf mlp(*pass, layer);
  if (Parallel(*pass) && mlp.OwnInput()) MOSSRT_RETURN_IF_ERROR(mlp.MakeInput());
  {
    Products products(*pass);
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.norm, w.q, ws.q));
    if (Parallel(*pass)) MOSSRT_RETURN_IF_ERROR(mlp.AddUp(&products));
    MOSSRT_RETURN_IF_ERROR(products.Run());
  }
  Rotate(*pass, true, false);
  Attend(*pass, layer);
  return FinishLayer(*pass, layer, mlp);
}

}  // namespace mossrt::runtime
