// Pairs of bf16, value by value from the description of the layouts.
#pragma once

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu {

void CheckPackPairs(const KernelTable& table);
void CheckKeysToBf16(const KernelTable& table);
void CheckValuesToBf16(const KernelTable& table);

}  // namespace mossrt::cpu
