// The file of a checkpoint with which conversations begin: read in one room, packed in another.
#pragma once

#include <cstdint>
#include <string_view>

namespace mossrt::runtime {

inline constexpr std::string_view kMetaFile = "meta_instruction.txt";
inline constexpr std::uint64_t kMaxMetaFile = std::uint64_t{64} << 10;

}  // namespace mossrt::runtime
