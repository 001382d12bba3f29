// What loading would do and need, from headers alone.
#include <algorithm>
#include <concepts>
#include <limits>
#include <map>
#include <new>
#include <set>

#include "backends/dense_rows.h"
#include "base/cat.h"
#include "base/memory_info.h"
#include "base/status.h"
#include "models/formats.h"
#include "models/weight_sources.h"
#include "models/weights.h"
#include "mossrt/runtime/decoder.h"

namespace mossrt::runtime {
namespace {

// Views may claim any size (torch's expand), so sums stop at the end of their type.
template <std::integral T>
T AddSizes(T a, T b) {
  T sum;
  return __builtin_add_overflow(a, b, &sum) ? std::numeric_limits<T>::max() : sum;
}

}  // namespace

absl::StatusOr<ModelPlan> PlanModel(const Checkpoint& checkpoint, const LoadOptions& options) {
  MOSSRT_ASSIGN_OR_RETURN(const std::unique_ptr<GemmBackend> backend,
                          CreateBackend(options.backend));
  return PlanFor(checkpoint, options, *backend);
}

namespace {

absl::StatusOr<ModelPlan> Plan(const Checkpoint& checkpoint, const LoadOptions& options,
                               const GemmBackend& backend) {
  const std::string place = checkpoint.source().name();
  const std::string& config = checkpoint.config_json();
  ModelPlan plan;
  plan.notes = checkpoint.notes();
  auto spec = ChooseArchitecture(config, options.architecture);
  if (!spec.ok()) return Prefix(spec.status(), place);
  plan.spec = *std::move(spec);
  auto params = ReadHyperParams(plan.spec, config);
  if (!params.ok()) return Prefix(params.status(), place);
  plan.params = *std::move(params);
  const std::vector<WeightRule> rules = WeightRules(plan.spec, plan.params);
  std::vector<std::string> ignored;
  MOSSRT_RETURN_IF_ERROR(
      Prefix(CheckTensors(plan.spec, plan.params, rules, checkpoint, &ignored), place));
  MOSSRT_ASSIGN_OR_RETURN(const WeightFormat wanted,
                          ChooseFormat(options.dtype, checkpoint, rules, &plan.notes));
  MOSSRT_ASSIGN_OR_RETURN(FormatOverrides overrides, FormatOverrides::Parse(options.overrides));
  if (backend.own_threads()) {
    plan.notes.push_back(Cat("backend ", backend.name(),
                             " multiplies on threads of its own; the option \"threads\" is for "
                             "everything else"));
  }

  std::map<std::string, std::string> uses, formats;
  std::set<std::string> different;               // held in another format than asked
  std::map<std::string, std::int64_t> elements;  // of the layers' matrices, by format
  for (const WeightRule& rule : rules) {
    const TensorInfo& info = checkpoint.tensors().find(rule.tensor)->second;
    std::string& use = uses[rule.tensor];
    if (use.empty()) {
      plan.parameters = AddSizes(plan.parameters, info.elements());
      use = rule.layer < 0 ? "" : Cat("layer ", rule.layer, " ");
    } else {
      use += ", ";
    }
    use += Cat(RoleName(rule.role), rule.bias ? " bias" : "");
    WeightFormat& held = plan.held.emplace_back();
    if (!rule.matrix()) {
      plan.need.vectors += static_cast<std::uint64_t>(rule.rows) * sizeof(float);
      continue;
    }
    const WeightFormat asked =
        overrides.Find(rule.tensor).value_or(FormatOfRole(rule.role, wanted));
    std::uint64_t bytes = 0;
    if (rule.role == Role::kEmbedding && !plan.params.tied_head) {
      held = EmbeddingTable::HeldAs(info.dtype, asked);
      bytes = EmbeddingTable::Bytes(plan.params, held);
      plan.need.embedding = bytes;
    } else {
      const CheckpointMatrix source(checkpoint, rule, nullptr, nullptr, nullptr);
      held = backend.HeldAs(source, asked);
      if (!held.SameLayout(asked))
        different.insert(Cat(FormatName(asked), " as ", FormatName(held)));
      bytes = (backend.PackedBytes(source, held) + 63) / 64 * 64;
      plan.need.weights = AddSizes(plan.need.weights, bytes);
    }
    formats[rule.tensor] = FormatName(held);
    if (rule.layer < 0) continue;
    std::int64_t& sum = elements[FormatName(held)];
    sum = AddSizes(sum, rule.rows * rule.cols);
    if (sum >= elements[FormatName(plan.format)]) plan.format = held;
  }
  MOSSRT_RETURN_IF_ERROR(overrides.CheckUsed());
  for (const std::string& difference : different) {
    plan.notes.push_back(Cat("backend ", backend.name(), " holds ", difference));
  }
  plan.need.vectors +=
      static_cast<std::uint64_t>(plan.params.max_positions * plan.params.rotary_dim) *
      sizeof(float);
  for (const auto& [name, info] : checkpoint.tensors()) {
    const auto use = uses.find(name);
    plan.tensors.push_back(
        {name, info.dtype, info.shape, use == uses.end() ? "ignored" : use->second, formats[name]});
  }
  const int threads = options.threads > 0 ? options.threads : DefaultThreads();
  // Two slabs a thread, of 16 rows if these are longer, and 16 rows at two widths where types are
  // converted.
  const std::int64_t cols =
      std::max({plan.params.inner, plan.params.hidden, plan.params.heads * plan.params.head_dim});
  plan.need.loading =
      static_cast<std::uint64_t>(threads) *
      static_cast<std::uint64_t>(2 * std::max(kSlabBytes, 16 * 8 * cols) + 16 * 6 * cols);
  const KvShape kv{plan.params.layers, plan.params.kv_heads, plan.params.head_dim, DType::kF32};
  plan.need.kv_per_token = kv.BlockBytes() / kKvBlockTokens;
  const MemoryInfo memory = AvailableMemory();
  plan.need.available = memory.available;
  plan.need.limited_by = memory.limited_by;
  if (options.memory_limit > 0 && options.memory_limit < plan.need.available) {
    plan.need.available = options.memory_limit;
    plan.need.limited_by = "option";
  }
  return plan;
}

}  // namespace

absl::StatusOr<ModelPlan> PlanFor(const Checkpoint& checkpoint, const LoadOptions& options,
                                  const GemmBackend& backend) {
  try {
    return Plan(checkpoint, options, backend);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        Cat(checkpoint.source().name(), ": no memory for the list of its tensors; free some"));
  }
}

}  // namespace mossrt::runtime
