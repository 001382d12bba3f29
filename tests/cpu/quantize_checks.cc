#include "quantize_checks.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "levels.h"
#include "reference.h"

namespace mossrt::cpu {
namespace {

using Values = std::vector<float>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::size_t Size(std::int64_t n) { return static_cast<std::size_t>(n); }

// An input packed by pack_x_int8, read by the words of kernel_list.inc.
class PackedInput {
 public:
  PackedInput(const KernelTable& t, const Values& x, std::int64_t stride, std::int64_t m,
              std::int64_t k, std::int64_t group)
      : m_(m), k_(k), group_(group), packed_(Size(m * IntegerInputDwords(k, group)) + 2, 0xABCD) {
    t.pack_x_int8(x.data() + 1, stride, m, k, group, packed_.data() + 1);
    EXPECT_EQ(packed_.front(), 0xABCDu);
    EXPECT_EQ(packed_.back(), 0xABCDu);
  }
  std::int64_t Integer(std::int64_t row, std::int64_t k) const {
    const std::uint32_t dword = At(row, k / group_, k % group_ / 4);
    return static_cast<std::int8_t>(dword >> 8 * (k % 4) & 0xFF);
  }
  float Scale(std::int64_t row, std::int64_t g) const {
    return std::bit_cast<float>(At(row, g, group_ / 4));
  }
  std::int64_t Sum(std::int64_t row, std::int64_t g) const {
    return static_cast<std::int32_t>(At(row, g, group_ / 4 + 1));
  }

 private:
  std::uint32_t At(std::int64_t row, std::int64_t g, std::int64_t entry) const {
    const std::int64_t per_group = group_ / 4 + 2, groups = (k_ + group_ - 1) / group_;
    const std::int64_t tile = row / 12 * 12, rows = std::min<std::int64_t>(12, m_ - tile);
    const std::int64_t in_tile = (g * per_group + entry) * rows + row - tile;
    return packed_[Size(1 + tile * groups * per_group + in_tile)];
  }

  std::int64_t m_, k_, group_;
  std::vector<std::uint32_t> packed_;
};

// One group of a row against its values in double.
void CheckInputGroup(const PackedInput& got, const float* x, std::int64_t row, std::int64_t g,
                     std::int64_t group, std::int64_t k, const std::string& label) {
  const std::int64_t first = g * group, end = std::min(k, first + group);
  double largest = 0;
  bool finite = true;
  for (std::int64_t j = first; j < end; ++j) {
    finite = finite && std::isfinite(x[j]);
    largest = std::max(largest, std::fabs(double{x[j]}));
  }
  const float scale = got.Scale(row, g);
  if (!finite) {
    ASSERT_TRUE(std::isnan(scale)) << label;
    return;
  }
  const bool counts = largest >= 0x1p-100;
  ASSERT_TRUE(SameBits(scale, counts ? static_cast<float>(largest / 127) : 0.0f)) << label << scale;
  std::int64_t sum = 0;
  for (std::int64_t j = first; j < first + group; ++j) {
    const std::int64_t q = got.Integer(row, j);
    sum += q;
    const double ideal = j < end && counts ? x[j] * 127.0 / largest : 0.0;
    // Within the rounding of the quotient a tie may fall to either side.
    const double rest = std::fabs(ideal - std::floor(ideal) - 0.5);
    if (rest > 1e-4) {
      ASSERT_EQ(static_cast<double>(q), std::nearbyint(ideal)) << label << " k " << j;
    } else {
      ASSERT_NEAR(static_cast<double>(q), ideal, 0.5 + 1e-4) << label << " k " << j;
    }
    if (j < end && counts && std::fabs(double{x[j]}) == largest) {
      ASSERT_EQ(q, x[j] > 0 ? 127 : -127) << label;
    }
  }
  ASSERT_EQ(got.Sum(row, g), sum) << label;
}

void CheckInputs(const KernelTable& t, std::int64_t m, std::int64_t k, std::int64_t group) {
  const std::int64_t stride = k + 3;
  const std::string label = std::string(t.name) + " pack_x_int8 m=" + std::to_string(m) +
                            " k=" + std::to_string(k) + " group=" + std::to_string(group);
  Values x = RandomValues(Size(m * stride) + 1, 9);
  for (std::int64_t i = 0; i < m; ++i) {
    float* row = x.data() + 1 + i * stride;
    for (std::int64_t j = k; j < stride; ++j) row[j] = NAN;  // not of the row
    // Rows of every size, and in some a group of zeros, one too small, one with a number missing.
    for (std::int64_t j = 0; j < k; ++j)
      row[j] = std::ldexp(row[j], static_cast<int>(i % 9 * 20 - 80));
    const std::int64_t start = i * 5 % ((k + group - 1) / group) * group;
    const std::int64_t end = std::min(k, start + group);
    if (i % 6 == 1) std::fill(row + start, row + end, -0.0f);
    if (i % 6 == 2) std::fill(row + start, row + end, -0x1.fffffep-101f);
    if (i % 6 == 3) std::fill(row + start, row + end, 0x1p-100f);
    if (i % 6 == 4) row[end - 1] = i % 4 == 0 ? NAN : -kInfinity;
    if (i % 6 == 5) row[start] = std::numeric_limits<float>::max();
  }
  const PackedInput got(t, x, stride, m, k, group), want(Scalar(), x, stride, m, k, group);
  for (std::int64_t i = 0; i < m; ++i) {
    for (std::int64_t g = 0; g * group < k; ++g) {
      CheckInputGroup(got, x.data() + 1 + i * stride, i, g, group, k, label);
      ASSERT_TRUE(SameBits(want.Scale(i, g), got.Scale(i, g))) << label;
      if (std::isnan(want.Scale(i, g))) continue;
      ASSERT_EQ(want.Sum(i, g), got.Sum(i, g)) << label;
      for (std::int64_t j = g * group; j < (g + 1) * group; ++j) {
        ASSERT_EQ(want.Integer(i, j), got.Integer(i, j)) << label << " row " << i << " k " << j;
      }
    }
    if (::testing::Test::HasFatalFailure()) return;
  }
}

// Tokens of n values each, some of zeros, too small, or with a number that is none.
Values TokenRows(std::int64_t m, std::int64_t n, std::int64_t stride) {
  Values x = RandomValues(Size(m * stride), 11);
  for (std::int64_t i = 0; i < m; ++i) {
    float* row = x.data() + i * stride;
    for (std::int64_t j = n; j < stride; ++j) row[j] = NAN;  // not of the token
    if (i % 7 == 2) std::fill(row, row + n, -0x1.fffffep-101f);
    if (i % 7 == 3) row[n - 1] = NAN;
    if (i % 7 == 4) row[0] = kInfinity;
    if (i % 7 == 5) std::transform(row, row + n, row, [](float v) { return v * 0x1p90f; });
  }
  return x;
}

// Byte j of token i, as stored around 128, and its scale against x in double.
template <typename ByteAt>
void CheckTokens(const Values& x, std::int64_t m, std::int64_t n, std::int64_t stride,
                 const float* scales, const ByteAt& byte_at, const std::string& label) {
  for (std::int64_t i = 0; i < m; ++i) {
    const float* row = x.data() + i * stride;
    double largest = 0;
    bool finite = true;
    for (std::int64_t j = 0; j < n; ++j) {
      finite = finite && std::isfinite(row[j]);
      largest = std::max(largest, std::fabs(double{row[j]}));
    }
    const std::string token = label + " token " + std::to_string(i);
    if (!finite) {
      ASSERT_TRUE(std::isnan(scales[i])) << token;
      continue;
    }
    const bool counts = largest >= 0x1p-100;
    ASSERT_TRUE(SameBits(scales[i], counts ? static_cast<float>(largest / 127) : 0.0f)) << token;
    for (std::int64_t j = 0; j < n; ++j) {
      const double ideal = counts ? row[j] * 127.0 / largest : 0.0;
      ASSERT_NEAR(static_cast<double>(byte_at(i, j)) - 128, ideal, 0.5 + 1e-4) << token << " " << j;
    }
  }
}

struct Quantized {
  std::vector<std::uint8_t> q;
  std::uint16_t scale = 0xABCD, zero = 0xABCD;

  double Scale() const { return ReferenceF16ToF32(scale); }
  double Value(std::size_t i) const { return (double{1} * q[i] - zero) * Scale(); }
};

struct Choice {
  std::int64_t bits;
  bool zeros;
  std::int64_t steps;
};

Quantized Quantize(const KernelTable& t, const Values& w, const Choice& c) {
  Values moved(w.size() + 1);  // off every boundary of a register
  std::copy(w.begin(), w.end(), moved.begin() + 1);
  Quantized result;
  result.q.assign(w.size() + 1, 0xCD);
  t.quantize_group(moved.data() + 1, static_cast<std::int64_t>(w.size()), c.bits, c.zeros, c.steps,
                   result.q.data(), &result.scale, &result.zero);
  EXPECT_EQ(result.q.back(), 0xCD);
  result.q.pop_back();
  return result;
}

double SquaredError(const Quantized& got, const Values& w) {
  double error = 0;
  for (std::size_t i = 0; i < w.size(); ++i) {
    error += (w[i] - got.Value(i)) * (w[i] - got.Value(i));
  }
  return error;
}

// Every integer is the nearest within its range; without steps nothing is further outside the range
// than the format must leave it.
void CheckWeights(const KernelTable& t, const Values& w, const Choice& c, const char* kind) {
  const std::string label = std::string(t.name) + " quantize_group " + kind +
                            " n=" + std::to_string(w.size()) + " bits=" + std::to_string(c.bits) +
                            (c.zeros ? " zeros" : "") + " steps=" + std::to_string(c.steps);
  const Quantized got = Quantize(t, w, c), want = Quantize(Scalar(), w, c);
  ASSERT_EQ(want.q, got.q) << label;
  ASSERT_EQ(want.scale, got.scale) << label;
  ASSERT_EQ(want.zero, got.zero) << label;
  const double high = c.bits == 8 ? 255 : 15, low = c.bits == 8 && !c.zeros ? 1 : 0;
  const double scale = got.Scale();
  ASSERT_LE(got.zero, high) << label;
  if (!c.zeros) {
    ASSERT_EQ(got.zero, c.bits == 8 ? 128 : 8) << label;
  }
  if (c.zeros || c.bits == 8) {
    ASSERT_GE(scale, 0) << label;
  }
  // Rounding of the scale and of the zero point, and of 4 bits +8 that becomes 7.
  const double outside = c.zeros ? 1.0 : c.bits == 8 ? 0.5 : 1.0 + 8 * 0x1p-9;
  double largest = 0;
  for (const float v : w) largest = std::max(largest, std::fabs(double{v}));
  for (std::size_t i = 0; i < w.size(); ++i) {
    if (w[i] == 0) {
      ASSERT_EQ(got.q[i], got.zero) << label;
    }
    if (scale == 0) {
      ASSERT_LT(largest, 0x1p-140) << label;
      continue;
    }
    const double ideal = w[i] / scale + got.zero;
    ASSERT_NEAR(got.q[i], std::clamp(ideal, low, high), 0.5 + 1e-4) << label << " " << i;
    if (c.steps == 0) {
      ASSERT_GE(ideal, low - outside) << label;
      ASSERT_LE(ideal, high + outside) << label;
      if (!c.zeros && c.bits == 8) {
        ASSERT_NEAR(got.Value(i), w[i], scale * (0.5 + 1e-4)) << label;
      }
    }
  }
  if (!c.zeros && c.bits == 4 && c.steps == 0 && largest >= 0x1p-11) {  // a scale of all its digits
    ASSERT_EQ(*std::min_element(got.q.begin(), got.q.end()), 0) << label << ": nothing is -8";
  }
  if (c.steps > 0) {
    const double without = SquaredError(Quantize(t, w, {c.bits, c.zeros, 0}), w);
    ASSERT_LE(SquaredError(got, w), without * (1 + 1e-5)) << label;
  }
}

void CheckKinds(const KernelTable& t, std::int64_t n, const Choice& c) {
  const Values random = RandomValues(Size(n), 13, 0.05f);
  const auto check = [&](const char* kind, auto function) {
    Values w = random;
    for (std::size_t i = 0; i < w.size(); ++i) w[i] = function(w[i], i);
    CheckWeights(t, w, c, kind);
  };
  check("random", [](float v, std::size_t) { return v; });
  check("large", [](float v, std::size_t) { return v * 1e6f; });
  check("positive", [](float v, std::size_t) { return std::fabs(v) + 0.01f; });
  check("negative", [](float v, std::size_t) { return -std::fabs(v) - 0.01f; });
  check("equal", [](float, std::size_t) { return 0.3f; });
  check("equal and opposite", [](float, std::size_t i) { return i % 2 == 0 ? 0.3f : -0.3f; });
  check("some zeros", [](float v, std::size_t i) { return i % 3 == 0 ? 0.0f : v; });
  check("only zeros", [](float, std::size_t i) { return i % 2 == 0 ? 0.0f : -0.0f; });
  check("an outlier", [](float v, std::size_t i) { return i == 3 ? 1.0f : v * 0.5f; });
  check("a negative outlier", [](float v, std::size_t i) { return i == 3 ? -1.0f : v * 0.5f; });
  // Scales among the halves' subnormals, and below them.
  for (const float factor : {1e-2f, 1e-3f, 1e-4f, 1e-5f, 1e-6f, 1e-9f, 1e-36f, 1e-42f}) {
    check("small", [=](float v, std::size_t) { return v * factor; });
  }
}

void CheckSpecialWeights(const KernelTable& t, const Choice& c) {
  const double high = c.bits == 8 ? 255 : 15;
  Values w = RandomValues(70, 3);
  w[40] = 3e38f;
  const Quantized huge = Quantize(t, w, c);
  EXPECT_TRUE(std::isinf(huge.Scale())) << t.name;
  w[41] = -3e38f;
  EXPECT_TRUE(std::isinf(Quantize(t, w, c).Scale())) << t.name;
  w[41] = -1.2e7f, w[40] = 1.2e7f;  // a little beyond 65504 * 127
  EXPECT_TRUE(std::isinf(Quantize(t, w, c).Scale())) << t.name << c.bits << c.zeros << c.steps;
  for (const float bad : {kInfinity, -kInfinity, static_cast<float>(NAN)}) {
    for (const std::size_t at : std::initializer_list<std::size_t>{0, 15, 16, 69}) {
      w = RandomValues(70, 3);
      w[at] = bad;
      const Quantized got = Quantize(t, w, c), want = Quantize(Scalar(), w, c);
      EXPECT_TRUE(std::isnan(got.Scale())) << t.name << " " << bad;
      EXPECT_LE(got.zero, high) << t.name;
      EXPECT_LE(*std::max_element(got.q.begin(), got.q.end()), high) << t.name;
      EXPECT_EQ(want.q, got.q) << t.name;
      EXPECT_EQ(want.zero, got.zero) << t.name;
    }
  }
}

}  // namespace

void CheckPackInt8(const KernelTable& table) {
  for (const std::int64_t group : {32, 64, 128, 256}) {
    for (const std::int64_t m : {1, 2, 11, 12, 13, 25}) {
      for (const std::int64_t k : {1, 15, 16, 31, 32, 33, 70, 256, 300, 515}) {
        CheckInputs(table, m, k, group);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
  // Steps that are whole powers of two, so that every tie is one: to the even neighbour.
  Values x = {0.0f, 127.0f};
  for (int i = 0; i < 127; ++i)
    x.push_back((static_cast<float>(i) + 0.5f) * (i % 3 == 0 ? -1.0f : 1.0f));
  const auto k = static_cast<std::int64_t>(x.size()) - 1;
  for (const float unit : {1.0f, 0x1p-90f, 0x1p100f}) {
    Values scaled = x;
    for (float& v : scaled) v *= unit;
    const PackedInput got(table, scaled, k, 1, k, 128);
    for (std::int64_t j = 0; j < k; ++j) {
      EXPECT_EQ(static_cast<double>(got.Integer(0, j)), std::nearbyint(x[Size(j) + 1]))
          << table.name << j;
    }
    EXPECT_EQ(got.Scale(0, 0), unit);
  }
}

void CheckKeysToBytes(const KernelTable& t) {
  for (const std::int64_t n : {16, 24, 64, 80}) {
    const std::int64_t stride = n + 3, dwords = (n + 15) / 16 * 4;
    for (std::int64_t m = 1; m <= 16; ++m) {
      for (const std::int64_t lane : {std::int64_t{0}, (16 - m) / 2, 16 - m}) {
        const std::string label = std::string(t.name) + " keys_to_bytes n=" + std::to_string(n) +
                                  " m=" + std::to_string(m) + " lane=" + std::to_string(lane);
        const Values x = TokenRows(m, n, stride);
        const auto run = [&](const KernelTable& level) {
          std::vector<std::uint32_t> panel(Size(dwords * 16), 0x5A5A5A5A);
          Values scales(18, -1.0f);
          level.keys_to_bytes(x.data(), stride, m, n, panel.data() + lane, scales.data() + 1);
          EXPECT_EQ(scales.front(), -1.0f);
          EXPECT_EQ(scales[Size(m + 1)], -1.0f);
          scales.erase(scales.begin());
          for (std::int64_t d = 0; d < dwords * 16; ++d) {
            const bool own = d % 16 >= lane && d % 16 < lane + m;
            EXPECT_TRUE(own || panel[Size(d)] == 0x5A5A5A5A) << label;
          }
          return std::pair(panel, scales);
        };
        const auto [panel, scales] = run(t);
        CheckTokens(
            x, m, n, stride, scales.data(),
            [&, &p = panel](std::int64_t i, std::int64_t j) {
              return p[Size(j / 4 * 16 + lane + i)] >> 8 * (j % 4) & 0xFF;
            },
            label);
        const auto want = run(Scalar()).first;
        for (std::int64_t i = 0; i < m; ++i) {
          if (std::isnan(scales[Size(i)])) continue;
          for (std::int64_t d = 0; d < dwords; ++d) {
            ASSERT_EQ(panel[Size(d * 16 + lane + i)], want[Size(d * 16 + lane + i)]) << label;
          }
        }
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

void CheckValuesToBytes(const KernelTable& t) {
  constexpr std::int64_t kSlots = 32, kPanelBytes = kSlots * 16;
  for (const std::int64_t n : {16, 24, 64, 80}) {
    const std::int64_t stride = n + 3, panels = (n + 15) / 16;
    for (const std::int64_t m : {1, 2, 4, 5, 7, 8, 11, 16}) {
      for (const std::int64_t slot : {0, 1, 3, 4, 6}) {
        const std::string label = std::string(t.name) + " values_to_bytes n=" + std::to_string(n) +
                                  " m=" + std::to_string(m) + " slot=" + std::to_string(slot);
        const Values x = TokenRows(m, n, stride);
        const auto run = [&](const KernelTable& level) {
          // Lines are written as vectors: 64-byte aligned, as a cache is.
          std::vector<std::uint8_t> memory(Size(panels * kPanelBytes) + 64, 0x5A);
          auto* base = memory.data() + (64 - reinterpret_cast<std::uintptr_t>(memory.data()) % 64);
          Values scales(Size(m) + 2, -1.0f);
          level.values_to_bytes(x.data(), stride, m, n, slot, base, kPanelBytes, scales.data() + 1);
          EXPECT_EQ(scales.front(), -1.0f);
          EXPECT_EQ(scales.back(), -1.0f);
          scales.erase(scales.begin());
          std::vector<std::uint8_t> bytes(base, base + panels * kPanelBytes);
          for (std::int64_t b = 0; b < panels * kPanelBytes; ++b) {
            const std::int64_t position = b % kPanelBytes / 64 * 4 + b % 4;
            const bool own = position >= slot && position < slot + m;
            EXPECT_TRUE(own || bytes[Size(b)] == 0x5A) << label;
          }
          return std::pair(bytes, scales);
        };
        const auto [bytes, scales] = run(t);
        const auto index = [&](std::int64_t i, std::int64_t j) {
          const std::int64_t at = slot + i;
          return Size(j / 16 * kPanelBytes + (at / 4 * 16 + j % 16) * 4 + at % 4);
        };
        CheckTokens(
            x, m, n, stride, scales.data(),
            [&, &b = bytes](std::int64_t i, std::int64_t j) { return b[index(i, j)]; }, label);
        const auto want = run(Scalar()).first;
        for (std::int64_t i = 0; i < m; ++i) {
          if (std::isnan(scales[Size(i)])) continue;
          for (std::int64_t j = 0; j < panels * 16; ++j)
            ASSERT_EQ(bytes[index(i, j)], want[index(i, j)]) << label;
        }
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

void CheckQuantizeGroup(const KernelTable& table) {
  for (const std::int64_t bits : {4, 8}) {
    for (const bool zeros : {false, true}) {
      double plain = 0, searched = 0;
      for (const std::int64_t steps : {0, 1, 7, 20}) {
        const Choice c{bits, zeros, steps};
        for (const std::int64_t n : {4, 5, 16, 31, 32, 64, 100, 128, 256}) {
          CheckKinds(table, n, c);
          if (::testing::Test::HasFatalFailure()) return;
        }
        CheckSpecialWeights(table, c);
      }
      if (bits == 8) continue;  // 255 levels lose more by clipping than by rounding
      for (std::uint32_t seed = 0; seed < 20; ++seed) {
        const Values w = RandomValues(64, seed);
        plain += SquaredError(Quantize(table, w, {bits, zeros, 0}), w);
        searched += SquaredError(Quantize(table, w, {bits, zeros, 20}), w);
      }
      EXPECT_LT(searched, plain * 0.95) << table.name << zeros;
    }
  }
}

}  // namespace mossrt::cpu
