// The processor's floating-point mode while mossrt computes: round to nearest, subnormals kept, no
// traps. Threads inherit the mode of whoever starts them, so a program that flushes subnormals to
// zero would otherwise change bits of our results (contract 1).
#pragma once

#include <cstdint>

#if defined(__x86_64__) || defined(__i386__)
#include <xmmintrin.h>
#endif

namespace mossrt::runtime {

// Sets the default mode and puts the old one back at the end.
class FloatMode {
 public:
  FloatMode() : saved_(Get()) { Set(kDefault); }
  ~FloatMode() { Set(saved_); }
  FloatMode(const FloatMode&) = delete;
  FloatMode& operator=(const FloatMode&) = delete;

#if defined(__x86_64__) || defined(__i386__)
  static constexpr std::uint64_t kDefault = 0x1F80;      // MXCSR: all exceptions masked
  static constexpr std::uint64_t kFlushToZero = 0x8040;  // FTZ and DAZ
  static std::uint64_t Get() { return _mm_getcsr(); }
  static void Set(std::uint64_t mode) { _mm_setcsr(static_cast<unsigned>(mode)); }
#elif defined(__aarch64__)
  static constexpr std::uint64_t kDefault = 0;               // FPCR
  static constexpr std::uint64_t kFlushToZero = 1ull << 24;  // FZ
  static std::uint64_t Get() {
    std::uint64_t mode;
    __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
    return mode;
  }
  static void Set(std::uint64_t mode) { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#else
#error "mossrt knows the floating-point mode of x86 and aarch64 only"
#endif

 private:
  std::uint64_t saved_;
};

}  // namespace mossrt::runtime
