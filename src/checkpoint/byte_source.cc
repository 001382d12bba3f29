#include <cstring>
#include <utility>

#include "base/status.h"
#include "checkpoint/bytes.h"
#include "mossrt/runtime/checkpoint.h"

namespace mossrt::runtime {
namespace {

class MemorySource final : public ByteSource {
 public:
  MemorySource(std::string name, std::map<std::string, std::string> files)
      : name_(std::move(name)), files_(files.begin(), files.end()) {}

  std::string name() const override { return name_; }

  absl::StatusOr<std::vector<std::string>> List() const override {
    std::vector<std::string> names;
    for (const auto& [name, bytes] : files_) names.push_back(name);
    return names;
  }

  absl::StatusOr<std::uint64_t> Size(std::string_view file) const override {
    const auto it = files_.find(file);
    if (it == files_.end()) return Missing(file);
    return it->second.size();
  }

  absl::Status Read(std::string_view file, std::uint64_t offset,
                    std::span<std::uint8_t> out) const override {
    const auto it = files_.find(file);
    if (it == files_.end()) return Missing(file);
    const std::string& bytes = it->second;
    if (offset > bytes.size() || out.size() > bytes.size() - offset) {
      return absl::DataLossError(Cat(name_, "/", file, ": expected ", out.size(),
                                     " bytes from offset ", offset, ", but the file ends at ",
                                     bytes.size()));
    }
    if (!out.empty()) std::memcpy(out.data(), bytes.data() + offset, out.size());
    return absl::OkStatus();
  }

 private:
  absl::Status Missing(std::string_view file) const {
    return absl::NotFoundError(Cat(name_, ": there is no file named ", Quoted(file)));
  }

  std::string name_;
  std::map<std::string, std::string, std::less<>> files_;
};

}  // namespace

std::unique_ptr<ByteSource> OpenMemory(std::string name, std::map<std::string, std::string> files) {
  return std::make_unique<MemorySource>(std::move(name), std::move(files));
}

absl::StatusOr<std::string> ReadAll(const ByteSource& source, std::string_view file,
                                    std::uint64_t limit) {
  MOSSRT_ASSIGN_OR_RETURN(const std::uint64_t size, source.Size(file));
  if (size > limit) {
    return absl::InvalidArgumentError(
        Cat(source.name(), "/", file, ": has ", size, " bytes; at most ", limit,
            " are accepted for a file of this kind, so it is probably not what its name says"));
  }
  std::string bytes(size, '\0');
  MOSSRT_RETURN_IF_ERROR(
      source.Read(file, 0, {reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()}));
  return bytes;
}

}  // namespace mossrt::runtime
