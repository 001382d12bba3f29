// Weights of the native backend: panels of 16 output rows, k-major, in one piece of the arena
// (cpu/kernel_list.inc has the layouts).
#pragma once

#include "backends/dense_rows.h"
#include "mossrt/runtime/gemm_backend.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::runtime {

class PanelWeight final : public PackedWeight {
 public:
  PanelWeight(std::int64_t rows, std::int64_t cols, DType dtype, const std::byte* data);

  DType dtype() const { return format().dtype; }

  std::int64_t panels() const { return (rows() + cpu::kPanelRows - 1) / cpu::kPanelRows; }
  std::size_t panel_bytes() const { return panel_bytes_; }
  const std::byte* Panel(std::int64_t p) const {
    return data_ + static_cast<std::size_t>(p) * panel_bytes_;
  }
  void ReadRow(std::int64_t row, float* out) const;
  std::span<const std::byte> bytes() const {
    return {data_, static_cast<std::size_t>(panels()) * panel_bytes_};
  }

  static std::size_t PanelBytes(std::int64_t cols, DType dtype);

 private:
  std::size_t panel_bytes_;
  const std::byte* data_;
};

absl::StatusOr<std::unique_ptr<PackedWeight>> PackPanels(const cpu::KernelTable& kernels,
                                                         const PackRequest& request, DType held,
                                                         ThreadTeam& team);

}  // namespace mossrt::runtime
