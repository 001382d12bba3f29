// What loading would do and need, from headers alone.
#include <algorithm>
#include <concepts>
#include <limits>
#include <map>
#include <new>

#include "backends/dense_rows.h"
#include "base/cat.h"
#include "base/memory_info.h"
#include "base/status.h"
#include "models/weight_rules.h"
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

absl::StatusOr<DType> ChooseDType(const std::string& asked, const Checkpoint& checkpoint,
                                  const std::vector<WeightRule>& rules,
                                  std::vector<std::string>* notes) {
  constexpr DType kKnown[] = {DType::kF32, DType::kF16, DType::kBF16};
  for (const DType known : kKnown) {
    if (asked == DTypeName(known)) return known;
  }
  if (asked != "auto") {
    return absl::InvalidArgumentError(
        Cat("dtype \"", asked, "\" is not one of auto, float32, float16, bfloat16"));
  }
  std::map<DType, std::int64_t> elements;  // of matrices
  for (const WeightRule& rule : rules) {
    if (!rule.matrix()) continue;
    std::int64_t& count = elements[checkpoint.tensors().find(rule.tensor)->second.dtype];
    count = AddSizes(count, rule.rows * rule.cols);
  }
  const auto most =
      std::max_element(elements.begin(), elements.end(),
                       [](const auto& a, const auto& b) { return a.second < b.second; });
  if (elements.size() > 1) {
    std::string types;
    for (const auto& [type, count] : elements)
      types += Cat(types.empty() ? "" : ", ", DTypeName(type));
    notes->push_back(Cat("matrices come in several types (", types, "); all are held as ",
                         DTypeName(most->first)));
  }
  if (most->first == DType::kF64) {
    notes->push_back("the file's float64 weights are held as float32");
    return DType::kF32;
  }
  return most->first;
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
  MOSSRT_ASSIGN_OR_RETURN(const DType wanted,
                          ChooseDType(options.dtype, checkpoint, rules, &plan.notes));
  plan.dtype = backend.HeldAs(wanted);
  if (plan.dtype != wanted) {
    plan.notes.push_back(Cat("backend ", backend.name(), " holds weights as ",
                             DTypeName(plan.dtype), ", not ", DTypeName(wanted)));
  }
  if (backend.own_threads()) {
    plan.notes.push_back(Cat("backend ", backend.name(),
                             " multiplies on threads of its own; the option \"threads\" is for "
                             "everything else"));
  }

  std::map<std::string, std::string> uses;
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
    if (rule.role == Role::kEmbedding && !plan.params.tied_head) {
      plan.need.embedding =
          EmbeddingTable::Bytes(plan.params, EmbeddingTable::HeldAs(info.dtype, plan.dtype));
    } else if (rule.matrix()) {
      const std::uint64_t bytes = backend.PackedBytes(rule.rows, rule.cols, plan.dtype);
      plan.need.weights = AddSizes(plan.need.weights, (bytes + 63) / 64 * 64);
    } else {
      plan.need.vectors += static_cast<std::uint64_t>(rule.rows) * sizeof(float);
    }
  }
  plan.need.vectors +=
      static_cast<std::uint64_t>(plan.params.max_positions * plan.params.rotary_dim) *
      sizeof(float);
  for (const auto& [name, info] : checkpoint.tensors()) {
    const auto use = uses.find(name);
    plan.tensors.push_back(
        {name, info.dtype, info.shape, use == uses.end() ? "ignored" : use->second});
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
