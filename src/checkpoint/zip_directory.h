// The central directory of a zip file whose entries are stored uncompressed, as torch writes them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "mossrt/runtime/checkpoint.h"

namespace mossrt::runtime {

struct ZipEntry {
  std::string name;
  std::uint64_t offset = 0;  // of the bytes themselves
  std::uint64_t size = 0;
  std::uint32_t crc = 0;
};

class ZipDirectory {
 public:
  explicit ZipDirectory(std::vector<ZipEntry> entries);              // in any order, names unique
  const std::vector<ZipEntry>& entries() const { return entries_; }  // sorted by name
  const ZipEntry* Find(std::string_view name) const;                 // null if absent

 private:
  std::vector<ZipEntry> entries_;
};

// Reads the directory and each entry's local header: nothing overlaps, all lies within the file, no
// name occurs twice, no entry is compressed or encrypted. Zip64 records are understood.
absl::StatusOr<ZipDirectory> ReadZipDirectory(const ByteSource& source, const std::string& file);

// The bytes of one entry, at most `limit`, with their CRC checked.
absl::StatusOr<std::string> ReadZipEntry(const ByteSource& source, const std::string& file,
                                         const ZipEntry& entry, std::uint64_t limit);

}  // namespace mossrt::runtime
