#define MOSSRT_ISA scalar
#define MOSSRT_ISA_RANK 0
#define MOSSRT_ISA_AVAILABLE AlwaysAvailable
#include "cpu/simd/scalar.h"
// The words come first, then the texts that use them.
#include "cpu/isa/table.inl.h"
