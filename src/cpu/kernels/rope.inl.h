// Half-split rotary embedding.
#pragma once

#include "cpu/kernels/functions.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

struct Rotated {
  F32x16 first, second;
};
inline Rotated Rotate(F32x16 a, F32x16 b, F32x16 cosine, F32x16 sine) {
  return {MulAdd(a, cosine, Negate(Mul(b, sine))), MulAdd(b, cosine, Mul(a, sine))};
}

static void rope(float* x, int64_t heads, int64_t head_dim, int64_t rotary_dim, const float* cos,
                 const float* sin) {
  const int64_t half = rotary_dim / 2;
  const int64_t whole = half / 16 * 16;
  const int rest = static_cast<int>(half - whole);
  for (int64_t head = 0; head < heads; ++head) {
    float* a = x + head * head_dim;
    float* b = a + half;
    for (int64_t i = 0; i < whole; i += 16) {
      const Rotated r = Rotate(Load(a + i), Load(b + i), Load(cos + i), Load(sin + i));
      Store(r.first, a + i);
      Store(r.second, b + i);
    }
    if (rest > 0) {
      const Rotated r = Rotate(LoadFirst(a + whole, rest), LoadFirst(b + whole, rest),
                               LoadFirst(cos + whole, rest), LoadFirst(sin + whole, rest));
      StoreFirst(r.first, a + whole, rest);
      StoreFirst(r.second, b + whole, rest);
    }
  }
}

}  // namespace mossrt::cpu::MOSSRT_ISA
