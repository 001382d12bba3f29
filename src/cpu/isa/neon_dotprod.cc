// NEON with products of signed bytes: those kernels, all others come from neon.
#define MOSSRT_ISA neon_dotprod
#include "cpu/simd/neon.h"
// The words come first, then the texts that use them.
#include "cpu/cpu_features.h"
#include "cpu/kernels/gemm_int.inl.h"

namespace mossrt::cpu::neon_dotprod {

extern const KernelTable kTable;
const KernelTable kTable = {.name = "neon_dotprod",
                            .rank = 20,
                            .available = NeonDotprodAvailable,
                            .gemm_int8 = gemm_int8,
                            .gemm_int4 = gemm_int4,
                            .gemm_kv8 = gemm_kv8};

}  // namespace mossrt::cpu::neon_dotprod
