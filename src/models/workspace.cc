#include <algorithm>
#include <new>
#include <set>

#include "base/cat.h"
#include "base/status.h"
#include "models/model_impl.h"

namespace mossrt::runtime {
namespace {

// Products store whole panels of 16 columns.
std::int64_t Padded(std::int64_t cols) { return (cols + 15) / 16 * 16; }

// Deals one piece of memory out as matrices: first counts, then gives.
class Layout {
 public:
  explicit Layout(std::int64_t rows, std::byte* base) : rows_(rows), base_(base) {}
  Matrix Take(std::int64_t cols) {
    const std::int64_t stride = Padded(cols);
    auto* data = base_ == nullptr ? nullptr : reinterpret_cast<float*>(base_ + used_);
    used_ += static_cast<std::size_t>(rows_ * stride) * sizeof(float);
    return {data, rows_, cols, stride};
  }
  std::size_t used() const { return used_; }

 private:
  std::int64_t rows_;
  std::byte* base_;
  std::size_t used_ = 0;
};

void Place(const HyperParams& p, bool gated, Layout* layout, Workspace::Impl* ws) {
  const std::int64_t q_cols = p.heads * p.head_dim, kv_cols = p.kv_heads * p.head_dim;
  ws->resid = layout->Take(p.hidden);
  ws->norm = layout->Take(p.hidden);
  ws->norm2 = layout->Take(p.hidden);
  ws->q = layout->Take(q_cols);
  ws->k = layout->Take(kv_cols);
  ws->v = layout->Take(kv_cols);
  ws->attn = layout->Take(q_cols);
  ws->attn_proj = layout->Take(p.hidden);
  ws->up = layout->Take(p.inner);
  ws->gate = layout->Take(gated ? p.inner : 0);
  ws->down = layout->Take(p.hidden);
  ws->reorder = layout->Take(q_cols);
}

// Rows of `hidden` or of attention's output: those that the matrices of a layer read together may
// be held in different ways.
std::size_t InputsOfRegion(const Model::Impl& m) {
  std::size_t most = 1;
  for (const LayerWeights& layer : m.weights.layers) {
    std::set<int> attention, mlp;
    for (const Linear* linear : {&layer.q, &layer.k, &layer.v})
      attention.insert(m.backend->InputKind(*linear->weight));
    mlp.insert(m.backend->InputKind(*layer.mlp_up.weight));
    if (layer.mlp_gate.weight != nullptr) mlp.insert(m.backend->InputKind(*layer.mlp_gate.weight));
    most = std::max(most, attention.size() + mlp.size());
  }
  return most;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Workspace>> Workspace::Create(const Model& model,
                                                             std::int64_t max_rows) {
  const Model::Impl& m = model.impl();
  const HyperParams& p = m.params();
  // Products of rows and widths fit in 63 bits up to here.
  constexpr std::int64_t kMostRows = std::int64_t{1} << 24;
  if (max_rows < 1 || max_rows > kMostRows) {
    return absl::InvalidArgumentError(
        Cat("a workspace is for 1 to ", kMostRows, " rows in one call, not ", max_rows));
  }
  auto impl = std::make_unique<Impl>();
  impl->model = &m;
  impl->max_rows = max_rows;
  const bool gated = m.plan.spec.mlp == Mlp::kGated;
  Layout count(max_rows, nullptr);
  Place(p, gated, &count, impl.get());
  MOSSRT_ASSIGN_OR_RETURN(impl->memory, PageBuffer::Create(count.used(), false));
  Layout give(max_rows, impl->memory.data());
  Place(p, gated, &give, impl.get());
  const std::int64_t widest = std::max(p.hidden, p.heads * p.head_dim);
  impl->inputs.resize(InputsOfRegion(m));
  for (auto& input : impl->inputs) input = m.backend->CreatePrepared(max_rows, widest);
  impl->up_input = m.backend->CreatePrepared(max_rows, p.inner);
  const auto missing = [](const auto& input) { return input == nullptr; };
  if (missing(impl->up_input) || std::ranges::any_of(impl->inputs, missing))
    return absl::ResourceExhaustedError("no memory for the prepared inputs of a workspace");
  const AttentionShape shape{.heads = p.heads, .kv_heads = p.kv_heads, .head_dim = p.head_dim};
  MOSSRT_ASSIGN_OR_RETURN(
      impl->attention_scratch,
      PageBuffer::Create(AttentionScratchBytes(shape) * static_cast<std::size_t>(m.team->size()),
                         false));
  try {
    impl->places.reserve(static_cast<std::size_t>(max_rows));
    impl->sequences.reserve(static_cast<std::size_t>(max_rows));
    impl->wanted.reserve(static_cast<std::size_t>(max_rows));
    impl->calls.reserve(8);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("no memory for the tables of a workspace");
  }
  return std::unique_ptr<Workspace>(new Workspace(std::move(impl)));
}

Workspace::Workspace(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Workspace::~Workspace() = default;
std::int64_t Workspace::max_rows() const { return impl_->max_rows; }
std::size_t Workspace::bytes() const {
  return impl_->memory.size() + impl_->attention_scratch.size() + impl_->wanted_memory.size();
}

absl::Status GrowWanted(const Model::Impl& m, std::int64_t rows, Workspace::Impl* ws) {
  if (rows <= ws->max_wanted) return absl::OkStatus();
  const HyperParams& p = m.params();
  const auto place = [&](Layout layout) {
    ws->final_norm = layout.Take(p.hidden);
    ws->logits = layout.Take(p.vocab);
    return layout.used();
  };
  ws->max_wanted = 0;
  MOSSRT_ASSIGN_OR_RETURN(ws->wanted_memory,
                          PageBuffer::Create(place(Layout(rows, nullptr)), false));
  place(Layout(rows, ws->wanted_memory.data()));
  ws->head_input = m.backend->CreatePrepared(rows, p.hidden);
  if (ws->head_input == nullptr)
    return absl::ResourceExhaustedError("no memory for the prepared rows of the head");
  ws->max_wanted = rows;
  return absl::OkStatus();
}

}  // namespace mossrt::runtime
