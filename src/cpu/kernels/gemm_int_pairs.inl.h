// Products of 8 bit inputs where the processor multiplies two rows with two outputs over eight k at
// once. Sums and chains hold the outputs of two rows in turn, 0 to 7 of both and then 8 to 15; an
// odd last row is its own partner.
#pragma once

#include "cpu/kernels/gemm_int_format.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

// AddGroup and StartOfGroup take what belongs to a pair of rows as a vector.
inline F32x16 Set(F32x16 x) { return x; }
inline F32x16 SetInteger(U32x16 x) { return ToFloat(x); }
inline U32x16 SetBits(U32x16 x) { return x; }

// Half of the outputs, one after the other with eight k each, from the lines that hold those k.
template <class Format>
struct HalfOfOutputs {
  template <int kHalf>
  static U32x16 Get(const char* lines) {
    const auto quad = [lines](int i) {
      return Format::Get(LoadBits(lines + i / Format::kQuads * 64), i % Format::kQuads);
    };
    return InTurn<kHalf>(quad(0), quad(1));
  }
};

// Bytes in that order already.
template <class Format>
struct Eights : Format {
  static constexpr int kBits = 8;
  static void Unpack(const char* lines, char* out) {
    StoreBits(HalfOfOutputs<Format>::template Get<0>(lines), out);
    StoreBits(HalfOfOutputs<Format>::template Get<1>(lines), out + 64);
  }
};
template <class Format>
struct HalfOfOutputs<Eights<Format>> {
  template <int kHalf>
  static U32x16 Get(const char* lines) {
    return LoadBits(lines + 64 * kHalf);
  }
};

template <class Format, int kHalf, int kPairs>
[[gnu::always_inline]] inline void AddProducts(const char*& lines, const Octets (&x)[kPairs],
                                               U32x16 (&sum)[kPairs][2]) {
  // Unseen by the optimiser, or g++ loads both halves at once and has no registers for them.
  __asm__("" : "+r"(lines));
  const U32x16 w = HalfOfOutputs<Format>::template Get<kHalf>(lines);
#pragma GCC unroll 3
  for (int n = 0; n < kPairs; ++n) sum[n][kHalf] = DotOctets(w, x[n], sum[n][kHalf]);
}

template <class Format, bool kZeros, int kHalf, int kPairs>
[[gnu::always_inline]] inline void AddSums(const uint16_t* header, const F32x16 (&x_scale)[kPairs],
                                           const U32x16 (&x_sum)[kPairs],
                                           const U32x16 (&sum)[kPairs][2],
                                           F32x16 (&chains)[kPairs][2]) {
  const F32x16 scale = Format::Scale(header);
  const F32x16 minus_zero = kZeros ? MinusZeros<Format>(header) : Set(0.0f);
#pragma GCC unroll 3
  for (int n = 0; n < kPairs; ++n) {
    chains[n][kHalf] = AddGroup<Format, kZeros>(
        sum[n][kHalf], InTurn<kHalf>(minus_zero, minus_zero), InTurn<kHalf>(scale, scale),
        x_scale[n], x_sum[n], chains[n][kHalf]);
  }
}

// As one of IntTiles.
template <class Format, bool kZeros, int R>
[[gnu::noinline]] void IntPairTile(const IntTileArgs& args) {
  constexpr int kPairs = (R + 1) / 2;
  const typename Format::Panel panel{Format::kBits, args.group, kZeros};
  const int64_t eights = args.group / 8, last_eights = (args.last + 7) / 8;
  const int64_t x_rows = args.x_rows;
  const uint32_t* x = args.x;
  const auto alone = [](int n) { return 2 * n + 1 == R; };
  const auto of_rows = [alone](const uint32_t* rows, int n) {
    return alone(n) ? SetBits(rows[2 * n]) : SetInTurn(rows + 2 * n);
  };
  F32x16 chains[kPairs][2];
#pragma GCC unroll 3
  for (int n = 0; n < kPairs; ++n) {
    const float* even = args.y + 2 * n * args.y_stride;
    const float* odd = alone(n) ? even : even + args.y_stride;
    chains[n][0] = args.accumulate ? InTurn<0>(Load(even), Load(odd)) : Set(0.0f);
    chains[n][1] = args.accumulate ? InTurn<1>(Load(even), Load(odd)) : Set(0.0f);
  }
  for (int64_t g = 0; g < args.groups; ++g) {
    const uint32_t* x_scales = x + args.group / 4 * x_rows;
    const uint32_t* x_sums = x_scales + x_rows;
    U32x16 sum[kPairs][2];
#pragma GCC unroll 3
    for (int n = 0; n < kPairs; ++n) {
      sum[n][0] = sum[n][1] = StartOfGroup<Format, kZeros>(of_rows(x_sums, n));
    }
    const char* lines = args.w + panel.DataOffset(g);
    for (int64_t i = g + 1 < args.groups ? eights : last_eights; i > 0; --i) {
      Octets octets[kPairs];
#pragma GCC unroll 3
      for (int n = 0; n < kPairs; ++n) {
        octets[n] = alone(n) ? SetOctets(x[2 * n], x[x_rows + 2 * n])
                             : LoadOctets(x + 2 * n, x + x_rows + 2 * n);
      }
      AddProducts<Format, 0>(lines, octets, sum);
      AddProducts<Format, 1>(lines, octets, sum);
      x += 2 * x_rows;
      lines += 16 * Format::kBits;
    }
    F32x16 x_scale[kPairs];
    U32x16 x_sum[kPairs];
#pragma GCC unroll 3
    for (int n = 0; n < kPairs; ++n) {
      x_scale[n] = FromBits(of_rows(x_scales, n));
      x_sum[n] = of_rows(x_sums, n);
    }
    const auto* header = reinterpret_cast<const uint16_t*>(args.w + panel.HeaderOffset(g));
    AddSums<Format, kZeros, 0>(header, x_scale, x_sum, sum, chains);
    AddSums<Format, kZeros, 1>(header, x_scale, x_sum, sum, chains);
    x = x_sums + x_rows;
  }
#pragma GCC unroll 3
  for (int n = 0; n < kPairs; ++n) {
    float* even = args.y + 2 * n * args.y_stride;
    Store(FirstOfTurns(chains[n][0], chains[n][1]), even);
    if (!alone(n)) Store(SecondOfTurns(chains[n][0], chains[n][1]), even + args.y_stride);
  }
}

}  // namespace mossrt::cpu::MOSSRT_ISA
