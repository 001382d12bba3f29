// float16 and bfloat16 to float32 and back.
#pragma once

#include "cpu/kernels/bf16.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

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
