#include <algorithm>
#include <array>
#include <utility>

#include "base/json.h"
#include "base/status.h"
#include "checkpoint/bytes.h"
#include "checkpoint/read_rows.h"
#include "checkpoint/shard_contents.h"
#include "checkpoint/shard_index.h"
#include "mossrt/runtime/checkpoint.h"

namespace mossrt::runtime {
namespace {

constexpr std::uint64_t kMaxConfig = 16u << 20;
constexpr std::string_view kConfig = "config.json";
constexpr std::string_view kQuantizeConfig = "quantize_config.json";

class FileCheckpoint final : public Checkpoint {
 public:
  explicit FileCheckpoint(std::unique_ptr<ByteSource> source) : source_(std::move(source)) {}

  absl::Status Open() {
    MOSSRT_ASSIGN_OR_RETURN(std::vector<std::string> files, source_->List());
    std::sort(files.begin(), files.end());  // a source of callbacks may not sort
    MOSSRT_RETURN_IF_ERROR(ReadConfig(files));
    MOSSRT_ASSIGN_OR_RETURN(const ShardPlan plan, PlanShards(*source_, files));
    notes_ = plan.notes;
    std::vector<std::string> wrong;
    for (const std::string& shard : plan.shards) {
      MOSSRT_ASSIGN_OR_RETURN(ShardContents contents, plan.format == FileFormat::kSafetensors
                                                          ? ReadSafetensors(*source_, shard)
                                                          : ReadTorchPickle(*source_, shard));
      AddShard(shard, std::move(contents), &wrong);
    }
    CompareWithIndex(plan, &wrong);
    if (!wrong.empty()) {
      const std::size_t shown = std::min<std::size_t>(wrong.size(), 50);
      const std::size_t more = wrong.size() - shown;
      wrong.resize(shown);
      return absl::InvalidArgumentError(
          Cat(source_->name(), ": the files do not fit together: ", Join(wrong, "; "),
              more > 0 ? Cat("; and ", more, " more") : "",
              ". Download the checkpoint again or correct the index"));
    }
    NoteDType();
    return absl::OkStatus();
  }

  const ByteSource& source() const override { return *source_; }
  const std::string& config_json() const override { return config_; }
  const std::string& quantize_config_json() const override { return quantize_config_; }
  const std::map<std::string, TensorInfo, std::less<>>& tensors() const override {
    return tensors_;
  }
  const std::vector<StorageInfo>& storages() const override { return storages_; }
  const std::vector<std::string>& notes() const override { return notes_; }

  absl::Status ReadRows(const TensorInfo& tensor, std::int64_t first, std::int64_t rows,
                        std::span<std::uint8_t> out) const override {
    if (tensor.storage >= storages_.size()) {
      return absl::InvalidArgumentError(Cat("tensor ", Quoted(tensor.name), ": storage ",
                                            tensor.storage, " of ", storages_.size(),
                                            "; the tensor is not of this checkpoint"));
    }
    return Prefix(ReadTensorRows(*source_, storages_[tensor.storage], tensor, first, rows, out),
                  source_->name());
  }

 private:
  absl::Status ReadConfig(const std::vector<std::string>& files) {
    if (!std::binary_search(files.begin(), files.end(), kConfig)) {
      const bool moss = std::any_of(files.begin(), files.end(), [](const std::string& file) {
        return file == "modeling_moss.py" || file == "configuration_moss.py" ||
               file == "tokenization_moss.py";
      });
      const bool weights = std::any_of(files.begin(), files.end(), [](const std::string& file) {
        return file.ends_with(".bin") || file.ends_with(".safetensors");
      });
      return absl::NotFoundError(
          Cat(source_->name(), ": config.json is missing. ",
              moss      ? "The directory looks like a MOSS repository; download its config.json"
              : weights ? "There are weights; download the config.json that belongs to them"
                        : "The directory does not look like a MOSS checkpoint; give the one that "
                          "holds config.json and the weights",
              ". Found ", files.empty() ? "no files" : QuotedList(files)));
    }
    MOSSRT_ASSIGN_OR_RETURN(config_, ReadAll(*source_, kConfig, kMaxConfig));
    MOSSRT_ASSIGN_OR_RETURN(
        const Json config,
        ParseJsonObject(config_, Cat(source_->name(), "/", kConfig), kCorrectFile));
    if (std::binary_search(files.begin(), files.end(), kQuantizeConfig)) {
      MOSSRT_ASSIGN_OR_RETURN(quantize_config_, ReadAll(*source_, kQuantizeConfig, kMaxConfig));
      // Here, since later an empty text means that there is no such file.
      MOSSRT_RETURN_IF_ERROR(ParseJsonObject(quantize_config_,
                                             Cat(source_->name(), "/", kQuantizeConfig),
                                             kCorrectFile)
                                 .status());
    }
    // transformers 5 writes "dtype" where published files have "torch_dtype".
    for (const char* key : {"torch_dtype", "dtype"}) {
      const auto it = config.find(key);
      if (it == config.end() || !it->is_string()) continue;
      std::string_view name = it->get_ref<const std::string&>();
      if (name.starts_with("torch.")) name.remove_prefix(6);
      stated_dtypes_.emplace_back(key, name);
    }
    return absl::OkStatus();
  }

  void AddShard(const std::string& shard, ShardContents contents, std::vector<std::string>* wrong) {
    const std::size_t base = storages_.size();
    for (TensorInfo& tensor : contents.tensors) {
      tensor.storage += base;
      const auto [it, added] = tensors_.try_emplace(tensor.name, tensor);
      if (!added) {
        wrong->push_back(Cat(Quoted(tensor.name), " is in ", storages_[it->second.storage].file,
                             " and in ", shard));
      }
    }
    std::move(contents.storages.begin(), contents.storages.end(), std::back_inserter(storages_));
    std::move(contents.notes.begin(), contents.notes.end(), std::back_inserter(notes_));
  }

  void CompareWithIndex(const ShardPlan& plan, std::vector<std::string>* wrong) {
    if (plan.index.empty()) return;
    for (const auto& [name, shard] : plan.weight_map) {
      const auto it = tensors_.find(name);
      if (it == tensors_.end()) {
        wrong->push_back(Cat(Quoted(name), " is in no file, although the index says ", shard));
      } else if (const std::string& file = storages_[it->second.storage].file; file != shard) {
        wrong->push_back(Cat(Quoted(name), " is in ", file, ", although the index says ", shard));
      }
    }
    std::vector<std::string_view> unlisted;
    for (const auto& [name, tensor] : tensors_) {
      if (!plan.weight_map.contains(name)) unlisted.push_back(name);
    }
    if (!unlisted.empty()) {
      notes_.push_back(Cat(source_->name(), ": ", unlisted.size(), " tensors are not listed in ",
                           plan.index, " and are read nevertheless: ", QuotedList(unlisted, 5)));
    }
  }

  void NoteDType() {
    std::array<double, 256> elements{};
    for (const auto& [name, tensor] : tensors_) {
      if (IsFloat(tensor.dtype)) {
        elements[static_cast<std::size_t>(tensor.dtype)] += static_cast<double>(tensor.elements());
      }
    }
    const auto most = std::max_element(elements.begin(), elements.end());
    if (*most == 0) return;
    const std::string_view dtype = DTypeName(static_cast<DType>(most - elements.begin()));
    for (const auto& [key, name] : stated_dtypes_) {
      if (name == dtype) continue;
      notes_.push_back(Cat(source_->name(), "/config.json: \"", key, "\" says ", Quoted(name),
                           ", but the float tensors are mostly ", dtype,
                           "; the tensors are believed"));
    }
  }

  std::unique_ptr<ByteSource> source_;
  std::string config_, quantize_config_;
  std::vector<std::pair<std::string, std::string>> stated_dtypes_;  // key, dtype
  std::map<std::string, TensorInfo, std::less<>> tensors_;
  std::vector<StorageInfo> storages_;
  std::vector<std::string> notes_;
};

}  // namespace

const std::string& Checkpoint::quantize_config_json() const {
  static const auto* none = new std::string;
  return *none;
}

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenCheckpoint(std::unique_ptr<ByteSource> source) {
  if (source == nullptr) return absl::InvalidArgumentError("OpenCheckpoint: the source is null");
  auto checkpoint = std::make_unique<FileCheckpoint>(std::move(source));
  MOSSRT_RETURN_IF_ERROR(checkpoint->Open());
  return checkpoint;
}

}  // namespace mossrt::runtime
