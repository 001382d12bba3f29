// AVX-512 with products of bytes: those kernels, all others come from avx512.
#define MOSSRT_ISA avx512_vnni
#include "cpu/simd/avx512.h"
// The words come first, then the texts that use them.
#include "cpu/cpu_features.h"
#include "cpu/kernels/gemm_int.inl.h"

namespace mossrt::cpu::avx512_vnni {

extern const KernelTable kTable;
const KernelTable kTable = {.name = "avx512_vnni",
                            .rank = 30,
                            .available = Avx512VnniAvailable,
                            .gemm_int8 = gemm_int8,
                            .gemm_int4 = gemm_int4,
                            .gemm_kv8 = gemm_kv8};

}  // namespace mossrt::cpu::avx512_vnni
