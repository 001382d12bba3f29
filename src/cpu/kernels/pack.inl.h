// Inputs and weights into the order in which the matrix products read them.
#pragma once

#include "cpu/kernels/convert.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

// [row][k] -> [tile][k][rows of the tile], each value through `convert`. Rows are read 16 values at
// a time; the tile of those 16 columns (768 bytes) stays in the first cache while its rows are
// written.
template <class Convert>
inline void PackTiles(const float* x, int64_t stride, int64_t m, int64_t k, float* packed,
                      Convert convert) {
  for (int64_t first = 0; first < m; first += kTileRows) {
    const int64_t rows = m - first < kTileRows ? m - first : kTileRows;
    float* tile = packed + first * k;
    for (int64_t j = 0; j < k; j += 16) {
      const int columns = k - j < 16 ? static_cast<int>(k - j) : 16;
      for (int64_t row = 0; row < rows; ++row) {
        alignas(64) float lane[16];
        const float* from = x + (first + row) * stride + j;
        Store(convert(columns == 16 ? Load(from) : LoadFirst(from, columns)), lane);
        for (int i = 0; i < columns; ++i) tile[(j + i) * rows + row] = lane[i];
      }
    }
  }
}

static void pack_x_f32(const float* x, int64_t stride, int64_t m, int64_t k, float* packed) {
  PackTiles(x, stride, m, k, packed, [](F32x16 v) { return v; });
}

static void pack_x_bf16_as_f32(const float* x, int64_t stride, int64_t m, int64_t k,
                               float* packed) {
  PackTiles(x, stride, m, k, packed, [](F32x16 v) { return RoundToBf16(v); });
}

static void pack_x_bf16_pairs(const float* x, int64_t stride, int64_t m, int64_t k,
                              uint32_t* packed) {
  const int64_t depth = (k + 1) / 2;
  for (int64_t first = 0; first < m; first += kTileRows) {
    const int64_t rows = m - first < kTileRows ? m - first : kTileRows;
    uint32_t* tile = packed + first * depth;
    for (int64_t j = 0; j < k; j += 16) {
      const int columns = k - j < 16 ? static_cast<int>(k - j) : 16;
      for (int64_t row = 0; row < rows; ++row) {
        alignas(64) uint16_t half[16];
        const float* from = x + (first + row) * stride + j;
        StoreU16(Bf16Bits(columns == 16 ? Load(from) : LoadFirst(from, columns)), half);
        for (int i = 0; i < columns; i += 2) {
          const uint32_t pair = uint32_t{half[i]} | (uint32_t{half[i + 1]} << 16);
          tile[((j + i) / 2) * rows + row] = pair;
        }
      }
    }
  }
}

// [row][k] -> [k][16], rows beyond `count` zero.
template <class T>
inline void PackPanel(const T* const* rows, int64_t count, int64_t k, T* panel) {
  for (int64_t begin = 0; begin < k; begin += 16) {
    const int64_t end = k - begin < 16 ? k : begin + 16;
    for (int64_t lane = 0; lane < kPanelRows; ++lane) {
      for (int64_t j = begin; j < end; ++j) {
        panel[j * kPanelRows + lane] = lane < count ? rows[lane][j] : T{0};
      }
    }
  }
}

static void pack_w_f32(const float* const* rows, int64_t count, int64_t k, float* panel) {
  PackPanel(rows, count, k, panel);
}

static void pack_w_u16(const uint16_t* const* rows, int64_t count, int64_t k, uint16_t* panel) {
  PackPanel(rows, count, k, panel);
}

static void pack_w_u16_pairs(const uint16_t* const* rows, int64_t count, int64_t k,
                             uint16_t* panel) {
  for (int64_t begin = 0; begin < k; begin += 16) {
    const int64_t end = k - begin < 16 ? k : begin + 16;
    for (int64_t lane = 0; lane < kPanelRows; ++lane) {
      uint16_t* to = panel + lane * 2;
      for (int64_t j = begin; j < end; ++j) {
        to[j / 2 * 32 + j % 2] = lane < count ? rows[lane][j] : uint16_t{0};
      }
      if (end % 2 == 1) to[end / 2 * 32 + 1] = 0;
    }
  }
}

}  // namespace mossrt::cpu::MOSSRT_ISA
