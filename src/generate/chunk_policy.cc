#include "generate/chunk_policy.h"

#include <algorithm>

#include "mossrt/runtime/decoder.h"

namespace mossrt::runtime {
namespace {

// Some 40 ms at 50 GFLOP/s, which two cores with AVX2 exceed.
constexpr std::int64_t kFirstFlops = 2'000'000'000;
constexpr std::int64_t kFirstRows = 32;

}  // namespace

ChunkPolicy::ChunkPolicy(std::int64_t fixed, std::int64_t layer_parameters)
    : fixed_(fixed > 0), rows_(fixed) {
  if (fixed_) return;
  const std::int64_t flops_per_row = 2 * std::max<std::int64_t>(layer_parameters, 1);
  rows_ = std::clamp(kFirstFlops / flops_per_row, kMinRows, kFirstRows);
}

std::int64_t ChunkPolicy::Rows(bool cancellable) const {
  return fixed_ || cancellable ? rows_ : kPromptRows;
}

void ChunkPolicy::Measured(std::int64_t rows, double layer_seconds) {
  if (fixed_ || rows <= 0) return;
  if (layer_seconds > 0.065) {
    const double fitting = static_cast<double>(rows) * 0.050 / layer_seconds;
    rows_ = std::clamp(static_cast<std::int64_t>(fitting), kMinRows, rows_);
    return;
  }
  if (rows < rows_) return;  // the short rest of a prompt says nothing about a full chunk
  if (layer_seconds <= 0.012) {
    rows_ *= 4;
  } else if (layer_seconds <= 0.025) {
    rows_ *= 2;
  } else if (layer_seconds <= 0.055) {
    rows_ += std::max<std::int64_t>(rows_ / 4, 1);
  }
  rows_ = std::min(rows_, kPromptRows);
}

}  // namespace mossrt::runtime
