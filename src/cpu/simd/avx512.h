// 16 virtual lanes on AVX-512: one register. scalar.h explains the words.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace mossrt::cpu::MOSSRT_ISA {

inline constexpr int kGemmPanels = 2;  // 24 accumulators, 2 weights, a factor: 27 of 32 registers
inline constexpr int kGemmRows = 12;
// One stream reaches 96 to 103 % of the bandwidth probe in f32 and bf16, two 75 to 94.
inline constexpr int kGemvPanels = 1;
inline constexpr int kTilePrefetchBytes = 8192;
inline constexpr int kRowPrefetchBytes = 1024;
inline constexpr int kIntPanels = 2;
#if defined(__AVX512VNNI__)
inline constexpr int kIntRows = 6;             // 12 accumulators, 12 chains, 2 weights, a factor
inline constexpr bool kUnpackNibbles = false;  // in registers, beside the products
#else
inline constexpr bool kUnpackNibbles = true;
inline constexpr int kIntRows = 4;  // 8 and 8, 4 halves of weights, a factor's two, products
#endif
inline constexpr int kIntRowsOwn = 12;
inline constexpr bool kPairRows = false;

struct F32x16 {
  __m512 v;
};
struct U32x16 {
  __m512i v;
};
struct Mask16 {
  __mmask16 v;
};

inline float SquareRoot(float x) { return __builtin_sqrtf(x); }
inline void Prefetch(const void* p) { __builtin_prefetch(p, 0, 2); }

inline Mask16 FirstLanes(int count) {
  return {static_cast<__mmask16>((std::uint32_t{1} << count) - 1u)};
}

inline F32x16 Set(float x) { return {_mm512_set1_ps(x)}; }
inline F32x16 Load(const float* p) { return {_mm512_loadu_ps(p)}; }
inline F32x16 LoadAligned(const float* p) { return {_mm512_load_ps(p)}; }
inline F32x16 LoadFirst(const float* p, int count) {
  return {_mm512_maskz_loadu_ps(FirstLanes(count).v, p)};
}
inline void Store(F32x16 a, float* p) { _mm512_storeu_ps(p, a.v); }
inline void StoreFirst(F32x16 a, float* p, int count) {
  _mm512_mask_storeu_ps(p, FirstLanes(count).v, a.v);
}

inline F32x16 Add(F32x16 a, F32x16 b) { return {_mm512_add_ps(a.v, b.v)}; }
inline F32x16 Sub(F32x16 a, F32x16 b) { return {_mm512_sub_ps(a.v, b.v)}; }
inline F32x16 Mul(F32x16 a, F32x16 b) { return {_mm512_mul_ps(a.v, b.v)}; }
inline F32x16 Div(F32x16 a, F32x16 b) { return {_mm512_div_ps(a.v, b.v)}; }
inline F32x16 Max(F32x16 a, F32x16 b) { return {_mm512_max_ps(a.v, b.v)}; }
inline F32x16 MulAdd(F32x16 a, F32x16 b, F32x16 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }

inline F32x16 TimesPowerOfTwo(F32x16 p, F32x16, F32x16 n) { return {_mm512_scalef_ps(p.v, n.v)}; }

inline Mask16 Less(F32x16 a, F32x16 b) { return {_mm512_cmp_ps_mask(a.v, b.v, _CMP_LT_OQ)}; }
inline Mask16 IsNan(F32x16 a) { return {_mm512_cmp_ps_mask(a.v, a.v, _CMP_UNORD_Q)}; }
inline F32x16 Select(Mask16 mask, F32x16 yes, F32x16 no) {
  return {_mm512_mask_blend_ps(mask.v, no.v, yes.v)};
}

inline U32x16 SetBits(std::uint32_t x) { return {_mm512_set1_epi32(static_cast<int>(x))}; }
inline U32x16 ToBits(F32x16 a) { return {_mm512_castps_si512(a.v)}; }
inline F32x16 FromBits(U32x16 a) { return {_mm512_castsi512_ps(a.v)}; }
inline U32x16 Add(U32x16 a, U32x16 b) { return {_mm512_add_epi32(a.v, b.v)}; }
inline U32x16 And(U32x16 a, U32x16 b) { return {_mm512_and_si512(a.v, b.v)}; }
inline U32x16 Or(U32x16 a, U32x16 b) { return {_mm512_or_si512(a.v, b.v)}; }
inline U32x16 Xor(U32x16 a, U32x16 b) { return {_mm512_xor_si512(a.v, b.v)}; }
template <unsigned kCount>
inline U32x16 ShiftLeft(U32x16 a) {
  return {_mm512_slli_epi32(a.v, kCount)};
}
template <unsigned kCount>
inline U32x16 ShiftRight(U32x16 a) {
  return {_mm512_srli_epi32(a.v, kCount)};
}
inline U32x16 Nibbles(U32x16 a, int quad) {
  return And(quad == 0 ? a : ShiftRight<4>(a), SetBits(0x0F0F0F0Fu));
}
inline U32x16 LoadBits(const void* aligned) { return {_mm512_load_si512(aligned)}; }

inline void StoreBits(U32x16 a, void* aligned) { _mm512_store_si512(aligned, a.v); }
inline void StreamBits(U32x16 a, void* aligned) {
  _mm512_stream_si512(static_cast<__m512i*>(aligned), a.v);
}
inline void EndStream() { _mm_sfence(); }
inline F32x16 ToFloat(U32x16 a) { return {_mm512_cvtepi32_ps(a.v)}; }
inline void StoreU8(U32x16 a, std::uint8_t* p) {
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(a.v));
}

struct Quad {
  __m512i v;
};
inline Quad SetQuad(std::uint32_t bytes) { return {_mm512_set1_epi32(static_cast<int>(bytes))}; }
inline constexpr std::uint32_t kDotOffset = 0;
#if defined(__AVX512VNNI__)
// Assembly: through the intrinsic g++ 12 moves every accumulator to the stack and back.
inline U32x16 DotBytes(U32x16 w, Quad x, U32x16 sum) {
  __asm__("vpdpbusd %2, %1, %0" : "+v"(sum.v) : "v"(w.v), "v"(x.v));
  return sum;
}
inline U32x16 DotNibbles(U32x16 w, Quad x, U32x16 sum) { return DotBytes(w, x, sum); }
#else
// Assembly for the same reason.
inline U32x16 AddInPlace(U32x16 sum, __m512i more) {
  __asm__("vpaddd %1, %0, %0" : "+v"(sum.v) : "v"(more));
  return sum;
}
// In 16 bits two products of bytes may not fit (255 x 127 x 2), but each with its neighbour but one
// in 32.
inline U32x16 DotBytes(U32x16 w, Quad x, U32x16 sum) {
  const __m512i even = _mm512_madd_epi16(_mm512_maskz_mov_epi8(0x5555555555555555, w.v),
                                         _mm512_srai_epi16(_mm512_slli_epi16(x.v, 8), 8));
  const __m512i odd = _mm512_madd_epi16(_mm512_srli_epi16(w.v, 8), _mm512_srai_epi16(x.v, 8));
  return AddInPlace(sum, _mm512_add_epi32(even, odd));
}
inline U32x16 DotNibbles(U32x16 w, Quad x, U32x16 sum) {  // 15 x 127 x 2 fits
  const __m512i pairs = _mm512_maddubs_epi16(w.v, x.v);
  return AddInPlace(sum, _mm512_madd_epi16(pairs, _mm512_set1_epi16(1)));
}
#endif

inline U32x16 LoadU16(const std::uint16_t* p) {
  return {_mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline void StoreU16(U32x16 a, std::uint16_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(a.v));
}
inline F32x16 LoadF16(const std::uint16_t* p) {
  return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
}
inline void StoreF16(F32x16 a, std::uint16_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p),
                      _mm512_cvtps_ph(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
}

// The dwords of four rows, `kDwords` of each, as columns `step` apart.
template <int kDwords>
inline void StoreColumns(const __m256i (&rows)[4], std::uint32_t* to, std::int64_t step) {
  const __m256i low01 = _mm256_unpacklo_epi32(rows[0], rows[1]);
  const __m256i high01 = _mm256_unpackhi_epi32(rows[0], rows[1]);
  const __m256i low23 = _mm256_unpacklo_epi32(rows[2], rows[3]);
  const __m256i high23 = _mm256_unpackhi_epi32(rows[2], rows[3]);
  const __m256i columns[4] = {
      _mm256_unpacklo_epi64(low01, low23), _mm256_unpackhi_epi64(low01, low23),
      _mm256_unpacklo_epi64(high01, high23), _mm256_unpackhi_epi64(high01, high23)};
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {
    const auto column = [to, step](int dword) {
      return reinterpret_cast<__m128i*>(to + dword * step);
    };
    _mm_storeu_si128(column(i), _mm256_castsi256_si128(columns[i]));
    if constexpr (kDwords > 4) {
      _mm_storeu_si128(column(4 + i), _mm256_extracti128_si256(columns[i], 1));
    }
  }
}
inline void StoreDwords(const U32x16 (&rows)[4], std::uint32_t* to, std::int64_t step) {
  const auto low = [&rows](int r) { return _mm512_castsi512_si256(rows[r].v); };
  const auto high = [&rows](int r) { return _mm512_extracti32x8_epi32(rows[r].v, 1); };
  StoreColumns<8>({low(0), low(1), low(2), low(3)}, to, step);
  StoreColumns<8>({high(0), high(1), high(2), high(3)}, to + 8 * step, step);
}
inline void StorePairs(const U32x16 (&rows)[4], std::uint32_t* to, std::int64_t step) {
  const auto pairs = [&rows](int r) { return _mm512_cvtepi32_epi16(rows[r].v); };
  StoreColumns<8>({pairs(0), pairs(1), pairs(2), pairs(3)}, to, step);
}
inline void StoreQuads(const U32x16 (&rows)[4], std::uint32_t* to, std::int64_t step) {
  const auto quads = [&rows](int r) {
    return _mm256_castsi128_si256(_mm512_cvtepi32_epi8(rows[r].v));
  };
  StoreColumns<4>({quads(0), quads(1), quads(2), quads(3)}, to, step);
}

#if defined(__AVX512BF16__)
struct Bf16x16 {
  __m256i v;
};
inline Bf16x16 FactorBits(F32x16 x) {
  return {__builtin_bit_cast(__m256i, _mm512_cvtneps_pbh(x.v))};
}
inline void StorePairs(const Bf16x16 (&rows)[4], std::uint32_t* to, std::int64_t step) {
  StoreColumns<8>({rows[0].v, rows[1].v, rows[2].v, rows[3].v}, to, step);
}
inline void StoreU16(Bf16x16 a, std::uint16_t* p) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), a.v);
}

// sum + a.high * b.high + a.low * b.low over bf16 pairs, subnormals flushed, rounded after each
// addition.
inline F32x16 PairMulAdd(U32x16 a, U32x16 b, F32x16 sum) {
  return {_mm512_dpbf16_ps(sum.v, __builtin_bit_cast(__m512bh, a.v),
                           __builtin_bit_cast(__m512bh, b.v))};
}
#endif

inline __m256 LowHalf(F32x16 a) { return _mm512_castps512_ps256(a.v); }
inline __m256 HighHalf(F32x16 a) { return _mm512_extractf32x8_ps(a.v, 1); }
inline float Sum(F32x16 a) {
  const __m256 eight = _mm256_add_ps(LowHalf(a), HighHalf(a));
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
inline float MaxOfLanes(F32x16 a) {
  const __m256 eight = _mm256_max_ps(LowHalf(a), HighHalf(a));
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
}

// Four rows side by side, each by the tree of the two above: the result of row r in lane r.
template <class Two>
inline F32x16 ReduceRows(const F32x16 (&rows)[4], Two two) {
  const auto halves = [two](__m512 a, __m512 b) {
    return two(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xEE));
  };
  const __m512 ab = halves(rows[0].v, rows[1].v), cd = halves(rows[2].v, rows[3].v);
  const __m512 four = two(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xDD));
  const __m512 pair = two(four, _mm512_permute_ps(four, 0x4E));
  const __m512 one = two(pair, _mm512_movehdup_ps(pair));
  return {_mm512_maskz_compress_ps(0x1111, one)};
}
inline F32x16 MaximaOf(const F32x16 (&rows)[4]) {
  return ReduceRows(rows, [](__m512 a, __m512 b) { return _mm512_max_ps(a, b); });
}
inline F32x16 SumsOf(const F32x16 (&rows)[4]) {
  return ReduceRows(rows, [](__m512 a, __m512 b) { return _mm512_add_ps(a, b); });
}

}  // namespace mossrt::cpu::MOSSRT_ISA
