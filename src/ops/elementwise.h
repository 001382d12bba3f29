// Operations on rows that need no more than a kernel.
#pragma once

#include "mossrt/runtime/norm.h"
#include "mossrt/runtime/tensor_view.h"

namespace mossrt::runtime {

// weight, bias: [cols]; bias may be empty.
struct NormWeights {
  const float* weight = nullptr;
  const float* bias = nullptr;
};

// y = norm(x) row by row; y may be x.
void ApplyNorm(Norm kind, NormWeights weights, double epsilon, ConstMatrix x, Matrix y);
// y += x
void Add(ConstMatrix x, Matrix y);

}  // namespace mossrt::runtime
