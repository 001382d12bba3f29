// Inputs of the products of bf16 pairs.
#pragma once

#include "cpu/kernels/bf16.inl.h"
#include "cpu/kernels/pack_tiles.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

static void pack_x_bf16_pairs(const float* x, int64_t stride, int64_t m, int64_t k,
                              uint32_t* packed) {
  PackTiles(
      x, stride, m, k, 2, packed, [](F32x16 v) { return FactorBits(v); },
      [](const auto& bits, uint32_t* to, int64_t step) { StorePairs(bits, to, step); },
      [](const auto& bits, int count, uint32_t* to, int64_t step) {
        StorePairsOfRow(bits, count, to, step);
      });
}

}  // namespace mossrt::cpu::MOSSRT_ISA
