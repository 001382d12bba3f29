// LayerNorm and RMSNorm over one row; sums in 16 lanes and one tree.
#pragma once

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

static void layer_norm(const float* x, const float* weight, const float* bias, float epsilon,
                       int64_t n, float* y) {
  const int64_t whole = n / 16 * 16;
  const int rest = static_cast<int>(n - whole);
  F32x16 sum = Set(0.0f);
  for (int64_t i = 0; i < whole; i += 16) sum = Add(sum, Load(x + i));
  if (rest > 0) sum = Add(sum, LoadFirst(x + whole, rest));
  const float count = static_cast<float>(n);
  const F32x16 mean = Set(Sum(sum) / count);

  F32x16 squares = Set(0.0f);
  for (int64_t i = 0; i < whole; i += 16) {
    const F32x16 d = Sub(Load(x + i), mean);
    squares = MulAdd(d, d, squares);
  }
  if (rest > 0) {
    const F32x16 d = Select(FirstLanes(rest), Sub(LoadFirst(x + whole, rest), mean), Set(0.0f));
    squares = MulAdd(d, d, squares);
  }
  const F32x16 scale = Set(1.0f / SquareRoot(Sum(squares) / count + epsilon));

  const auto normalized = [=](F32x16 v) { return Mul(Sub(v, mean), scale); };
  if (bias == nullptr) {
    for (int64_t i = 0; i < whole; i += 16) {
      Store(Mul(normalized(Load(x + i)), Load(weight + i)), y + i);
    }
    if (rest > 0) {
      const F32x16 v = normalized(LoadFirst(x + whole, rest));
      StoreFirst(Mul(v, LoadFirst(weight + whole, rest)), y + whole, rest);
    }
    return;
  }
  for (int64_t i = 0; i < whole; i += 16) {
    Store(MulAdd(normalized(Load(x + i)), Load(weight + i), Load(bias + i)), y + i);
  }
  if (rest > 0) {
    const F32x16 v = normalized(LoadFirst(x + whole, rest));
    const F32x16 w = LoadFirst(weight + whole, rest);
    StoreFirst(MulAdd(v, w, LoadFirst(bias + whole, rest)), y + whole, rest);
  }
}

static void rms_norm(const float* x, const float* weight, float epsilon, int64_t n, float* y) {
  const int64_t whole = n / 16 * 16;
  const int rest = static_cast<int>(n - whole);
  F32x16 squares = Set(0.0f);
  for (int64_t i = 0; i < whole; i += 16) {
    const F32x16 v = Load(x + i);
    squares = MulAdd(v, v, squares);
  }
  if (rest > 0) {
    const F32x16 v = LoadFirst(x + whole, rest);
    squares = MulAdd(v, v, squares);
  }
  const float mean = Sum(squares) / static_cast<float>(n);
  const F32x16 scale = Set(1.0f / SquareRoot(mean + epsilon));
  for (int64_t i = 0; i < whole; i += 16) {
    Store(Mul(Mul(Load(x + i), scale), Load(weight + i)), y + i);
  }
  if (rest > 0) {
    const F32x16 v = Mul(LoadFirst(x + whole, rest), scale);
    StoreFirst(Mul(v, LoadFirst(weight + whole, rest)), y + whole, rest);
  }
}

}  // namespace mossrt::cpu::MOSSRT_ISA
