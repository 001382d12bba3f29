#define MOSSRT_ISA avx512
#define MOSSRT_ISA_RANK 20
#define MOSSRT_ISA_AVAILABLE Avx512Available
#include "cpu/simd/avx512.h"
// The words come first, then the texts that use them.
#include "cpu/isa/table.inl.h"
