#include "backends/native/saved_weight.h"

#include <numeric>

#include "backends/native/packed_weight.h"
#include "base/cat.h"
#include "base/status.h"

namespace mossrt::runtime {

SavedWeight SaveNative(const PackedWeight& weight, std::span<const std::byte>* bytes) {
  SavedWeight saved{.rows = weight.rows(), .cols = weight.cols(), .format = weight.format()};
  if (!weight.format().integers()) {
    *bytes = static_cast<const PanelWeight&>(weight).bytes();
    return saved;
  }
  const auto& integers = static_cast<const IntegerWeight&>(weight);
  *bytes = integers.bytes();
  saved.groups = integers.columns().groups();
  saved.order = integers.columns().order;
  return saved;
}

absl::StatusOr<std::size_t> SavedNativeBytes(const SavedWeight& saved) {
  // What WeightRules computes for a model stays below; the products cannot leave 64 bits.
  constexpr std::int64_t kMost = std::int64_t{1} << 31;
  if (saved.rows < 1 || saved.cols < 1 || saved.rows > kMost || saved.cols > kMost) {
    return absl::InvalidArgumentError(
        Cat("a matrix cannot be [", saved.rows, ", ", saved.cols, "]"));
  }
  const auto panels =
      static_cast<std::size_t>((saved.rows + cpu::kPanelRows - 1) / cpu::kPanelRows);
  std::size_t panel_bytes = 0, bytes = 0;
  if (!saved.format.integers()) {
    if (saved.groups != 0 || !saved.order.empty()) {
      return absl::InvalidArgumentError(
          Cat("a matrix in ", FormatName(saved.format), " has no groups of inputs"));
    }
    panel_bytes = PanelWeight::PanelBytes(saved.cols, saved.format.dtype);
  } else {
    const std::int64_t group = saved.format.group;
    const std::int64_t least = (saved.cols + group - 1) / group;
    // Each group holds an input or more.
    if (saved.groups < least || saved.groups > saved.cols) {
      return absl::InvalidArgumentError(Cat(saved.cols, " inputs in groups of ", group, " make ",
                                            least, " groups or more, not ", saved.groups));
    }
    panel_bytes = IntegerWeight::PanelBytes(saved.format, saved.groups);
  }
  if (__builtin_mul_overflow(panels, panel_bytes, &bytes)) {
    return absl::InvalidArgumentError(
        Cat("a matrix of [", saved.rows, ", ", saved.cols, "] fits no memory"));
  }
  return bytes;
}

absl::StatusOr<ColumnGroups> SavedColumns(SavedWeight saved) {
  ColumnGroups columns{.group = saved.format.group, .of_file = {}, .order = std::move(saved.order)};
  columns.of_file.resize(static_cast<std::size_t>(saved.groups));
  std::iota(columns.of_file.begin(), columns.of_file.end(), 0);
  if (columns.order.empty()) {
    const std::int64_t expected = (saved.cols + columns.group - 1) / columns.group;
    if (saved.groups == expected) return columns;
    return absl::InvalidArgumentError(Cat("without an order of inputs ", saved.cols,
                                          " of them make ", expected, " groups of ", columns.group,
                                          ", not ", saved.groups));
  }
  if (static_cast<std::int64_t>(columns.order.size()) != columns.places()) {
    return absl::InvalidArgumentError(Cat("the order of inputs has ", columns.order.size(),
                                          " places where its groups have ", columns.places()));
  }
  std::vector<bool> seen(static_cast<std::size_t>(saved.cols));
  std::int64_t count = 0;
  for (const std::int32_t column : columns.order) {
    if (column == -1) continue;
    if (column < 0 || column >= saved.cols || seen[static_cast<std::size_t>(column)]) {
      return absl::InvalidArgumentError(
          Cat("the order of inputs names ", column, ", which is ",
              column < 0 || column >= saved.cols ? "none" : "twice there", " of ", saved.cols));
    }
    seen[static_cast<std::size_t>(column)] = true;
    ++count;
  }
  if (count == saved.cols) return columns;
  return absl::InvalidArgumentError(Cat("the order of inputs names ", count, " of ", saved.cols));
}

}  // namespace mossrt::runtime
