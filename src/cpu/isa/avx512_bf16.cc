// AVX-512 with bf16 products: what they need, all else comes from avx512.
#define MOSSRT_ISA avx512_bf16
#include "cpu/simd/avx512.h"
// The words come first, then the texts that use them.
#include "cpu/cpu_features.h"
#include "cpu/kernels/gemm_bf16_pairs.inl.h"
#include "cpu/kernels/pack_pairs.inl.h"

namespace mossrt::cpu::avx512_bf16 {

extern const KernelTable kTable;
const KernelTable kTable = {.name = "avx512_bf16",
                            .rank = 40,
                            .available = Avx512Bf16Available,
                            .pack_x_bf16_pairs = pack_x_bf16_pairs,
                            .gemm_bf16_pairs = gemm_bf16_pairs};

}  // namespace mossrt::cpu::avx512_bf16
