// float16 and bfloat16 to float32 and back.
#pragma once

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

// The low 16 bits of every lane: x rounded to bf16, to nearest even; NaN becomes quiet.
inline U32x16 Bf16Bits(F32x16 x) {
  const U32x16 bits = ToBits(x);
  const U32x16 odd = And(ShiftRight<16>(bits), SetBits(1));
  const U32x16 rounded = Add(bits, Add(odd, SetBits(0x7FFF)));
  const U32x16 quiet = Or(bits, SetBits(0x400000));
  return ShiftRight<16>(ToBits(Select(IsNan(x), FromBits(quiet), FromBits(rounded))));
}

inline F32x16 RoundToBf16(F32x16 x) { return FromBits(ShiftLeft<16>(Bf16Bits(x))); }

// The last n mod 16 values pass through buffers of 16, so that they take the same instructions as
// the others.
template <class From, class To, class Convert>
inline void ConvertAll(const From* x, int64_t n, To* y, Convert convert) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) convert(x + i, y + i);
  if (i == n) return;
  From from[16] = {};
  To to[16];
  for (int64_t j = i; j < n; ++j) from[j - i] = x[j];
  convert(from, to);
  for (int64_t j = i; j < n; ++j) y[j] = to[j - i];
}

static void f16_to_f32(const uint16_t* x, int64_t n, float* y) {
  ConvertAll(x, n, y, [](const uint16_t* from, float* to) { Store(LoadF16(from), to); });
}

static void bf16_to_f32(const uint16_t* x, int64_t n, float* y) {
  ConvertAll(x, n, y, [](const uint16_t* from, float* to) {
    Store(FromBits(ShiftLeft<16>(LoadU16(from))), to);
  });
}

static void f32_to_f16(const float* x, int64_t n, uint16_t* y) {
  ConvertAll(x, n, y, [](const float* from, uint16_t* to) { StoreF16(Load(from), to); });
}

static void f32_to_bf16(const float* x, int64_t n, uint16_t* y) {
  ConvertAll(x, n, y, [](const float* from, uint16_t* to) { StoreU16(Bf16Bits(Load(from)), to); });
}

}  // namespace mossrt::cpu::MOSSRT_ISA
