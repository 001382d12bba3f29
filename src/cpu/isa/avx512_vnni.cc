// AVX-512 with int8 products. No kernel of its own yet: all come from avx512.
#include "cpu/cpu_features.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::avx512_vnni {

extern const KernelTable kTable;
const KernelTable kTable = {.name = "avx512_vnni", .rank = 30, .available = Avx512VnniAvailable};

}  // namespace mossrt::cpu::avx512_vnni
