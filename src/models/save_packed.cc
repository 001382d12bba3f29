#include <array>
#include <atomic>
#include <filesystem>
#include <map>
#include <new>

#include "base/atomic_file.h"
#include "base/cat.h"
#include "base/meta_file.h"
#include "base/status.h"
#include "checkpoint/packed_file.h"
#include "models/model_impl.h"
#include "models/packed_manifest.h"
#include "mossrt/runtime/decoder.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::runtime {
namespace {

// What a tokenizer, the options of generation, conversations and people want to find beside the
// weights.
constexpr std::string_view kFiles[] = {"config.json",
                                       "generation_config.json",
                                       "quantize_config.json",
                                       "vocab.json",
                                       "merges.txt",
                                       "added_tokens.json",
                                       "tokenizer.model",
                                       "tokenizer.json",
                                       "tokenizer_config.json",
                                       "chat_template.jinja",
                                       "chat_template.json",
                                       "special_tokens_map.json",
                                       kMetaFile,
                                       "LICENSE",
                                       "LICENSE.txt",
                                       "LICENSE.md",
                                       "NOTICE",
                                       "README.md"};
constexpr std::uint64_t kMaxFile = std::uint64_t{64} << 20;

std::span<const std::uint8_t> BytesOf(const void* data, std::size_t size) {
  return {static_cast<const std::uint8_t*>(data), size};
}

class Saver {
 public:
  Saver(const Model& model, const SaveOptions& options, Monitor* monitor)
      : model_(model), m_(model.impl()), options_(options), monitor_(monitor) {}

  absl::Status Save(const ByteSource& files, const std::string& path) {
    if (m_.backend->layout_version() == 0) {
      return absl::InvalidArgumentError(Cat("backend ", m_.backend->name(),
                                            " cannot write packed weights; load the model with "
                                            "the backend native"));
    }
    MOSSRT_RETURN_IF_ERROR(CheckReplaces(path, kPackedMagic, "packed file"));
    MOSSRT_RETURN_IF_ERROR(TakeFiles(files));
    MOSSRT_RETURN_IF_ERROR(TakeWeights(files));
    MOSSRT_RETURN_IF_ERROR(MakeSums());
    return WritePacked(image_, path, [this](std::uint64_t done, std::uint64_t total) {
      return Tick(monitor_, "write", done, total);
    });
  }

 private:
  absl::Status TakeFiles(const ByteSource& files) {
    for (const std::string_view name : kFiles) {
      auto text = ReadAll(files, name, name == kMetaFile ? kMaxMetaFile : kMaxFile);
      if (absl::IsNotFound(text.status())) continue;
      const absl::Status& status = text.status();
      if (absl::IsInvalidArgument(status)) return absl::DataLossError(status.message());
      if (!text.ok()) return status;
      image_.files[std::string(name)] = *std::move(text);
    }
    const std::string& config = image_.files["config.json"];
    const auto params = ReadHyperParams(model_.spec(), config);
    if (params.ok() && *params == model_.params()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        Cat(files.name(),
            ": its config.json is not the one this model was loaded with; load the "
            "model again"));
  }

  absl::Status TakeWeights(const ByteSource& files) {
    const HyperParams& p = model_.params();
    Weights& weights = const_cast<Model::Impl&>(m_).weights;  // SlotOf serves loading as well
    PackedManifest manifest{.architecture = model_.spec().name, .tensors = model_.plan().tensors};
    if (model_.plan().packed) {
      manifest.origin = *model_.plan().packed;
    } else {
      manifest.origin = m_.asked;
      manifest.origin.name = !options_.name.empty()
                                 ? options_.name
                                 : std::filesystem::path(files.name()).filename().string();
    }
    const std::byte* arena = weights.packed.data();
    for (const WeightRule& rule : WeightRules(model_.spec(), p)) {
      const WeightSlot slot = SlotOf(weights, rule, p.tied_head);
      if (slot.vector != nullptr) {
        vectors_.insert(vectors_.end(), slot.vector->begin(), slot.vector->end());
        continue;
      }
      PackedMatrix& matrix = manifest.matrices.emplace_back();
      matrix.role = RoleName(rule.role);
      matrix.layer = rule.layer;
      if (slot.matrix == nullptr) {
        matrix.saved = {.rows = rule.rows, .cols = rule.cols, .format = weights.embedding.format};
        matrix.bytes = weights.embedding.memory.size();
        continue;
      }
      std::span<const std::byte> bytes;
      MOSSRT_ASSIGN_OR_RETURN(matrix.saved, m_.backend->Save(*slot.matrix->weight, &bytes));
      matrix.bytes = bytes.size();
      if (bytes.data() != arena) return absl::InternalError("matrices do not follow one another");
      arena += (bytes.size() + 63) / 64 * 64;
      TakeOrder(std::move(matrix.saved.order), &matrix);
      matrix.saved.order.clear();
    }
    image_.backend = m_.backend->name();
    image_.layout_version = m_.backend->layout_version();
    image_.made_by = options_.made_by;
    image_.model = manifest.ToJson();
    Section(PackedPart::kVectors) = BytesOf(vectors_.data(), vectors_.size() * sizeof(float));
    Section(PackedPart::kOrders) = BytesOf(orders_.data(), orders_.size() * sizeof(std::int32_t));
    Section(PackedPart::kWeights) = BytesOf(weights.packed.data(), weights.packed.size());
    Section(PackedPart::kEmbedding) =
        BytesOf(weights.embedding.memory.data(), weights.embedding.memory.size());
    return absl::OkStatus();
  }

  // Matrices that read the same inputs share one.
  void TakeOrder(std::vector<std::int32_t> order, PackedMatrix* matrix) {
    if (order.empty()) return;
    const auto [it, added] = known_.try_emplace(std::move(order), orders_.size());
    if (added) orders_.insert(orders_.end(), it->first.begin(), it->first.end());
    matrix->order_at = it->second;
    matrix->order_count = it->first.size();
  }

  std::span<const std::uint8_t>& Section(PackedPart part) {
    return image_.sections[static_cast<std::size_t>(part)];
  }

  absl::Status MakeSums() {
    for (std::size_t i = 0; i < kPackedParts.size(); ++i) {
      const std::span<const std::uint8_t> section = image_.sections[i];
      std::vector<std::uint64_t>& sums = image_.sums[i];
      sums.resize((section.size() + kPackedSlab - 1) / kPackedSlab);
      std::atomic<std::size_t> next{0};
      m_.team->ForEachThread([&](int, int) {
        while (!Cancelled(monitor_)) {
          const std::size_t slab = next.fetch_add(1, std::memory_order_relaxed);
          if (slab >= sums.size()) return;
          sums[slab] = PackedSlabSum(section, slab);
        }
      });
      if (Cancelled(monitor_)) return absl::CancelledError("writing was cancelled");
    }
    return absl::OkStatus();
  }

  const Model& model_;
  const Model::Impl& m_;
  const SaveOptions& options_;
  Monitor* monitor_;
  PackedImage image_;
  std::vector<float> vectors_;
  std::vector<std::int32_t> orders_;
  std::map<std::vector<std::int32_t>, std::uint64_t> known_;
};

}  // namespace

absl::Status SavePacked(const Model& model, const ByteSource& files, const std::string& path,
                        const SaveOptions& options, Monitor* monitor) {
  const cpu::FloatModeGuard float_mode;
  try {
    return Saver(model, options, monitor).Save(files, path);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(Cat(path, ": no memory to write it"));
  }
}

}  // namespace mossrt::runtime
