#include "bf16_checks.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "levels.h"
#include "reference.h"

namespace mossrt::cpu {
namespace {

using Values = std::vector<float>;

std::size_t Size(std::int64_t n) { return static_cast<std::size_t>(n); }

// Random values, and among them some that round up to a power of two or to infinity, that are
// subnormal, or no numbers (where there are fewer places than these, the later ones).
Values SomeRows(std::int64_t m, std::int64_t n, std::int64_t stride) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const float special[] = {0.0f,      -0.0f,     1e-40f,    -1e-40f, 0x1p-126f,  -0x1.fffffep-127f,
                           0x1p-149f, 0x1.ffp0f, 0x1.01p3f, 3.4e38f, -kInfinity, NAN};
  Values x = RandomValues(Size(m * stride), 5);
  for (std::size_t i = 0; i < std::size(special); ++i) {
    const auto at = static_cast<std::int64_t>(i) * 7 + 1;
    x[Size(at / n % m * stride + at % n)] = special[i];
  }
  return x;
}

// What a product of pairs takes for x: subnormals are 0 there.
float Factor(float x) {
  return std::fabs(x) < 0x1p-126f ? std::copysign(0.0f, x) : ReferenceBf16(x);
}

void ExpectHalf(float want, std::uint32_t half, const std::string& label) {
  const float got = std::bit_cast<float>(half << 16);
  if (std::isnan(want)) {
    ASSERT_TRUE(std::isnan(got)) << label;
  } else {
    ASSERT_EQ(std::bit_cast<std::uint32_t>(got), std::bit_cast<std::uint32_t>(want)) << label;
  }
}

}  // namespace

void CheckPackPairs(const KernelTable& t) {
  for (const std::int64_t m : {1, 2, 11, 12, 13, 25}) {
    for (const std::int64_t k : {1, 2, 15, 16, 17, 70}) {
      const std::int64_t stride = k + 3, depth = (k + 1) / 2;
      const Values x = SomeRows(m, k, stride);
      std::vector<std::uint32_t> packed(Size(m * depth) + 1, 99);
      t.pack_x_bf16_pairs(x.data(), stride, m, k, packed.data());
      for (std::int64_t i = 0; i < m; ++i) {
        const std::int64_t first = i / 12 * 12, rows = std::min<std::int64_t>(12, m - first);
        for (std::int64_t j = 0; j < depth * 2; ++j) {
          const std::uint32_t pair = packed[Size(first * depth + j / 2 * rows + i - first)];
          const float want = j < k ? Factor(x[Size(i * stride + j)]) : 0.0f;
          ExpectHalf(want, pair >> 16 * (j % 2) & 0xFFFF,
                     std::string(t.name) + " pack_x_bf16_pairs m=" + std::to_string(m) + " k=" +
                         std::to_string(k) + " at " + std::to_string(i) + ", " + std::to_string(j));
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
      EXPECT_EQ(packed.back(), 99u);
    }
  }
}

void CheckKeysToBf16(const KernelTable& t) {
  constexpr std::uint32_t kUntouched = 0x5A5A5A5A;
  for (const std::int64_t n : {15, 16, 24, 64, 80}) {
    const std::int64_t stride = n + 3, dwords = (n + 1) / 2;
    for (std::int64_t m = 1; m <= 16; ++m) {
      for (const std::int64_t lane : {std::int64_t{0}, (16 - m) / 2, 16 - m}) {
        const std::string label = std::string(t.name) + " keys_to_bf16 n=" + std::to_string(n) +
                                  " m=" + std::to_string(m) + " lane=" + std::to_string(lane);
        const Values x = SomeRows(m, n, stride);
        std::vector<std::uint32_t> panel(Size(dwords * 16), kUntouched);
        t.keys_to_bf16(x.data(), stride, m, n, panel.data() + lane);
        for (std::int64_t at = 0; at < dwords * 16; ++at) {
          const std::int64_t i = at % 16 - lane, j = at / 16 * 2;
          if (i < 0 || i >= m) {
            ASSERT_EQ(panel[Size(at)], kUntouched) << label;
            continue;
          }
          ExpectHalf(ReferenceBf16(x[Size(i * stride + j)]), panel[Size(at)] & 0xFFFF, label);
          if (j + 1 < n) {
            ExpectHalf(ReferenceBf16(x[Size(i * stride + j + 1)]), panel[Size(at)] >> 16, label);
          }
          if (::testing::Test::HasFatalFailure()) return;
        }
      }
    }
  }
}

void CheckValuesToBf16(const KernelTable& t) {
  constexpr std::int64_t kPositions = 24, kPanelBytes = kPositions * 32 + 64;
  for (const std::int64_t n : {1, 15, 16, 24, 64, 80}) {
    const std::int64_t stride = n + 3, panels = (n + 15) / 16;
    for (const std::int64_t m : {1, 2, 3, 4, 7, 8, 16}) {
      for (const std::int64_t slot : {0, 1, 2, 5, 8}) {
        const std::string label = std::string(t.name) + " values_to_bf16 n=" + std::to_string(n) +
                                  " m=" + std::to_string(m) + " slot=" + std::to_string(slot);
        const Values x = SomeRows(m, n, stride);
        AlignedBytes memory(Size(panels * kPanelBytes));
        std::fill_n(memory.bytes(), panels * kPanelBytes, std::byte{0x5A});
        auto* const values = reinterpret_cast<std::uint32_t*>(memory.bytes());
        t.values_to_bf16(x.data(), stride, m, n, slot, values, kPanelBytes);
        for (std::int64_t at = 0; at < panels * kPanelBytes / 4; ++at) {
          const std::int64_t in_panel = at % (kPanelBytes / 4);
          const std::int64_t j = at / (kPanelBytes / 4) * 16 + in_panel % 16;
          for (const std::int64_t odd : {0, 1}) {
            const std::uint32_t half = values[at] >> 16 * odd & 0xFFFF;
            const std::int64_t i = in_panel / 16 * 2 + odd - slot;
            if (i < 0 || i >= m) {
              ASSERT_EQ(half, 0x5A5Au) << label;
            } else {
              ExpectHalf(j < n ? ReferenceBf16(x[Size(i * stride + j)]) : 0.0f, half, label);
            }
            if (::testing::Test::HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

}  // namespace mossrt::cpu
