// 16 virtual lanes without vector instructions: arrays. The functions of this header are the
// vocabulary of the kernel texts; avx2.h, avx512.h and neon.h say the same words.
#pragma once

#include <cstdint>

#include "base/half.h"

namespace mossrt::cpu::MOSSRT_ISA {

inline constexpr int kGemmPanels = 1;  // panels and rows of the register tile of the matrix product
inline constexpr int kGemmRows = 1;
inline constexpr int kGemvPanels = 1;  // panels in flight where m = 1
// How far ahead few rows call weights, and a single row; 0: no tile does.
inline constexpr int kTilePrefetchBytes = 0;
inline constexpr int kRowPrefetchBytes = 0;
inline constexpr int kIntPanels = 1;  // the register tile of integer products
inline constexpr int kIntRows = 1;
inline constexpr int kIntRowsOwn = 1;  // and where the rows are so few that memory is waited for
inline constexpr bool kUnpackNibbles = true;
inline constexpr bool kPairRows = false;  // gemm_int_pairs.inl.h, whose words only neon.h has

struct F32x16 {
  float lane[16];
};
struct U32x16 {
  std::uint32_t lane[16];
};
struct Mask16 {
  bool lane[16];
};

template <class Function>
inline F32x16 MakeF32(Function function) {
  F32x16 r;
  for (int i = 0; i < 16; ++i) r.lane[i] = function(i);
  return r;
}
template <class Function>
inline U32x16 MakeU32(Function function) {
  U32x16 r;
  for (int i = 0; i < 16; ++i) r.lane[i] = function(i);
  return r;
}
template <class Function>
inline Mask16 MakeMask(Function function) {
  Mask16 r;
  for (int i = 0; i < 16; ++i) r.lane[i] = function(i);
  return r;
}

#if defined(__FP_FAST_FMAF)
inline float FusedMultiplyAdd(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
#else
// a * b + c rounded once, without a unit for it. The product is exact in double (48 bits). The sum,
// rounded to double, decides the float except where it falls on the middle between two floats (or
// below 2^-126, where middles lie elsewhere); there the sum is first rounded to odd, which 53 >= 2
// * 24 + 2 bits make safe.
inline float FusedMultiplyAdd(float a, float b, float c) {
  const double product = static_cast<double>(a) * static_cast<double>(b);
  const double addend = static_cast<double>(c);
  const double sum = product + addend;
  std::uint64_t bits = __builtin_bit_cast(std::uint64_t, sum);
  const std::uint64_t exponent = (bits >> 52) & 0x7FF;
  if (exponent == 0x7FF) return static_cast<float>(sum);
  if (exponent >= 1023 - 126 && (bits & 0x1FFFFFFF) != 0x10000000) return static_cast<float>(sum);
  const double from_product = sum - addend;
  const double error = (product - from_product) + (addend - (sum - from_product));  // exact
  if (error != 0.0 && (bits & 1) == 0) {
    const bool grows = (error > 0.0) == (sum > 0.0);
    bits = grows ? bits + 1 : bits - 1;
  }
  return static_cast<float>(__builtin_bit_cast(double, bits));
}
#endif

inline float SquareRoot(float x) { return __builtin_sqrtf(x); }
inline void Prefetch(const void* p) { __builtin_prefetch(p, 0, 2); }  // to the second cache

inline F32x16 Set(float x) {
  return MakeF32([=](int) { return x; });
}
inline F32x16 Load(const float* p) {
  return MakeF32([=](int i) { return p[i]; });
}
inline F32x16 LoadAligned(const float* p) { return Load(p); }
inline F32x16 LoadFirst(const float* p, int count) {  // the rest is +0
  return MakeF32([=](int i) { return i < count ? p[i] : 0.0f; });
}
inline void Store(F32x16 a, float* p) {
  for (int i = 0; i < 16; ++i) p[i] = a.lane[i];
}
inline void StoreFirst(F32x16 a, float* p, int count) {
  for (int i = 0; i < count; ++i) p[i] = a.lane[i];
}

inline F32x16 Add(F32x16 a, F32x16 b) {
  return MakeF32([&](int i) { return a.lane[i] + b.lane[i]; });
}
inline F32x16 Sub(F32x16 a, F32x16 b) {
  return MakeF32([&](int i) { return a.lane[i] - b.lane[i]; });
}
inline F32x16 Mul(F32x16 a, F32x16 b) {
  return MakeF32([&](int i) { return a.lane[i] * b.lane[i]; });
}
inline F32x16 Div(F32x16 a, F32x16 b) {
  return MakeF32([&](int i) { return a.lane[i] / b.lane[i]; });
}
inline F32x16 MulAdd(F32x16 a, F32x16 b, F32x16 c) {  // fused: one rounding
  return MakeF32([&](int i) { return FusedMultiplyAdd(a.lane[i], b.lane[i], c.lane[i]); });
}
inline F32x16 Max(F32x16 a, F32x16 b) {  // b where the lanes are equal or unordered, as vmaxps
  return MakeF32([&](int i) { return a.lane[i] > b.lane[i] ? a.lane[i] : b.lane[i]; });
}

inline Mask16 FirstLanes(int count) {
  return MakeMask([=](int i) { return i < count; });
}
inline Mask16 Less(F32x16 a, F32x16 b) {
  return MakeMask([&](int i) { return a.lane[i] < b.lane[i]; });
}
inline Mask16 IsNan(F32x16 a) {
  return MakeMask([&](int i) { return a.lane[i] != a.lane[i]; });
}
inline F32x16 Select(Mask16 mask, F32x16 yes, F32x16 no) {
  return MakeF32([&](int i) { return mask.lane[i] ? yes.lane[i] : no.lane[i]; });
}

inline U32x16 SetBits(std::uint32_t x) {
  return MakeU32([=](int) { return x; });
}
inline U32x16 ToBits(F32x16 a) {
  return MakeU32([&](int i) { return __builtin_bit_cast(std::uint32_t, a.lane[i]); });
}
inline F32x16 FromBits(U32x16 a) {
  return MakeF32([&](int i) { return __builtin_bit_cast(float, a.lane[i]); });
}
inline U32x16 Add(U32x16 a, U32x16 b) {
  return MakeU32([&](int i) { return a.lane[i] + b.lane[i]; });
}
inline U32x16 And(U32x16 a, U32x16 b) {
  return MakeU32([&](int i) { return a.lane[i] & b.lane[i]; });
}
inline U32x16 Or(U32x16 a, U32x16 b) {
  return MakeU32([&](int i) { return a.lane[i] | b.lane[i]; });
}
inline U32x16 Xor(U32x16 a, U32x16 b) {
  return MakeU32([&](int i) { return a.lane[i] ^ b.lane[i]; });
}
template <int kCount>
inline U32x16 ShiftLeft(U32x16 a) {
  return MakeU32([&](int i) { return a.lane[i] << kCount; });
}
template <int kCount>
inline U32x16 ShiftRight(U32x16 a) {
  return MakeU32([&](int i) { return a.lane[i] >> kCount; });
}
// Of every byte: the low half where quad = 0, else the high one.
inline U32x16 Nibbles(U32x16 a, int quad) {
  return And(quad == 0 ? a : ShiftRight<4>(a), SetBits(0x0F0F0F0Fu));
}
inline U32x16 LoadBits(const void* aligned) {
  const auto* words = static_cast<const std::uint32_t*>(aligned);
  return MakeU32([=](int i) { return words[i]; });
}

inline void StoreBits(U32x16 a, void* aligned) {
  auto* words = static_cast<std::uint32_t*>(aligned);
  for (int i = 0; i < 16; ++i) words[i] = a.lane[i];
}
// A line of 64 bytes, past the caches where that is possible. Before other threads may read such
// lines, EndStream.
inline void StreamBits(U32x16 a, void* aligned) { StoreBits(a, aligned); }
inline void EndStream() {}
// Dwords as two's complement integers.
inline F32x16 ToFloat(U32x16 a) {
  return MakeF32([&](int i) { return static_cast<float>(static_cast<std::int32_t>(a.lane[i])); });
}
// The low byte of every dword.
inline void StoreU8(U32x16 a, std::uint8_t* p) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<std::uint8_t>(a.lane[i]);
}

// Four signed bytes that meet the four unsigned bytes of every dword.
struct Quad {
  std::uint32_t bytes;
};
inline Quad SetQuad(std::uint32_t bytes) { return {bytes}; }
// sum + the products of (byte of w - kDotOffset) and byte of x, exact.
inline constexpr std::uint32_t kDotOffset = 0;
inline U32x16 DotBytes(U32x16 w, Quad x, U32x16 sum) {
  return MakeU32([&](int i) {
    std::int32_t total = 0;
    for (unsigned shift = 0; shift < 32; shift += 8) {
      const auto factor = static_cast<std::int8_t>(x.bytes >> shift & 0xFF);
      total += static_cast<std::int32_t>(w.lane[i] >> shift & 0xFF) * factor;
    }
    return sum.lane[i] + static_cast<std::uint32_t>(total);
  });
}
// The same without offset, where no byte of w is above 15.
inline U32x16 DotNibbles(U32x16 w, Quad x, U32x16 sum) { return DotBytes(w, x, sum); }

// 16 bit values: widened to the low half of a dword, and the low half of every dword stored.
inline U32x16 LoadU16(const std::uint16_t* p) {
  return MakeU32([=](int i) { return std::uint32_t{p[i]}; });
}
inline void StoreU16(U32x16 a, std::uint16_t* p) {
  for (int i = 0; i < 16; ++i) p[i] = static_cast<std::uint16_t>(a.lane[i]);
}

// Four rows as columns: dword i of every row side by side at to + i * step. Of each lane all of it,
// or the low 16 bits (two lanes a dword), or the low byte (four lanes).
template <int kDwords>
inline void StoreColumns(const std::uint32_t (&rows)[4][kDwords], std::uint32_t* to,
                         std::int64_t step) {
  for (int i = 0; i < kDwords; ++i) {
    for (int r = 0; r < 4; ++r) to[i * step + r] = rows[r][i];
  }
}
inline void StoreDwords(const U32x16 (&rows)[4], std::uint32_t* to, std::int64_t step) {
  std::uint32_t dwords[4][16];
  for (int r = 0; r < 4; ++r) __builtin_memcpy(dwords[r], rows[r].lane, 64);
  StoreColumns(dwords, to, step);
}
inline void StorePairs(const U32x16 (&rows)[4], std::uint32_t* to, std::int64_t step) {
  std::uint32_t dwords[4][8];
  for (int r = 0; r < 4; ++r) {
    std::uint16_t halves[16];
    StoreU16(rows[r], halves);
    __builtin_memcpy(dwords[r], halves, 32);
  }
  StoreColumns(dwords, to, step);
}
inline void StoreQuads(const U32x16 (&rows)[4], std::uint32_t* to, std::int64_t step) {
  std::uint32_t dwords[4][4];
  for (int r = 0; r < 4; ++r) {
    std::uint8_t bytes[16];
    StoreU8(rows[r], bytes);
    __builtin_memcpy(dwords[r], bytes, 16);
  }
  StoreColumns(dwords, to, step);
}
inline F32x16 LoadF16(const std::uint16_t* p) {
  return MakeF32([=](int i) { return runtime::F16ToF32(p[i]); });
}
inline void StoreF16(F32x16 a, std::uint16_t* p) {
  for (int i = 0; i < 16; ++i) p[i] = runtime::F32ToF16(a.lane[i]);
}

// The one tree of every reduction: lane i with lane i + 8, then 4, 2, 1.
inline float Sum(F32x16 a) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) a.lane[i] += a.lane[i + half];
  }
  return a.lane[0];
}
inline float MaxOfLanes(F32x16 a) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; ++i) {
      a.lane[i] = a.lane[i] > a.lane[i + half] ? a.lane[i] : a.lane[i + half];
    }
  }
  return a.lane[0];
}

}  // namespace mossrt::cpu::MOSSRT_ISA
