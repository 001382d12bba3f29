// NEON with products of unsigned by signed bytes, alone and as matrices: those kernels, all others
// come from neon_dotprod.
#define MOSSRT_ISA neon_i8mm
#include "cpu/simd/neon.h"
// The words come first, then the texts that use them.
#include "cpu/cpu_features.h"
#include "cpu/kernels/gemm_int_pairs.inl.h"
// The pairs come before the text that uses them.
#include "cpu/kernels/gemm_int.inl.h"

namespace mossrt::cpu::neon_i8mm {

extern const KernelTable kTable;
const KernelTable kTable = {.name = "neon_i8mm",
                            .rank = 30,
                            .available = NeonI8mmAvailable,
                            .gemm_int8 = gemm_int8,
                            .gemm_int4 = gemm_int4,
                            .gemm_kv8 = gemm_kv8};

}  // namespace mossrt::cpu::neon_i8mm
