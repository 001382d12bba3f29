// exp and the tail of the normal distribution in 16 lanes, the same bits on every instruction set:
// multiply-adds and divisions only, no libm. Errors are measured in tests/cpu/functions_test.cc and
// stated in docs/numerics.md.
#pragma once

namespace mossrt::cpu::MOSSRT_ISA {

inline F32x16 Negate(F32x16 a) { return FromBits(Xor(ToBits(a), SetBits(0x80000000u))); }
inline F32x16 Absolute(F32x16 a) { return FromBits(And(ToBits(a), SetBits(0x7FFFFFFFu))); }

// p 2^n where that is normal, NaN where p is; the low bits of `shifted` are n. AVX-512 has an
// instruction for it.
template <class V>
inline V TimesPowerOfTwo(V p, V shifted, V) {
  const V product = FromBits(Add(ToBits(p), ShiftLeft<23>(ToBits(shifted))));
  return Select(IsNan(p), p, product);
}

// e^x for x up to 88.722832: exactly 0 below -87 (where e^x nears the subnormals), NaN for NaN.
inline F32x16 ExpInRange(F32x16 x) {
  const F32x16 round_to_int =
      Set(12582912.0f);  // 1.5 * 2^23: adding it leaves an integer in the low bits
  const F32x16 shifted = MulAdd(x, Set(1.44269504f), round_to_int);
  const F32x16 n = Sub(shifted, round_to_int);
  F32x16 r = MulAdd(n, Set(-0.693359375f), x);  // ln 2 in two parts, the first exact in 10 bits
  r = MulAdd(n, Set(2.12194440e-4f), r);        // |r| <= ln(2) / 2
  // (e^r - 1 - r) / r^2, minimax: 0.05 ulp of e^r.
  F32x16 q = Set(0.0013814539415761828f);
  q = MulAdd(q, r, Set(0.00836874544620514f));
  q = MulAdd(q, r, Set(0.04166838899254799f));
  q = MulAdd(q, r, Set(0.1666652113199234f));
  q = MulAdd(q, r, Set(0.4999999403953552f));
  const F32x16 p = Add(MulAdd(Mul(r, r), q, r), Set(1.0f));
  return Select(Less(x, Set(-87.0f)), Set(0.0f), TimesPowerOfTwo(p, shifted, n));
}

// The same for all x: infinity above 88.722832.
inline F32x16 Exp(F32x16 x) {
  return Select(Less(Set(88.72283173f), x), Set(__builtin_inff()), ExpInRange(x));
}

// 1 - Phi(t) = erfc(t / sqrt 2) / 2 for t >= 1; 0 where e^(-t^2/2) is.
inline F32x16 NormalTail(F32x16 t) {
  // e^(-t^2/2) with the rounding error of t^2 put back, times a minimax polynomial in 1 / (1 + 0.3
  // t): 0.06 ulp.
  const F32x16 square = Mul(t, t);
  const F32x16 lost = MulAdd(t, t, Negate(square));
  const F32x16 power = ExpInRange(Mul(square, Set(-0.5f)));
  const F32x16 u = Div(Set(1.0f), MulAdd(t, Set(0.3f), Set(1.0f)));
  F32x16 p = Set(-0.0205898658f);
  p = MulAdd(p, u, Set(0.112246485f));
  p = MulAdd(p, u, Set(-0.22775142f));
  p = MulAdd(p, u, Set(0.191142113f));
  p = MulAdd(p, u, Set(-0.0788649017f));
  p = MulAdd(p, u, Set(0.0958424282f));
  p = MulAdd(p, u, Set(0.0785039487f));
  p = MulAdd(p, u, Set(0.110209602f));
  p = MulAdd(p, u, Set(0.119575097f));
  p = MulAdd(p, u, Set(0.119686511f));
  const F32x16 tail = Mul(power, Mul(p, u));
  return MulAdd(tail, Mul(lost, Set(-0.5f)), tail);
}

// Phi(x) = (1 + erf(x / sqrt 2)) / 2 for |x| <= 1: 1/2 and an odd minimax polynomial, 0.01 ulp.
inline F32x16 NormalCentre(F32x16 x) {
  const F32x16 square = Mul(x, x);
  F32x16 p = Set(-7.46289482e-6f);
  p = MulAdd(p, square, Set(0.000112952173f));
  p = MulAdd(p, square, Set(-0.00118578499f));
  p = MulAdd(p, square, Set(0.00997307838f));
  p = MulAdd(p, square, Set(-0.0664903144f));
  p = MulAdd(p, square, Set(0.398942278f));
  return MulAdd(p, x, Set(0.5f));
}

}  // namespace mossrt::cpu::MOSSRT_ISA
