// One block of an online softmax.
#pragma once

#include "cpu/kernels/functions.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

template <bool kFactors>
inline void SoftmaxPartial(float* x, int64_t n, float scale, const float* before,
                           const float* after, float* max, float* sum) {
  const F32x16 factor = Set(scale);
  const F32x16 lowest = Set(-__builtin_inff());
  const int64_t whole = n / 16 * 16;
  const int rest = static_cast<int>(n - whole);
  const Mask16 present = FirstLanes(rest);
  const auto load = [rest](const float* p, bool all) { return all ? Load(p) : LoadFirst(p, rest); };
  const auto store = [rest](F32x16 v, float* p, bool all) {
    all ? Store(v, p) : StoreFirst(v, p, rest);
  };

  F32x16 highest = lowest;
  const auto scaled = [&](int64_t i, bool all) {
    F32x16 v = load(x + i, all);
    if constexpr (kFactors) v = Mul(v, load(before + i, all));
    v = Mul(v, factor);
    store(v, x + i, all);
    return v;
  };
  for (int64_t i = 0; i < whole; i += 16) highest = Max(scaled(i, true), highest);
  if (rest > 0) highest = Max(Select(present, scaled(whole, false), lowest), highest);
  *max = MaxOfLanes(highest);
  // A row of -infinity: against the largest finite number every difference is -infinity, every
  // power 0.
  const F32x16 reference = Set(*max == -__builtin_inff() ? __FLT_MAX__ : *max);

  const auto power = [&](int64_t i, bool all) {
    const F32x16 p = Exp(Sub(load(x + i, all), reference));
    if constexpr (kFactors) {
      store(Mul(p, load(after + i, all)), x + i, all);
    } else {
      store(p, x + i, all);
    }
    return p;
  };
  F32x16 total = Set(0.0f);
  for (int64_t i = 0; i < whole; i += 16) total = Add(total, power(i, true));
  if (rest > 0) total = Add(total, Select(present, power(whole, false), Set(0.0f)));
  *sum = Sum(total);
}

static void softmax_partial(float* x, int64_t n, float scale, const float* before,
                            const float* after, float* max, float* sum) {
  if (before != nullptr) {
    SoftmaxPartial<true>(x, n, scale, before, after, max, sum);
  } else {
    SoftmaxPartial<false>(x, n, scale, nullptr, nullptr, max, sum);
  }
}

}  // namespace mossrt::cpu::MOSSRT_ISA
