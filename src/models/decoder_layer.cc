// The block of every architecture, and its last one for the rows that are wanted.
#include <algorithm>

#include "models/layer_parts.h"

namespace mossrt::runtime {
namespace {

// The rows of a norm of the residual stream, which first receives what is due to it.
absl::Status MakeNorm(const Pass& pass, Products* products, HookPoint point, int layer,
                      NormWeights weights, Matrix y, const Linear& reader) {
  const Model::Impl& m = pass.model;
  MOSSRT_RETURN_IF_ERROR(
      products->Make(point, layer, y, reader, [&](std::int64_t first, std::int64_t end) {
        pass.PayDue(first, end);
        ApplyNorm(m.plan.spec.norm, weights, m.params().norm_eps,
                  pass.ws.resid.Rows(first, end - first), y.Rows(first, end - first));
      }));
  pass.ws.due = {};
  return absl::OkStatus();
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
  absl::Status AddUp(Products* products) const {
    const Workspace::Impl& ws = pass_.ws;
    const HyperParams& p = pass_.model.params();
    Matrix x = ws.norm2;
    if (p.residual != Residual::kParallelSharedNorm) {
      MOSSRT_RETURN_IF_ERROR(
          MakeNorm(pass_, products, HookPoint::kMlpIn, layer_, w_.norm2.view(), x, w_.mlp_up));
    } else if (pass_.Hooked(HookPoint::kMlpIn, layer_)) {
      for (std::int64_t i = 0; i < pass_.rows; ++i) std::copy_n(ws.norm.Row(i), p.hidden, x.Row(i));
      MOSSRT_RETURN_IF_ERROR(pass_.CallHooks(HookPoint::kMlpIn, layer_, pass_.Rows(x)));
    } else {
      x = ws.norm;
    }
    Epilogue epilogue{.activation = p.activation};
    if (gated_) {
      MOSSRT_RETURN_IF_ERROR(products->Add(x, w_.mlp_gate, ws.gate, epilogue));
      epilogue = {.times = pass_.Rows(ws.gate)};
    }
    MOSSRT_RETURN_IF_ERROR(products->Add(x, w_.mlp_up, ws.up, epilogue));
    if (!Shown()) products->PrepareOutputs(w_.mlp_down, ws.up_input.get());
    return absl::OkStatus();
  }
  absl::Status AddDown(Products* products) const {
    const Workspace::Impl& ws = pass_.ws;
    if (Shown()) {
      const Matrix up = pass_.Rows(ws.up);
      MOSSRT_RETURN_IF_ERROR(pass_.CallHooks(HookPoint::kMlpAct, layer_, up));
      GemmBackend& backend = *pass_.model.backend;
      MOSSRT_RETURN_IF_ERROR(backend.Prepare(up, backend.InputKind(*w_.mlp_down.weight),
                                             ws.up_input.get(), *pass_.model.team));
    }
    products->Add(ws.up_input.get(), w_.mlp_down, ws.down);
    return absl::OkStatus();
  }

 private:
  // Do hooks look at what mlp_down reads?
  bool Shown() const { return pass_.Hooked(HookPoint::kMlpAct, layer_); }

  const Pass& pass_;
  int layer_;
  const LayerWeights& w_;
  bool gated_;
};

bool Parallel(const Pass& pass) { return pass.model.params().residual != Residual::kSequential; }

// From attention's output (and, where the residual is parallel, the MLP's neurons) to what is due
// to the residual stream.
absl::Status FinishLayer(const Pass& pass, int layer, const MlpOf& mlp) {
  const Model::Impl& m = pass.model;
  const LayerWeights& w = m.weights.layers[static_cast<std::size_t>(layer)];
  Workspace::Impl& ws = pass.ws;
  Products out(pass);
  if (Parallel(pass)) {
    MOSSRT_RETURN_IF_ERROR(mlp.AddDown(&out));
    MOSSRT_RETURN_IF_ERROR(out.Add(ws.attn, w.attn_out, ws.attn_proj));
    MOSSRT_RETURN_IF_ERROR(out.Run());
    ws.due = {ws.attn_proj, ws.down};
  } else {
    MOSSRT_RETURN_IF_ERROR(out.Add(ws.attn, w.attn_out, ws.attn_proj));
    MOSSRT_RETURN_IF_ERROR(out.Run());
    ws.due = {ws.attn_proj};
    Products up(pass);
    MOSSRT_RETURN_IF_ERROR(mlp.AddUp(&up));
    MOSSRT_RETURN_IF_ERROR(up.Run());
    Products down(pass);
    MOSSRT_RETURN_IF_ERROR(mlp.AddDown(&down));
    MOSSRT_RETURN_IF_ERROR(down.Run());
    ws.due = {ws.down};
  }
  MOSSRT_RETURN_IF_ERROR(pass.CallHooks(HookPoint::kMlpOut, layer, pass.Rows(ws.down)));
  if (!pass.Hooked(HookPoint::kResid, layer)) return absl::OkStatus();
  ForRows(pass.rows, *m.team,
          [&](std::int64_t first, std::int64_t end) { pass.PayDue(first, end); });
  ws.due = {};
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
  {
    Products products(pass);
    MOSSRT_RETURN_IF_ERROR(
        MakeNorm(pass, &products, HookPoint::kNorm1, layer, w.norm1.view(), ws.norm, w.q));
    if (Parallel(pass)) MOSSRT_RETURN_IF_ERROR(mlp.AddUp(&products));
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.norm, w.q, ws.q));
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.norm, w.k, ws.k));
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.norm, w.v, ws.v));
    MOSSRT_RETURN_IF_ERROR(products.Run());
  }
  MOSSRT_RETURN_IF_ERROR(RunAttention(pass, layer));
  return FinishLayer(pass, layer, mlp);
}

absl::Status RunLastLayer(Pass* pass, int layer) {
  const LayerWeights& w = pass->model.weights.layers[static_cast<std::size_t>(layer)];
  const Workspace::Impl& ws = pass->ws;
  {
    Products products(*pass);
    MOSSRT_RETURN_IF_ERROR(
        MakeNorm(*pass, &products, HookPoint::kNorm1, layer, w.norm1.view(), ws.norm, w.k));
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.norm, w.k, ws.k));
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.norm, w.v, ws.v));
    MOSSRT_RETURN_IF_ERROR(products.Run());
  }
  RotateAndStoreKeys(*pass, layer);
  KeepWanted(pass);
  if (pass->rows == 0) return absl::OkStatus();
  const MlpOf mlp(*pass, layer);
  {
    Products products(*pass);
    if (Parallel(*pass)) MOSSRT_RETURN_IF_ERROR(mlp.AddUp(&products));
    MOSSRT_RETURN_IF_ERROR(products.Add(ws.norm, w.q, ws.q));
    MOSSRT_RETURN_IF_ERROR(products.Run());
  }
  RotateQueries(*pass);
  Attend(*pass, layer);
  return FinishLayer(*pass, layer, mlp);
}

}  // namespace mossrt::runtime
