#include "ops/rope.h"

#include "base/math.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::runtime {

RopeTable::RopeTable(std::int64_t positions, std::int64_t rotary_dim, double theta)
    : rotary_dim_(rotary_dim) {
  const std::int64_t half = rotary_dim / 2;
  cos_.resize(static_cast<std::size_t>(positions * half));
  sin_.resize(cos_.size());
  for (std::int64_t i = 0; i < half; ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(rotary_dim);
    frequency_.push_back(1.0f / static_cast<float>(Pow(theta, double{exponent})));
  }
}

void RopeTable::Fill(std::int64_t first, std::int64_t count, ThreadTeam& team) {
  ForRows(count, team, [&](std::int64_t begin, std::int64_t end) {
    auto at = static_cast<std::size_t>(first + begin) * frequency_.size();
    for (std::int64_t position = first + begin; position < first + end; ++position) {
      for (const float f : frequency_) {
        const float angle = static_cast<float>(position) * f;
        cos_[at] = static_cast<float>(Cos(double{angle}));
        sin_[at++] = static_cast<float>(Sin(double{angle}));
      }
    }
  });
}

void RopeTable::Apply(std::int64_t position, std::int64_t heads, std::int64_t head_dim,
                      float* row) const {
  const auto at = static_cast<std::size_t>(position * (rotary_dim_ / 2));
  cpu::Kernels()->rope(row, heads, head_dim, rotary_dim_, cos_.data() + at, sin_.data() + at);
}

}  // namespace mossrt::runtime
