// Where the files of a checkpoint come from. Owned by src/base.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mossrt::runtime {

// A folder of named files: a directory, memory, or callbacks. All methods may be called from many
// threads.
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  virtual std::string name() const = 0;  // for messages: the directory's path
  virtual absl::StatusOr<std::vector<std::string>> List() const = 0;  // plain file names, sorted
  virtual absl::StatusOr<std::uint64_t> Size(
      std::string_view file) const = 0;  // kNotFound if absent
  // Exactly out.size() bytes from `offset`; anything less is an error.
  virtual absl::Status Read(std::string_view file, std::uint64_t offset,
                            std::span<std::uint8_t> out) const = 0;
  // The bytes [offset, offset + size) as read-only pages that processes share; `offset` is a
  // multiple of the page size. kUnimplemented where there is no file of the system behind it.
  // Whoever cuts the file short later ends the process, so only on request.
  virtual absl::StatusOr<std::shared_ptr<const std::byte>> Map(std::string_view file,
                                                               std::uint64_t offset,
                                                               std::uint64_t size) const;
};

// Symbolic links are followed (a hub cache is made of them). A name that is empty, "." or "..", or
// holds '/' or a zero byte, is refused with kInvalidArgument: shard indexes are not trusted to stay
// inside their directory.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenDirectory(const std::string& path);
std::unique_ptr<ByteSource> OpenMemory(std::string name, std::map<std::string, std::string> files);
// The whole file, refusing more than `limit` bytes with kInvalidArgument.
absl::StatusOr<std::string> ReadAll(const ByteSource& source, std::string_view file,
                                    std::uint64_t limit);

}  // namespace mossrt::runtime
