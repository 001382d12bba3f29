#define MOSSRT_ISA avx2
#define MOSSRT_ISA_RANK 10
#define MOSSRT_ISA_AVAILABLE Avx2Available
#include "cpu/simd/avx2.h"
// The words come first, then the texts that use them.
#include "cpu/isa/table.inl.h"
