// Reading memory as fast as this processor can, for `mossrt bench`, doctor and benchmarks/ to
// compare themselves with: one definition of bandwidth everywhere. Assembly, so that it needs no
// flags.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mossrt::bench {

// Reads `bytes` (rounded down to a multiple of 256) once, forward, at full width: a word of every
// cache line reaches only half as much.
inline void ReadMemory(const void* memory, std::size_t bytes) {
  const auto* p = static_cast<const char*>(memory);
  const char* const end = p + bytes / 256 * 256;
#if defined(__x86_64__)
  if (p == end) return;
  if (__builtin_cpu_supports("avx512f")) {
    __asm__ volatile(
        "1:\n"
        "vmovdqu64 (%0), %%zmm0\n"
        "vmovdqu64 64(%0), %%zmm1\n"
        "vmovdqu64 128(%0), %%zmm2\n"
        "vmovdqu64 192(%0), %%zmm3\n"
        "add $256, %0\n"
        "cmp %1, %0\n"
        "jb 1b\n"
        "vzeroupper\n"
        : "+r"(p)
        : "r"(end)
        : "xmm0", "xmm1", "xmm2", "xmm3", "cc", "memory");
    return;
  }
  if (__builtin_cpu_supports("avx2")) {
    __asm__ volatile(
        "1:\n"
        "vmovdqu (%0), %%ymm0\n"
        "vmovdqu 32(%0), %%ymm1\n"
        "vmovdqu 64(%0), %%ymm2\n"
        "vmovdqu 96(%0), %%ymm3\n"
        "sub $-128, %0\n"
        "cmp %1, %0\n"
        "jb 1b\n"
        "vzeroupper\n"
        : "+r"(p)
        : "r"(end)
        : "xmm0", "xmm1", "xmm2", "xmm3", "cc", "memory");
    return;
  }
#endif
  std::uint64_t a = 0, b = 0, c = 0, d = 0;
  for (; p != end; p += 32) {
    const auto* words = reinterpret_cast<const std::uint64_t*>(p);
    a += words[0];
    b += words[1];
    c += words[2];
    d += words[3];
    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
  }
}

}  // namespace mossrt::bench
