#include "checkpoint/read_rows.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "base/status.h"
#include "checkpoint/bytes.h"
#include "checkpoint/tensor_layout.h"

namespace mossrt::runtime {
namespace {

constexpr std::uint64_t kSmallWindow = 4096;
constexpr std::uint64_t kLargeWindow = 1 << 20;

// Bytes of a storage through a window that grows while reads go forward without gaps and falls back
// to a page after a jump, so that neither a transposed matrix nor a lone column costs many times
// its size.
class Window {
 public:
  Window(const ByteSource& source, const StorageInfo& storage)
      : source_(source), storage_(storage) {}

  // Copies `size` (at most kSmallWindow) bytes at `offset` of the storage.
  absl::Status Copy(std::uint64_t offset, std::size_t size, std::uint8_t* out) {
    if (offset < begin_ || offset + size > begin_ + bytes_.size()) {
      MOSSRT_RETURN_IF_ERROR(Move(offset));
    }
    std::memcpy(out, bytes_.data() + (offset - begin_), size);
    return absl::OkStatus();
  }

 private:
  absl::Status Move(std::uint64_t offset) {
    const std::uint64_t end = begin_ + bytes_.size();
    const bool forward = offset >= begin_ && offset <= end + length_ / 2;
    length_ = forward ? std::min(2 * length_, kLargeWindow) : kSmallWindow;
    begin_ = offset;
    bytes_.resize(std::min(length_, storage_.size - offset));
    return source_.Read(storage_.file, storage_.offset + offset, bytes_);
  }

  const ByteSource& source_;
  const StorageInfo& storage_;
  std::vector<std::uint8_t> bytes_;
  std::uint64_t begin_ = 0;
  std::uint64_t length_ = kSmallWindow;
};

struct Dimension {
  std::int64_t size;
  std::uint64_t from;  // bytes between neighbours in the storage
  std::uint64_t to;    // bytes between neighbours in the result
};

// Outermost first in the storage's order, so that the file is read forward.
std::vector<Dimension> GatherOrder(const TensorInfo& tensor, std::int64_t rows) {
  const std::uint64_t width = DTypeSize(tensor.dtype);
  const std::vector<std::int64_t> dense = DenseStrides(tensor.shape);
  std::vector<Dimension> order;
  for (std::size_t i = 0; i < tensor.shape.size(); ++i) {
    const std::int64_t size = i == 0 ? rows : tensor.shape[i];
    if (size == 1) continue;
    order.push_back({size, static_cast<std::uint64_t>(tensor.strides[i]) * width,
                     static_cast<std::uint64_t>(dense[i]) * width});
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const Dimension& a, const Dimension& b) { return a.from > b.from; });
  if (order.empty()) order.push_back({1, width, width});
  return order;
}

absl::Status GatherRun(const ByteSource& source, const StorageInfo& storage, Window* window,
                       const Dimension& run, std::uint64_t width, std::uint64_t from,
                       std::uint8_t* to) {
  const std::uint64_t bytes = static_cast<std::uint64_t>(run.size) * width;
  if (run.from == width && run.to == width) {
    if (bytes <= kSmallWindow) return window->Copy(from, bytes, to);
    return source.Read(storage.file, storage.offset + from, {to, bytes});
  }
  for (std::int64_t i = 0; i < run.size; ++i) {
    const auto n = static_cast<std::uint64_t>(i);
    MOSSRT_RETURN_IF_ERROR(window->Copy(from + n * run.from, width, to + n * run.to));
  }
  return absl::OkStatus();
}

absl::Status Gather(const ByteSource& source, const StorageInfo& storage, const TensorInfo& tensor,
                    std::int64_t first, std::int64_t rows, std::uint8_t* out) {
  const std::uint64_t width = DTypeSize(tensor.dtype);
  const std::vector<Dimension> order = GatherOrder(tensor, rows);
  std::uint64_t from = tensor.storage_offset * width;
  if (!tensor.strides.empty()) {
    from +=
        static_cast<std::uint64_t>(first) * static_cast<std::uint64_t>(tensor.strides[0]) * width;
  }
  std::uint64_t to = 0;
  Window window(source, storage);
  std::vector<std::int64_t> at(order.size() - 1, 0);
  while (true) {
    MOSSRT_RETURN_IF_ERROR(
        GatherRun(source, storage, &window, order.back(), width, from, out + to));
    std::size_t i = at.size();
    while (i > 0) {  // counts like an odometer over all but the innermost dimension
      --i;
      from += order[i].from;
      to += order[i].to;
      if (++at[i] < order[i].size) break;
      from -= order[i].from * static_cast<std::uint64_t>(order[i].size);
      to -= order[i].to * static_cast<std::uint64_t>(order[i].size);
      at[i] = 0;
      if (i == 0) return absl::OkStatus();
    }
    if (at.empty()) return absl::OkStatus();
  }
}

}  // namespace

void SwapElements(std::span<std::uint8_t> bytes, std::size_t width) {
  if (width < 2) return;
  for (std::size_t i = 0; i + width <= bytes.size(); i += width) {
    std::reverse(bytes.data() + i, bytes.data() + i + width);
  }
}

absl::Status ReadTensorRows(const ByteSource& source, const StorageInfo& storage,
                            const TensorInfo& tensor, std::int64_t first, std::int64_t rows,
                            std::span<std::uint8_t> out) {
  MOSSRT_RETURN_IF_ERROR(Prefix(CheckLayout(tensor, storage.size), storage.file));
  const RowShape shape = RowsOf(tensor);
  const std::uint64_t width = DTypeSize(tensor.dtype);
  if (first < 0 || rows < 0 || first > shape.rows || rows > shape.rows - first) {
    return absl::InvalidArgumentError(Cat("tensor ", Quoted(tensor.name), " has ", shape.rows,
                                          " rows; ", rows, " rows from row ", first,
                                          " were asked for"));
  }
  const std::uint64_t row_bytes = static_cast<std::uint64_t>(shape.elements_per_row) * width;
  const std::uint64_t bytes = static_cast<std::uint64_t>(rows) * row_bytes;
  if (out.size() != bytes) {
    return absl::InvalidArgumentError(Cat("tensor ", Quoted(tensor.name), ": ", rows, " rows are ",
                                          bytes, " bytes, but the buffer has ", out.size()));
  }
  if (bytes == 0) return absl::OkStatus();
  absl::Status status;
  if (tensor.contiguous()) {
    const std::uint64_t begin =
        tensor.storage_offset * width + static_cast<std::uint64_t>(first) * row_bytes;
    status = source.Read(storage.file, storage.offset + begin, out);
  } else {
    status = Gather(source, storage, tensor, first, rows, out.data());
  }
  if (!status.ok()) return Prefix(status, Cat("tensor ", Quoted(tensor.name)));
  if (storage.swap_bytes) SwapElements(out, width);
  return absl::OkStatus();
}

}  // namespace mossrt::runtime
