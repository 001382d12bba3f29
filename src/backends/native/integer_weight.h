// Weights of the native backend held as integers of 8 or 4 bits (IntegerPanel has the layout).
#pragma once

#include <vector>

#include "backends/dense_rows.h"
#include "mossrt/runtime/gemm_backend.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::runtime {

// How the inputs of a matrix are dealt to groups of one size: a group of a file that is longer
// comes as several with equal scales, one that is shorter is padded.
struct ColumnGroups {
  std::int64_t group = 0;             // inputs of one group
  std::vector<std::int32_t> of_file;  // for each group: the file's group
  // For each place of each group the input that stands there, -1 for none. Empty: inputs as they
  // come, the last group padded.
  std::vector<std::int32_t> order;

  std::int64_t groups() const { return static_cast<std::int64_t>(of_file.size()); }
  std::int64_t places() const { return groups() * group; }
};

ColumnGroups GroupColumns(const WeightSource& source, const WeightFormat& format);

class IntegerWeight final : public PackedWeight {
 public:
  IntegerWeight(std::int64_t rows, std::int64_t cols, const WeightFormat& format,
                ColumnGroups columns, const std::byte* data);

  const ColumnGroups& columns() const { return columns_; }
  const cpu::IntegerPanel& layout() const { return layout_; }
  std::int64_t panels() const { return (rows() + cpu::kPanelRows - 1) / cpu::kPanelRows; }
  std::size_t panel_bytes() const { return panel_bytes_; }
  const std::byte* Panel(std::int64_t p) const {
    return data_ + static_cast<std::size_t>(p) * panel_bytes_;
  }
  void ReadRow(std::int64_t row, float* out) const;
  std::span<const std::byte> bytes() const {
    return {data_, static_cast<std::size_t>(panels()) * panel_bytes_};
  }

  // Which inputs it reads; the backend's number for equal `columns`.
  int input_kind = 0;

  static std::size_t PanelBytes(const WeightFormat& format, std::int64_t groups);

 private:
  ColumnGroups columns_;
  cpu::IntegerPanel layout_;
  std::size_t panel_bytes_;
  const std::byte* data_;
};

// Rounds dense values, or takes the integers of a source that has some.
absl::StatusOr<std::unique_ptr<IntegerWeight>> PackIntegers(const cpu::KernelTable& kernels,
                                                            const PackRequest& request,
                                                            const WeightFormat& held,
                                                            ThreadTeam& team);

}  // namespace mossrt::runtime
