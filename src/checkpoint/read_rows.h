// Rows of a tensor, dense and in native byte order, from wherever its storage lies.
#pragma once

#include <cstdint>
#include <span>

#include "absl/status/status.h"
#include "mossrt/runtime/checkpoint.h"

namespace mossrt::runtime {

// See Checkpoint::ReadRows. Keeps no state, allocates at most 1 MiB and only for views.
absl::Status ReadTensorRows(const ByteSource& source, const StorageInfo& storage,
                            const TensorInfo& tensor, std::int64_t first, std::int64_t rows,
                            std::span<std::uint8_t> out);

// Reverses the bytes of each element of `width`.
void SwapElements(std::span<std::uint8_t> bytes, std::size_t width);

}  // namespace mossrt::runtime
