// Where the parts of a packed file stand: shared by its reader and its writer.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>

namespace mossrt::runtime {

inline constexpr std::uint64_t kPackedHeader = 64;  // bytes; the manifest follows
inline constexpr std::uint64_t kPackedAlign = 64;   // of small files and small sections
inline constexpr std::uint64_t kPackedPageAlign = std::uint64_t{2} << 20;  // of large sections
inline constexpr std::uint32_t kPackedByteOrder = 0x01020304;
inline constexpr std::uint64_t kMaxPackedManifest = std::uint64_t{16} << 20;
inline constexpr std::uint64_t kMaxPackedFiles = 64;
inline constexpr std::uint64_t kMaxPackedFile = std::uint64_t{64} << 20;

// The header, every number in the byte order of the machine that wrote it.
struct PackedHeader {
  char magic[8];
  std::uint32_t byte_order;      // kPackedByteOrder
  std::uint32_t version;         // of the container
  std::uint32_t layout_version;  // of the backend's weights
  std::uint32_t zero;
  std::uint64_t file_bytes;
  std::uint64_t manifest_bytes;
  std::uint64_t manifest_sum;
  std::uint64_t zero2;
  std::uint64_t sum;  // of the 56 bytes before
};
static_assert(sizeof(PackedHeader) == kPackedHeader);

// `end` < 2^63.
constexpr std::uint64_t PackedAlignUp(std::uint64_t end, std::uint64_t align) {
  return (end + align - 1) / align * align;
}

}  // namespace mossrt::runtime
