#include "checkpoint/tensor_layout.h"

#include <algorithm>

#include "base/status.h"
#include "checkpoint/bytes.h"

namespace mossrt::runtime {
namespace {

bool Multiply(std::int64_t a, std::int64_t b, std::int64_t* product) {
  return !__builtin_mul_overflow(a, b, product);
}

bool HasZero(const std::vector<std::int64_t>& shape) {
  return std::find(shape.begin(), shape.end(), 0) != shape.end();
}

absl::Status Bad(const TensorInfo& tensor, std::string_view text) {
  return absl::InvalidArgumentError(
      Cat("tensor ", Quoted(tensor.name), " [", Join(tensor.shape, ", "), "]: ", text));
}

}  // namespace

std::int64_t TensorInfo::elements() const {
  if (HasZero(shape)) return 0;
  std::uint64_t product = 1;
  for (const std::int64_t size : shape) product *= static_cast<std::uint64_t>(size);
  return static_cast<std::int64_t>(product);
}

bool TensorInfo::contiguous() const {
  if (strides.size() != shape.size()) return false;
  if (HasZero(shape)) return true;
  std::uint64_t expected = 1;
  for (std::size_t i = shape.size(); i-- > 0;) {
    if (shape[i] == 1) continue;  // its stride is never used
    if (static_cast<std::uint64_t>(strides[i]) != expected) return false;
    expected *= static_cast<std::uint64_t>(shape[i]);
  }
  return true;
}

std::vector<std::int64_t> DenseStrides(const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> strides(shape.size(), 1);
  for (std::size_t i = shape.size(); i-- > 1;) {
    // Unsigned, since a shape with a zero may hold sizes whose product does not fit.
    strides[i - 1] =
        static_cast<std::int64_t>(static_cast<std::uint64_t>(strides[i]) *
                                  static_cast<std::uint64_t>(std::max<std::int64_t>(shape[i], 1)));
  }
  return strides;
}

absl::Status CheckLayout(const TensorInfo& tensor, std::uint64_t storage_bytes) {
  if (tensor.shape.size() > kMaxRank || tensor.strides.size() != tensor.shape.size()) {
    return Bad(tensor,
               Cat("expected as many strides as dimensions and at most ", kMaxRank, ", found ",
                   tensor.shape.size(), " dimensions and ", tensor.strides.size(), " strides"));
  }
  const std::uint64_t capacity = storage_bytes / DTypeSize(tensor.dtype);
  if (tensor.storage_offset > capacity) {
    return Bad(tensor, Cat("starts at element ", tensor.storage_offset, " of a storage that holds ",
                           capacity));
  }
  std::int64_t bytes = static_cast<std::int64_t>(DTypeSize(tensor.dtype));
  std::int64_t last = static_cast<std::int64_t>(tensor.storage_offset);
  const bool empty = HasZero(tensor.shape);
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    const std::int64_t size = tensor.shape[i];
    const std::int64_t stride = tensor.strides[i];
    if (size < 0 || stride < 0) {
      return Bad(tensor, Cat("expected sizes and strides of 0 or more, found size ", size,
                             " and stride ", stride, " in dimension ", i));
    }
    if (empty) continue;
    std::int64_t reach = 0;
    if (!Multiply(bytes, size, &bytes) || !Multiply(size - 1, stride, &reach) ||
        __builtin_add_overflow(last, reach, &last)) {
      return Bad(tensor, "the sizes are so large that the number of bytes does not fit 64 bits");
    }
  }
  if (!empty && static_cast<std::uint64_t>(last) >= capacity) {
    return Bad(tensor, Cat("its last element is number ", last, " (counted from 0) of a storage ",
                           "that holds ", capacity, " of ", DTypeName(tensor.dtype)));
  }
  return absl::OkStatus();
}

RowShape RowsOf(const TensorInfo& tensor) {
  const std::int64_t elements = tensor.elements();
  if (tensor.shape.size() < 2) return {elements, 1};
  const std::int64_t rows = tensor.shape[0];
  return {rows, rows == 0 ? 0 : elements / rows};
}

}  // namespace mossrt::runtime
