#include <asm/hwcap.h>
#include <sys/auxv.h>

#include <string>

#include "cpu/cpu_features.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu {
namespace {

std::string Names() {
  const unsigned long capabilities = getauxval(AT_HWCAP);
  const unsigned long more = getauxval(AT_HWCAP2);
  const struct {
    bool present;
    const char* name;
  } named[] = {{(capabilities & HWCAP_FP) != 0, "fp"},
               {(capabilities & HWCAP_ASIMD) != 0, "asimd"},
               {(capabilities & HWCAP_ASIMDHP) != 0, "asimdhp"},
               {(capabilities & HWCAP_ASIMDDP) != 0, "asimddp"},
               {(capabilities & HWCAP_SVE) != 0, "sve"},
               {(more & HWCAP2_BF16) != 0, "bf16"},
               {(more & HWCAP2_I8MM) != 0, "i8mm"}};
  std::string names = "aarch64";
  for (const auto& [present, name] : named) {
    if (present) names.append(" ").append(name);
  }
  return names;
}

}  // namespace

bool AlwaysAvailable() { return true; }

// Advanced SIMD with fused multiply-add and half conversions is part of the base of AArch64, but a
// kernel may hide it.
bool NeonAvailable() { return (getauxval(AT_HWCAP) & HWCAP_ASIMD) != 0; }

bool NeonDotprodAvailable() {
  return NeonAvailable() && (getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0;
}

bool NeonI8mmAvailable() {
  return NeonDotprodAvailable() && (getauxval(AT_HWCAP2) & HWCAP2_I8MM) != 0;
}

const char* CpuFeatureNames() {
  static const auto* names = new std::string(Names());
  return names->c_str();
}

}  // namespace mossrt::cpu
