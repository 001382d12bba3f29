// Exp, Log, Sin, Cos and Pow in double for everything on the way to a token (rotary tables,
// sampler). libm's differ between libraries and versions; these give equal bits wherever double is
// IEEE 754 and nothing is contracted (contract 1). tests/base/math_test.cc measures the errors
// stated here.
#pragma once

#include <bit>
#include <cstdint>
#include <limits>

namespace mossrt::runtime {
namespace math_internal {

// An unevaluated sum hi + lo, |lo| <= ulp(hi) / 2: about 106 bits.
struct Pair {
  double hi, lo;
};

// a + b exactly.
constexpr Pair TwoSum(double a, double b) {
  const double s = a + b;
  const double t = s - a;
  return {s, (a - (s - t)) + (b - t)};
}

// The same if |a| >= |b|.
constexpr Pair QuickTwoSum(double a, double b) {
  const double s = a + b;
  return {s, b - (s - a)};
}

// a * b exactly (Dekker: halves of 26 bits), without a fused multiply-add, which plain x86-64
// lacks.
constexpr Pair TwoProduct(double a, double b) {
  constexpr double kSplit = 134217729.0;  // 2^27 + 1
  const double ta = kSplit * a, tb = kSplit * b;
  const double ah = ta - (ta - a), bh = tb - (tb - b);
  const double al = a - ah, bl = b - bh;
  const double p = a * b;
  return {p, ((ah * bh - p) + ah * bl + al * bh) + al * bl};
}

// Adding this to |x| < 2^51 leaves x, rounded to an integer, in the low bits of the mantissa.
inline constexpr double kRound = 0x1.8p52;

inline std::int64_t RoundedBits(double shifted) {
  return std::bit_cast<std::int64_t>(shifted) - std::bit_cast<std::int64_t>(kRound);
}

inline double PowerOfTwo(std::int64_t e) {  // -1022 <= e <= 1023
  return std::bit_cast<double>(static_cast<std::uint64_t>(e + 1023) << 52);
}

// The first 32 bits of ln 2, so that small multiples are exact, and the rest.
inline constexpr double kLn2Hi = 0x1.62e42fee00000p-1, kLn2Lo = 0x1.a39ef35793c76p-33;

// exp(x + low), |low| far below 1. Free of branches, so that loops over it become vectors.
inline double ExpPair(double x, double low) {
  x = x < -746.0 ? -746.0 : x;  // written so that NaN stays
  x = x > 710.0 ? 710.0 : x;
  const double shifted = x * 0x1.71547652b82fep+0 + kRound;
  const double k = shifted - kRound;
  const double high = x - k * kLn2Hi;  // exact
  const double rest = low - k * kLn2Lo;
  const double r = high + rest;  // |r| <= ln(2) / 2
  const double c = (high - r) + rest;
  // Taylor; the first term left out, r^14 / 14!, is below 2^-57.
  const double r2 = r * r, r4 = r2 * r2, r8 = r4 * r4;
  const double q01 = 0.5 + r * (1.0 / 6), q23 = 1.0 / 24 + r * (1.0 / 120);
  const double q45 = 1.0 / 720 + r * (1.0 / 5040), q67 = 1.0 / 40320 + r * (1.0 / 362880);
  const double q89 = 1.0 / 3628800 + r * (1.0 / 39916800);
  const double qab = 1.0 / 479001600 + r * (1.0 / 6227020800.0);
  const double q = (q01 + q23 * r2) + (q45 + q67 * r2) * r4 + (q89 + qab * r2) * r8;
  const double value = 1.0 + (r + (c + (r2 * q + c * r)));
  // In two steps, because 2^k alone may be too large or too small for a double.
  const std::int64_t n = RoundedBits(shifted);
  const std::int64_t half = n >> 1;
  return value * PowerOfTwo(half) * PowerOfTwo(n - half);
}

// log(x) to about 2^-65 for finite x > 0.
inline Pair LogPair(double x) {
  std::int64_t k = 0;
  if (x < std::numeric_limits<double>::min()) {
    x *= 0x1p54;
    k = -54;
  }
  // x = 2^k * m, m in [sqrt(1/2), sqrt(2))
  constexpr std::uint64_t kSqrtHalf = 0x3FE6A09E667F3BCDu;
  const std::uint64_t shifted = std::bit_cast<std::uint64_t>(x) - kSqrtHalf;
  const std::int64_t e = static_cast<std::int64_t>(shifted) >> 52;
  k += e;
  const double m = std::bit_cast<double>(std::bit_cast<std::uint64_t>(x) -
                                         (static_cast<std::uint64_t>(e) << 52));
  // log(m) = 2 atanh(s), s = f / (2 + f) as a pair
  const double f = m - 1.0;  // exact
  const Pair d = TwoSum(2.0, f);
  const double s = f / d.hi;
  const Pair p = TwoProduct(s, d.hi);
  const double s_low = (((f - p.hi) - p.lo) - s * d.lo) / d.hi;
  const Pair square = TwoProduct(s, s);
  const double z = square.hi, z_low = square.lo + 2.0 * s * s_low;
  // 2 s (1 + z / 3 + z^2 (1/5 + z/7 + ...)); z <= 0.0295
  const double tail =
      z * z *
      (1.0 / 5 +
       z * (1.0 / 7 +
            z * (1.0 / 9 +
                 z * (1.0 / 11 +
                      z * (1.0 / 13 +
                           z * (1.0 / 15 + z * (1.0 / 17 + z * (1.0 / 19 + z * (1.0 / 21)))))))));
  constexpr double kThird = 0x1.5555555555555p-2, kThirdLow = 0x1.5555555555555p-56;
  const Pair third = TwoProduct(z, kThird);
  const Pair g = QuickTwoSum(third.hi, tail);
  const double g_low = ((g.lo + third.lo) + z * kThirdLow) + z_low * kThird;
  const Pair sg = TwoProduct(s, g.hi);
  const double sg_low = (sg.lo + s * g_low) + s_low * g.hi;
  const Pair atanh = QuickTwoSum(s, sg.hi);
  const double atanh_low = (atanh.lo + s_low) + sg_low;
  const double kd = static_cast<double>(k);
  const Pair sum = TwoSum(kd * kLn2Hi, 2.0 * atanh.hi);
  const Pair low = TwoSum(sum.lo, kd * kLn2Lo);
  return QuickTwoSum(sum.hi, low.hi + (low.lo + 2.0 * atanh_low));
}

struct Angle {
  double r, c;  // x - n * pi/2 as a pair, |r| <= pi/4
  std::int64_t n;
};

inline Angle ReduceAngle(double x) {
  // pi/2 in parts of 33 bits; n has at most 20, so the products are exact.
  constexpr double k1 = 0x1.921fb54400000p+0, k2 = 0x1.0b4611a600000p-34,
                   k3 = 0x1.3198a2e000000p-69, k4 = 0x1.b839a252049c1p-104;
  const double shifted = x * 0x1.45f306dc9c883p-1 + kRound;
  const double n = shifted - kRound;
  const Pair a = TwoSum(x - n * k1, -(n * k2));
  const Pair b = TwoSum(a.hi, -(n * k3));
  const Pair r = QuickTwoSum(b.hi, (a.lo + b.lo) - n * k4);
  return {r.hi, r.lo, RoundedBits(shifted)};
}

// Taylor on |r| <= pi/4; what is left out is below 2^-60.
inline double SinKernel(double r, double c) {
  const double z = r * r;
  const double s =
      -1.0 / 6 +
      z * (1.0 / 120 + z * (-1.0 / 5040 +
                            z * (1.0 / 362880 + z * (-1.0 / 39916800 +
                                                     z * (1.0 / 6227020800.0 +
                                                          z * (-1.0 / 1307674368000.0 +
                                                               z * (1.0 / 355687428096000.0)))))));
  return r + (c - (0.5 * z * c - z * r * s));
}

inline double CosKernel(double r, double c) {
  const double z = r * r;
  const double s =
      1.0 / 24 +
      z * (-1.0 / 720 +
           z * (1.0 / 40320 +
                z * (-1.0 / 3628800 +
                     z * (1.0 / 479001600 +
                          z * (-1.0 / 87178291200.0 +
                               z * (1.0 / 20922789888000.0 - z * (1.0 / 6402373705728000.0)))))));
  const double half = 0.5 * z;
  const double w = 1.0 - half;
  return w + (((1.0 - w) - half) + (z * z * s - r * c));
}

}  // namespace math_internal

// Error at most 1 ulp (2 where the result is subnormal); 0 and infinity beyond the range.
inline double Exp(double x) { return math_internal::ExpPair(x, 0.0); }

// Error at most 1 ulp. -infinity at 0, NaN below.
inline double Log(double x) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  if (!(x > 0.0)) return x == 0.0 ? -kInfinity : std::numeric_limits<double>::quiet_NaN();
  if (x == kInfinity) return x;
  return math_internal::LogPair(x).hi;
}

// x^y for finite x > 0 and finite y, NaN otherwise. Error at most 1 ulp.
inline double Pow(double x, double y) {
  constexpr double kMax = std::numeric_limits<double>::max();
  if (!(x > 0.0 && x <= kMax && y >= -kMax && y <= kMax)) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  const math_internal::Pair log = math_internal::LogPair(x);
  const double rough = y * log.hi;
  if (!(rough > -746.0 && rough < 710.0)) return Exp(rough);
  const math_internal::Pair product = math_internal::TwoProduct(y, log.hi);
  return math_internal::ExpPair(product.hi, product.lo + y * log.lo);
}

// For |x| <= 1e6, where the error is at most 1 ulp; NaN beyond.
inline double Sin(double x) {
  if (!(x >= -1e6 && x <= 1e6)) return std::numeric_limits<double>::quiet_NaN();
  const math_internal::Angle a = math_internal::ReduceAngle(x);
  const double value =
      (a.n & 1) != 0 ? math_internal::CosKernel(a.r, a.c) : math_internal::SinKernel(a.r, a.c);
  return (a.n & 2) != 0 ? -value : value;
}

inline double Cos(double x) {
  if (!(x >= -1e6 && x <= 1e6)) return std::numeric_limits<double>::quiet_NaN();
  const math_internal::Angle a = math_internal::ReduceAngle(x);
  const double value =
      (a.n & 1) != 0 ? math_internal::SinKernel(a.r, a.c) : math_internal::CosKernel(a.r, a.c);
  return ((a.n + 1) & 2) != 0 ? -value : value;
}

}  // namespace mossrt::runtime
