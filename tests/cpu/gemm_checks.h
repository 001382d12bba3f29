// Matrix products against plain loops and against the scalar level, over shapes that meet every
// remainder.
#pragma once

#include "mossrt/runtime/kernel_table.h"
#include "reference.h"

namespace mossrt::cpu {

enum class WeightFormat { kF32, kF16, kBf16 };

void CheckGemm(const KernelTable& table, WeightFormat format);
void CheckGemmPairs(const KernelTable& table);  // nothing to do where the table has none

}  // namespace mossrt::cpu
