// One value at a time: activations, sums and products in place or from one row to another.
#pragma once

#include "cpu/kernels/functions.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

template <class Function>
inline void Apply(const float* x, float* y, int64_t n, Function function) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) Store(function(Load(x + i)), y + i);
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    StoreFirst(function(LoadFirst(x + i, rest)), y + i, rest);
  }
}

template <class Function>
inline void ApplyPair(const float* x, float* y, int64_t n, Function function) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) Store(function(Load(x + i), Load(y + i)), y + i);
  if (i < n) {
    const int rest = static_cast<int>(n - i);
    StoreFirst(function(LoadFirst(x + i, rest), LoadFirst(y + i, rest)), y + i, rest);
  }
}

// x / (1 + e^(-v)). Below `zero_below` the result is -0, also for -infinity, which would give NaN
// otherwise.
inline F32x16 TimesSigmoid(F32x16 x, F32x16 v, float zero_below) {
  const F32x16 result = Div(x, Add(Exp(Negate(v)), Set(1.0f)));
  return Select(Less(x, Set(zero_below)), Set(-0.0f), result);
}

static void gelu_tanh(float* x, int64_t n) {
  Apply(x, x, n, [](F32x16 v) {
    // 2 u = v (2 sqrt(2/pi) + 2 sqrt(2/pi) 0.044715 v^2); at -11 the result is below the
    // subnormals.
    const F32x16 factor = MulAdd(Mul(v, v), Set(0.0713548162726f), Set(1.5957691216057f));
    return TimesSigmoid(v, Mul(v, factor), -12.0f);
  });
}

static void gelu_erf(float* x, int64_t n) {
  Apply(x, x, n, [](F32x16 v) {
    const F32x16 zero_below = Set(-14.0f);  // the tail is 0 from 13.2 on
    F32x16 distance = Absolute(v);
    distance = Select(Less(Set(14.0f), distance), Set(14.0f), distance);
    const F32x16 tail = NormalTail(distance);
    const F32x16 outside = Select(Less(v, Set(0.0f)), tail, Sub(Set(1.0f), tail));
    const F32x16 phi = Select(Less(distance, Set(1.0f)), NormalCentre(v), outside);
    return Select(Less(v, zero_below), Set(-0.0f), Mul(v, phi));
  });
}

static void silu(float* x, int64_t n) {
  Apply(x, x, n, [](F32x16 v) { return TimesSigmoid(v, v, -89.0f); });
}

static void relu(float* x, int64_t n) {
  Apply(x, x, n, [](F32x16 v) { return Select(Less(v, Set(0.0f)), Set(0.0f), v); });
}

static void add(const float* x, int64_t n, float* y) {
  ApplyPair(x, y, n, [](F32x16 a, F32x16 b) { return Add(b, a); });
}

static void multiply(const float* x, int64_t n, float* y) {
  ApplyPair(x, y, n, [](F32x16 a, F32x16 b) { return Mul(b, a); });
}

static void divide(const float* x, float by, int64_t n, float* y) {
  Apply(x, y, n, [by](F32x16 a) { return Div(a, Set(by)); });
}

static void scale_add(const float* x, float b, int64_t n, float a, float* y) {
  ApplyPair(x, y, n, [a, b](F32x16 u, F32x16 v) { return MulAdd(v, Set(a), Mul(u, Set(b))); });
}

}  // namespace mossrt::cpu::MOSSRT_ISA
