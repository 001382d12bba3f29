// Matrix products: which tile meets which part of K, so that weights cross the bus once and
// everything else stays in the caches. Cutting K changes no bit: an output passes from block to
// block through y, as an accumulator.
#pragma once

#include "cpu/kernels/gemm_tile.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

// A block of K by a block of rows: two f32 panels are 64 KiB and 120 inputs 240 KiB of the second
// cache. Measured at m = 504 beside other load: 84 % of the peak with 10 tiles, 80 % with 21, 73 %
// with all rows at once.
inline constexpr int64_t kBlockLines = 512;
inline constexpr int64_t kBlockTiles = 10;
// From this many rows on, 16 bit weights are widened once per block instead of once per tile.
inline constexpr int64_t kWidenRows = 2 * kTileRows + 1;

// Entries of x for k values of a row.
template <class Format>
inline int64_t XEntries(int64_t k) {
  return Format::kLineX == Format::kLineK ? k : (k + Format::kLineK - 1) / Format::kLineK;
}

// One block of K: P panels by all m rows. x: the first tile's entry of the block.
template <class Format, int P>
struct BlockArgs {
  const char* w;
  std::size_t w_panel_bytes;
  const typename Format::X* x;
  int64_t x_k;         // entries from tile to tile, per row
  int64_t x_position;  // entries before this block, per row
  int64_t m;
  int64_t k;
  float* y;
  int64_t y_stride;
  bool accumulate;
  const char* next;  // the weights that are read after these
  std::size_t next_panel_bytes;
  int64_t next_lines;  // of each panel
};

template <class Format, int P>
inline void MultiplyBlock(const BlockArgs<Format, P>& block) {
  const int64_t tiles = (block.m + kTileRows - 1) / kTileRows;
  // The next weights come from memory evenly, a few bytes per line of every tile. A single tile
  // calls its own.
  const int64_t lines = (block.k + Format::kLineK - 1) / Format::kLineK;
  const bool single = tiles == 1;
  const int64_t step = single      ? 64
                       : lines > 0 ? (block.next_lines * 64 / lines + tiles - 1) / tiles
                                   : 0;
  const char* ahead = single ? block.w + kTilePrefetchBytes : block.next;
  const std::size_t ahead_panel_bytes = single ? block.w_panel_bytes : block.next_panel_bytes;
  for (int64_t tile = 0; tile < tiles; ++tile) {
    const int64_t first = tile * kTileRows;
    // The next outputs are single lines far apart, which no hardware foresees.
    for (int64_t row = first + kTileRows; row < block.m && row < first + 2 * kTileRows; ++row) {
      for (int p = 0; p < P; ++p) Prefetch(block.y + row * block.y_stride + p * kPanelRows);
    }
    const int64_t tile_rows = block.m - first < kTileRows ? block.m - first : kTileRows;
    const typename Format::X* x = block.x + first * block.x_k + block.x_position * tile_rows;
    for (int64_t row = 0; row < tile_rows; row += kGemmRows) {
      const int64_t rows = tile_rows - row < kGemmRows ? tile_rows - row : kGemmRows;
      TileOfRows<Format, P, kGemmRows>(
          rows, TileArgs<Format>{.w = block.w,
                                 .w_panel_bytes = block.w_panel_bytes,
                                 .x = x + row,
                                 .x_rows = tile_rows,
                                 .k = block.k,
                                 .y = block.y + (first + row) * block.y_stride,
                                 .y_stride = block.y_stride,
                                 .accumulate = block.accumulate,
                                 .ahead = ahead + tile * step * lines,
                                 .ahead_panel_bytes = ahead_panel_bytes,
                                 .ahead_step = step});
    }
  }
}

// P panels at a time from `panel` on; returns how many panels are done.
template <class Format, int P>
inline int64_t MultiplyPanels(const GemmArgs& a, int64_t panel, int64_t position, int64_t k) {
  const int64_t lines_before = position / Format::kLineK;
  for (; panel + P <= a.panels; panel += P) {
    const char* w = static_cast<const char*>(a.w) +
                    static_cast<std::size_t>(panel) * a.w_panel_bytes + lines_before * 64;
    MultiplyBlock(BlockArgs<Format, P>{.w = w,
                                       .w_panel_bytes = a.w_panel_bytes,
                                       .x = static_cast<const typename Format::X*>(a.x),
                                       .x_k = XEntries<Format>(a.x_k),
                                       .x_position = XEntries<Format>(position),
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

// A single input row: kGemvPanels panels hide the latency of the one chain per output, where one
// does not do so well enough; memory likes a single stream best.
template <class Format, int P>
inline int64_t MultiplyRow(const GemmArgs& a, int64_t panel) {
  for (; panel + P <= a.panels; panel += P) {
    Tile<Format, P, 1>(TileArgs<Format>{
        .w = static_cast<const char*>(a.w) + static_cast<std::size_t>(panel) * a.w_panel_bytes,
        .w_panel_bytes = a.w_panel_bytes,
        .x = static_cast<const typename Format::X*>(a.x),
        .x_rows = 1,
        .k = a.k,
        .y = a.y + panel * kPanelRows,
        .y_stride = a.y_stride,
        .accumulate = a.accumulate});
  }
  return panel;
}

// Calls `multiply` for blocks of at most kBlockTiles tiles of rows, nearly equal ones.
template <class Function>
inline void ForRowBlocks(const GemmArgs& whole, int64_t x_row_bytes, Function multiply) {
  if (whole.m <= 0) return;
  const int64_t tiles = (whole.m + kTileRows - 1) / kTileRows;
  const int64_t blocks = (tiles + kBlockTiles - 1) / kBlockTiles;
  if (blocks <= 1) return multiply(whole);
  const int64_t rows = (tiles + blocks - 1) / blocks * kTileRows;
  for (int64_t first = 0; first < whole.m; first += rows) {
    GemmArgs part = whole;
    part.m = whole.m - first < rows ? whole.m - first : rows;
    part.x = static_cast<const char*>(whole.x) + first * x_row_bytes;
    part.y = whole.y + first * whole.y_stride;
    multiply(part);
  }
}

template <class Format>
inline void Multiply(const GemmArgs& a) {
  if (a.m == 1) {
    const int64_t done = MultiplyRow<Format, kGemvPanels>(a, 0);
    MultiplyRow<Format, 1>(a, done);
    return;
  }
  // A single tile waits for its weights, which pass once: they come fastest as one stream.
  const bool single = a.m <= kTileRows;
  const int64_t block_k = single ? a.k : kBlockLines * Format::kLineK;
  int64_t position = 0;
  do {
    const int64_t k = a.k - position < block_k ? a.k - position : block_k;
    const int64_t done = single ? 0 : MultiplyPanels<Format, kGemmPanels>(a, 0, position, k);
    MultiplyPanels<Format, 1>(a, done, position, k);
    position += block_k;
  } while (position < a.k);
}

}  // namespace mossrt::cpu::MOSSRT_ISA
