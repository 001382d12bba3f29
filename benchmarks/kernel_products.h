// The matrix products of kernels_bench. A turn of a product stands between two probes of the same
// moment, of memory bandwidth for what streams weights and else of multiply-adds between registers,
// and is reported as a fraction of their mean too.
#pragma once

#include <cstddef>
#include <cstdint>

#include "mossrt/runtime/kernel_table.h"
#include "probe.h"

namespace mossrt::bench {

using Gemm = void (*)(const cpu::GemmArgs*);

// Weights of value_bytes each; `arithmetic` says how inputs are packed. Nothing for a null gemm.
void RegisterFloatProducts(const char* name, Gemm gemm, Arithmetic arithmetic,
                           std::size_t value_bytes);
void RegisterIntegerProducts(const char* name, Gemm gemm, std::int64_t bits);
// 48 queries by the cached keys of a block, and their probabilities by its values.
void RegisterCacheProducts(const char* name, Gemm gemm);

}  // namespace mossrt::bench
