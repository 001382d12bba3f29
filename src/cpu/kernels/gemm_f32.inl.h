// The products of f32 inputs with weights in f32, f16 and bf16.
#pragma once

#include "cpu/kernels/gemm.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

// Widens `k` values of P panels to f32 [panel][k][16].
template <class Format, int P>
inline void Widen(const char* w, std::size_t w_panel_bytes, int64_t k, float* wide) {
  for (int p = 0; p < P; ++p) {
    const char* line = w + static_cast<std::size_t>(p) * w_panel_bytes;
    float* to = wide + p * kBlockLines * kPanelRows;
    for (int64_t i = 0; i < k; ++i) {
      Store(Format::Get(line + i / Format::kLineK * 64, i % Format::kLineK), to + i * kPanelRows);
    }
  }
}

template <class Format, int P>
inline int64_t MultiplyWidened(const GemmArgs& a, int64_t panel, int64_t position, int64_t k) {
  static_assert(P * kBlockLines * kPanelRows * sizeof(float) <= kGemmScratchBytes);
  auto* wide = static_cast<float*>(a.scratch);
  for (; panel + P <= a.panels; panel += P) {
    const char* w = static_cast<const char*>(a.w) +
                    static_cast<std::size_t>(panel) * a.w_panel_bytes +
                    position / Format::kLineK * 64;
    Widen<Format, P>(w, a.w_panel_bytes, k, wide);
    MultiplyBlock(
        BlockArgs<F32Weights, P>{.w = static_cast<const char*>(a.scratch),
                                 .w_panel_bytes = kBlockLines * 64,
                                 .x = static_cast<const float*>(a.x),
                                 .x_k = a.x_k,
                                 .x_position = position,
                                 .m = a.m,
                                 .k = k,
                                 .y = a.y + panel * kPanelRows,
                                 .y_stride = a.y_stride,
                                 .accumulate = a.accumulate || position > 0,
                                 .next = w + P * a.w_panel_bytes,
                                 .next_panel_bytes = a.w_panel_bytes,
                                 .next_lines = (k + Format::kLineK - 1) / Format::kLineK});
  }
  return panel;
}

// 16 bit weights: the chain is that of f32 weights whether they are widened on the way or before.
template <class Format>
inline void MultiplyNarrow(const GemmArgs& a) {
  if (a.m < kWidenRows) return Multiply<Format>(a);
  int64_t position = 0;
  do {
    const int64_t k = a.k - position < kBlockLines ? a.k - position : kBlockLines;
    const int64_t done = MultiplyWidened<Format, kGemmPanels>(a, 0, position, k);
    MultiplyWidened<Format, 1>(a, done, position, k);
    position += kBlockLines;
  } while (position < a.k);
}

static void gemm_f32(const GemmArgs* args) {
  ForRowBlocks(*args, args->x_k * 4, Multiply<F32Weights>);
}
static void gemm_f16(const GemmArgs* args) {
  ForRowBlocks(*args, args->x_k * 4, MultiplyNarrow<F16Weights>);
}
static void gemm_bf16(const GemmArgs* args) {
  ForRowBlocks(*args, args->x_k * 4, MultiplyNarrow<Bf16Weights>);
}

}  // namespace mossrt::cpu::MOSSRT_ISA
