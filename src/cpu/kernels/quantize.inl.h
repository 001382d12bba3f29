// Rounding to integers: inputs of the integer products, and weights.
#pragma once

#include "cpu/kernels/functions.inl.h"
#include "cpu/kernels/reduce.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

// Adding and taking off 1.5 * 2^23 rounds |x| < 2^22 to an integer, ties to even; its bits hold the
// integer in their low half.
inline constexpr float kRoundingMagic = 12582912.0f;

template <class Function>
inline void ForSixteens(const float* x, int64_t n, Function function) {
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) function(i, Load(x + i));
  if (i < n) function(i, LoadFirst(x + i, static_cast<int>(n - i)));
}

// The low bytes of each row as four dwords, `step` apart, beside those of the other rows.
inline void StoreQuads(const U32x16 (&rows)[1], uint32_t* to, int64_t step) {
  alignas(16) uint8_t bytes[16];
  StoreU8(rows[0], bytes);
#pragma GCC unroll 4
  for (int64_t quad = 0; quad < 4; ++quad) __builtin_memcpy(to + quad * step, bytes + 4 * quad, 4);
}

// How R rows of n values become integers: row r in lane r.
struct Steps {
  alignas(64) float inverse[16], scale[16];
};

template <int R>
inline Steps StepsOf(const float* x, int64_t stride, int64_t n) {
  F32x16 most[R];
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) most[r] = Set(0.0f);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) most[r] = Max(Absolute(Load(x + r * stride + i)), most[r]);
  }
  if (i < n) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) {
      most[r] = Max(Absolute(LoadFirst(x + r * stride + i, static_cast<int>(n - i))), most[r]);
    }
  }
  const F32x16 largest = MaximaOf(most);
  const Mask16 nothing = Less(largest, Set(0x1p-100f));
  Steps steps;
  Store(Select(nothing, Set(0.0f), Div(Set(127.0f), largest)), steps.inverse);
  Store(Select(nothing, Set(0.0f), Div(largest, Set(127.0f))), steps.scale);
  return steps;
}

// Calls store(i, bits) for every sixteen of R rows up to `padded`, with the integers in the low
// halves of the bits; total[r] becomes their sum over row r, NaN if a value is not finite.
template <int R, class StoreBitsOf>
inline void RoundRows(const float* x, int64_t stride, int64_t n, int64_t padded, const Steps& steps,
                      F32x16 (&total)[R], StoreBitsOf store) {
#pragma GCC unroll 4
  for (int r = 0; r < R; ++r) total[r] = Set(0.0f);
  U32x16 bits[R];
  const auto round = [&](const F32x16& v, int r) {
    const F32x16 rounded = Add(Mul(v, Set(steps.inverse[r])), Set(kRoundingMagic));
    total[r] = Add(total[r], Sub(rounded, Set(kRoundingMagic)));  // whole, below 2^24: exact
    bits[r] = ToBits(rounded);
  };
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) round(Load(x + r * stride + i), r);
    store(i, bits);
  }
  for (; i < padded; i += 16) {
    const int rest = i < n ? static_cast<int>(n - i) : 0;
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) round(LoadFirst(x + r * stride + i, rest), r);
    store(i, bits);
  }
}

// The scale, or NaN if a value is not finite.
inline F32x16 ScalesOf(const Steps& steps, F32x16 sums) {
  return Add(LoadAligned(steps.scale), Mul(sums, Set(0.0f)));
}

// One group of R rows; `to` receives group / 4 dwords, a scale and a sum of each, `step` dwords
// apart.
template <int R>
inline void RoundInputs(const float* x, int64_t stride, int64_t n, int64_t group,
                        const Steps& steps, uint32_t* to, int64_t step) {
  F32x16 total[R];
  RoundRows<R>(x, stride, n, group, steps, total, [=](int64_t i, const U32x16(&bits)[R]) {
    StoreQuads(bits, to + i / 4 * step, step);
  });
  const F32x16 sums = SumsOf(total);
  const U32x16 integers = Add(ToBits(Add(sums, Set(kRoundingMagic))),
                              SetBits(0u - __builtin_bit_cast(uint32_t, kRoundingMagic)));
  auto* const tail = reinterpret_cast<float*>(to + group / 4 * step);
  StoreFirst(ScalesOf(steps, sums), tail, R);
  StoreFirst(Select(IsNan(sums), Set(0.0f), FromBits(integers)), tail + step, R);
}

template <int R, class StoreBitsOf>
inline void RoundAround128(const float* x, int64_t stride, int64_t n, float* scales,
                           StoreBitsOf store) {
  const Steps steps = StepsOf<R>(x, stride, n);
  F32x16 total[R];
  RoundRows<R>(x, stride, n, n, steps, total, [&](int64_t i, U32x16(&bits)[R]) {
#pragma GCC unroll 4
    for (int r = 0; r < R; ++r) bits[r] = And(Xor(bits[r], SetBits(128)), SetBits(255));
    store(i, bits);
  });
  StoreFirst(ScalesOf(steps, SumsOf(total)), scales, R);
}

static void keys_to_bytes(const float* x, int64_t stride, int64_t m, int64_t n, uint32_t* panel,
                          float* scales) {
  const auto store = [&](auto& bits, int64_t row, int64_t i) {
    StoreQuads(bits, panel + i / 4 * kPanelRows + row, kPanelRows);
  };
  int64_t row = 0;
  for (; row + kReducedRows <= m; row += kReducedRows) {
    RoundAround128<kReducedRows>(
        x + row * stride, stride, n, scales + row,
        [&](int64_t i, const U32x16(&bits)[kReducedRows]) { store(bits, row, i); });
  }
  for (; row < m; ++row) {
    RoundAround128<1>(x + row * stride, stride, n, scales + row,
                      [&](int64_t i, const U32x16(&bits)[1]) { store(bits, row, i); });
  }
}

static void values_to_bytes(const float* x, int64_t stride, int64_t m, int64_t n, int64_t slot,
                            uint8_t* panels, int64_t panel_bytes, float* scales) {
  static_assert(kReducedRows == 4);
  for (int64_t row = 0; row < m;) {
    const int64_t at = slot + row;
    uint8_t* line = panels + at / 4 * 64;
    if (at % 4 == 0 && row + 4 <= m) {
      RoundAround128<4>(x + row * stride, stride, n, scales + row,
                        [&](int64_t i, const U32x16(&bits)[4]) {
                          StoreBits(Or(Or(bits[0], ShiftLeft<8>(bits[1])),
                                       Or(ShiftLeft<16>(bits[2]), ShiftLeft<24>(bits[3]))),
                                    line + i / 16 * panel_bytes);
                        });
      row += 4;
    } else {
      RoundAround128<1>(x + row * stride, stride, n, scales + row,
                        [&](int64_t i, const U32x16(&bits)[1]) {
                          alignas(16) uint8_t bytes[16];
                          StoreU8(bits[0], bytes);
                          uint8_t* to = line + i / 16 * panel_bytes + at % 4;
                          for (int lane = 0; lane < 16; ++lane) to[4 * lane] = bytes[lane];
                        });
      ++row;
    }
  }
}

static void pack_x_int8(const float* x, int64_t stride, int64_t m, int64_t k, int64_t group,
                        uint32_t* packed) {
  const int64_t per_row = IntegerInputDwords(k, group), per_group = group / 4 + 2;
  for (int64_t first = 0; first < m; first += kTileRows) {
    const int64_t rows = m - first < kTileRows ? m - first : kTileRows;
    uint32_t* tile = packed + first * per_row;
    for (int64_t j = 0; j < k; j += group) {
      const int64_t n = k - j < group ? k - j : group;
      const float* from = x + first * stride + j;
      // All steps of a tile first: none waits for the largest of another.
      Steps steps[kTileRows / kReducedRows];
      int64_t row = 0;
      for (; row + kReducedRows <= rows; row += kReducedRows) {
        steps[row / kReducedRows] = StepsOf<kReducedRows>(from + row * stride, stride, n);
      }
      for (row = 0; row + kReducedRows <= rows; row += kReducedRows) {
        RoundInputs<kReducedRows>(from + row * stride, stride, n, group, steps[row / kReducedRows],
                                  tile + row, rows);
      }
      for (; row < rows; ++row) {
        const float* const x_row = from + row * stride;
        RoundInputs<1>(x_row, stride, n, group, StepsOf<1>(x_row, stride, n), tile + row, rows);
      }
      tile += per_group * rows;
    }
  }
}

// How a group of weights becomes integers: q = round(w * inverse) + zero within [low, high].
struct Rounding {
  float inverse, zero, low, high;
};

inline F32x16 RoundWeights(F32x16 w, const Rounding& r) {
  const F32x16 whole = Sub(Add(Mul(w, Set(r.inverse)), Set(kRoundingMagic)), Set(kRoundingMagic));
  const F32x16 q = Add(whole, Set(r.zero));
  const F32x16 least = Max(q, Set(r.low));
  return Select(Less(Set(r.high), least), Set(r.high), least);
}

inline float Absolute(float x) { return x < 0.0f ? -x : x; }

// Without a branch, which signs that follow no pattern would mislead.
inline float NegatedUnless(bool keep, float x) {
  const uint32_t sign = static_cast<uint32_t>(!keep) << 31;
  return __builtin_bit_cast(float, __builtin_bit_cast(uint32_t, x) ^ sign);
}

inline float ValueOfF16(uint16_t half) {
  uint16_t halves[16] = {half};
  float values[16];
  Store(LoadF16(halves), values);
  return values[0];
}

// The float16 next to x and its value.
inline float NearestF16(float x, uint16_t* bits) {
  uint16_t halves[16];
  float values[16];
  StoreF16(Set(x), halves);
  Store(LoadF16(halves), values);
  *bits = halves[0];
  return values[0];
}

inline float SquaredError(const float* w, int64_t n, const Rounding& r, float scale) {
  F32x16 error = Set(0.0f);
  ForSixteens(w, n, [&](int64_t, F32x16 v) {
    const F32x16 back = Mul(Sub(RoundWeights(v, r), Set(r.zero)), Set(scale));
    const F32x16 e = Sub(v, back);
    error = MulAdd(e, e, error);
  });
  return Sum(error);
}

static void quantize_group(const float* w, int64_t n, int64_t bits, bool zeros, int64_t steps,
                           uint8_t* q, uint16_t* scale, uint16_t* zero) {
  F32x16 most = Set(0.0f), least = Set(0.0f), nothing = Set(0.0f);
  ForSixteens(w, n, [&](int64_t, F32x16 v) {
    nothing = MulAdd(v, Set(0.0f), nothing);  // 0, or NaN if any value is not finite
    most = Max(v, most);
    least = Max(Sub(Set(0.0f), v), least);
  });
  const float high = MaxOfLanes(most), low = -MaxOfLanes(least);  // the smallest is at most 0
  const auto levels = static_cast<float>((int64_t{1} << bits) - 1);
  const float middle = bits == 8 ? 128.0f : 8.0f;
  // The step between levels. Without zeros, bytes are -127 .. 127, and of four bits the value of
  // the largest magnitude becomes -8.
  const float largest = -low > high ? -low : high;
  const float widest = zeros       ? (high - low) / levels
                       : bits == 8 ? largest / 127.0f
                                   : NegatedUnless(-low > high, largest) / 8.0f;
  const float first = widest + Sum(nothing);
  Rounding best = {0.0f, middle, 0.0f, levels};
  float best_error = 0.0f;
  *scale = 0;
  for (int64_t step = 0; step <= steps; ++step) {
    // Down to about two thirds of the first scale; docs/numerics.md measures other ranges.
    const float factor = 1.0f - 0.35f * static_cast<float>(step) / static_cast<float>(steps + 1);
    uint16_t half;
    float s = NearestF16(first * factor, &half);
    // Among the smallest halves the nearest may be far too small a step: then the next one.
    if (step == 0 && Absolute(first) > Absolute(s) * (1.0f + 0x1p-9f)) {
      s = ValueOfF16(++half);
    }
    Rounding r = {s != 0.0f ? 1.0f / s : 0.0f, middle, bits == 8 && !zeros ? 1.0f : 0.0f, levels};
    if (zeros) {
      const float whole = low * factor * -r.inverse + kRoundingMagic - kRoundingMagic;
      r.zero = whole >= 0.0f ? whole < levels ? whole : levels : 0.0f;  // 0 also for no number
    }
    const float error = steps > 0 ? SquaredError(w, n, r, s) : 0.0f;
    if (step > 0 && !(error < best_error)) continue;
    best = r;
    best_error = error;
    *scale = half;
  }
  *zero = static_cast<uint16_t>(best.zero);
  const auto integers = [best](F32x16 v) {
    return ToBits(Add(RoundWeights(v, best), Set(kRoundingMagic)));
  };
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) StoreU8(integers(Load(w + i)), q + i);
  if (i < n) {
    alignas(16) uint8_t bytes[16];
    StoreU8(integers(LoadFirst(w + i, static_cast<int>(n - i))), bytes);
    __builtin_memcpy(q + i, bytes, static_cast<std::size_t>(n - i));
  }
}

}  // namespace mossrt::cpu::MOSSRT_ISA
