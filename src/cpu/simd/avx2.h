// 16 virtual lanes on AVX2 + FMA + F16C: two registers. scalar.h explains the words.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace mossrt::cpu::MOSSRT_ISA {

inline constexpr int kGemmPanels = 1;  // 12 accumulators, 2 weights, a factor: 15 of 16 registers
inline constexpr int kGemmRows = 6;
inline constexpr int kGemvPanels = 2;
inline constexpr int kTilePrefetchBytes = 8192;
inline constexpr int kRowPrefetchBytes = 1024;
inline constexpr int kIntPanels = 1;  // 8 accumulators, 4 halves of weights, a factor's two
inline constexpr int kIntRows = 4;
inline constexpr int kIntRowsOwn = 4;
inline constexpr bool kPairRows = false;
inline constexpr bool kUnpackNibbles = true;

struct F32x16 {
  __m256 lo, hi;
};
struct U32x16 {
  __m256i lo, hi;
};
struct Mask16 {
  __m256 lo, hi;
};

inline float SquareRoot(float x) { return __builtin_sqrtf(x); }
inline void Prefetch(const void* p) { __builtin_prefetch(p, 0, 2); }

inline Mask16 FirstLanes(int count) {
  const __m256i n = _mm256_set1_epi32(count);
  return {
      _mm256_castsi256_ps(_mm256_cmpgt_epi32(n, _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))),
      _mm256_castsi256_ps(_mm256_cmpgt_epi32(n, _mm256_setr_epi32(8, 9, 10, 11, 12, 13, 14, 15)))};
}

inline F32x16 Set(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
inline F32x16 Load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
inline F32x16 LoadAligned(const float* p) { return {_mm256_load_ps(p), _mm256_load_ps(p + 8)}; }
inline F32x16 LoadFirst(const float* p, int count) {
  const Mask16 mask = FirstLanes(count);
  return {_mm256_maskload_ps(p, _mm256_castps_si256(mask.lo)),
          _mm256_maskload_ps(p + 8, _mm256_castps_si256(mask.hi))};
}
inline void Store(F32x16 a, float* p) {
  _mm256_storeu_ps(p, a.lo);
  _mm256_storeu_ps(p + 8, a.hi);
}
inline void StoreFirst(F32x16 a, float* p, int count) {
  const Mask16 mask = FirstLanes(count);
  _mm256_maskstore_ps(p, _mm256_castps_si256(mask.lo), a.lo);
  _mm256_maskstore_ps(p + 8, _mm256_castps_si256(mask.hi), a.hi);
}

inline F32x16 Add(F32x16 a, F32x16 b) {
  return {_mm256_add_ps(a.lo, b.lo), _mm256_add_ps(a.hi, b.hi)};
}
inline F32x16 Sub(F32x16 a, F32x16 b) {
  return {_mm256_sub_ps(a.lo, b.lo), _mm256_sub_ps(a.hi, b.hi)};
}
inline F32x16 Mul(F32x16 a, F32x16 b) {
  return {_mm256_mul_ps(a.lo, b.lo), _mm256_mul_ps(a.hi, b.hi)};
}
inline F32x16 Div(F32x16 a, F32x16 b) {
  return {_mm256_div_ps(a.lo, b.lo), _mm256_div_ps(a.hi, b.hi)};
}
inline F32x16 Max(F32x16 a, F32x16 b) {
  return {_mm256_max_ps(a.lo, b.lo), _mm256_max_ps(a.hi, b.hi)};
}
inline F32x16 MulAdd(F32x16 a, F32x16 b, F32x16 c) {
  return {_mm256_fmadd_ps(a.lo, b.lo, c.lo), _mm256_fmadd_ps(a.hi, b.hi, c.hi)};
}

inline Mask16 Less(F32x16 a, F32x16 b) {
  return {_mm256_cmp_ps(a.lo, b.lo, _CMP_LT_OQ), _mm256_cmp_ps(a.hi, b.hi, _CMP_LT_OQ)};
}
inline Mask16 IsNan(F32x16 a) {
  return {_mm256_cmp_ps(a.lo, a.lo, _CMP_UNORD_Q), _mm256_cmp_ps(a.hi, a.hi, _CMP_UNORD_Q)};
}
inline F32x16 Select(Mask16 mask, F32x16 yes, F32x16 no) {
  return {_mm256_blendv_ps(no.lo, yes.lo, mask.lo), _mm256_blendv_ps(no.hi, yes.hi, mask.hi)};
}

inline U32x16 SetBits(std::uint32_t x) {
  return {_mm256_set1_epi32(static_cast<int>(x)), _mm256_set1_epi32(static_cast<int>(x))};
}
inline U32x16 ToBits(F32x16 a) { return {_mm256_castps_si256(a.lo), _mm256_castps_si256(a.hi)}; }
inline F32x16 FromBits(U32x16 a) { return {_mm256_castsi256_ps(a.lo), _mm256_castsi256_ps(a.hi)}; }
inline U32x16 Add(U32x16 a, U32x16 b) {
  return {_mm256_add_epi32(a.lo, b.lo), _mm256_add_epi32(a.hi, b.hi)};
}
inline U32x16 And(U32x16 a, U32x16 b) {
  return {_mm256_and_si256(a.lo, b.lo), _mm256_and_si256(a.hi, b.hi)};
}
inline U32x16 Or(U32x16 a, U32x16 b) {
  return {_mm256_or_si256(a.lo, b.lo), _mm256_or_si256(a.hi, b.hi)};
}
inline U32x16 Xor(U32x16 a, U32x16 b) {
  return {_mm256_xor_si256(a.lo, b.lo), _mm256_xor_si256(a.hi, b.hi)};
}
template <int kCount>
inline U32x16 ShiftLeft(U32x16 a) {
  return {_mm256_slli_epi32(a.lo, kCount), _mm256_slli_epi32(a.hi, kCount)};
}
template <int kCount>
inline U32x16 ShiftRight(U32x16 a) {
  return {_mm256_srli_epi32(a.lo, kCount), _mm256_srli_epi32(a.hi, kCount)};
}
inline U32x16 Nibbles(U32x16 a, int quad) {
  return And(quad == 0 ? a : ShiftRight<4>(a), SetBits(0x0F0F0F0Fu));
}
inline U32x16 LoadBits(const void* aligned) {
  const auto* p = static_cast<const __m256i*>(aligned);
  return {_mm256_load_si256(p), _mm256_load_si256(p + 1)};
}

inline void StoreBits(U32x16 a, void* aligned) {
  auto* p = static_cast<__m256i*>(aligned);
  _mm256_store_si256(p, a.lo);
  _mm256_store_si256(p + 1, a.hi);
}
inline void StreamBits(U32x16 a, void* aligned) {
  auto* p = static_cast<__m256i*>(aligned);
  _mm256_stream_si256(p, a.lo);
  _mm256_stream_si256(p + 1, a.hi);
}
inline void EndStream() { _mm_sfence(); }
inline F32x16 ToFloat(U32x16 a) { return {_mm256_cvtepi32_ps(a.lo), _mm256_cvtepi32_ps(a.hi)}; }
// The low byte of each dword to the front of its 128-bit half.
inline __m256i LowBytes(__m256i a) {
  return _mm256_shuffle_epi8(
      a, _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12,
                          -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
}
inline void StoreU8(U32x16 a, std::uint8_t* p) {
  const __m256i dwords = _mm256_setr_epi32(0, 4, 1, 1, 1, 1, 1, 1);
  const __m256i lo = _mm256_permutevar8x32_epi32(LowBytes(a.lo), dwords);
  const __m256i hi = _mm256_permutevar8x32_epi32(LowBytes(a.hi), dwords);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm256_castsi256_si128(lo));
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p + 8), _mm256_castsi256_si128(hi));
}

struct Quad {
  __m256i v;
};
inline Quad SetQuad(std::uint32_t bytes) { return {_mm256_set1_epi32(static_cast<int>(bytes))}; }
// Assembly: otherwise g++ 12 makes many products before it adds any, and they spill.
inline __m256i AddInPlace(__m256i sum, __m256i more) {
  __asm__("vpaddd %1, %0, %0" : "+x"(sum) : "x"(more));
  return sum;
}
// 255 x 127 x 2 would not fit in 16 bits, but 128 x 127 x 2 does: 128 is taken off every byte of w,
// and the sign of what is left goes over to x.
inline constexpr std::uint32_t kDotOffset = 128;
inline U32x16 DotBytes(U32x16 w, Quad x, U32x16 sum) {
  const __m256i offset = _mm256_set1_epi8(-128);
  const auto half = [&](__m256i bytes, __m256i start) {
    const __m256i w_signed = _mm256_xor_si256(bytes, offset);
    const __m256i pairs =
        _mm256_maddubs_epi16(_mm256_abs_epi8(w_signed), _mm256_sign_epi8(x.v, w_signed));
    return AddInPlace(start, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  };
  return {half(w.lo, sum.lo), half(w.hi, sum.hi)};
}
inline U32x16 DotNibbles(U32x16 w, Quad x, U32x16 sum) {  // 15 x 127 x 2 fits
  const auto half = [&](__m256i bytes, __m256i start) {
    const __m256i pairs = _mm256_maddubs_epi16(bytes, x.v);
    return AddInPlace(start, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  };
  return {half(w.lo, sum.lo), half(w.hi, sum.hi)};
}

inline U32x16 LoadU16(const std::uint16_t* p) {
  const auto* half = reinterpret_cast<const __m128i*>(p);
  return {_mm256_cvtepu16_epi32(_mm_loadu_si128(half)),
          _mm256_cvtepu16_epi32(_mm_loadu_si128(half + 1))};
}
inline void StoreU16(U32x16 a, std::uint16_t* p) {
  // packus works within 128-bit halves: its quarters come out as 0 2 1 3.
  const __m256i low_words = _mm256_set1_epi32(0xFFFF);
  const __m256i packed =
      _mm256_packus_epi32(_mm256_and_si256(a.lo, low_words), _mm256_and_si256(a.hi, low_words));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm256_permute4x64_epi64(packed, 0xD8));
}
inline F32x16 LoadF16(const std::uint16_t* p) {
  const auto* half = reinterpret_cast<const __m128i*>(p);
  return {_mm256_cvtph_ps(_mm_loadu_si128(half)), _mm256_cvtph_ps(_mm_loadu_si128(half + 1))};
}
inline void StoreF16(F32x16 a, std::uint16_t* p) {
  auto* half = reinterpret_cast<__m128i*>(p);
  _mm_storeu_si128(half, _mm256_cvtps_ph(a.lo, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  _mm_storeu_si128(half + 1, _mm256_cvtps_ph(a.hi, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

// `count` dwords of the lower halves of four rows as columns at `low`, of the upper at `high`.
inline void StoreColumns(__m256i row0, __m256i row1, __m256i row2, __m256i row3, int count,
                         std::uint32_t* low, std::uint32_t* high, std::int64_t step) {
  const __m256i low01 = _mm256_unpacklo_epi32(row0, row1),
                high01 = _mm256_unpackhi_epi32(row0, row1);
  const __m256i low23 = _mm256_unpacklo_epi32(row2, row3),
                high23 = _mm256_unpackhi_epi32(row2, row3);
  const __m256i parts[4] = {
      _mm256_unpacklo_epi64(low01, low23), _mm256_unpackhi_epi64(low01, low23),
      _mm256_unpacklo_epi64(high01, high23), _mm256_unpackhi_epi64(high01, high23)};
#pragma GCC unroll 4
  for (int i = 0; i < count; ++i) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(low + i * step), _mm256_castsi256_si128(parts[i]));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(high + i * step),
                     _mm256_extracti128_si256(parts[i], 1));
  }
}
inline void StoreDwords(const U32x16 (&rows)[4], std::uint32_t* to, std::int64_t step) {
  StoreColumns(rows[0].lo, rows[1].lo, rows[2].lo, rows[3].lo, 4, to, to + 4 * step, step);
  StoreColumns(rows[0].hi, rows[1].hi, rows[2].hi, rows[3].hi, 4, to + 8 * step, to + 12 * step,
               step);
}
inline void StorePairs(const U32x16 (&rows)[4], std::uint32_t* to, std::int64_t step) {
  const __m256i low16 = _mm256_set1_epi32(0xFFFF);
  const auto pairs = [&](int r) {
    const __m256i mixed = _mm256_packus_epi32(_mm256_and_si256(rows[r].lo, low16),
                                              _mm256_and_si256(rows[r].hi, low16));
    return _mm256_permute4x64_epi64(mixed, 0xD8);  // lanes 0-3, 8-11, 4-7, 12-15 into order
  };
  StoreColumns(pairs(0), pairs(1), pairs(2), pairs(3), 4, to, to + 4 * step, step);
}
inline void StoreQuads(const U32x16 (&rows)[4], std::uint32_t* to, std::int64_t step) {
  // Of every 128 bits of a row one dword of bytes.
  StoreColumns(LowBytes(rows[0].lo), LowBytes(rows[1].lo), LowBytes(rows[2].lo),
               LowBytes(rows[3].lo), 1, to, to + step, step);
  StoreColumns(LowBytes(rows[0].hi), LowBytes(rows[1].hi), LowBytes(rows[2].hi),
               LowBytes(rows[3].hi), 1, to + 2 * step, to + 3 * step, step);
}

inline float Sum(F32x16 a) {
  const __m256 eight = _mm256_add_ps(a.lo, a.hi);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float MaxOfLanes(F32x16 a) {
  const __m256 eight = _mm256_max_ps(a.lo, a.hi);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

}  // namespace mossrt::cpu::MOSSRT_ISA
