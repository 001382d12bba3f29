// What the machine gives at this moment, for benchmarks to compare themselves with: bytes read from
// memory and fused multiply-adds between registers, on one thread. Register loops are assembly, so
// that they need no flags.
#pragma once

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace mossrt::bench {

// Processor time of this thread: another process on the same core does not count.
inline double Seconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

#if defined(__x86_64__)

#define MOSSRT_PROBE_8(op, reg, a, b, c, d, e, f, g, h)                                          \
  op " %%" reg "30, %%" reg "31, %%" reg a "\n" op " %%" reg "30, %%" reg "31, %%" reg b "\n" op \
     " %%" reg "30, %%" reg "31, %%" reg c "\n" op " %%" reg "30, %%" reg "31, %%" reg d "\n" op \
     " %%" reg "30, %%" reg "31, %%" reg e "\n" op " %%" reg "30, %%" reg "31, %%" reg f "\n" op \
     " %%" reg "30, %%" reg "31, %%" reg g "\n" op " %%" reg "30, %%" reg "31, %%" reg h "\n"
#define MOSSRT_PROBE_LOOP(op, reg)                                                               \
  __asm__ volatile(                                                                              \
      "vpxorq %%zmm30, %%zmm30, %%zmm30\n"                                                       \
      "vpxorq %%zmm31, %%zmm31, %%zmm31\n"                                                       \
      "1:\n" MOSSRT_PROBE_8(op, reg, "0", "1", "2", "3", "4", "5", "6", "7") MOSSRT_PROBE_8(     \
          op, reg, "8", "9", "10", "11", "12", "13", "14", "15") "dec %0\njnz 1b\nvzeroupper\n"  \
      : "+r"(n)                                                                                  \
      :                                                                                          \
      : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10", \
        "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc")

// GFLOP/s of 16 independent chains; 0 where the unit is missing.
inline double ProbeProducts(std::string_view isa, bool bf16) {
  std::uint64_t n = 400000;
  const double operations = static_cast<double>(n) * 16 * 2;
  const double start = Seconds();
  double lanes = 0;
  if (bf16) {
    MOSSRT_PROBE_LOOP("vdpbf16ps", "zmm");
    lanes = 32;
  } else if (isa.starts_with("avx512")) {
    MOSSRT_PROBE_LOOP("vfmadd231ps", "zmm");
    lanes = 16;
  } else if (isa == "avx2") {
    __asm__ volatile(
        "vxorps %%ymm14, %%ymm14, %%ymm14\nvxorps %%ymm15, %%ymm15, %%ymm15\n"
        "1:\n"
        ".irp r, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 0, 1, 2, 3\n"
        "vfmadd231ps %%ymm14, %%ymm15, %%ymm\\r\n"
        ".endr\n"
        "dec %0\njnz 1b\nvzeroupper\n"
        : "+r"(n)
        :
        : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
          "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc");
    lanes = 8;
  }
  return operations * lanes / (Seconds() - start) * 1e-9;
}

#undef MOSSRT_PROBE_LOOP
#undef MOSSRT_PROBE_8

#else

inline double ProbeProducts(std::string_view, bool) { return 0; }

#endif

// GB/s of reading `bytes` once, one word of every cache line in four streams of one direction.
inline double ProbeBandwidth(const void* memory, std::size_t bytes) {
  const auto* p = static_cast<const std::uint64_t*>(memory);
  const std::size_t words = bytes / 8;
  std::uint64_t a = 0, b = 0, c = 0, d = 0;
  const double start = Seconds();
  for (std::size_t i = 0; i + 32 <= words; i += 32) {
    a += p[i];
    b += p[i + 8];
    c += p[i + 16];
    d += p[i + 24];
    __asm__ volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d));
  }
  return static_cast<double>(bytes) / (Seconds() - start) * 1e-9;
}

}  // namespace mossrt::bench
