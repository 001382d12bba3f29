// Half floats by arithmetic in double, to hold the kernels' bit tricks against.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

namespace mossrt::cpu {

// x rounded to `fraction_bits` after the leading one, to nearest even, exponents from `smallest`
// up; beyond `largest` infinity.
inline float RoundedTo(float x, int fraction_bits, int smallest, double largest) {
  if (!std::isfinite(x) || x == 0) return x;
  const int exponent = std::max(std::ilogb(x), smallest);
  const double quantum = std::ldexp(1.0, exponent - fraction_bits);
  const double rounded = std::nearbyint(static_cast<double>(x) / quantum) * quantum;
  if (std::fabs(rounded) > largest) return std::copysign(std::numeric_limits<float>::infinity(), x);
  return static_cast<float>(std::copysign(rounded, static_cast<double>(x)));
}

inline float ReferenceBf16(float x) { return RoundedTo(x, 7, -126, 0x1.FEp127); }
inline float ReferenceF16(float x) { return RoundedTo(x, 10, -14, 65504.0); }

// The whole number nearest to 40 x within what a byte holds.

inline float ReferenceF16ToF32(std::uint16_t half) {
  const int exponent = (half >> 10) & 31;
  const int fraction = half & 1023;
  float magnitude = 0;
  if (exponent == 31) {
    magnitude = fraction == 0 ? std::numeric_limits<float>::infinity()
                              : std::numeric_limits<float>::quiet_NaN();
  } else if (exponent == 0) {
    magnitude = std::ldexp(static_cast<float>(fraction), -24);
  } else {
    magnitude = std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
  }
  return (half & 0x8000) != 0 ? -magnitude : magnitude;
}

}  // namespace mossrt::cpu
