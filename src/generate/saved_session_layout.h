// The bytes of a saved session, as docs/saved-session.md describes them: a header of fixed length,
// the rest of the head with its checksum, the rows of the cache, and a checksum of all.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "mossrt/runtime/dtype.h"

namespace mossrt::runtime {

inline constexpr std::string_view kSavedMagic = "\x8BMOSSSN\n";
// Of the layout, and of what mossrt computes: where tests/data/golden_bits.json gets new bits,
// older sessions cannot go on to the bit, and this becomes another number.
inline constexpr std::uint32_t kSavedVersion = 1;
inline constexpr std::array<DType, 3> kSavedDTypes = {DType::kF32, DType::kBF16, DType::kI8};
inline constexpr std::size_t kSavedSum = 8;
// In which they are written, read and summed.
inline constexpr std::size_t kSavedPiece = std::size_t{1} << 20;

struct SavedHeader {
  std::array<char, 8> magic{};
  std::uint32_t version = kSavedVersion;
  std::uint32_t kv_dtype = 0;    // index in kSavedDTypes
  std::uint64_t file_bytes = 0;  // of everything
  std::uint64_t layers = 0, kv_heads = 0, head_dim = 0, context = 0;
  std::uint64_t tokens = 0, evaluated = 0;  // the first `evaluated` have rows
  std::uint64_t logits = 0;                 // 0, or the vocabulary's size
  std::uint64_t probe = 0;                  // values of Fingerprint::probe
  std::uint64_t shape_bytes = 0;            // of Fingerprint::shape
  std::uint64_t numerics_bytes = 0;         // of Session::numerics()

  // Header, tokens, probe, logits, both texts, checksum; each term at most the size of a file.
  std::uint64_t HeadBytes() const {
    return sizeof(SavedHeader) + 4 * (tokens + probe + logits) + shape_bytes + numerics_bytes +
           kSavedSum;
  }
};
static_assert(sizeof(SavedHeader) == 104);
inline constexpr bool kSavedAsInMemory = std::endian::native == std::endian::little;

}  // namespace mossrt::runtime
