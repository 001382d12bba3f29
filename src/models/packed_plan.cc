// A packed file's manifest against the model that its config.json describes and what was asked.
#include <algorithm>
#include <map>

#include "base/cat.h"
#include "base/status.h"
#include "models/formats.h"
#include "models/packed_manifest.h"
#include "models/packed_model.h"

namespace mossrt::runtime {
namespace {

constexpr std::string_view kCure = "; convert the checkpoint again (mossrt convert)";

class Planner {
 public:
  Planner(const PackedFile& file, const LoadOptions& options, const GemmBackend& backend)
      : file_(file), options_(options), backend_(backend) {}

  absl::StatusOr<ModelPlan> Plan(const std::string& config) {
    MOSSRT_RETURN_IF_ERROR(CheckBackend());
    auto manifest = PackedManifest::Parse(file_.model(), file_.path());
    if (!manifest.ok()) return absl::DataLossError(manifest.status().message());
    manifest_ = *std::move(manifest);
    if (!options_.architecture.empty() && options_.architecture != manifest_.architecture) {
      return absl::InvalidArgumentError(Cat("option architecture: ", file_.path(), " was made as ",
                                            manifest_.architecture, ", not as ",
                                            options_.architecture, kCure));
    }
    auto spec = ChooseArchitecture(config, manifest_.architecture);
    if (!spec.ok()) return Prefix(spec.status(), file_.path());
    plan_.spec = *std::move(spec);
    auto params = ReadHyperParams(plan_.spec, config);
    if (!params.ok()) return Prefix(params.status(), file_.path());
    plan_.params = *std::move(params);
    rules_ = WeightRules(plan_.spec, plan_.params);
    for (const TensorPlan& tensor : manifest_.tensors) tensors_[tensor.name] = &tensor;
    MOSSRT_RETURN_IF_ERROR(CheckRules());
    MOSSRT_RETURN_IF_ERROR(CheckAsked());
    plan_.format = MostFrequent(rules_, plan_.held);
    plan_.packed = manifest_.origin;
    plan_.packed->made_by = file_.made_by();
    plan_.tensors = std::move(manifest_.tensors);
    Needs();
    return std::move(plan_);
  }

 private:
  absl::Status CheckBackend() const {
    if (backend_.layout_version() == 0 || backend_.name() != file_.backend()) {
      return absl::InvalidArgumentError(
          Cat("option backend: ", file_.path(), " holds the weights of backend ", file_.backend(),
              " and cannot be read by ", backend_.name(), "; load it with backend ",
              file_.backend(), ", or the checkpoint it was made from"));
    }
    if (backend_.layout_version() == file_.layout_version()) return absl::OkStatus();
    return absl::UnimplementedError(
        Cat(file_.path(), ": its weights have layout ", file_.layout_version(),
            ", and this version of mossrt reads layout ", backend_.layout_version(),
            "; convert the checkpoint again with this version (mossrt convert)"));
  }

  absl::Status Wrong(const WeightRule& rule, std::string_view what) const {
    return absl::DataLossError(Cat(file_.path(), ": ", Name(rule), ": ", what, kCure));
  }

  static std::string Name(const WeightRule& rule) {
    return Cat(rule.layer < 0 ? "" : Cat("layer ", rule.layer, " "), RoleName(rule.role));
  }

  absl::Status CheckRules() {
    std::uint64_t vectors = 0;
    std::size_t next = 0;
    std::string counted;
    for (const WeightRule& rule : rules_) {
      if (const auto it = tensors_.find(rule.tensor);
          it != tensors_.end() && it->second->shape != rule.shape) {
        return Wrong(rule,
                     Cat("tensor ", rule.tensor, " is said to be [", Join(it->second->shape, ", "),
                         "], but config.json makes it [", Join(rule.shape, ", "), "]"));
      }
      // Parts of one tensor, as a fused QKV, follow one another.
      if (counted != rule.tensor) {
        std::int64_t elements = 1;
        for (const std::int64_t n : rule.shape) elements *= n;
        plan_.parameters += elements;
        counted = rule.tensor;
      }
      if (!rule.matrix()) {
        plan_.held.emplace_back();
        vectors += static_cast<std::uint64_t>(rule.rows) * sizeof(float);
        continue;
      }
      if (next == manifest_.matrices.size()) return Wrong(rule, "is missing");
      const PackedMatrix& matrix = manifest_.matrices[next++];
      plan_.held.push_back(matrix.saved.format);
      MOSSRT_RETURN_IF_ERROR(CheckMatrix(rule, matrix));
    }
    if (next != manifest_.matrices.size()) {
      return absl::DataLossError(Cat(file_.path(), ": lists ", manifest_.matrices.size(),
                                     " matrices where the model has ", next, kCure));
    }
    MOSSRT_RETURN_IF_ERROR(CheckSize(PackedPart::kVectors, vectors));
    MOSSRT_RETURN_IF_ERROR(CheckSize(PackedPart::kWeights, weights_));
    MOSSRT_RETURN_IF_ERROR(CheckSize(PackedPart::kEmbedding, embedding_));
    plan_.need.vectors = vectors;
    return absl::OkStatus();
  }

  absl::Status CheckMatrix(const WeightRule& rule, const PackedMatrix& m) {
    if (m.role != RoleName(rule.role) || m.layer != rule.layer || m.saved.rows != rule.rows ||
        m.saved.cols != rule.cols) {
      return Wrong(rule,
                   Cat("the file has ", m.role, " of layer ", m.layer, " as [", m.saved.rows, ", ",
                       m.saved.cols, "] where the model has [", rule.rows, ", ", rule.cols, "]"));
    }
    if (rule.role == Role::kEmbedding && !plan_.params.tied_head) {
      const WeightFormat& format = m.saved.format;
      if (format.integers() && format != Integers(8, 128)) {
        return Wrong(rule, Cat("a table is not held as ", FormatName(format)));
      }
      embedding_ = EmbeddingTable::Bytes(plan_.params, format);
      if (m.bytes == embedding_ && m.order_count == 0 && m.saved.groups == 0) {
        return absl::OkStatus();
      }
      return Wrong(rule, Cat("has ", m.bytes, " bytes where it needs ", embedding_));
    }
    const auto bytes = backend_.SavedBytes(m.saved);
    if (!bytes.ok()) return Wrong(rule, Message(bytes.status()));
    if (m.bytes != *bytes) return Wrong(rule, Cat("has ", m.bytes, " bytes, needs ", *bytes));
    const std::uint64_t orders = file_.section(PackedPart::kOrders).bytes / sizeof(std::int32_t);
    if (m.order_at > orders || m.order_count > orders - m.order_at) {
      return Wrong(rule, Cat("its order of inputs, ", m.order_count, " numbers from ", m.order_at,
                             ", reaches beyond the ", orders, " that there are"));
    }
    if (__builtin_add_overflow(weights_, (m.bytes + 63) / 64 * 64, &weights_)) {
      return Wrong(rule, "fits no memory");
    }
    return absl::OkStatus();
  }

  absl::Status CheckSize(PackedPart part, std::uint64_t needed) const {
    const std::uint64_t bytes = file_.section(part).bytes;
    if (bytes == needed) return absl::OkStatus();
    return absl::DataLossError(Cat(file_.path(), ": section ",
                                   kPackedParts[static_cast<std::size_t>(part)], " has ", bytes,
                                   " bytes where the model needs ", needed, kCure));
  }

  // What the file holds cannot be changed any more, so another wish is an error.
  absl::Status CheckAsked() {
    const PackedOrigin& origin = manifest_.origin;
    const bool automatic = options_.dtype == "auto";
    if (options_.overrides.empty() && automatic) return absl::OkStatus();
    if (options_.dtype == origin.dtype && options_.overrides == origin.overrides) {
      return absl::OkStatus();
    }
    WeightFormat wanted;
    if (!automatic) {
      auto parsed = ParseWeightFormat(options_.dtype);
      if (!parsed.ok()) return Prefix(parsed.status(), "option dtype");
      wanted = *parsed;
    }
    MOSSRT_ASSIGN_OR_RETURN(FormatOverrides overrides, FormatOverrides::Parse(options_.overrides));
    for (std::size_t i = 0; i < rules_.size(); ++i) {
      const WeightRule& rule = rules_[i];
      if (!rule.matrix()) continue;
      const auto overridden = overrides.Find(rule.tensor);
      if (!overridden && automatic) continue;
      WeightFormat asked = overridden.value_or(FormatOfRole(rule.role, wanted));
      if (rule.role == Role::kEmbedding && !plan_.params.tied_head) {
        const auto it = tensors_.find(rule.tensor);
        const DType stored = it == tensors_.end() ? plan_.held[i].dtype : it->second->file_dtype;
        asked = EmbeddingTable::HeldAs(stored, asked);
      }
      if (asked == plan_.held[i]) continue;
      return absl::InvalidArgumentError(
          Cat("option ", overridden ? "overrides" : "dtype", ": ", file_.path(), " holds ",
              rule.tensor, " as ", FormatName(plan_.held[i]), ", not as ", FormatName(asked),
              "; load it with dtype auto, or convert the checkpoint again with these options"));
    }
    return overrides.CheckUsed();
  }

  void Needs() {
    MemoryNeed& need = plan_.need;
    // Vectors and orders pass through a buffer.
    need.loading =
        file_.section(PackedPart::kVectors).bytes + file_.section(PackedPart::kOrders).bytes;
    if (options_.mmap) {
      need.mapped = weights_ + embedding_;
    } else {
      need.weights = weights_;
      need.embedding = embedding_;
    }
    PlanMachine(options_, &plan_);
  }

  const PackedFile& file_;
  const LoadOptions& options_;
  const GemmBackend& backend_;
  PackedManifest manifest_;
  std::map<std::string, const TensorPlan*, std::less<>> tensors_;
  ModelPlan plan_;
  std::vector<WeightRule> rules_;
  std::uint64_t weights_ = 0, embedding_ = 0;
};

}  // namespace

absl::StatusOr<ModelPlan> PlanPacked(const Checkpoint& checkpoint, const LoadOptions& options,
                                     const GemmBackend& backend) {
  return Planner(*checkpoint.packed(), options, backend).Plan(checkpoint.config_json());
}

}  // namespace mossrt::runtime
