#include "gemm_checks.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>

#include "levels.h"

namespace mossrt::cpu {
namespace {

struct Shape {
  std::int64_t m, k, panels;
  std::int64_t spare;  // depth of x and of the panels beyond k, filled with NaN
  bool accumulate;
};

// Tile remainders by all small k, then blocks of K (512 and 1024) and of rows (120).
std::vector<Shape> Shapes() {
  std::vector<Shape> shapes;
  std::uint32_t turn = 0;
  const auto add = [&](std::int64_t m, std::int64_t k) {
    ++turn;
    shapes.push_back({.m = m,
                      .k = k,
                      .panels = 1 + turn % 5,
                      .spare = turn % 3 == 0 ? 0 : turn % 7,
                      .accumulate = turn % 2 == 0});
  };
  for (std::int64_t m = 1; m <= 25; ++m) {
    for (const std::int64_t k : {0, 1, 2, 3, 16, 17, 31, 70}) add(m, k);
  }
  for (const std::int64_t m : {1, 2, 7, 12, 13, 25}) {
    for (std::int64_t k = 1; k <= 70; k += 3) add(m, k);
  }
  for (const std::int64_t m : {1, 5, 12, 13, 24, 25, 36, 100}) {
    for (const std::int64_t k : {128, 511, 512, 513, 1000, 1027}) add(m, k);
  }
  for (const std::int64_t m : {1, 3, 15}) add(m, 2049);
  for (const std::int64_t m : {121, 133, 250}) add(m, 67);
  return shapes;
}

std::int64_t At(std::int64_t row, std::int64_t column, std::int64_t stride) {
  return row * stride + column;
}

// One product with everything that belongs to it. Every array is one value off its natural boundary
// except weights, and the values that a kernel must not use are NaN.
class Case {
 public:
  Case(const Shape& shape, std::uint32_t seed)
      : shape_(shape),
        depth_(shape.k + shape.spare),
        y_stride_(shape.panels * 16 + 3),
        x_(RandomValues(Size(shape.m * depth_), seed)),
        w_(RandomValues(Size(shape.panels * 16 * depth_), seed + 1)),
        y_(RandomValues(Size(shape.m * y_stride_) + 1, seed + 2)) {
    for (std::int64_t i = 0; i < shape.m; ++i) {
      for (std::int64_t k = shape.k; k < depth_; ++k) x_[Size(At(i, k, depth_))] = NAN;
    }
    for (std::int64_t i = 0; i < shape.panels * 16; ++i) {
      for (std::int64_t k = shape.k; k < depth_; ++k) w_[Size(At(i, k, depth_))] = NAN;
    }
  }

  const Shape& shape() const { return shape_; }
  float x(std::int64_t row, std::int64_t k) const { return x_[Size(At(row, k, depth_))]; }
  float y(std::int64_t row, std::int64_t column) const {
    return y_[Size(At(row, column, y_stride_)) + 1];
  }
  float w(std::int64_t column, std::int64_t k) const { return w_[Size(At(column, k, depth_))]; }

  // Values of y after the product, with all that lies between the rows.
  std::vector<float> Run(const KernelTable& t, WeightFormat format) const {
    std::vector<float> packed(x_.size() + 17);
    t.pack_x_f32(x_.data(), depth_, shape_.m, depth_, packed.data() + 1);
    if (format == WeightFormat::kF32) {
      AlignedBytes panels(Size(shape_.panels * depth_) * 64);
      for (std::int64_t p = 0; p < shape_.panels; ++p) {
        std::vector<const float*> rows;
        for (std::int64_t i = 0; i < 16; ++i) rows.push_back(w_.data() + (p * 16 + i) * depth_);
        if (depth_ > 0) t.pack_w_f32(rows.data(), 16, depth_, panels.floats() + p * depth_ * 16);
      }
      return Multiply(t.gemm_f32, panels.bytes(), Size(depth_) * 64, packed.data() + 1);
    }
    const bool pairs = format == WeightFormat::kBf16;
    const std::size_t panel_bytes = PackHalves(t, pairs);
    return Multiply(pairs ? t.gemm_bf16 : t.gemm_f16, halves_->bytes(), panel_bytes,
                    packed.data() + 1);
  }

  std::vector<float> RunPairs(const KernelTable& t) const {
    std::vector<std::uint32_t> packed(Size(shape_.m * ((depth_ + 1) / 2)) + 1);
    t.pack_x_bf16_pairs(x_.data(), depth_, shape_.m, depth_, packed.data() + 1);
    const std::size_t panel_bytes = PackHalves(t, true);
    return Multiply(t.gemm_bf16_pairs, halves_->bytes(), panel_bytes, packed.data() + 1);
  }

 private:
  static std::size_t Size(std::int64_t n) { return static_cast<std::size_t>(n); }

  std::size_t PackHalves(const KernelTable& t, bool bf16) const {
    std::vector<std::uint16_t> narrow(w_.size() + 1);
    const auto n = static_cast<std::int64_t>(w_.size());
    if (bf16) {
      t.f32_to_bf16(w_.data(), n, narrow.data());
    } else {
      t.f32_to_f16(w_.data(), n, narrow.data());
    }
    const std::int64_t deep = bf16 ? (depth_ + 1) / 2 * 2 : depth_;
    const std::size_t panel_bytes = (Size(deep) * 32 + 63) / 64 * 64;
    halves_ = std::make_unique<AlignedBytes>(panel_bytes * Size(shape_.panels));
    std::memset(halves_->bytes(), 0xFF, panel_bytes * Size(shape_.panels));  // NaN between panels
    for (std::int64_t p = 0; p < shape_.panels && depth_ > 0; ++p) {
      std::vector<const std::uint16_t*> rows;
      for (std::int64_t i = 0; i < 16; ++i) rows.push_back(narrow.data() + (p * 16 + i) * depth_);
      auto* panel = reinterpret_cast<std::uint16_t*>(halves_->bytes() + Size(p) * panel_bytes);
      if (bf16) {
        t.pack_w_u16_pairs(rows.data(), 16, depth_, panel);
      } else {
        t.pack_w_u16(rows.data(), 16, depth_, panel);
      }
    }
    return panel_bytes;
  }

  std::vector<float> Multiply(void (*gemm)(const GemmArgs*), const void* w, std::size_t panel_bytes,
                              const void* x) const {
    AlignedBytes scratch(kGemmScratchBytes);
    std::memset(scratch.bytes(), 0xFF, kGemmScratchBytes);
    std::vector<float> y = y_;
    const GemmArgs args = {.w = w,
                           .w_panel_bytes = panel_bytes,
                           .x = x,
                           .x_k = depth_,
                           .y = y.data() + 1,
                           .y_stride = y_stride_,
                           .m = shape_.m,
                           .k = shape_.k,
                           .panels = shape_.panels,
                           .accumulate = shape_.accumulate,
                           .scratch = scratch.bytes()};
    gemm(&args);
    return y;
  }

  Shape shape_;
  std::int64_t depth_;
  std::int64_t y_stride_;
  std::vector<float> x_, w_, y_;
  mutable std::unique_ptr<AlignedBytes> halves_;
};

std::string Label(const KernelTable& t, const Shape& s) {
  return std::string(t.name) + " m=" + std::to_string(s.m) + " k=" + std::to_string(s.k) +
         " panels=" + std::to_string(s.panels) + " spare=" + std::to_string(s.spare) +
         (s.accumulate ? " accumulate" : "");
}

// The result against a sum in double of rounded operands; also that nothing between the rows of y
// was written.
template <class RoundX, class RoundW>
void CheckAgainstDouble(const Case& c, const std::vector<float>& got, double unit, RoundX round_x,
                        RoundW round_w, const std::string& label) {
  const Shape& s = c.shape();
  const std::int64_t stride = s.panels * 16 + 3;
  for (std::int64_t i = 0; i < s.m; ++i) {
    for (std::int64_t j = 0; j < stride; ++j) {
      const float result = got[static_cast<std::size_t>(i * stride + j + 1)];
      if (j >= s.panels * 16) {
        ASSERT_EQ(result, c.y(i, j)) << label << " wrote behind row " << i;
        continue;
      }
      double sum = s.accumulate ? static_cast<double>(c.y(i, j)) : 0.0;
      double size = std::fabs(sum);
      for (std::int64_t k = 0; k < s.k; ++k) {
        const double product =
            static_cast<double>(round_x(c.x(i, k))) * static_cast<double>(round_w(c.w(j, k)));
        sum += product;
        size += std::fabs(product);
      }
      ASSERT_NEAR(sum, result, unit * static_cast<double>(s.k + 1) * size + 1e-30)
          << label << " row " << i << " column " << j;
    }
  }
}

}  // namespace

void CheckGemm(const KernelTable& table, WeightFormat format) {
  std::uint32_t seed = 100;
  for (const Shape& shape : Shapes()) {
    const Case c(shape, ++seed);
    const std::string label = Label(table, shape);
    const std::vector<float> want = c.Run(Scalar(), format);
    if (&table == &Scalar()) {
      const auto round_w = [format](float w) {
        if (format == WeightFormat::kF32) return w;
        return format == WeightFormat::kF16 ? ReferenceF16(w) : ReferenceBf16(w);
      };
      CheckAgainstDouble(
          c, want, 0x1p-24, [](float x) { return x; }, round_w, label);
    } else {
      ExpectSameBits(want, c.Run(table, format), label);
    }
    if (::testing::Test::HasFatalFailure()) return;
  }
  // One chain of fused multiply-adds in ascending order: the definition itself.
  const Case c({.m = 14, .k = 1100, .panels = 2, .spare = 0, .accumulate = true}, 3);
  const std::vector<float> got = c.Run(table, format);
  for (std::int64_t i = 0; i < 14; ++i) {
    for (std::int64_t j = 0; j < 32; ++j) {
      float chain = c.y(i, j);
      for (std::int64_t k = 0; k < 1100; ++k) {
        const float w = format == WeightFormat::kF32   ? c.w(j, k)
                        : format == WeightFormat::kF16 ? ReferenceF16(c.w(j, k))
                                                       : ReferenceBf16(c.w(j, k));
        chain = std::fmaf(c.x(i, k), w, chain);
      }
      ASSERT_TRUE(SameBits(chain, got[static_cast<std::size_t>(i * 35 + j + 1)])) << table.name;
    }
  }
  // No rows: nothing happens.
  const Case empty({.m = 0, .k = 5, .panels = 1, .spare = 0, .accumulate = false}, 4);
  EXPECT_EQ(empty.Run(table, format).size(), 1u);
}

void CheckGemmPairs(const KernelTable& table) {
  if (table.gemm_bf16_pairs == nullptr) return;
  std::uint32_t seed = 900;
  for (const Shape& shape : Shapes()) {
    const Case c(shape, ++seed);
    CheckAgainstDouble(c, c.RunPairs(table), 0x1p-22, ReferenceBf16, ReferenceBf16,
                       Label(table, shape));
    if (::testing::Test::HasFatalFailure()) return;
  }
  // A row's bits depend neither on its neighbours nor on the blocks of K: 133 rows against each row
  // alone.
  const Shape all = {.m = 133, .k = 2051, .panels = 3, .spare = 0, .accumulate = true};
  const Case together(all, 5);
  const std::vector<float> want = together.RunPairs(table);
  const std::int64_t depth = (all.k + 1) / 2;
  AlignedBytes panels(static_cast<std::size_t>(depth) * 64 * 3);
  std::vector<std::uint16_t> narrow(static_cast<std::size_t>(all.k));
  for (std::int64_t p = 0; p < 3; ++p) {
    std::vector<std::vector<std::uint16_t>> rows(16, narrow);
    std::vector<const std::uint16_t*> pointers;
    for (std::int64_t i = 0; i < 16; ++i) {
      std::vector<float> row(static_cast<std::size_t>(all.k));
      for (std::int64_t k = 0; k < all.k; ++k)
        row[static_cast<std::size_t>(k)] = together.w(p * 16 + i, k);
      table.f32_to_bf16(row.data(), all.k, rows[static_cast<std::size_t>(i)].data());
      pointers.push_back(rows[static_cast<std::size_t>(i)].data());
    }
    table.pack_w_u16_pairs(pointers.data(), 16, all.k,
                           reinterpret_cast<std::uint16_t*>(panels.bytes() + p * depth * 64));
  }
  for (std::int64_t i = 0; i < all.m; ++i) {
    std::vector<float> x(static_cast<std::size_t>(all.k));
    std::vector<float> y(48);
    for (std::int64_t k = 0; k < all.k; ++k) x[static_cast<std::size_t>(k)] = together.x(i, k);
    for (std::int64_t j = 0; j < 48; ++j) y[static_cast<std::size_t>(j)] = together.y(i, j);
    std::vector<std::uint32_t> packed(static_cast<std::size_t>(depth));
    table.pack_x_bf16_pairs(x.data(), all.k, 1, all.k, packed.data());
    const GemmArgs args = {.w = panels.bytes(),
                           .w_panel_bytes = static_cast<std::size_t>(depth) * 64,
                           .x = packed.data(),
                           .x_k = all.k,
                           .y = y.data(),
                           .y_stride = 48,
                           .m = 1,
                           .k = all.k,
                           .panels = 3,
                           .accumulate = true,
                           .scratch = nullptr};
    table.gemm_bf16_pairs(&args);
    const auto row = want.begin() + 1 + i * 51;
    ExpectSameBits(y, std::vector<float>(row, row + 48), "row " + std::to_string(i));
    if (::testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace mossrt::cpu
