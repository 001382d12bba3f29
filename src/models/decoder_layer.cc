// The block of every architecture, and its last one for the rows that are wanted.
#include <algorithm>

#include "models/layer_parts.h"

namespace mossrt::runtime {
namespace {

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
