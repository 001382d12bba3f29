// The register tile of the matrix products: P panels x R input rows, one fused chain over k per
// output.
#pragma once

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

// How one weight format is read. A panel is a stream of 64-byte lines; a line holds kLineK
// successive k and meets kLineX entries of the packed input. Odd reads
// a last line of which only the first k count.
struct F32Weights {
  using Odd = F32Weights;
  using X = float;
  using Weight = F32x16;
  using Factor = F32x16;
  static constexpr int64_t kLineK = 1;
  static constexpr int64_t kLineX = 1;
  static Weight Get(const char* line, int64_t) {
    return LoadAligned(reinterpret_cast<const float*>(line));
  }
  static Factor Broadcast(const X* x) { return Set(*x); }
  static F32x16 Step(Weight w, Factor x, F32x16 sum) { return MulAdd(w, x, sum); }
};

struct F16Weights : F32Weights {
  using Odd = F16Weights;
  static constexpr int64_t kLineK = 2;
  static constexpr int64_t kLineX = 2;
  static Weight Get(const char* line, int64_t k) {
    return LoadF16(reinterpret_cast<const uint16_t*>(line) + 16 * k);
  }
};

struct Bf16Weights : F32Weights {
  using Odd = Bf16Weights;
  static constexpr int64_t kLineK = 2;
  static constexpr int64_t kLineX = 2;
  static Weight Get(const char* line, int64_t k) {  // even k in the low halves of the dwords
    const U32x16 pair = LoadBits(line);             // no mask: AVX2 has no register for it
    return FromBits(ShiftLeft<16>(k == 0 ? pair : ShiftRight<16>(pair)));
  }
};

// Where a tile reads and writes.
template <class Format>
struct TileArgs {
  const char* w;
  std::size_t w_panel_bytes;
  const typename Format::X* x;
  int64_t x_rows;  // rows of the packed tile = distance from k to k
  int64_t k;
  float* y;
  int64_t y_stride;
  bool accumulate;
  const char* ahead =
      nullptr;  // the next weights, called into the second cache while this tile computes
  std::size_t ahead_panel_bytes = 0;
  int64_t ahead_step = 0;  // bytes per line of this tile
};

template <class Format, int P, int R>
[[gnu::always_inline]] inline void StepLine(const char* line, std::size_t w_panel_bytes,
                                            const typename Format::X* x, int64_t x_rows,
                                            int64_t entries, F32x16 (&sum)[R][P]) {
#pragma GCC unroll 4
  for (int64_t e = 0; e < entries; ++e) {
    // Unseen by the optimiser, or g++ keeps an address for every row and spills them.
    const typename Format::X* entry = x + e * x_rows;
    if (Format::kLineX > 1) __asm__("" : "+r"(entry));
    typename Format::Weight w[P];
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      w[p] = Format::Get(line + static_cast<std::size_t>(p) * w_panel_bytes, e);
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
      const typename Format::Factor factor = Format::Broadcast(entry + r);
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) sum[r][p] = Format::Step(w[p], factor, sum[r][p]);
    }
  }
}

// Not inlined, so that tests/cpu can find every tile's loop in the object by its name.
template <class Format, int P, int R>
[[gnu::noinline]] void Tile(const TileArgs<Format>& args) {
  F32x16 sum[R][P];
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) {
      sum[r][p] = args.accumulate ? Load(args.y + r * args.y_stride + p * kPanelRows) : Set(0.0f);
    }
  }
  const char* line = args.w;
  const typename Format::X* x = args.x;
  const std::size_t w_panel_bytes = args.w_panel_bytes;
  const int64_t x_rows = args.x_rows;
  [[maybe_unused]] const char* ahead = args.ahead;
  [[maybe_unused]] const std::size_t ahead_panel_bytes = args.ahead_panel_bytes;
  [[maybe_unused]] const int64_t ahead_step = args.ahead_step;
  for (int64_t n = args.k / Format::kLineK; n > 0; --n) {
    if constexpr (R == kGemmRows && kTilePrefetchBytes > 0) {
      Prefetch(ahead);
      if constexpr (P > 1) Prefetch(ahead + ahead_panel_bytes);
      ahead += ahead_step;
    } else if constexpr (kTilePrefetchBytes > 0) {
      constexpr int kAhead = R == 1 ? kRowPrefetchBytes : kTilePrefetchBytes;
#pragma GCC unroll 4
      for (int p = 0; p < P; ++p) {
        Prefetch(line + static_cast<std::size_t>(p) * w_panel_bytes + kAhead);
      }
    }
    StepLine<Format, P, R>(line, w_panel_bytes, x, x_rows, Format::kLineX, sum);
    line += 64;
    x += Format::kLineX * x_rows;
    // Hidden from the optimiser, or it keeps their first values to compute the last ones from.
    if (Format::kLineX > 1) __asm__("" : "+r"(line), "+r"(x));
  }
  if constexpr (Format::kLineK > 1) {
    if (args.k % Format::kLineK != 0) {
      const int64_t entries = Format::kLineX == 1 ? 1 : args.k % Format::kLineK;
      StepLine<typename Format::Odd, P, R>(line, w_panel_bytes, x, x_rows, entries, sum);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 4
    for (int p = 0; p < P; ++p) Store(sum[r][p], args.y + r * args.y_stride + p * kPanelRows);
  }
}

// The tile of exactly `rows` <= R rows.
template <class Format, int P, int R>
void TileOfRows(int64_t rows, const TileArgs<Format>& args) {
  if (rows == R) {
    Tile<Format, P, R>(args);
  } else if constexpr (R > 1) {
    TileOfRows<Format, P, R - 1>(rows, args);
  }
}

}  // namespace mossrt::cpu::MOSSRT_ISA
