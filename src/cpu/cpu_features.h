// What the processor and the operating system can execute, one question per level of kernels.
#pragma once

namespace mossrt::cpu {

bool AlwaysAvailable();
bool Avx2Available();        // AVX2, FMA, F16C, and YMM state kept by the system
bool Avx512Available();      // the above, AVX-512 F, BW, VL, DQ, and ZMM state kept by the system
bool Avx512VnniAvailable();  // the above and VNNI
bool Avx512Bf16Available();  // the above and BF16
bool NeonAvailable();
bool NeonDotprodAvailable();  // the above and sdot
bool NeonI8mmAvailable();     // the above, usdot and usmmla

}  // namespace mossrt::cpu
