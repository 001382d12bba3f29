// Products of bf16 pairs. vdpbf16ps adds both products of a pair to the f32 sum with its own inner
// rounding and flushes subnormals, so its bits differ from the chain over f32; they are as
// independent of m and of the cuts.
#pragma once

#include "cpu/kernels/gemm.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

struct PairWeights {
  using X = uint32_t;
  using Weight = U32x16;
  using Factor = U32x16;
  static constexpr int64_t kLineK = 2;
  static constexpr int64_t kLineX = 1;
  static Weight Get(const char* line, int64_t) { return LoadBits(line); }
  static Factor Broadcast(const X* x) { return SetBits(*x); }
  static F32x16 Step(Weight w, Factor x, F32x16 sum) { return PairMulAdd(w, x, sum); }
  struct Odd;
};

// The last line of an odd k: whatever stands in the second halves does not count.
struct PairWeights::Odd : PairWeights {
  static Weight Get(const char* line, int64_t) { return And(LoadBits(line), SetBits(0xFFFFu)); }
  static Factor Broadcast(const X* x) { return SetBits(*x & 0xFFFFu); }
};

static void gemm_bf16_pairs(const GemmArgs* args) {
  ForRowBlocks(*args, XEntries<PairWeights>(args->x_k) * 4, Multiply<PairWeights>);
}

}  // namespace mossrt::cpu::MOSSRT_ISA
