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
#include "models/gptq_tensors.h"
#include "models/packed_model.h"
#include "models/quantization.h"
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

// How the matrices stand in the file.
struct StoredMatrices {
  std::vector<WeightFormat> formats;  // of each rule that is a matrix
  std::vector<QuantizationFacts> quantised;
  // Tensors that stand in for "X.weight": X.weight, and what they hold of it.
  std::map<std::string, std::pair<std::string, std::string>> parts;
  std::uint64_t scratch = 0;  // bytes that reading integers as floats takes, for each thread
};

void AddQuantised(const WeightRule& rule, const GptqTensors& tensors, const GptqGroups& groups,
                  StoredMatrices* stored) {
  const auto rows = std::max<std::int64_t>(16, 4 * kSlabBytes / tensors.inputs);
  // Integers of a slab, its scales and zero points, and two pieces of the file.
  const std::int64_t by_rows =
      rows * (tensors.inputs + 4 * tensors.groups) + (2 << 20) + tensors.inputs * 4;
  // Words of all outputs, scales and zero points of a group, and a piece of the file.
  const std::int64_t by_words =
      std::max<std::int64_t>(tensors.outputs * 4, 512 << 10) + tensors.outputs * 4 + (1 << 20);
  stored->scratch =
      std::max(stored->scratch, static_cast<std::uint64_t>(std::max(by_rows, by_words)));
  if (stored->parts.contains(tensors.qweight->name)) return;  // q, k and v
  constexpr const char* kParts[] = {"", " zero points", " scales", " groups"};
  const std::vector<const TensorInfo*> all = tensors.all();
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i] != nullptr) stored->parts[all[i]->name] = {rule.tensor, kParts[i]};
  }
  stored->quantised.push_back({.tensor = tensors.qweight->name,
                               .scales = tensors.scales->name,
                               .bits = tensors.bits,
                               .inputs = tensors.inputs,
                               .groups = tensors.groups,
                               .group_size = groups.group_size,
                               .in_order = groups.in_order});
}

absl::StatusOr<StoredMatrices> FindStored(const Checkpoint& checkpoint,
                                          const std::vector<WeightRule>& rules,
                                          MatrixSources* sources) {
  StoredMatrices stored;
  for (const WeightRule& rule : rules) {
    WeightFormat& format = stored.formats.emplace_back();
    if (!rule.matrix()) continue;
    MOSSRT_ASSIGN_OR_RETURN(const auto source, sources->Open(rule, nullptr));
    format = StoredFormat(*source);
    std::vector<std::string> problems;  // none, or Open would have failed
    if (const auto tensors = FindGptq(checkpoint, rule, &problems))
      AddQuantised(rule, *tensors, sources->groups(), &stored);
  }
  return stored;
}

absl::StatusOr<ModelPlan> Plan(const Checkpoint& checkpoint, const LoadOptions& options,
                               const GemmBackend& backend) {
  const std::string place = checkpoint.source().name();
  const std::string& config = checkpoint.config_json();
  ModelPlan plan;
  plan.notes = checkpoint.notes();
  auto spec = ChooseArchitecture(config, options.architecture);
  if (!spec.ok()) return InFolder(spec.status(), place);
  plan.spec = *std::move(spec);
  auto params = ReadHyperParams(plan.spec, config);
  if (!params.ok()) return InFolder(params.status(), place);
  plan.params = *std::move(params);
  const std::vector<WeightRule> rules = WeightRules(plan.spec, plan.params);
  MOSSRT_ASSIGN_OR_RETURN(const QuantizationClaims claims, ReadQuantizationClaims(checkpoint));
  std::vector<std::string> ignored;
  MOSSRT_RETURN_IF_ERROR(Prefix(
      CheckTensors(plan.spec, plan.params, rules, checkpoint, &ignored, &plan.notes), place));
  MatrixSources sources(checkpoint, claims.group_size(), nullptr, nullptr);
  MOSSRT_ASSIGN_OR_RETURN(const StoredMatrices stored, FindStored(checkpoint, rules, &sources));
  NoteContradictions(claims, stored.quantised, &plan.notes);
  const bool automatic = options.dtype == "auto";
  MOSSRT_ASSIGN_OR_RETURN(const WeightFormat wanted,
                          ChooseFormat(options.dtype, rules, stored.formats, &plan.notes));
  MOSSRT_ASSIGN_OR_RETURN(FormatOverrides overrides, FormatOverrides::Parse(options.overrides));
  if (backend.own_threads()) {
    plan.notes.push_back(Cat("backend ", backend.name(),
                             " multiplies on threads of its own; the option \"threads\" is for "
                             "everything else"));
  }

  std::map<std::string, std::string> uses, formats;
  std::set<std::string> different;      // held in another format than asked
  std::set<std::string> kept, rounded;  // integers of the file
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const WeightRule& rule = rules[i];
    std::string& use = uses[rule.tensor];
    if (use.empty()) {
      std::int64_t size = 1;
      for (const std::int64_t n : rule.shape) size *= n;
      plan.parameters = AddSizes(plan.parameters, size);
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
    MOSSRT_ASSIGN_OR_RETURN(const auto source, sources.Open(rule, nullptr));
    const WeightFormat& file = stored.formats[i];
    const std::string name(source->name());
    const std::optional<WeightFormat> overridden = overrides.Find(name);
    WeightFormat asked = overridden.value_or(FormatOfRole(rule.role, wanted));
    // What a quantised file leaves in floats stays so, but for the embedding and the head.
    if (automatic && !overridden && wanted.integers() && !file.integers() && rule.layer >= 0)
      asked = Dense(file.dtype == DType::kF64 ? DType::kF32 : file.dtype);
    const WeightFormat keeps = KeepIntegers(file, asked);
    if (keeps != asked && (overridden || !automatic))
      kept.insert(Cat(FormatName(asked),
                      " was asked for: matrices that the file holds as integers ", "are kept as ",
                      FormatName(keeps), "; nothing is quantised twice"));
    asked = keeps;
    std::uint64_t bytes = 0;
    if (rule.role == Role::kEmbedding && !plan.params.tied_head) {
      held = EmbeddingTable::HeldAs(file.dtype, asked);
      bytes = EmbeddingTable::Bytes(plan.params, held);
      plan.need.embedding = bytes;
    } else {
      held = backend.HeldAs(*source, asked);
      if (!held.SameLayout(asked))
        different.insert(Cat(FormatName(asked), " as ", FormatName(held)));
      bytes = (backend.PackedBytes(*source, held) + 63) / 64 * 64;
      plan.need.weights = AddSizes(plan.need.weights, bytes);
    }
    formats[name] = FormatName(held);
    if (file.integers() && !held.integers() && held.dtype != DType::kF32)
      rounded.insert(Cat("the values of quantised matrices are rounded to ", FormatName(held)));
    if (rule.layer < 0 && !stored.quantised.empty() && held.integers() && !file.integers()) {
      plan.notes.push_back(Cat(name, " is ", FormatName(file), " in the file and held as ",
                               FormatName(held), "; the override \"", name, "=", FormatName(file),
                               "\" keeps it"));
    }
  }
  plan.format = MostFrequent(rules, plan.held);
  MOSSRT_RETURN_IF_ERROR(overrides.CheckUsed());
  for (const std::string& difference : different) {
    plan.notes.push_back(Cat("backend ", backend.name(), " holds ", difference));
  }
  plan.notes.insert(plan.notes.end(), kept.begin(), kept.end());
  plan.notes.insert(plan.notes.end(), rounded.begin(), rounded.end());
  for (const auto& [name, info] : checkpoint.tensors()) {
    const auto part = stored.parts.find(name);
    const auto use = uses.find(part == stored.parts.end() ? name : part->second.first);
    std::string text = use == uses.end() ? "ignored" : use->second;
    if (part != stored.parts.end()) text += part->second.second;
    plan.tensors.push_back({name, info.dtype, info.shape, std::move(text), formats[name]});
  }
  const int threads = options.threads > 0 ? options.threads : DefaultThreads();
  // Two slabs a thread, of 16 rows if these are longer, and 16 rows at two widths where types are
  // converted.
  const std::int64_t cols =
      std::max({plan.params.inner, plan.params.hidden, plan.params.heads * plan.params.head_dim});
  plan.need.loading =
      static_cast<std::uint64_t>(threads) *
      (static_cast<std::uint64_t>(2 * std::max(kSlabBytes, 16 * 8 * cols) + 16 * 6 * cols) +
       stored.scratch);
  PlanMachine(options, &plan);
  return plan;
}

}  // namespace

void PlanMachine(const LoadOptions& options, ModelPlan* plan) {
  const HyperParams& p = plan->params;
  plan->need.vectors += static_cast<std::uint64_t>(p.max_positions * p.rotary_dim) * sizeof(float);
  const WeightFormat& held = plan->format;
  plan->kv_dtype = held.integers() && p.head_dim <= kMostBytesOfHead ? DType::kI8
                   : !held.integers() && held.dtype == DType::kBF16  ? DType::kBF16
                                                                     : DType::kF32;
  const KvShape kv{p.layers, p.kv_heads, p.head_dim, plan->kv_dtype};
  plan->need.kv_per_token = kv.BlockBytes() / kKvBlockTokens;
  const MemoryInfo memory = AvailableMemory();
  plan->need.available = memory.available;
  plan->need.limited_by = memory.limited_by;
  if (options.memory_limit > 0 && options.memory_limit < plan->need.available) {
    plan->need.available = options.memory_limit;
    plan->need.limited_by = "option";
  }
}

absl::StatusOr<ModelPlan> PlanFor(const Checkpoint& checkpoint, const LoadOptions& options,
                                  const GemmBackend& backend) {
  try {
    if (checkpoint.packed() != nullptr) return PlanPacked(checkpoint, options, backend);
    if (options.mmap) {
      return absl::InvalidArgumentError(Cat("option mmap: only packed files can be mapped, and ",
                                            checkpoint.source().name(),
                                            " is a checkpoint; write one with mossrt convert"));
    }
    return Plan(checkpoint, options, backend);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        Cat(checkpoint.source().name(), ": no memory for the list of its tensors; free some"));
  }
}

}  // namespace mossrt::runtime
