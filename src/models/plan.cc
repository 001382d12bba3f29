// What loading would do and need, from headers alone.
#include <algorithm>
#include <array>
#include <map>

#include "backends/dense_rows.h"
#include "base/cat.h"
#include "base/memory_info.h"
#include "base/status.h"
#include "models/weight_rules.h"
#include "models/weights.h"
#include "mossrt/runtime/decoder.h"

namespace mossrt::runtime {
namespace {

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
    if (rule.cols > 1)
      elements[checkpoint.tensors().find(rule.tensor)->second.dtype] += rule.rows * rule.cols;
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
  ModelPlan plan;
  plan.notes = checkpoint.notes();
  MOSSRT_ASSIGN_OR_RETURN(plan.spec,
                          ChooseArchitecture(checkpoint.config_json(), options.architecture));
  MOSSRT_ASSIGN_OR_RETURN(plan.params, ReadHyperParams(plan.spec, checkpoint.config_json()));
  const std::vector<WeightRule> rules = WeightRules(plan.spec, plan.params);
  std::vector<std::string> ignored;
  MOSSRT_RETURN_IF_ERROR(Prefix(CheckTensors(plan.spec, plan.params, rules, checkpoint, &ignored),
                                checkpoint.source().name()));
  MOSSRT_ASSIGN_OR_RETURN(const DType wanted,
                          ChooseDType(options.dtype, checkpoint, rules, &plan.notes));
  MOSSRT_ASSIGN_OR_RETURN(const std::unique_ptr<GemmBackend> backend,
                          CreateBackend(options.backend));
  plan.dtype = backend->HeldAs(wanted);
  if (plan.dtype != wanted) {
    plan.notes.push_back(Cat("backend ", backend->name(), " holds weights as ",
                             DTypeName(plan.dtype), ", not ", DTypeName(wanted)));
  }

  std::map<std::string, std::string> uses;
  for (const WeightRule& rule : rules) {
    const TensorInfo& info = checkpoint.tensors().find(rule.tensor)->second;
    std::string& use = uses[rule.tensor];
    if (use.empty()) {
      plan.parameters += info.elements();
      use = rule.layer < 0 ? "" : Cat("layer ", rule.layer, " ");
    } else {
      use += ", ";
    }
    use += Cat(RoleName(rule.role), rule.bias ? " bias" : "");
    if (rule.role == Role::kEmbedding && !plan.params.tied_head) {
      plan.need.embedding =
          EmbeddingTable::Bytes(plan.params, EmbeddingTable::HeldAs(info.dtype, plan.dtype));
    } else if (rule.cols > 1) {
      plan.need.weights += (backend->PackedBytes(rule.rows, rule.cols, plan.dtype) + 63) / 64 * 64;
    }
  }
  for (const auto& [name, info] : checkpoint.tensors()) {
    const auto use = uses.find(name);
    plan.tensors.push_back(
        {name, info.dtype, info.shape, use == uses.end() ? "ignored" : use->second});
  }
  const int threads = options.threads > 0 ? options.threads : DefaultThreads();
  // Two slabs a thread, and 16 rows at two widths where types are converted.
  plan.need.loading =
      static_cast<std::uint64_t>(threads) *
      (2 * static_cast<std::uint64_t>(kSlabBytes) +
       16 * 6 * static_cast<std::uint64_t>(std::max(plan.params.inner, plan.params.hidden)));
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

}  // namespace mossrt::runtime
