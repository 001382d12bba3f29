// Loading a model and reading it back.
#include <algorithm>
#include <new>

#include "base/cat.h"
#include "base/status.h"
#include "models/formats.h"
#include "models/model_impl.h"
#include "mossrt/runtime/decoder.h"
#include "mossrt/runtime/kernel_table.h"
#include "threads/lent_team.h"

namespace mossrt::runtime {
namespace {

absl::Status CheckMemory(const MemoryNeed& need, const HyperParams& p) {
  // In MiB, where no sum of the terms leaves 64 bits.
  const auto up = [](std::uint64_t bytes) { return (bytes >> 20) + (bytes % (1 << 20) != 0); };
  const std::uint64_t total =
      up(need.weights) + up(need.embedding) + up(need.vectors) + up(need.loading);
  if (total <= need.available >> 20) return absl::OkStatus();
  const auto mib = [&up](std::uint64_t bytes) { return Cat(up(bytes), " MiB"); };
  std::uint64_t context = 0;
  if (__builtin_mul_overflow(need.kv_per_token, static_cast<std::uint64_t>(p.max_positions),
                             &context)) {
    context = UINT64_MAX;
  }
  return absl::ResourceExhaustedError(Cat(
      "not enough memory: weights ", mib(need.weights), " + embedding table ", mib(need.embedding),
      " + norms, biases and rotary table ", mib(need.vectors), " + loading ", mib(need.loading),
      " = ", total, " MiB, but ", mib(need.available), " are available (limited by ",
      need.limited_by, "); a full context of ", p.max_positions, " tokens takes ", mib(context),
      " more. Choose a smaller type or model, or raise the limit"));
}

std::string_view Bf16Products() {
  return cpu::Kernels()->gemm_bf16_pairs != nullptr ? " bf16=vdpbf16ps" : " bf16=fma";
}

std::string Numerics(const Model::Impl& m) {
  const std::vector<WeightRule> rules = WeightRules(m.plan.spec, m.plan.params);
  std::string text =
      Cat("backend=", m.backend->name(), " dtype=", FormatsText(rules, m.plan.held, m.plan.format));
  bool bf16 = false;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    bf16 = bf16 || (rules[i].matrix() && m.plan.held[i].dtype == DType::kBF16);
  }
  if (m.backend->name() == "native" && bf16) text += Bf16Products();
  if (cpu::OutsideKernelsActive()) text += Cat(" kernels=", cpu::Kernels()->name);
  if (!m.backend->deterministic()) text += " (not reproducible across threads and chunks)";
  return text;
}

// On `lent`, or on a team of the model's own.
absl::StatusOr<std::unique_ptr<Model::Impl>> LoadImpl(const Checkpoint& checkpoint,
                                                      const LoadOptions& options, ThreadTeam* lent,
                                                      Monitor* monitor) {
  auto impl = std::make_unique<Model::Impl>();
  impl->asked.dtype = options.dtype;
  impl->asked.overrides = options.overrides;
  MOSSRT_ASSIGN_OR_RETURN(impl->backend, CreateBackend(options.backend));
  MOSSRT_ASSIGN_OR_RETURN(impl->plan, PlanFor(checkpoint, options, *impl->backend));
  MOSSRT_RETURN_IF_ERROR(CheckMemory(impl->plan.need, impl->plan.params));
  if (lent != nullptr) {
    impl->team = std::make_unique<LentTeam>(*lent);
  } else {
    MOSSRT_ASSIGN_OR_RETURN(impl->team, CreateThreadTeam(options.threads));
  }
  MOSSRT_ASSIGN_OR_RETURN(impl->weights, LoadWeights(checkpoint, impl->plan, options,
                                                     *impl->backend, *impl->team, monitor));
  const HyperParams& p = impl->plan.params;
  try {
    if (p.rotary_dim > 0) {
      impl->rope = RopeTable(p.max_positions, p.rotary_dim, p.rope_theta);
      // In steps of some milliseconds, so that a cancel is seen.
      const std::int64_t step = std::max<std::int64_t>(1, (1 << 18) / p.rotary_dim);
      for (std::int64_t first = 0; first < p.max_positions; first += step) {
        if (Cancelled(monitor)) return absl::CancelledError("loading was cancelled");
        impl->rope.Fill(first, std::min(step, p.max_positions - first), *impl->team);
      }
    }
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        Cat("no memory for a rotary table of ", p.max_positions, " positions"));
  }
  impl->rotary_order = RotaryOrder(impl->plan.spec, p);
  impl->numerics = Numerics(*impl);
  return impl;
}

}  // namespace

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::~Model() = default;
const ArchSpec& Model::spec() const { return impl_->plan.spec; }
const HyperParams& Model::params() const { return impl_->plan.params; }
const ModelPlan& Model::plan() const { return impl_->plan; }
GemmBackend& Model::backend() const { return *impl_->backend; }
ThreadTeam& Model::team() const { return *impl_->team; }
const std::string& Model::numerics() const { return impl_->numerics; }
std::string Model::numerics(DType kv) const {
  const bool said = impl_->numerics.find(Bf16Products()) != std::string::npos;
  return Cat(impl_->numerics, " kv=", DTypeName(kv),
             kv == DType::kBF16 && !said ? Bf16Products() : "");
}
std::uint64_t Model::weight_bytes() const { return impl_->weights.bytes; }

absl::StatusOr<std::unique_ptr<Model>> Model::Load(const Checkpoint& checkpoint,
                                                   const LoadOptions& options, Monitor* monitor) {
  const cpu::FloatModeGuard float_mode;
  if (options.threads < 0 || options.threads > 1024) {
    return absl::InvalidArgumentError(
        Cat("threads must be from 0 (automatic) to 1024, not ", options.threads));
  }
  MOSSRT_ASSIGN_OR_RETURN(auto impl, LoadImpl(checkpoint, options, nullptr, monitor));
  return std::make_unique<Model>(std::move(impl));
}

absl::StatusOr<std::unique_ptr<Model>> Model::Load(const Checkpoint& checkpoint,
                                                   const LoadOptions& options, ThreadTeam& team,
                                                   Monitor* monitor) {
  const cpu::FloatModeGuard float_mode;
  if (team.size() < 1) {
    return absl::InvalidArgumentError(Cat("the lent team has ", team.size(),
                                          " threads; it needs at least the one that calls Run"));
  }
  if (options.threads != 0 && options.threads != team.size()) {
    return absl::InvalidArgumentError(Cat("threads is ", options.threads,
                                          ", but the lent team has ", team.size(),
                                          "; leave threads at 0"));
  }
  LoadOptions on_team = options;
  on_team.threads = team.size();
  MOSSRT_ASSIGN_OR_RETURN(auto impl, LoadImpl(checkpoint, on_team, &team, monitor));
  return std::make_unique<Model>(std::move(impl));
}

absl::StatusOr<std::vector<float>> Model::ReadTensor(const std::string& name,
                                                     std::vector<std::int64_t>* shape) const {
  const cpu::FloatModeGuard float_mode;
  Impl& m = *impl_;
  std::vector<float> out, row;
  for (const WeightRule& rule : WeightRules(m.plan.spec, m.plan.params)) {
    if (rule.tensor != name) continue;
    if (out.empty()) {
      if (shape != nullptr) *shape = rule.shape;
      std::int64_t size = 1;
      for (const std::int64_t n : rule.shape) size *= n;
      out.resize(static_cast<std::size_t>(size));
    }
    const std::vector<std::int64_t> map =
        rule.qkv_part == 0 ? std::vector<std::int64_t>{}
                           : QkvRowMap(m.plan.spec, m.plan.params, rule.qkv_part);
    const WeightSlot slot = SlotOf(m.weights, rule, m.plan.params.tied_head);
    row.resize(static_cast<std::size_t>(rule.cols));
    for (std::int64_t r = 0; r < rule.rows; ++r) {
      if (slot.vector != nullptr) {
        row[0] = (*slot.vector)[static_cast<std::size_t>(r)];
      } else if (slot.matrix == nullptr) {
        m.weights.embedding.Row(r, row.data());
      } else {
        m.backend->ReadRow(*slot.matrix->weight, r, row.data());
      }
      const std::int64_t to = map.empty() ? r : map[static_cast<std::size_t>(r)];
      for (std::int64_t c = 0; c < rule.cols; ++c) {
        const std::int64_t index = rule.transposed ? c * rule.shape[1] + to : to * rule.cols + c;
        out[static_cast<std::size_t>(index)] = row[static_cast<std::size_t>(c)];
      }
    }
  }
  if (out.empty()) return absl::NotFoundError(Cat("the model has no tensor named \"", name, "\""));
  return out;
}

}  // namespace mossrt::runtime
