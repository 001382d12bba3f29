// Epilogues on a block of columns, for every backend: bias, then activation, then the factors,
// each rounded once.
#pragma once

#include <span>

#include "mossrt/runtime/gemm_backend.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::runtime {

// An error unless the factors of every call are the outputs of the one before, which has none.
absl::Status CheckFactors(std::span<const GemmCall> calls);

// Columns [first, end) of all rows of y.
void ApplyEpilogue(const cpu::KernelTable& kernels, const Epilogue& epilogue, Matrix y,
                   std::int64_t first, std::int64_t end);

}  // namespace mossrt::runtime
