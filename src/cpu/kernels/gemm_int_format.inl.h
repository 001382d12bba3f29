// What all products of 8 bit inputs share: how weights of 8 and 4 bits and cached keys and values
// of bytes are read, and what becomes of the sum of a group.
#pragma once

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

// How lines of weights are read: kQuads dwords of four k per output.
struct Int8Weights {
  using Panel = IntegerPanel;
  static constexpr int kBits = 8;
  static F32x16 Scale(const uint16_t* header) { return LoadF16(header); }
  static constexpr int kQuads = 1;
  static constexpr std::uint32_t kZero = 128;
  static constexpr std::uint32_t kOffset = kDotOffset;
  static U32x16 Get(U32x16 line, int) { return line; }
  static U32x16 Dot(U32x16 w, Quad x, U32x16 sum) { return DotBytes(w, x, sum); }
};

struct Int4Weights {
  using Panel = IntegerPanel;
  static constexpr int kBits = 4;
  static F32x16 Scale(const uint16_t* header) { return LoadF16(header); }
  static constexpr int kQuads = 2;
  static constexpr std::uint32_t kZero = 8;
  static constexpr std::uint32_t kOffset = 0;
  static U32x16 Get(U32x16 line, int quad) { return Nibbles(line, quad); }
  static U32x16 Dot(U32x16 w, Quad x, U32x16 sum) { return DotNibbles(w, x, sum); }
};

// Weights of 4 bits, one to a byte.
struct UnpackedInt4Weights : Int8Weights {
  static constexpr std::uint32_t kZero = 8;
  static constexpr std::uint32_t kOffset = 0;
  static U32x16 Dot(U32x16 w, Quad x, U32x16 sum) { return DotNibbles(w, x, sum); }
  static void Unpack(const char* line, char* out) {  // eight k
    const U32x16 both = LoadBits(line);
    StoreBits(Int4Weights::Get(both, 0), out);
    StoreBits(Int4Weights::Get(both, 1), out + 64);
  }
};

// Keys and values of bytes: nothing but lines.
struct BarePanel {
  int64_t bits, group;
  bool zeros;
  std::size_t group_bytes() const { return static_cast<std::size_t>(group * kPanelRows); }
  std::size_t HeaderOffset(int64_t g) const { return DataOffset(g); }
  std::size_t DataOffset(int64_t g) const { return static_cast<std::size_t>(g) * group_bytes(); }
  std::size_t Bytes(int64_t groups) const { return DataOffset(groups); }
};

struct CachedBytes : Int8Weights {
  using Panel = BarePanel;
  static F32x16 Scale(const uint16_t*) { return Set(1.0f); }
};

// Some groups of k of some panels by some rows of a packed tile.
struct IntTileArgs {
  const char* w;  // the first group's header
  std::size_t w_panel_bytes;
  const uint32_t* x;  // the first group of the tile, at the first of the rows
  int64_t x_rows;     // rows of the packed tile
  int64_t group;
  int64_t groups;
  float* y;
  int64_t y_stride;
  bool accumulate;
  int64_t last = 0;            // values of k of the last group, at most `group`: beyond them x is 0
  const char* next = nullptr;  // weights called into the second cache while this tile computes
  std::size_t next_panel_bytes = 0;
  int64_t next_bytes = 0;  // for every group of a tile
  int64_t tiles = 1;       // successive ones of all their rows, from packed tile to packed tile
  int64_t next_x = 0;      // dwords from one packed tile to the next
};

inline F32x16 SetInteger(int32_t x) { return Set(static_cast<float>(x)); }

// Adds a group's integers, which met the input's sum `x_sum` and scale `x_scale`, to the chain.
// Scale and Sum: float and int32_t, or F32x16 and U32x16 where lanes are of several rows.
template <class Format, bool kZeros, class Scale, class Sum>
inline F32x16 AddGroup(U32x16 sum, F32x16 minus_zero, F32x16 w_scale, Scale x_scale, Sum x_sum,
                       F32x16 chain) {
  F32x16 exact = ToFloat(sum);  // below 2^24, like all that follows
  if constexpr (kZeros) exact = MulAdd(minus_zero, SetInteger(x_sum), exact);
  return MulAdd(exact, Mul(w_scale, Set(x_scale)), chain);
}

// What an accumulator starts from, so that the fixed zero point is taken off. X: uint32_t, or
// U32x16 where lanes are of several rows.
template <class Format, bool kZeros, class X>
inline U32x16 StartOfGroup(X x_sum) {
  if constexpr (kZeros || Format::kOffset == Format::kZero) {
    return SetBits(0);
  } else {  // -kZero * x_sum, with no way round through integer registers
    static_assert(Format::kOffset == 0);
    constexpr int kShift = Format::kZero == 128 ? 7 : 3;
    return Add(Xor(ShiftLeft<kShift>(SetBits(x_sum)), SetBits(~0u)), SetBits(1));
  }
}

template <class Format>
inline F32x16 MinusZeros(const uint16_t* header) {
  return Sub(Set(static_cast<float>(Format::kOffset)), ToFloat(LoadU16(header + kPanelRows)));
}

}  // namespace mossrt::cpu::MOSSRT_ISA
