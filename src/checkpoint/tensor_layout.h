// What shape, strides and offset mean, with every product checked.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/status.h"
#include "mossrt/runtime/checkpoint.h"

namespace mossrt::runtime {

// torch's own limit on dimensions.
inline constexpr std::size_t kMaxRank = 64;

// Row-major strides in elements; shape must have passed CheckLayout or hold no overflow.
std::vector<std::int64_t> DenseStrides(const std::vector<std::int64_t>& shape);

// Rank, sizes and strides are sane, elements() * DTypeSize fits an int64, and every element lies
// within a storage of `storage_bytes`. The message starts with the tensor's name.
absl::Status CheckLayout(const TensorInfo& tensor, std::uint64_t storage_bytes);

// What ReadRows counts: dimension 0, or single elements below two dimensions.
struct RowShape {
  std::int64_t rows = 0;
  std::int64_t elements_per_row = 0;
};
RowShape RowsOf(const TensorInfo& tensor);

}  // namespace mossrt::runtime
