#include "cpu/simd/float_control.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu {

FloatModeGuard::FloatModeGuard() : saved_(ReadFloatControl()) { WriteFloatControl(kFloatControl); }

FloatModeGuard::~FloatModeGuard() { WriteFloatControl(saved_); }

}  // namespace mossrt::cpu
