#include <cpuid.h>

#include <cstdint>
#include <string>

#include "cpu/cpu_features.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu {
namespace {

struct Registers {
  unsigned eax, ebx, ecx, edx;
};

Registers CpuId(unsigned leaf, unsigned subleaf) {
  Registers r = {};
  if (__get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx) == 0) r = {};
  return r;
}

bool Bit(unsigned word, int bit) { return ((word >> bit) & 1u) != 0; }

// XCR0: which register files the system saves on a context switch.
std::uint64_t EnabledState() {
  std::uint32_t low = 0;
  std::uint32_t high = 0;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (std::uint64_t{high} << 32) | low;
}

struct Features {
  bool fma, f16c, avx2, avx512f, avx512dq, avx512bw, avx512vl, avx512_vnni, avx512_bf16;
  bool ymm_state, zmm_state;
  std::string names;
};

Features Detect() {
  // Bit numbers: Intel SDM volume 2A, CPUID; XCR0: volume 1, 13.3 (SSE 1, AVX 2, opmask 5, ZMM 6
  // and 7).
  const Registers one = CpuId(1, 0);
  const Registers seven = CpuId(7, 0);
  const Registers seven_one = CpuId(7, 1);
  Features f = {};
  const bool osxsave = Bit(one.ecx, 27);
  const std::uint64_t state = osxsave ? EnabledState() : 0;
  f.ymm_state = (state & 0x06) == 0x06;
  f.zmm_state = (state & 0xE6) == 0xE6;
  f.fma = Bit(one.ecx, 12);
  f.f16c = Bit(one.ecx, 29);
  f.avx2 = Bit(seven.ebx, 5);
  f.avx512f = Bit(seven.ebx, 16);
  f.avx512dq = Bit(seven.ebx, 17);
  f.avx512bw = Bit(seven.ebx, 30);
  f.avx512vl = Bit(seven.ebx, 31);
  f.avx512_vnni = Bit(seven.ecx, 11);
  f.avx512_bf16 = Bit(seven_one.eax, 5);
  const struct {
    bool present;
    const char* name;
  } named[] = {{f.fma, "fma"},
               {f.f16c, "f16c"},
               {f.avx2, "avx2"},
               {Bit(seven_one.eax, 4), "avx_vnni"},
               {f.avx512f, "avx512f"},
               {f.avx512dq, "avx512dq"},
               {f.avx512bw, "avx512bw"},
               {f.avx512vl, "avx512vl"},
               {f.avx512_vnni, "avx512_vnni"},
               {f.avx512_bf16, "avx512_bf16"},
               {Bit(seven.edx, 23), "avx512_fp16"},
               {Bit(seven.edx, 22), "amx_bf16"},
               {Bit(seven.edx, 25), "amx_int8"},
               {f.ymm_state, "os_ymm"},
               {f.zmm_state, "os_zmm"}};
  f.names = "x86-64";
  for (const auto& [present, name] : named) {
    if (present) f.names.append(" ").append(name);
  }
  return f;
}

const Features& Detected() {
  static const auto* features = new Features(Detect());
  return *features;
}

}  // namespace

bool AlwaysAvailable() { return true; }

bool Avx2Available() {
  const Features& f = Detected();
  return f.avx2 && f.fma && f.f16c && f.ymm_state;
}

bool Avx512Available() {
  const Features& f = Detected();
  return Avx2Available() && f.avx512f && f.avx512dq && f.avx512bw && f.avx512vl && f.zmm_state;
}

bool Avx512VnniAvailable() { return Avx512Available() && Detected().avx512_vnni; }

bool Avx512Bf16Available() { return Avx512VnniAvailable() && Detected().avx512_bf16; }

const char* CpuFeatureNames() { return Detected().names.c_str(); }

}  // namespace mossrt::cpu
