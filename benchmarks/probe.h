// What the machine gives at this moment, for benchmarks to compare themselves with: bytes read from
// memory and multiply-adds between registers, on one thread. Register loops are assembly, so that
// they need no flags.
#pragma once

#include <time.h>

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "bindings/python/memory_probe.h"

namespace mossrt::bench {

// Processor time of this thread: another process on the same core does not count.
inline double Seconds() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

enum class Arithmetic : std::uint8_t {
  kF32,
  kBf16,  // pairs of bfloat16 added up in float32
  kInt8,  // fours of bytes added up in int32
};

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

// Billions of multiplications and additions a second in 16 independent chains; 0 where the unit is
// missing. In float32 as wide as the level `isa` computes.
inline double ProbeProducts(std::string_view isa, Arithmetic arithmetic) {
  std::uint64_t n = 400000;
  const double operations = static_cast<double>(n) * 16 * 2;
  const double start = Seconds();
  double lanes = 0;
  if (arithmetic == Arithmetic::kBf16) {
    if (!__builtin_cpu_supports("avx512bf16")) return 0;
    MOSSRT_PROBE_LOOP("vdpbf16ps", "zmm");
    lanes = 32;
  } else if (arithmetic == Arithmetic::kInt8) {
    if (!__builtin_cpu_supports("avx512vnni")) return 0;
    MOSSRT_PROBE_LOOP("vpdpbusd", "zmm");
    lanes = 64;
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

inline double ProbeProducts(std::string_view, Arithmetic) { return 0; }

#endif

// GB/s of reading `bytes` once.
inline double ProbeBandwidth(const void* memory, std::size_t bytes) {
  const double start = Seconds();
  ReadMemory(memory, bytes);
  return static_cast<double>(bytes) / (Seconds() - start) * 1e-9;
}

}  // namespace mossrt::bench
