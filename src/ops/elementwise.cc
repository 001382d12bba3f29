#include "ops/elementwise.h"

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::runtime {

void ApplyNorm(Norm kind, NormWeights weights, double epsilon, ConstMatrix x, Matrix y) {
  const cpu::KernelTable& kernels = *cpu::Kernels();
  const auto eps = static_cast<float>(epsilon);
  for (std::int64_t i = 0; i < x.rows; ++i) {
    if (kind == Norm::kLayerNorm) {
      kernels.layer_norm(x.Row(i), weights.weight, weights.bias, eps, x.cols, y.Row(i));
    } else {
      kernels.rms_norm(x.Row(i), weights.weight, eps, x.cols, y.Row(i));
    }
  }
}

void Add(ConstMatrix x, Matrix y) {
  const cpu::KernelTable& kernels = *cpu::Kernels();
  for (std::int64_t i = 0; i < x.rows; ++i) kernels.add(x.Row(i), x.cols, y.Row(i));
}

}  // namespace mossrt::runtime
