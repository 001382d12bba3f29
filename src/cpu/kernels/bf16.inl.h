// Rounding to bf16.
#pragma once

#include "cpu/kernels/functions.inl.h"

namespace mossrt::cpu::MOSSRT_ISA {

// The low 16 bits of every lane: x rounded to bf16, to nearest even; NaN becomes quiet.
inline U32x16 Bf16Bits(F32x16 x) {
  const U32x16 bits = ToBits(x);
  const U32x16 odd = And(ShiftRight<16>(bits), SetBits(1));
  const U32x16 rounded = Add(bits, Add(odd, SetBits(0x7FFF)));
  const U32x16 quiet = Or(bits, SetBits(0x400000));
  return ShiftRight<16>(ToBits(Select(IsNan(x), FromBits(quiet), FromBits(rounded))));
}

inline F32x16 RoundToBf16(F32x16 x) { return FromBits(ShiftLeft<16>(Bf16Bits(x))); }

// x rounded to bf16, in the low halves. What the products flush is 0 already, so that a level with
// an instruction for this may have its own.
template <class V>
inline U32x16 FactorBits(V x) {
  const V zero = FromBits(And(ToBits(x), SetBits(0x80000000u)));
  return Bf16Bits(Select(Less(Absolute(x), Set(0x1p-126f)), zero, x));
}

}  // namespace mossrt::cpu::MOSSRT_ISA
