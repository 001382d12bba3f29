// The floating-point control word of this thread.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace mossrt::cpu {

#if defined(__x86_64__)
// MXCSR: round to nearest, all exceptions masked, neither flush-to-zero nor denormals-are-zero.
inline constexpr std::uint64_t kFloatControl = 0x1F80;
inline std::uint64_t ReadFloatControl() { return _mm_getcsr(); }
inline void WriteFloatControl(std::uint64_t word) { _mm_setcsr(static_cast<unsigned>(word)); }
#elif defined(__aarch64__)
// FPCR: round to nearest, no traps, no flush to zero, NaNs keep their payload, IEEE half floats.
inline constexpr std::uint64_t kFloatControl = 0;
inline std::uint64_t ReadFloatControl() {
  std::uint64_t word = 0;
  __asm__ volatile("mrs %0, fpcr" : "=r"(word));
  return word;
}
inline void WriteFloatControl(std::uint64_t word) {
  __asm__ volatile("msr fpcr, %0" : : "r"(word));
}
#endif

}  // namespace mossrt::cpu
