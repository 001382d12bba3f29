// All kernel texts, compiled for MOSSRT_ISA (whose simd header comes before this one), and the
// table of them. Functions are named as in kernel_list.inc, because that list makes the table.
#pragma once
#include "cpu/cpu_features.h"
#include "cpu/kernels/convert.inl.h"
#include "cpu/kernels/elementwise.inl.h"
#include "cpu/kernels/gemm_f32.inl.h"
#include "cpu/kernels/gemm_int.inl.h"
#include "cpu/kernels/norm.inl.h"
#include "cpu/kernels/pack.inl.h"
#include "cpu/kernels/pack_pairs.inl.h"
#include "cpu/kernels/quantize.inl.h"
#include "cpu/kernels/rope.inl.h"
#include "cpu/kernels/softmax.inl.h"
#include "mossrt/runtime/kernel_table.h"

#define MOSSRT_STRING_OF(text) #text
#define MOSSRT_STRING(macro) MOSSRT_STRING_OF(macro)

namespace mossrt::cpu::MOSSRT_ISA {

inline constexpr void (*gemm_bf16_pairs)(const GemmArgs*) =
    nullptr;  // avx512_bf16.cc has the only one

extern const KernelTable kTable;
const KernelTable kTable = {
    MOSSRT_STRING(MOSSRT_ISA),
    MOSSRT_ISA_RANK,
    MOSSRT_ISA_AVAILABLE,
#define MOSSRT_KERNEL(kernel, parameters) kernel,
#include "mossrt/runtime/kernel_list.inc"
#undef MOSSRT_KERNEL
};

}  // namespace mossrt::cpu::MOSSRT_ISA
