// One block of an online softmax.
#pragma once

#include "cpu/kernels/functions.inl.h"
#include "cpu/kernels/reduce.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

// The first n values of x are scaled; returns the largest in each lane.
template <bool kFactors>
inline F32x16 ScaleRow(float* x, int64_t n, F32x16 factor, const float* before) {
  const auto scaled = [factor](F32x16 v, F32x16 own) {
    if constexpr (kFactors) v = Mul(v, own);
    return Mul(v, factor);
  };
  F32x16 highest = Set(-__builtin_inff());
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const F32x16 v = scaled(Load(x + i), kFactors ? Load(before + i) : factor);
    Store(v, x + i);
    highest = Max(v, highest);
  }
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    const F32x16 v =
        scaled(LoadFirst(x + i, rest), kFactors ? LoadFirst(before + i, rest) : factor);
    StoreFirst(v, x + i, rest);
    highest = Max(Select(FirstLanes(rest), v, Set(-__builtin_inff())), highest);
  }
  return highest;
}

// They become powers of e; returns the sum of each lane.
template <bool kFactors>
inline F32x16 RaiseRow(float* x, int64_t n, F32x16 reference, const float* after) {
  F32x16 total = Set(0.0f);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    const F32x16 p = ExpInRange(Sub(Load(x + i), reference));
    Store(kFactors ? Mul(p, Load(after + i)) : p, x + i);
    total = Add(total, p);
  }
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    const F32x16 p = ExpInRange(Sub(LoadFirst(x + i, rest), reference));
    StoreFirst(kFactors ? Mul(p, LoadFirst(after + i, rest)) : p, x + i, rest);
    total = Add(total, Select(FirstLanes(rest), p, Set(0.0f)));
  }
  return total;
}

template <bool kFactors, int R>
inline void SoftmaxRows(float* x, int64_t stride, const int64_t* n, float scale,
                        const float* before, const float* after, float* max, float* sum) {
  F32x16 rows[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r)
    rows[r] = ScaleRow<kFactors>(x + r * stride, n[r], Set(scale), before);
  const F32x16 maxima = MaximaOf(rows);
  StoreFirst(maxima, max, R);
  // A row of -infinity: against the largest finite number every difference is -infinity, every
  // power 0.
  alignas(64) float reference[16];
  Store(Select(Less(Set(-__builtin_inff()), maxima), maxima, Set(__FLT_MAX__)), reference);
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) {
    rows[r] = RaiseRow<kFactors>(x + r * stride, n[r], Set(reference[r]), after);
  }
  StoreFirst(SumsOf(rows), sum, R);
}

template <bool kFactors>
inline void Softmax(float* x, int64_t stride, int64_t m, const int64_t* n, float scale,
                    const float* before, const float* after, float* max, float* sum) {
  int64_t r = 0;
  for (; r + kReducedRows <= m; r += kReducedRows) {
    SoftmaxRows<kFactors, kReducedRows>(x + r * stride, stride, n + r, scale, before, after,
                                        max + r, sum + r);
  }
  for (; r < m; ++r) {
    SoftmaxRows<kFactors, 1>(x + r * stride, stride, n + r, scale, before, after, max + r, sum + r);
  }
}

static void softmax_partial(float* x, int64_t stride, int64_t m, const int64_t* n, float scale,
                            const float* before, const float* after, float* max, float* sum) {
  if (before != nullptr) {
    Softmax<true>(x, stride, m, n, scale, before, after, max, sum);
  } else {
    Softmax<false>(x, stride, m, n, scale, nullptr, nullptr, max, sum);
  }
}

}  // namespace mossrt::cpu::MOSSRT_ISA
