// Rows of floats side by side, k-major.
#pragma once

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

// Four rows of 16 values leave as columns at once.
inline constexpr int64_t kPackedRows = 4;

// [row][k] -> [k / depth][rows], `depth` values to a dword and `step` dwords from one k / depth to
// the next. `convert` gives the bits of 16 values, `columns` stores those of four rows,
// `single(bits, count, to, step)` the first of one row.
template <class Convert, class Columns, class Single>
inline void PackRows(const float* x, int64_t stride, int64_t rows, int64_t k, int64_t depth,
                     uint32_t* packed, int64_t step, Convert convert, Columns columns,
                     Single single) {
  for (int64_t j = 0; j < k; j += 16) {
    const float* from = x + j;
    uint32_t* to = packed + j / depth * step;
    int64_t row = 0;
    if (k - j >= 16) {
      for (; row + kPackedRows <= rows; row += kPackedRows) {
        const float* const four = from + row * stride;
        const decltype(convert(Load(four))) bits[kPackedRows] = {
            convert(Load(four)), convert(Load(four + stride)), convert(Load(four + 2 * stride)),
            convert(Load(four + 3 * stride))};
        columns(bits, to + row, step);
      }
    }
    const int count = k - j < 16 ? static_cast<int>(k - j) : 16;
    for (; row < rows; ++row) {
      single(convert(LoadFirst(from + row * stride, count)), count, to + row, step);
    }
  }
}

// The rows of a product's input: [tile][k / depth][rows of the tile].
template <class Convert, class Columns, class Single>
inline void PackTiles(const float* x, int64_t stride, int64_t m, int64_t k, int64_t depth,
                      uint32_t* packed, Convert convert, Columns columns, Single single) {
  const int64_t dwords = (k + depth - 1) / depth;
  for (int64_t first = 0; first < m; first += kTileRows) {
    const int64_t rows = m - first < kTileRows ? m - first : kTileRows;
    PackRows(x + first * stride, stride, rows, k, depth, packed + first * dwords, rows, convert,
             columns, single);
  }
}

// The first `count` of 16 halves, two to a dword.
template <class Bits>
inline void StorePairsOfRow(const Bits& bits, int count, uint32_t* to, int64_t step) {
  alignas(64) uint16_t half[16];
  StoreU16(bits, half);
  for (int i = 0; i < count; i += 2) __builtin_memcpy(to + i / 2 * step, half + i, 4);
}

}  // namespace mossrt::cpu::MOSSRT_ISA
