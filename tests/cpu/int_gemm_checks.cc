#include "int_gemm_checks.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "levels.h"
#include "reference.h"

namespace mossrt::cpu {
namespace {

enum class Fill { kRandom, kAllLargest, kAllSmallest, kAlternating };

constexpr std::int64_t Bits(Integers integers) { return integers == Integers::kInt4 ? 4 : 8; }

struct Shape {
  Integers integers;
  std::int64_t m, k, group, panels;
  bool zeros, accumulate;
  Fill fill = Fill::kRandom;
};

std::size_t Size(std::int64_t n) { return static_cast<std::size_t>(n); }

std::string Label(const KernelTable& table, const Shape& s) {
  return std::string(table.name) + (s.integers == Integers::kCached ? " kv" : " int") +
         std::to_string(Bits(s.integers)) + " m=" + std::to_string(s.m) +
         " k=" + std::to_string(s.k) + " group=" + std::to_string(s.group) +
         " panels=" + std::to_string(s.panels) + (s.zeros ? " zeros" : "") +
         (s.accumulate ? " accumulate" : "") + " fill " + std::to_string(static_cast<int>(s.fill));
}

// Tile remainders by every group, odd and even numbers of groups with a rest of k; then row blocks
// of 120 and blocks of 2048 values of k, and every remainder of a tile there, where weights may be
// held in another order and the rest of k is all that is read of a last group; then what 16 bits
// cannot hold, also for an odd row of a tile.
std::vector<Shape> Shapes(Integers integers) {
  const bool cached = integers == Integers::kCached;
  std::vector<Shape> shapes;
  std::int64_t turn = 0;
  const auto add = [&](std::int64_t m, std::int64_t group, std::int64_t k) {
    ++turn;
    shapes.push_back({.integers = integers,
                      .m = m,
                      .k = k,
                      .group = group,
                      .panels = 1 + turn % 5,
                      .zeros = !cached && turn % 2 == 0,
                      .accumulate = turn / 2 % 2 == 0});
  };
  std::vector<std::int64_t> groups = {32, 64, 128};
  if (integers == Integers::kInt8) groups.push_back(256);
  if (cached) {
    groups = {16, 48, 256};
    for (const std::int64_t m : {1, 3, 13, 26}) add(m, 1024, 2 * 1024 - m);
    shapes.back().fill = Fill::kAllLargest;
  }
  for (const std::int64_t group : groups) {
    for (std::int64_t m = 1; m <= 26; ++m) {
      add(m, group, (1 + m % 4) * group);
      add(m, group, (m + 1) % 3 * group + 1 + m * 7 % group);
    }
    for (const std::int64_t m : {1, 2, 12, 13, 25, 26}) {
      add(m, group, 2048 + group + 5);
      add(m, group, 4096 + 3 * group);
    }
    for (const std::int64_t m : {1, 3, 13, 26}) {
      add(m, group, 0);
      add(m, group, 0);
    }
    for (const std::int64_t m : {27, 28, 29, 31, 35, 120, 121, 250}) {
      add(m, group, 3 * group - 1);
      add(m, group, 2 * group);
      add(m, group, 2 * group + group / 2 - 5);
    }
    for (const Fill fill : {Fill::kAllLargest, Fill::kAllSmallest, Fill::kAlternating}) {
      for (const std::int64_t m : {1, 3, 12, 26, 29}) {
        for (const bool zeros : {false, true}) {
          add(m, group, 3 * group);
          shapes.back().zeros = zeros && !cached;
          shapes.back().fill = fill;
        }
      }
    }
  }
  return shapes;
}

// One product in integers and scales, from which the inputs of the kernel are written by the words
// of kernel_list.inc and kernel_table.h. What lies beyond k is 0 in x and anything in the weights.
class Case {
 public:
  Case(const Shape& shape, std::uint32_t seed)
      : s_(shape),
        groups_((shape.k + shape.group - 1) / shape.group),
        depth_(groups_ * shape.group),
        columns_(shape.panels * 16),
        y_stride_(columns_ + 3),
        x_(Size(shape.m * depth_)),
        x_scale_(RandomValues(Size(shape.m * groups_), seed, 0.1f)),
        q_(Size(columns_ * depth_)),
        zero_(Size(columns_ * groups_)),
        w_scale_(Size(columns_ * groups_)),
        y_(RandomValues(Size(shape.m * y_stride_) + 2, seed + 1)) {
    std::mt19937 random(seed + 2);
    const auto below = [&](std::uint32_t n) { return static_cast<std::int64_t>(random() % n); };
    const std::int64_t largest = (std::int64_t{1} << Bits(s_.integers)) - 1;
    for (std::int64_t i = 0; i < s_.m; ++i) {
      for (std::int64_t k = 0; k < s_.k; ++k) {
        x_[Size(i * depth_ + k)] = s_.fill == Fill::kRandom        ? below(255) - 127
                                   : s_.fill == Fill::kAllSmallest ? -127
                                   : s_.fill == Fill::kAllLargest  ? 127
                                   : (k + i) % 2 == 0              ? 127
                                                                   : -127;
      }
    }
    for (std::int64_t& q : q_) {
      q = s_.fill == Fill::kRandom        ? below(static_cast<std::uint32_t>(largest + 1))
          : s_.fill == Fill::kAlternating ? below(2) * largest
                                          : largest;
    }
    // Halves by their bits: the exponents of 2^-12 to 2^-3, both signs.
    for (std::uint16_t& half : w_scale_) {
      half = static_cast<std::uint16_t>((3 + below(10)) << 10 | below(1024) | below(2) << 15);
    }
    for (std::int64_t& zero : zero_) {
      const std::int64_t turn = below(4);
      zero = !s_.zeros   ? (largest + 1) / 2
             : turn == 0 ? 0
             : turn == 1 ? largest + 1
                         : below(static_cast<std::uint32_t>(largest + 2));
    }
  }

  const Shape& shape() const { return s_; }
  std::int64_t columns() const { return columns_; }
  std::int64_t y_stride() const { return y_stride_; }
  void SetInputScale(std::int64_t row, std::int64_t group, float scale) {
    x_scale_[Size(row * groups_ + group)] = scale;
  }

  // y as it must be, with what lies around the rows.
  std::vector<float> Model() const {
    std::vector<float> y = y_;
    for (std::int64_t i = 0; i < s_.m; ++i) {
      for (std::int64_t j = 0; j < columns_; ++j) {
        float& chain = y[Size(1 + i * y_stride_ + j)];
        if (!s_.accumulate) chain = 0.0f;
        for (std::int64_t g = 0; g < groups_; ++g) {
          const std::int64_t zero = zero_[Size(j * groups_ + g)];
          std::int64_t sum = 0;
          for (std::int64_t k = g * s_.group; k < (g + 1) * s_.group; ++k) {
            sum += (q_[Size(j * depth_ + k)] - zero) * x_[Size(i * depth_ + k)];
          }
          const float w_scale = s_.integers == Integers::kCached
                                    ? 1.0f
                                    : ReferenceF16ToF32(w_scale_[Size(j * groups_ + g)]);
          const float scale = w_scale * x_scale_[Size(i * groups_ + g)];
          chain = std::fmaf(static_cast<float>(sum), scale, chain);
        }
      }
    }
    return y;
  }

  std::vector<float> Run(const KernelTable& t) const {
    std::vector<std::uint32_t> x;
    for (std::int64_t first = 0; first < s_.m; first += 12) {
      PackTile(first, std::min<std::int64_t>(12, s_.m - first), &x);
    }
    return Multiply(t, s_.m, x, y_);
  }

  // The product of one row by itself.
  std::vector<float> RunAlone(const KernelTable& t, std::int64_t row) const {
    std::vector<std::uint32_t> x;
    PackTile(row, 1, &x);
    const auto first = y_.begin() + row * y_stride_;
    return Multiply(t, 1, x, std::vector<float>(first, first + columns_ + 2));
  }

  // The product of inputs [m][k] that the kernels round.
  std::vector<float> RunOn(const KernelTable& t, const std::vector<float>& x) const {
    std::vector<std::uint32_t> packed(Size(s_.m * IntegerInputDwords(s_.k, s_.group)));
    t.pack_x_int8(x.data(), s_.k, s_.m, s_.k, s_.group, packed.data());
    return Multiply(t, s_.m, packed, y_);
  }

  // What the integers of output j mean for input k.
  double Weight(std::int64_t j, std::int64_t k) const {
    const std::size_t group = Size(j * groups_ + k / s_.group);
    return static_cast<double>(q_[Size(j * depth_ + k)] - zero_[group]) *
           double{ReferenceF16ToF32(w_scale_[group])};
  }

 private:
  void PackTile(std::int64_t first, std::int64_t rows, std::vector<std::uint32_t>* out) const {
    for (std::int64_t g = 0; g < groups_; ++g) {
      for (std::int64_t k = g * s_.group; k < (g + 1) * s_.group; k += 4) {
        for (std::int64_t i = first; i < first + rows; ++i) {
          std::uint32_t dword = 0;
          for (std::int64_t b = 0; b < 4; ++b) {
            const auto byte = static_cast<std::uint8_t>(x_[Size(i * depth_ + k + b)]);
            dword |= std::uint32_t{byte} << 8 * b;
          }
          out->push_back(dword);
        }
      }
      for (std::int64_t i = first; i < first + rows; ++i) {
        out->push_back(std::bit_cast<std::uint32_t>(x_scale_[Size(i * groups_ + g)]));
      }
      for (std::int64_t i = first; i < first + rows; ++i) {
        std::int64_t sum = 0;
        for (std::int64_t k = 0; k < s_.group; ++k) sum += x_[Size(i * depth_ + g * s_.group + k)];
        out->push_back(static_cast<std::uint32_t>(sum));
      }
    }
  }

  void AppendScales(std::int64_t panel, std::int64_t g, std::vector<std::uint8_t>* out) const {
    for (std::int64_t j = panel * 16; j < panel * 16 + 16; ++j) {
      const unsigned half = g < groups_ ? w_scale_[Size(j * groups_ + g)] : 0xFFFFu;  // NaN
      out->push_back(static_cast<std::uint8_t>(half & 0xFF));
      out->push_back(static_cast<std::uint8_t>(half >> 8));
    }
  }

  std::vector<std::uint8_t> Panel(std::int64_t panel) const {
    std::vector<std::uint8_t> out;
    for (std::int64_t g = 0; g < groups_; ++g) {
      if (s_.zeros) {
        AppendScales(panel, g, &out);
        for (std::int64_t j = panel * 16; j < panel * 16 + 16; ++j) {
          out.push_back(static_cast<std::uint8_t>(zero_[Size(j * groups_ + g)] & 0xFF));
          out.push_back(static_cast<std::uint8_t>(zero_[Size(j * groups_ + g)] >> 8));
        }
      } else if (g % 2 == 0 && s_.integers != Integers::kCached) {
        AppendScales(panel, g, &out);
        AppendScales(panel, g + 1, &out);
      }
      const std::int64_t line_k = 32 / Bits(s_.integers);
      for (std::int64_t k = g * s_.group; k < (g + 1) * s_.group; k += line_k) {
        for (std::int64_t j = panel * 16; j < panel * 16 + 16; ++j) {
          const std::int64_t* q = &q_[Size(j * depth_ + k)];
          for (std::int64_t b = 0; b < 4; ++b) {
            out.push_back(static_cast<std::uint8_t>(line_k == 4 ? q[b] : q[b] | q[b + 4] << 4));
          }
        }
      }
    }
    return out;
  }

  std::vector<float> Multiply(const KernelTable& t, std::int64_t m,
                              const std::vector<std::uint32_t>& x, std::vector<float> y) const {
    const bool cached = s_.integers == Integers::kCached;
    const IntegerPanel format{Bits(s_.integers), s_.group, s_.zeros};
    const std::size_t bytes = cached ? Size(depth_ * 16) : format.Bytes(groups_);
    const std::size_t panel_bytes = bytes + 64;
    AlignedBytes panels(panel_bytes * Size(s_.panels)), scratch(kGemmScratchBytes + 64);
    std::memset(panels.bytes(), 0xFF, panel_bytes * Size(s_.panels));
    std::memset(scratch.bytes(), 0xFF, kGemmScratchBytes + 64);
    for (std::int64_t p = 0; p < s_.panels; ++p) {
      const std::vector<std::uint8_t> panel = Panel(p);
      EXPECT_EQ(panel.size(), bytes);
      std::copy_n(reinterpret_cast<const std::byte*>(panel.data()), panel.size(),
                  panels.bytes() + Size(p) * panel_bytes);
    }
    EXPECT_EQ(static_cast<std::int64_t>(x.size()), m * IntegerInputDwords(s_.k, s_.group));
    std::vector<std::uint32_t> moved(x.size() + 1);  // off every boundary of a register
    std::copy(x.begin(), x.end(), moved.begin() + 1);
    const GemmArgs args = {.w = panels.bytes(),
                           .w_panel_bytes = panel_bytes,
                           .x = moved.data() + 1,
                           .x_k = s_.k,
                           .y = y.data() + 1,
                           .y_stride = y_stride_,
                           .m = m,
                           .k = s_.k,
                           .panels = s_.panels,
                           .accumulate = s_.accumulate,
                           .scratch = scratch.bytes(),
                           .group = s_.group,
                           .zeros = s_.zeros};
    (cached ? t.gemm_kv8 : s_.integers == Integers::kInt8 ? t.gemm_int8 : t.gemm_int4)(&args);
    for (std::size_t i = 0; i < 64; ++i) {
      EXPECT_EQ(scratch.bytes()[kGemmScratchBytes + i], std::byte{0xFF}) << "beyond the scratch";
    }
    return y;
  }

  Shape s_;
  std::int64_t groups_, depth_, columns_, y_stride_;
  std::vector<std::int64_t> x_;  // [m][depth]
  std::vector<float> x_scale_;   // [m][groups]
  std::vector<std::int64_t> q_;  // [column][depth]
  std::vector<std::int64_t> zero_;
  std::vector<std::uint16_t> w_scale_;  // [column][groups]
  std::vector<float> y_;
};

// The model says what a row alone gives; here the kernel itself says the same of rows in a batch.
void CheckRowsAlone(const KernelTable& table, Integers integers) {
  for (const std::int64_t m : {2, 5, 12, 23, 26, 133}) {
    for (const bool zeros : {false, integers != Integers::kCached}) {
      const Case c({.integers = integers,
                    .m = m,
                    .k = 2048 + 300,
                    .group = 64,
                    .panels = 3,
                    .zeros = zeros,
                    .accumulate = true},
                   static_cast<std::uint32_t>(m));
      const std::vector<float> all = c.Run(table);
      for (std::int64_t i = 0; i < m; ++i) {
        const std::vector<float> alone = c.RunAlone(table, i);
        const auto row = all.begin() + 1 + i * c.y_stride();
        ExpectSameBits(std::vector<float>(row, row + 48),
                       std::span<const float>(alone).subspan(1, 48),
                       Label(table, c.shape()) + " row " + std::to_string(i));
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

// A scale that is no number makes its row of outputs no numbers, and no other.
void CheckNan(const KernelTable& table, Integers integers) {
  for (const std::int64_t m : {1, 5, 12, 26}) {
    Case c({.integers = integers,
            .m = m,
            .k = 160,
            .group = 32,
            .panels = 3,
            .zeros = integers != Integers::kCached && m % 2 == 0,
            .accumulate = false},
           77);
    const std::vector<float> before = c.Run(table);
    const std::int64_t bad = m / 2;
    c.SetInputScale(bad, 3, NAN);
    const std::vector<float> after = c.Run(table);
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < 48; ++j) {
        const std::size_t at = Size(1 + i * c.y_stride() + j);
        if (i == bad) {
          EXPECT_TRUE(std::isnan(after[at])) << Label(table, c.shape());
        } else {
          EXPECT_TRUE(SameBits(before[at], after[at])) << Label(table, c.shape());
        }
      }
    }
  }
}

// Inputs in rows of three kinds: drawn ones; such that every rounding, of nearly half a step, pulls
// output i % columns of row i the same way; and such that every rounding would if it went toward
// zero.
std::vector<float> InputsAgainst(const Case& c) {
  const Shape& s = c.shape();
  std::vector<float> x = RandomValues(Size(s.m * s.k), 21, 3.0f);
  std::mt19937 random(22);
  for (std::int64_t i = 0; i < s.m; ++i) {
    if ((i + s.m) % 3 == 0) continue;
    const double beyond = (i + s.m) % 3 == 1 ? 0.499 : 0.75;
    double step = 0;
    for (std::int64_t k = 0; k < s.k; ++k) {
      const bool first = k % s.group == 0;
      if (first) step = std::ldexp(1.0 + static_cast<double>(random() % 997) / 997, -6);
      const double steps = first ? 127.0 : static_cast<double>(random() % 126) + beyond;
      const double sign = c.Weight(i % c.columns(), k) < 0 ? -1 : 1;
      x[Size(i * s.k + k)] = static_cast<float>(sign * steps * step);
    }
  }
  return x;
}

// From floats to floats: pack_x_int8 and the product against a product in double of the inputs as
// they were and the weights that the integers mean. The bound is that of docs/numerics.md; 2^-14 of
// a step is what rounding s and x / s in float32 may add.
void CheckAgainstDouble(const KernelTable& table, const Shape& shape, std::uint32_t seed) {
  const Case c(shape, seed);
  const std::vector<float> x = InputsAgainst(c);
  const std::vector<float> y = c.RunOn(table, x);
  const std::int64_t groups = (shape.k + shape.group - 1) / shape.group;
  for (std::int64_t i = 0; i < shape.m; ++i) {
    std::vector<double> s;
    for (std::int64_t k = 0; k < shape.k; ++k) {
      if (k % shape.group == 0) s.push_back(0);
      s.back() = std::max(s.back(), std::fabs(double{x[Size(i * shape.k + k)]}) / 127);
    }
    for (std::int64_t j = 0; j < c.columns(); ++j) {
      double want = 0, steps = 0, magnitude = 0;
      for (std::int64_t k = 0; k < shape.k; ++k) {
        const double w = c.Weight(j, k), product = w * double{x[Size(i * shape.k + k)]};
        want += product;
        magnitude += std::fabs(product);
        steps += std::fabs(w) * s[Size(k / shape.group)];
      }
      const double bound =
          steps * (0.5 + 0x1p-14) + magnitude * 0x1p-23 * static_cast<double>(groups + 1);
      const double found = double{y[Size(1 + i * c.y_stride() + j)]};
      ASSERT_NEAR(found, want, bound) << Label(table, shape) << " row " << i << " output " << j;
      ASSERT_LT(bound, 0.1 * magnitude);  // it says something
      if ((i + shape.m) % 3 == 1 && j == i % c.columns()) {
        ASSERT_GT(std::fabs(found - want), 0.85 * bound) << Label(table, shape);  // and no less
      }
    }
  }
}

void CheckAgainstDouble(const KernelTable& table, Integers integers) {
  std::uint32_t seed = 90;
  for (const std::int64_t group : {32, 64, 128, 256}) {
    if (integers == Integers::kInt4 && group == 256) continue;
    for (const bool zeros : {false, true}) {
      for (const std::int64_t m : {1, 7, 27}) {
        CheckAgainstDouble(table,
                           {.integers = integers,
                            .m = m,
                            .k = 5 * group - 7,
                            .group = group,
                            .panels = 3,
                            .zeros = zeros,
                            .accumulate = false},
                           seed += 3);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
}

}  // namespace

void CheckIntegerGemm(const KernelTable& table, Integers integers) {
  std::uint32_t seed = 4000;
  for (const Shape& shape : Shapes(integers)) {
    const Case c(shape, seed += 3);
    const std::vector<float> want = &table == &Scalar() ? c.Model() : c.Run(Scalar());
    ExpectSameBits(want, c.Run(table), Label(table, shape));
    if (::testing::Test::HasFailure()) return;
  }
  CheckRowsAlone(table, integers);
  CheckNan(table, integers);
  if (integers != Integers::kCached) CheckAgainstDouble(table, integers);
  const Case empty({.integers = integers,
                    .m = 0,
                    .k = 64,
                    .group = 32,
                    .panels = 1,
                    .zeros = false,
                    .accumulate = false},
                   4);
  EXPECT_EQ(empty.Run(table), empty.Model());
}

}  // namespace mossrt::cpu
