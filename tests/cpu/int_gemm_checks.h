// Products of integers against sums in 64 bits, against products in double, and against the scalar
// level.
#pragma once

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu {

// gemm_int8 or gemm_int4 by `bits`.
void CheckIntegerGemm(const KernelTable& table, std::int64_t bits);

}  // namespace mossrt::cpu
