// Inputs of floats, cached keys and values, and weights, into the order in which the matrix
// products read them.
#pragma once

#include "cpu/kernels/convert.inl.h"
#include "cpu/kernels/pack_tiles.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

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

static void keys_to_bf16(const float* x, int64_t stride, int64_t m, int64_t n, uint32_t* panel) {
  PackRows(
      x, stride, m, n, 2, panel, kPanelRows, [](F32x16 v) { return Bf16Bits(v); }, StorePairs,
      StorePairsOfRow<U32x16>);
}

// One half of 16 dwords: the other may be another thread's at the same time.
inline void StoreHalves(U32x16 bits, int64_t which, uint32_t* line) {
  alignas(64) uint16_t half[16];
  StoreU16(bits, half);
  auto* to = reinterpret_cast<char*>(line) + 2 * which;
  for (int64_t lane = 0; lane < 16; ++lane) __builtin_memcpy(to + 4 * lane, half + lane, 2);
}

static void values_to_bf16(const float* x, int64_t stride, int64_t m, int64_t n, int64_t slot,
                           uint32_t* panels, int64_t panel_bytes) {
  for (int64_t j = 0; j < n; j += 16) {
    const int count = n - j < 16 ? static_cast<int>(n - j) : 16;
    const auto bits = [=](int64_t i) { return Bf16Bits(LoadFirst(x + i * stride + j, count)); };
    uint32_t* line = panels + j / 16 * panel_bytes / 4 + slot / 2 * kPanelRows;
    int64_t i = 0;
    if (slot % 2 == 1 && m > 0) {
      StoreHalves(bits(i++), 1, line);
      line += kPanelRows;
    }
    for (; i + 2 <= m; i += 2, line += kPanelRows) {
      StoreBits(Or(bits(i), ShiftLeft<16>(bits(i + 1))), line);
    }
    if (i < m) StoreHalves(bits(i), 0, line);
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
