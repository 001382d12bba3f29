// 16 virtual lanes on AArch64's Advanced SIMD: four registers. scalar.h explains the words.
#pragma once

#include <arm_neon.h>

#include <cstdint>

namespace mossrt::cpu::MOSSRT_ISA {

inline constexpr int kGemmPanels = 1;  // 16 accumulators, 4 weights, a factor: 21 of 32 registers
inline constexpr int kGemmRows = 4;
inline constexpr int kGemvPanels = 2;
inline constexpr int kTilePrefetchBytes = 0;
inline constexpr int kRowPrefetchBytes = 0;
inline constexpr int kIntPanels = 1;
#if defined(__ARM_FEATURE_MATMUL_INT8)
inline constexpr bool kPairRows = true;
inline constexpr int kIntRows = 6;  // 24 accumulators, 4 weights, 3 pairs of rows: 31 registers
inline constexpr int kIntRowsOwn = 6;
#else
inline constexpr bool kPairRows = false;
inline constexpr int kIntRows = 4;  // 16 accumulators, 4 weights, a factor
inline constexpr int kIntRowsOwn = 4;
#endif
inline constexpr bool kUnpackNibbles = true;

struct F32x16 {
  float32x4_t part[4];
};
struct U32x16 {
  uint32x4_t part[4];
};
struct Mask16 {
  uint32x4_t part[4];
};

template <class Function>
inline F32x16 MakeF32(Function function) {
  return {{function(0), function(1), function(2), function(3)}};
}
template <class Function>
inline U32x16 MakeU32(Function function) {
  return {{function(0), function(1), function(2), function(3)}};
}
template <class Function>
inline Mask16 MakeMask(Function function) {
  return {{function(0), function(1), function(2), function(3)}};
}

inline float SquareRoot(float x) { return __builtin_sqrtf(x); }
inline void Prefetch(const void* p) { __builtin_prefetch(p, 0, 2); }

inline Mask16 FirstLanes(int count) {
  const uint32x4_t first = {0, 1, 2, 3};
  const uint32x4_t n = vdupq_n_u32(static_cast<std::uint32_t>(count));
  return MakeMask([=](int i) {
    return vcgtq_u32(n, vaddq_u32(first, vdupq_n_u32(static_cast<std::uint32_t>(4 * i))));
  });
}

inline F32x16 Set(float x) {
  return MakeF32([=](int) { return vdupq_n_f32(x); });
}
inline F32x16 Load(const float* p) {
  return MakeF32([=](int i) { return vld1q_f32(p + 4 * i); });
}
inline F32x16 LoadAligned(const float* p) { return Load(p); }
inline F32x16 LoadFirst(const float* p, int count) {
  float lane[16] = {};
  for (int i = 0; i < count; ++i) lane[i] = p[i];
  return Load(lane);
}
inline void Store(F32x16 a, float* p) {
  for (int i = 0; i < 4; ++i) vst1q_f32(p + 4 * i, a.part[i]);
}
inline void StoreFirst(F32x16 a, float* p, int count) {
  float lane[16];
  Store(a, lane);
  for (int i = 0; i < count; ++i) p[i] = lane[i];
}

inline F32x16 Add(F32x16 a, F32x16 b) {
  return MakeF32([&](int i) { return vaddq_f32(a.part[i], b.part[i]); });
}
inline F32x16 Sub(F32x16 a, F32x16 b) {
  return MakeF32([&](int i) { return vsubq_f32(a.part[i], b.part[i]); });
}
inline F32x16 Mul(F32x16 a, F32x16 b) {
  return MakeF32([&](int i) { return vmulq_f32(a.part[i], b.part[i]); });
}
inline F32x16 Div(F32x16 a, F32x16 b) {
  return MakeF32([&](int i) { return vdivq_f32(a.part[i], b.part[i]); });
}
inline F32x16 MulAdd(F32x16 a, F32x16 b, F32x16 c) {
  return MakeF32([&](int i) { return vfmaq_f32(c.part[i], a.part[i], b.part[i]); });
}
inline F32x16 Max(F32x16 a, F32x16 b) {  // not vmaxq_f32: b where the lanes are equal or unordered
  return MakeF32(
      [&](int i) { return vbslq_f32(vcgtq_f32(a.part[i], b.part[i]), a.part[i], b.part[i]); });
}

inline Mask16 Less(F32x16 a, F32x16 b) {
  return MakeMask([&](int i) { return vcltq_f32(a.part[i], b.part[i]); });
}
inline Mask16 IsNan(F32x16 a) {
  return MakeMask([&](int i) { return vmvnq_u32(vceqq_f32(a.part[i], a.part[i])); });
}
inline F32x16 Select(Mask16 mask, F32x16 yes, F32x16 no) {
  return MakeF32([&](int i) { return vbslq_f32(mask.part[i], yes.part[i], no.part[i]); });
}

inline U32x16 SetBits(std::uint32_t x) {
  return MakeU32([=](int) { return vdupq_n_u32(x); });
}
inline U32x16 ToBits(F32x16 a) {
  return MakeU32([&](int i) { return vreinterpretq_u32_f32(a.part[i]); });
}
inline F32x16 FromBits(U32x16 a) {
  return MakeF32([&](int i) { return vreinterpretq_f32_u32(a.part[i]); });
}
inline U32x16 Add(U32x16 a, U32x16 b) {
  return MakeU32([&](int i) { return vaddq_u32(a.part[i], b.part[i]); });
}
inline U32x16 And(U32x16 a, U32x16 b) {
  return MakeU32([&](int i) { return vandq_u32(a.part[i], b.part[i]); });
}
inline U32x16 Or(U32x16 a, U32x16 b) {
  return MakeU32([&](int i) { return vorrq_u32(a.part[i], b.part[i]); });
}
inline U32x16 Xor(U32x16 a, U32x16 b) {
  return MakeU32([&](int i) { return veorq_u32(a.part[i], b.part[i]); });
}
template <int kCount>
inline U32x16 ShiftLeft(U32x16 a) {
  return MakeU32([&](int i) { return vshlq_n_u32(a.part[i], kCount); });
}
template <int kCount>
inline U32x16 ShiftRight(U32x16 a) {
  return MakeU32([&](int i) { return vshrq_n_u32(a.part[i], kCount); });
}
inline U32x16 Nibbles(U32x16 a, int quad) {
  const auto right = [](uint32x4_t part) {
    return vreinterpretq_u32_u8(vshrq_n_u8(vreinterpretq_u8_u32(part), 4));
  };
  if (quad != 0) return MakeU32([&](int i) { return right(a.part[i]); });
#if defined(__ARM_FEATURE_MATMUL_INT8)  // no mask, for which the tile of pairs has no register
  return MakeU32([&](int i) { return right(vshlq_n_u32(a.part[i], 4)); });
#else
  return And(a, SetBits(0x0F0F0F0Fu));
#endif
}
inline U32x16 LoadBits(const void* aligned) {
  const auto* words = static_cast<const std::uint32_t*>(aligned);
  return MakeU32([=](int i) { return vld1q_u32(words + 4 * i); });
}

inline void StoreBits(U32x16 a, void* aligned) {
  auto* words = static_cast<std::uint32_t*>(aligned);
  for (int i = 0; i < 4; ++i) vst1q_u32(words + 4 * i, a.part[i]);
}
inline void StreamBits(U32x16 a, void* aligned) { StoreBits(a, aligned); }
inline void EndStream() {}
inline F32x16 ToFloat(U32x16 a) {
  return MakeF32([&](int i) { return vcvtq_f32_s32(vreinterpretq_s32_u32(a.part[i])); });
}
inline uint8x16_t LowBytes(U32x16 a) {
  const uint16x8_t lo = vcombine_u16(vmovn_u32(a.part[0]), vmovn_u32(a.part[1]));
  const uint16x8_t hi = vcombine_u16(vmovn_u32(a.part[2]), vmovn_u32(a.part[3]));
  return vcombine_u8(vmovn_u16(lo), vmovn_u16(hi));
}
inline void StoreU8(U32x16 a, std::uint8_t* p) { vst1q_u8(p, LowBytes(a)); }

// Assembly: otherwise g++ 12 makes many products before it adds any, and they spill.
inline uint32x4_t AddInPlace(uint32x4_t sum, int32x4_t more) {
  __asm__("add %0.4s, %0.4s, %1.4s" : "+w"(sum) : "w"(more));
  return sum;
}
struct Quad {
  int8x16_t v;
};
inline Quad SetQuad(std::uint32_t bytes) { return {vreinterpretq_s8_u32(vdupq_n_u32(bytes))}; }
// Assembly again: through the intrinsics g++ 12 copies every accumulator in every turn.
#if defined(__ARM_FEATURE_MATMUL_INT8)
inline constexpr std::uint32_t kDotOffset = 0;
inline U32x16 DotBytes(U32x16 w, Quad x, U32x16 sum) {
  return MakeU32([&](int i) {
    uint32x4_t part = sum.part[i];
    __asm__("usdot %0.4s, %1.16b, %2.16b" : "+w"(part) : "w"(w.part[i]), "w"(x.v));
    return part;
  });
}
inline U32x16 DotNibbles(U32x16 w, Quad x, U32x16 sum) { return DotBytes(w, x, sum); }

// gemm_int_pairs.inl.h's words. Lanes of a and b in turn: those of their first half or their
// second.
template <int kHalf>
inline U32x16 InTurn(U32x16 a, U32x16 b) {
  return MakeU32([&](int i) {
    const uint32x4_t from_a = a.part[2 * kHalf + i / 2], from_b = b.part[2 * kHalf + i / 2];
    return i % 2 == 0 ? vzip1q_u32(from_a, from_b) : vzip2q_u32(from_a, from_b);
  });
}
template <int kHalf>
inline F32x16 InTurn(F32x16 a, F32x16 b) {
  return FromBits(InTurn<kHalf>(ToBits(a), ToBits(b)));
}
// The a of both halves, and the b.
inline F32x16 FirstOfTurns(F32x16 half0, F32x16 half1) {
  return MakeF32([&](int i) {
    const float32x4_t* from = (i < 2 ? half0 : half1).part + i % 2 * 2;
    return vuzp1q_f32(from[0], from[1]);
  });
}
inline F32x16 SecondOfTurns(F32x16 half0, F32x16 half1) {
  return MakeF32([&](int i) {
    const float32x4_t* from = (i < 2 ? half0 : half1).part + i % 2 * 2;
    return vuzp2q_f32(from[0], from[1]);
  });
}
// Two dwords in turn.
inline U32x16 SetInTurn(const std::uint32_t* two) {
  const uint32x2_t both = vld1_u32(two);
  return MakeU32([=](int) { return vcombine_u32(both, both); });
}
// Eight signed bytes of each of two rows.
struct Octets {
  int8x16_t v;
};
// The dwords of both rows at `first` hold their first four bytes, those at `last` the last four.
// Assembly, because clang makes three instructions of this.
inline Octets LoadOctets(const std::uint32_t* first, const std::uint32_t* last) {
  int8x16_t octets;
  __asm__("zip1 %0.4s, %1.4s, %2.4s" : "=w"(octets) : "w"(vld1_u32(first)), "w"(vld1_u32(last)));
  return {octets};
}
// One row twice.
inline Octets SetOctets(std::uint32_t first, std::uint32_t last) {
  return {vreinterpretq_s8_u32(vzip1q_u32(vdupq_n_u32(first), vdupq_n_u32(last)))};
}
// w: eight unsigned bytes of each of eight outputs. Adds their products with both rows, exact.
inline U32x16 DotOctets(U32x16 w, Octets x, U32x16 sum) {
  return MakeU32([&](int i) {
    uint32x4_t part = sum.part[i];
    __asm__("usmmla %0.4s, %1.16b, %2.16b" : "+w"(part) : "w"(w.part[i]), "w"(x.v));
    return part;
  });
}
#elif defined(__ARM_FEATURE_DOTPROD)
inline U32x16 DotNibbles(U32x16 w, Quad x, U32x16 sum) {
  return MakeU32([&](int i) {
    uint32x4_t part = sum.part[i];
    __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(part) : "w"(w.part[i]), "w"(x.v));
    return part;
  });
}
#else
inline U32x16 DotNibbles(U32x16 w, Quad x, U32x16 sum) {
  return MakeU32([&](int i) {
    const int8x16_t bytes = vreinterpretq_s8_u32(w.part[i]);
    const int16x8_t low = vmull_s8(vget_low_s8(bytes), vget_low_s8(x.v));
    const int16x8_t high = vmull_high_s8(bytes, x.v);
    return AddInPlace(sum.part[i], vpaddlq_s16(vpaddq_s16(low, high)));  // 128 x 127 x 2 fits
  });
}
#endif
#if !defined(__ARM_FEATURE_MATMUL_INT8)
// Both factors are signed: 128 is taken off every byte of w.
inline constexpr std::uint32_t kDotOffset = 128;
inline U32x16 DotBytes(U32x16 w, Quad x, U32x16 sum) {
  return DotNibbles(Xor(w, SetBits(0x80808080u)), x, sum);
}
#endif

inline U32x16 LoadU16(const std::uint16_t* p) {
  return MakeU32([=](int i) { return vmovl_u16(vld1_u16(p + 4 * i)); });
}
inline void StoreU16(U32x16 a, std::uint16_t* p) {
  for (int i = 0; i < 4; ++i) vst1_u16(p + 4 * i, vmovn_u32(a.part[i]));
}
inline F32x16 LoadF16(const std::uint16_t* p) {
  return MakeF32([=](int i) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p + 4 * i))); });
}
inline void StoreF16(F32x16 a, std::uint16_t* p) {
  for (int i = 0; i < 4; ++i) {
    vst1_u16(p + 4 * i, vreinterpret_u16_f16(vcvt_f16_f32(a.part[i])));
  }
}

// Four dwords of four rows as columns.
inline void StoreColumns(uint32x4_t row0, uint32x4_t row1, uint32x4_t row2, uint32x4_t row3,
                         std::uint32_t* to, std::int64_t step) {
  const uint32x4x2_t even = vzipq_u32(row0, row2), odd = vzipq_u32(row1, row3);
  const uint32x4x2_t front = vzipq_u32(even.val[0], odd.val[0]);
  const uint32x4x2_t back = vzipq_u32(even.val[1], odd.val[1]);
  vst1q_u32(to, front.val[0]);
  vst1q_u32(to + step, front.val[1]);
  vst1q_u32(to + 2 * step, back.val[0]);
  vst1q_u32(to + 3 * step, back.val[1]);
}
inline void StoreDwords(const U32x16 (&rows)[4], std::uint32_t* to, std::int64_t step) {
  for (int i = 0; i < 4; ++i) {
    StoreColumns(rows[0].part[i], rows[1].part[i], rows[2].part[i], rows[3].part[i],
                 to + 4 * i * step, step);
  }
}
inline void StorePairs(const U32x16 (&rows)[4], std::uint32_t* to, std::int64_t step) {
  for (int i = 0; i < 4; i += 2) {
    const auto pairs = [&rows, i](int r) {
      return vreinterpretq_u32_u16(
          vcombine_u16(vmovn_u32(rows[r].part[i]), vmovn_u32(rows[r].part[i + 1])));
    };
    StoreColumns(pairs(0), pairs(1), pairs(2), pairs(3), to + 2 * i * step, step);
  }
}
inline void StoreQuads(const U32x16 (&rows)[4], std::uint32_t* to, std::int64_t step) {
  const auto quads = [&rows](int r) { return vreinterpretq_u32_u8(LowBytes(rows[r])); };
  StoreColumns(quads(0), quads(1), quads(2), quads(3), to, step);
}

inline float Sum(F32x16 a) {
  const float32x4_t four =
      vaddq_f32(vaddq_f32(a.part[0], a.part[2]), vaddq_f32(a.part[1], a.part[3]));
  const float32x2_t two = vadd_f32(vget_low_f32(four), vget_high_f32(four));
  return vget_lane_f32(two, 0) + vget_lane_f32(two, 1);
}
inline float MaxOfLanes(F32x16 a) {
  float lane[16];
  Store(a, lane);
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) lane[i] = lane[i] > lane[i + half] ? lane[i] : lane[i + half];
  }
  return lane[0];
}

}  // namespace mossrt::cpu::MOSSRT_ISA
