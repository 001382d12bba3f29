// moss-moon-003, 16 B: one LayerNorm feeds attention and MLP in parallel.
#include "models/specs/specs.h"

namespace mossrt::runtime {

ArchSpec MossSpec() {
  ArchSpec spec = CodegenSpec();
  spec.name = "moss";
  spec.model_types = {"moss"};
  spec.excluded_keys = {"rms_norm_eps"};  // moss-base-7b calls itself moss too and is a LLaMA
  return spec;
}

}  // namespace mossrt::runtime
