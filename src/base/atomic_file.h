// A new file that appears under its name whole or not at all, whenever the process ends.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/statusor.h"

namespace mossrt::runtime {

class AtomicFile {
 public:
  AtomicFile() = default;
  ~AtomicFile() { Abandon(); }
  AtomicFile(AtomicFile&& other) noexcept { *this = std::move(other); }
  AtomicFile& operator=(AtomicFile&& other) noexcept;

  // Room for `size` bytes beside the place where `path` will be; if that is a symbolic link, where
  // it leads to will be, and the link stays. `unnamed`: the system drops what
  // was never committed, even if the process is killed; where it cannot (and without `unnamed`), a
  // file ".NAME.*.tmp" is left by a kill.
  static absl::StatusOr<AtomicFile> Create(const std::string& path, std::uint64_t size,
                                           bool unnamed = true);
  absl::Status Write(std::uint64_t offset, std::span<const std::uint8_t> bytes);
  // Everything is on the disk before the name is; what had that name is replaced.
  absl::Status Commit();

 private:
  void Abandon();
  absl::Status Fail(const char* action, int error) const;
  absl::Status Irregular() const;
  std::string TemporaryName() const;

  std::string path_, name_;  // name_: within the directory
  std::string temporary_;    // empty: unnamed
  int directory_ = -1, fd_ = -1;
};

// Does the file at `path` begin so?
bool FileBeginsWith(const std::string& path, std::string_view magic);

// An error if a file is there that does not begin as a file of this kind ("saved session") does: it
// is somebody else's.
absl::Status CheckReplaces(const std::string& path, std::string_view magic, std::string_view kind);

}  // namespace mossrt::runtime
