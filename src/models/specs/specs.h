// The built-in architectures, one file each.
#pragma once

#include "mossrt/runtime/arch_spec.h"

namespace mossrt::runtime {

ArchSpec MossSpec();
ArchSpec CodegenSpec();
ArchSpec Codegen2Spec();
ArchSpec LlamaSpec();

}  // namespace mossrt::runtime
