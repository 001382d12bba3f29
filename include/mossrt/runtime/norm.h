// Kinds of normalisation. Owned by src/ops.
#pragma once

#include <cstdint>

namespace mossrt::runtime {

enum class Norm : std::uint8_t { kLayerNorm, kRmsNorm };

}  // namespace mossrt::runtime
