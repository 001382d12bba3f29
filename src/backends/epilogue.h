// Epilogues on a block of columns, for every backend: bias, then activation, then the factors,
// each rounded once.
#pragma once

#include <span>

#include "mossrt/runtime/gemm_backend.h"
#include "mossrt/runtime/kernel_table.h"
#include "mossrt/runtime/thread_team.h"

namespace mossrt::runtime {

// An error unless the factors of every call are the outputs of the one before, which has none.
absl::Status CheckFactors(std::span<const GemmCall> calls);

// On all of y, which may be columns of the outputs: then `epilogue` is OfColumns of theirs.
void ApplyEpilogue(const cpu::KernelTable& kernels, const Epilogue& epilogue, Matrix y);

Epilogue OfColumns(Epilogue epilogue, Range cols);

}  // namespace mossrt::runtime
