// Opening by path: a folder of published files, or a packed file.
#include <filesystem>
#include <system_error>

#include "base/status.h"
#include "checkpoint/packed_file.h"
#include "mossrt/runtime/checkpoint.h"

namespace mossrt::runtime {
namespace {

constexpr std::uint64_t kMaxConfig = std::uint64_t{16} << 20;

// It has no tensors to read: the model takes its weights from the file as they stand there.
class PackedCheckpoint final : public Checkpoint {
 public:
  explicit PackedCheckpoint(std::unique_ptr<PackedFile> file) : file_(std::move(file)) {}

  absl::Status Open() {
    auto config = ReadAll(file_->files(), "config.json", kMaxConfig);
    if (!config.ok()) {
      return absl::DataLossError(
          Cat(Message(config.status()), "; convert the checkpoint again (mossrt convert)"));
    }
    config_ = *std::move(config);
    return absl::OkStatus();
  }

  const ByteSource& source() const override { return file_->files(); }
  const std::string& config_json() const override { return config_; }
  const std::map<std::string, TensorInfo, std::less<>>& tensors() const override {
    return tensors_;
  }
  const std::vector<StorageInfo>& storages() const override { return storages_; }
  const std::vector<std::string>& notes() const override { return notes_; }
  const PackedFile* packed() const override { return file_.get(); }
  absl::Status ReadRows(const TensorInfo& tensor, std::int64_t, std::int64_t,
                        std::span<std::uint8_t>) const override {
    return absl::InvalidArgumentError(Cat(file_->path(), ": holds packed weights, not tensor ",
                                          tensor.name, "; load the model and read it there"));
  }

 private:
  std::unique_ptr<PackedFile> file_;
  std::string config_;
  std::map<std::string, TensorInfo, std::less<>> tensors_;
  std::vector<StorageInfo> storages_;
  std::vector<std::string> notes_;
};

bool IsFile(const std::string& path) {
  std::error_code error;
  return std::filesystem::is_regular_file(path, error);
}

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenPackedFile(const std::string& path) {
  const std::filesystem::path whole(path);
  const std::string folder = whole.has_parent_path() ? whole.parent_path().string() : ".";
  MOSSRT_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenDirectory(folder));
  return OpenPacked(std::move(source), whole.filename().string());
}

}  // namespace

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenPacked(std::unique_ptr<ByteSource> folder,
                                                       const std::string& file) {
  if (folder == nullptr) return absl::InvalidArgumentError("OpenPacked: the source is null");
  MOSSRT_ASSIGN_OR_RETURN(std::unique_ptr<PackedFile> packed,
                          PackedFile::Open(std::move(folder), file));
  auto checkpoint = std::make_unique<PackedCheckpoint>(std::move(packed));
  MOSSRT_RETURN_IF_ERROR(checkpoint->Open());
  return checkpoint;
}

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenCheckpoint(const std::string& path) {
  if (IsFile(path)) return OpenPackedFile(path);
  MOSSRT_ASSIGN_OR_RETURN(std::unique_ptr<ByteSource> source, OpenDirectory(path));
  return OpenCheckpoint(std::move(source));
}

absl::StatusOr<std::unique_ptr<ByteSource>> OpenModelFiles(const std::string& path) {
  if (!IsFile(path)) return OpenDirectory(path);
  MOSSRT_ASSIGN_OR_RETURN(const std::unique_ptr<Checkpoint> packed, OpenPackedFile(path));
  const ByteSource& files = packed->source();
  MOSSRT_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List());
  std::map<std::string, std::string> all;
  for (const std::string& name : names) {
    MOSSRT_ASSIGN_OR_RETURN(all[name], ReadAll(files, name, UINT64_MAX));
  }
  return OpenMemory(files.name(), std::move(all));
}

}  // namespace mossrt::runtime
