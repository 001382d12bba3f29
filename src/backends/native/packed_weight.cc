#include "backends/native/packed_weight.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <new>
#include <vector>

#include "base/cat.h"
#include "base/half.h"
#include "base/status.h"

namespace mossrt::runtime {
namespace {

using cpu::kPanelRows;

std::int64_t PaddedCols(std::int64_t cols, DType dtype) {
  return dtype == DType::kBF16 ? (cols + 1) / 2 * 2 : cols;
}

}  // namespace

PanelWeight::PanelWeight(std::int64_t rows, std::int64_t cols, DType dtype, const std::byte* data)
    : PackedWeight(rows, cols, Dense(dtype)), panel_bytes_(PanelBytes(cols, dtype)), data_(data) {}

std::size_t PanelWeight::PanelBytes(std::int64_t cols, DType dtype) {
  const auto bytes =
      static_cast<std::size_t>(PaddedCols(cols, dtype) * kPanelRows) * DTypeSize(dtype);
  return (bytes + 63) / 64 * 64;  // every panel starts at a cache line
}

void PanelWeight::ReadRow(std::int64_t row, float* out) const {
  const std::byte* panel = Panel(row / kPanelRows);
  const std::int64_t lane = row % kPanelRows;
  const auto* f32 = reinterpret_cast<const float*>(panel);
  const auto* u16 = reinterpret_cast<const std::uint16_t*>(panel);
  for (std::int64_t k = 0; k < cols(); ++k) {
    switch (dtype()) {
      case DType::kF16:
        out[k] = F16ToF32(u16[k * kPanelRows + lane]);
        break;
      case DType::kBF16:
        out[k] = BF16ToF32(u16[(k / 2 * kPanelRows + lane) * 2 + k % 2]);
        break;
      default:
        out[k] = f32[k * kPanelRows + lane];
    }
  }
}

absl::StatusOr<std::unique_ptr<PackedWeight>> PackPanels(const cpu::KernelTable& kernels,
                                                         const PackRequest& request, DType held,
                                                         ThreadTeam& team) {
  const WeightSource& source = *request.source;
  const std::int64_t rows = source.rows(), cols = source.cols();
  const DType file = source.dtype();
  const std::size_t panel_bytes = PanelWeight::PanelBytes(cols, held);
  const std::int64_t panels = (rows + kPanelRows - 1) / kPanelRows;
  MOSSRT_ASSIGN_OR_RETURN(std::byte * data,
                          request.arena->Take(static_cast<std::size_t>(panels) * panel_bytes));
  const std::size_t row_bytes = static_cast<std::size_t>(cols) * DTypeSize(file);
  std::atomic<bool> no_memory{false};

  const auto pack = [&](std::int64_t first, std::int64_t count,
                        std::span<const std::uint8_t> bytes) {
    std::vector<float> wide;            // up to 16 rows as float32, where the types differ
    std::vector<std::uint16_t> narrow;  // and rounded to the held type
    try {
      if (file != held) {
        wide.resize(static_cast<std::size_t>(kPanelRows * cols));
        if (held != DType::kF32) narrow.resize(wide.size());
      }
    } catch (const std::bad_alloc&) {
      no_memory.store(true, std::memory_order_relaxed);
      return;
    }
    for (std::int64_t at = 0; at < count; at += kPanelRows) {
      const std::int64_t lanes = std::min(kPanelRows, count - at);
      const std::uint8_t* src = bytes.data() + static_cast<std::size_t>(at) * row_bytes;
      const std::uint8_t* base = src;
      if (file != held) {
        ToFloat(kernels, file, src, lanes * cols, wide.data());
        base = reinterpret_cast<const std::uint8_t*>(wide.data());
        if (held == DType::kF16) kernels.f32_to_f16(wide.data(), lanes * cols, narrow.data());
        if (held == DType::kBF16) kernels.f32_to_bf16(wide.data(), lanes * cols, narrow.data());
        if (held != DType::kF32) base = reinterpret_cast<const std::uint8_t*>(narrow.data());
      }
      std::byte* panel = data + static_cast<std::size_t>((first + at) / kPanelRows) * panel_bytes;
      if (held == DType::kF32) {
        std::array<const float*, kPanelRows> row{};
        for (std::int64_t i = 0; i < lanes; ++i) {
          row[static_cast<std::size_t>(i)] = reinterpret_cast<const float*>(base) + i * cols;
        }
        kernels.pack_w_f32(row.data(), lanes, cols, reinterpret_cast<float*>(panel));
      } else {
        std::array<const std::uint16_t*, kPanelRows> row{};
        for (std::int64_t i = 0; i < lanes; ++i) {
          row[static_cast<std::size_t>(i)] =
              reinterpret_cast<const std::uint16_t*>(base) + i * cols;
        }
        const auto fn = held == DType::kBF16 ? kernels.pack_w_u16_pairs : kernels.pack_w_u16;
        fn(row.data(), lanes, cols, reinterpret_cast<std::uint16_t*>(panel));
      }
    }
  };
  MOSSRT_RETURN_IF_ERROR(ReadSlabs(request, kPanelRows, team, pack));
  if (no_memory)
    return absl::ResourceExhaustedError(Cat("no memory to convert rows of ", source.name()));
  return std::make_unique<PanelWeight>(rows, cols, held, data);
}

}  // namespace mossrt::runtime
