// Inputs and weights into the order in which the matrix products read them.
#pragma once

#include "cpu/kernels/convert.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

// Four rows of 16 values leave as columns at once.
inline constexpr int64_t kPackedRows = 4;

// [row][k] -> [tile][k / depth][rows of the tile], `depth` values to a dword. `convert` gives the
// bits of 16 values, `columns` stores those of four rows, `single(bits, count, to, step)` the first
// of one row.
template <class Convert, class Columns, class Single>
inline void PackTiles(const float* x, int64_t stride, int64_t m, int64_t k, int64_t depth,
                      uint32_t* packed, Convert convert, Columns columns, Single single) {
  const int64_t dwords = (k + depth - 1) / depth;
  for (int64_t first = 0; first < m; first += kTileRows) {
    const int64_t rows = m - first < kTileRows ? m - first : kTileRows;
    uint32_t* tile = packed + first * dwords;
    for (int64_t j = 0; j < k; j += 16) {
      const float* from = x + first * stride + j;
      uint32_t* to = tile + j / depth * rows;
      int64_t row = 0;
      if (k - j >= 16) {
        for (; row + kPackedRows <= rows; row += kPackedRows) {
          U32x16 bits[kPackedRows];
#pragma GCC unroll 4
          for (int64_t r = 0; r < kPackedRows; ++r) {
            bits[r] = convert(Load(from + (row + r) * stride));
          }
          columns(bits, to + row, rows);
        }
      }
      const int count = k - j < 16 ? static_cast<int>(k - j) : 16;
      for (; row < rows; ++row) {
        single(convert(LoadFirst(from + row * stride, count)), count, to + row, rows);
      }
    }
  }
}

// Values that keep their 32 bits.
template <class Convert>
inline void PackDwords(const float* x, int64_t stride, int64_t m, int64_t k, float* packed,
                       Convert convert) {
  PackTiles(x, stride, m, k, 1, reinterpret_cast<uint32_t*>(packed), convert, StoreDwords,
            [](U32x16 bits, int count, uint32_t* to, int64_t step) {
              alignas(64) uint32_t lane[16];
              StoreBits(bits, lane);
              for (int i = 0; i < count; ++i) __builtin_memcpy(to + i * step, lane + i, 4);
            });
}

static void pack_x_f32(const float* x, int64_t stride, int64_t m, int64_t k, float* packed) {
  PackDwords(x, stride, m, k, packed, [](F32x16 v) { return ToBits(v); });
}

static void pack_x_bf16_as_f32(const float* x, int64_t stride, int64_t m, int64_t k,
                               float* packed) {
  PackDwords(x, stride, m, k, packed, [](F32x16 v) { return ToBits(RoundToBf16(v)); });
}

static void pack_x_bf16_pairs(const float* x, int64_t stride, int64_t m, int64_t k,
                              uint32_t* packed) {
  PackTiles(
      x, stride, m, k, 2, packed, [](F32x16 v) { return Bf16Bits(v); }, StorePairs,
      [](U32x16 bits, int count, uint32_t* to, int64_t step) {
        alignas(64) uint16_t half[16];
        StoreU16(bits, half);
        for (int i = 0; i < count; i += 2) __builtin_memcpy(to + i / 2 * step, half + i, 4);
      });
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

// Fields 0 to 3 of 4 bits to the low halves of the bytes, fields 4 to 7 to the high ones.
inline U32x16 FieldsToHalves(U32x16 w) {
  U32x16 differ = And(Xor(w, ShiftRight<8>(w)), SetBits(0x0000FF00u));
  w = Xor(w, Xor(differ, ShiftLeft<8>(differ)));
  differ = And(Xor(w, ShiftRight<4>(w)), SetBits(0x00F000F0u));
  return Xor(w, Xor(differ, ShiftLeft<4>(differ)));
}

static void pack_w_words(const uint32_t* words, int64_t stride, int64_t lines, int64_t bits,
                         int64_t panels, uint32_t* to, int64_t panel_bytes) {
  for (int64_t p = 0; p < panels; ++p) {
    auto* line = reinterpret_cast<char*>(to) + p * panel_bytes;
    for (int64_t i = 0; i < lines; ++i, line += 64) {
      const auto* from = reinterpret_cast<const float*>(words + i * stride + p * kPanelRows);
      const U32x16 w = ToBits(Load(from));
      StreamBits(bits == 4 ? FieldsToHalves(w) : w, line);
    }
  }
  EndStream();
}

}  // namespace mossrt::cpu::MOSSRT_ISA
