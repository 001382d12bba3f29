#define MOSSRT_ISA neon
#define MOSSRT_ISA_RANK 10
#define MOSSRT_ISA_AVAILABLE NeonAvailable
#include "cpu/simd/neon.h"
// The words come first, then the texts that use them.
#include "cpu/isa/table.inl.h"
