// One block of an online softmax.
#pragma once

#include "cpu/kernels/functions.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

static void softmax_partial(float* x, int64_t n, float scale, float* max, float* sum) {
  const F32x16 factor = Set(scale);
  const F32x16 lowest = Set(-__builtin_inff());
  const int64_t whole = n / 16 * 16;
  const int rest = static_cast<int>(n - whole);
  const Mask16 present = FirstLanes(rest);

  F32x16 highest = lowest;
  for (int64_t i = 0; i < whole; i += 16) highest = Max(Mul(Load(x + i), factor), highest);
  if (rest > 0) {
    const F32x16 v = Mul(LoadFirst(x + whole, rest), factor);
    highest = Max(Select(present, v, lowest), highest);
  }
  *max = MaxOfLanes(highest);
  // A row of -infinity: against the largest finite number every difference is -infinity, every
  // power 0.
  const F32x16 reference = Set(*max == -__builtin_inff() ? __FLT_MAX__ : *max);

  F32x16 total = Set(0.0f);
  for (int64_t i = 0; i < whole; i += 16) {
    const F32x16 power = Exp(Sub(Mul(Load(x + i), factor), reference));
    total = Add(total, power);
    Store(power, x + i);
  }
  if (rest > 0) {
    const F32x16 v = LoadFirst(x + whole, rest);
    const F32x16 power = Exp(Sub(Mul(v, factor), reference));
    total = Add(total, Select(present, power, Set(0.0f)));
    StoreFirst(power, x + whole, rest);
  }
  *sum = Sum(total);
}

}  // namespace mossrt::cpu::MOSSRT_ISA
