// Rounding to integers against the same in double.
#pragma once

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu {

void CheckPackInt8(const KernelTable& table);
void CheckKeysToBytes(const KernelTable& table);
void CheckValuesToBytes(const KernelTable& table);
void CheckQuantizeGroup(const KernelTable& table);

}  // namespace mossrt::cpu
