// Operations on rows that need no more than a kernel, and the split of rows over threads.
#pragma once

#include "mossrt/runtime/norm.h"
#include "mossrt/runtime/tensor_view.h"
#include "mossrt/runtime/thread_team.h"

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
// y *= x
void Multiply(ConstMatrix x, Matrix y);

// Calls f(first, end) with a split of [0, rows) over the team; on the calling thread alone if one
// row is all there is.
template <typename F>
void ForRows(std::int64_t rows, ThreadTeam& team, F&& f) {
  if (rows <= 1) {
    if (rows == 1) f(std::int64_t{0}, std::int64_t{1});
    return;
  }
  team.ForEachThread([&](int thread, int threads) {
    const Range range = SplitRange(rows, thread, threads);
    if (range.begin < range.end) f(range.begin, range.end);
  });
}

}  // namespace mossrt::runtime
