#include "ops/elementwise.h"

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::runtime {

void ApplyNorm(Norm kind, NormWeights weights, double epsilon, ConstMatrix x, Matrix y,
               ThreadTeam& team) {
  const cpu::KernelTable& kernels = *cpu::Kernels();
  const auto eps = static_cast<float>(epsilon);
  ForRows(x.rows, team, [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t i = first; i < end; ++i) {
      if (kind == Norm::kLayerNorm) {
        kernels.layer_norm(x.Row(i), weights.weight, weights.bias, eps, x.cols, y.Row(i));
      } else {
        kernels.rms_norm(x.Row(i), weights.weight, eps, x.cols, y.Row(i));
      }
    }
  });
}

void Add(ConstMatrix x, Matrix y, ThreadTeam& team) {
  const cpu::KernelTable& kernels = *cpu::Kernels();
  ForRows(x.rows, team, [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t i = first; i < end; ++i) kernels.add(x.Row(i), x.cols, y.Row(i));
  });
}

void AddBoth(Matrix a, ConstMatrix b, Matrix y, ThreadTeam& team) {
  const cpu::KernelTable& kernels = *cpu::Kernels();
  ForRows(y.rows, team, [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t i = first; i < end; ++i) {
      kernels.add(b.Row(i), b.cols, a.Row(i));
      kernels.add(a.Row(i), a.cols, y.Row(i));
    }
  });
}

void Multiply(ConstMatrix x, Matrix y, ThreadTeam& team) {
  const cpu::KernelTable& kernels = *cpu::Kernels();
  ForRows(x.rows, team, [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t i = first; i < end; ++i) kernels.multiply(x.Row(i), x.cols, y.Row(i));
  });
}

}  // namespace mossrt::runtime
