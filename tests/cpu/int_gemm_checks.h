// Products of integers against sums in 64 bits, against products in double, and against the scalar
// level.
#pragma once

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu {

enum class Integers { kInt8, kInt4, kCached };  // gemm_int8, gemm_int4, gemm_kv8

void CheckIntegerGemm(const KernelTable& table, Integers integers);

}  // namespace mossrt::cpu
