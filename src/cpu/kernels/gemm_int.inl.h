// Products of 8 bit inputs with weights of 8 and 4 bits and with cached keys and values of bytes.
// The integer sum of a group is exact, so it may be made in any order; the chain over groups has
// one order, whatever m is.
#pragma once

#include "cpu/kernels/gemm.inl.h"
#include "cpu/kernels/gemm_int_format.inl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu::MOSSRT_ISA {

// So few rows wait for memory whatever they do, and bytes come faster from one place.
inline constexpr int kSequentialRows = 4;

// kOwn: one tile of few rows, so that the weights come from memory just now: it calls its own, a
// few groups ahead, and at its end the first at `next`. It reads groups whole, also a last one with
// fewer values: a gap in the stream costs more than what is not read. Otherwise successive tiles,
// each of which calls its share of all weights at `next`.
template <class Format, bool kZeros, bool kOwn, int P, int R>
[[gnu::noinline]] void IntTiles(const IntTileArgs& args) {
  const typename Format::Panel panel{Format::kBits, args.group, kZeros};
  constexpr int64_t kLineK = 4 * Format::kQuads, kPerPacked = kTileRows / R;
  const int64_t lines = args.group / kLineK;
  const int64_t last_lines = kOwn ? lines : (args.last + kLineK - 1) / kLineK;
  const int64_t x_rows = args.x_rows, y_stride = args.y_stride;
  constexpr bool kCalls = kTilePrefetchBytes > 0;
  [[maybe_unused]] const int64_t groups_ahead =
      1 + kTilePrefetchBytes / static_cast<int64_t>(panel.group_bytes());
  const uint32_t* first_x = args.x;
  float* y = args.y;
  [[maybe_unused]] const char* next = args.next;
  const int64_t tiles = kOwn ? 1 : args.tiles;
  for (int64_t tile = 1; tile <= tiles; ++tile) {
    if constexpr (kCalls && !kOwn) {
      // The next outputs are single lines far apart, which no hardware foresees.
      for (int64_t r = 0; r < R && tile + kPerPacked <= tiles; ++r) {
        for (int p = 0; p < P; ++p) Prefetch(y + (kTileRows + r) * y_stride + p * kPanelRows);
      }
    }
    F32x16 chains[R][P];
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (int p = 0; p < P; ++p) {
        chains[r][p] = args.accumulate ? Load(y + r * y_stride + p * kPanelRows) : Set(0.0f);
      }
    }
    const uint32_t* x = first_x;
    for (int64_t g = 0; g < args.groups; ++g) {
      const uint32_t* x_scales = x + args.group / 4 * x_rows;
      const uint32_t* x_sums = x_scales + x_rows;
      U32x16 sum[R][P];
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
        for (int p = 0; p < P; ++p) sum[r][p] = StartOfGroup<Format, kZeros>(x_sums[r]);
      }
      const char* line = args.w + panel.DataOffset(g);
      [[maybe_unused]] const char* ahead = nullptr;
      if constexpr (kCalls && kOwn) {
        const int64_t later = g + groups_ahead;
        ahead = later < args.groups ? args.w + panel.DataOffset(later)
                                    : next + panel.DataOffset(later - args.groups);
        for (int p = 0; p < P; ++p) {  // the header
          Prefetch(ahead + static_cast<std::size_t>(p) * args.w_panel_bytes - 64);
        }
      } else if constexpr (kCalls) {
        for (int p = 0; p < P; ++p) {
          ahead = next + static_cast<std::size_t>(p) * args.next_panel_bytes;
          for (int64_t at = 0; at < args.next_bytes; at += 64) Prefetch(ahead + at);
        }
        next += args.next_bytes;
      }
      for (int64_t n = g + 1 < args.groups ? lines : last_lines; n > 0; --n) {
        if constexpr (kCalls && kOwn) {
          Prefetch(ahead);
          if constexpr (P > 1) Prefetch(ahead + args.w_panel_bytes);
          ahead += 64;
        }
        U32x16 w[P];
#pragma GCC unroll 2
        for (int p = 0; p < P; ++p) {
          w[p] = LoadBits(line + static_cast<std::size_t>(p) * args.w_panel_bytes);
        }
#pragma GCC unroll 2
        for (int quad = 0; quad < Format::kQuads; ++quad) {
          U32x16 bytes[P];
#pragma GCC unroll 2
          for (int p = 0; p < P; ++p) bytes[p] = Format::Get(w[p], quad);
#pragma GCC unroll 12
          for (int r = 0; r < R; ++r) {
            const Quad factor = SetQuad(x[r]);
#pragma GCC unroll 2
            for (int p = 0; p < P; ++p) sum[r][p] = Format::Dot(bytes[p], factor, sum[r][p]);
          }
          x += x_rows;
        }
        line += 64;
      }
      F32x16 w_scale[P], minus_zero[P];
      const auto* header = reinterpret_cast<const uint16_t*>(args.w + panel.HeaderOffset(g));
#pragma GCC unroll 2
      for (int p = 0; p < P; ++p) {
        w_scale[p] = Format::Scale(header);
        minus_zero[p] = kZeros ? MinusZeros<Format>(header) : Set(0.0f);
        header += args.w_panel_bytes / 2;
      }
#pragma GCC unroll 12
      for (int r = 0; r < R; ++r) {
        const auto x_scale = __builtin_bit_cast(float, x_scales[r]);
        const auto x_sum = static_cast<int32_t>(x_sums[r]);
#pragma GCC unroll 2
        for (int p = 0; p < P; ++p) {
          chains[r][p] = AddGroup<Format, kZeros>(sum[r][p], minus_zero[p], w_scale[p], x_scale,
                                                  x_sum, chains[r][p]);
        }
      }
      x = x_sums + x_rows;
    }
#pragma GCC unroll 12
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 2
      for (int p = 0; p < P; ++p) Store(chains[r][p], y + r * y_stride + p * kPanelRows);
    }
    first_x += tile % kPerPacked != 0 ? R : args.next_x - (kTileRows - R);
    y += R * y_stride;
  }
}

// gemm_int_pairs.inl.h has these, for a level with products of two rows at once.
template <class Format, bool kZeros, int R>
void IntPairTile(const IntTileArgs& args);
template <class Format>
struct Eights;

template <class Format, bool kZeros, bool kOwn, int P, int R>
void IntTileOfRows(int64_t rows, const IntTileArgs& args) {
  if (rows == R) {
    if constexpr (kPairRows && (R > 1 || !kOwn)) {
      static_assert(P == 1);
      IntPairTile<Format, kZeros, R>(args);
    } else {
      IntTiles<Format, kZeros, kOwn, P, R>(args);
    }
  } else if constexpr (R > 1) {
    IntTileOfRows<Format, kZeros, kOwn, P, R - 1>(rows, args);
  }
}

// One panel by a single input row: four integer sums hide the latency of the products.
template <class Format, bool kZeros>
[[gnu::noinline]] void IntRow(const IntTileArgs& args) {
  const typename Format::Panel panel{Format::kBits, args.group, kZeros};
  constexpr int kLines = 4 / Format::kQuads;  // at a time; every group has a multiple of them
  const int64_t steps = args.group / 16;
  const uint32_t* x = args.x;
  F32x16 chain = args.accumulate ? Load(args.y) : Set(0.0f);
  for (int64_t g = 0; g < args.groups; ++g) {
    const char* line = args.w + panel.DataOffset(g);
    const auto* header = reinterpret_cast<const uint16_t*>(args.w + panel.HeaderOffset(g));
    const uint32_t x_scale = x[args.group / 4], x_sum = x[args.group / 4 + 1];
    U32x16 sum[4] = {StartOfGroup<Format, kZeros>(x_sum), SetBits(0), SetBits(0), SetBits(0)};
    for (int64_t n = steps; n > 0; --n) {
#pragma GCC unroll 4
      for (int i = 0; i < kLines; ++i) {
        if constexpr (kRowPrefetchBytes > 0) Prefetch(line + i * 64 + kRowPrefetchBytes);
        const U32x16 w = LoadBits(line + i * 64);
#pragma GCC unroll 2
        for (int quad = 0; quad < Format::kQuads; ++quad) {
          const int at = i * Format::kQuads + quad;
          sum[at] = Format::Dot(Format::Get(w, quad), SetQuad(x[at]), sum[at]);
        }
      }
      line += 64 * kLines;
      x += 4;
    }
    x += 2;
    const U32x16 total = Add(Add(sum[0], sum[1]), Add(sum[2], sum[3]));
    chain = AddGroup<Format, kZeros>(total, kZeros ? MinusZeros<Format>(header) : Set(0.0f),
                                     Format::Scale(header), __builtin_bit_cast(float, x_scale),
                                     static_cast<int32_t>(x_sum), chain);
  }
  Store(chain, args.y);
}

// Values of k that the last of groups [.., end) has.
inline int64_t LastOf(const GemmArgs& a, int64_t end) {
  const int64_t rest = a.k - (end - 1) * a.group;
  return rest < a.group ? rest : a.group;
}

// Groups [first, first + groups) of some panels.
struct Block {
  const char* w;
  std::size_t w_panel_bytes;
  float* y;
  int64_t first;
  int64_t groups;
  const char* next;  // the weights that are read after these, as far apart as those of GemmArgs
  int64_t next_bytes;
};

// A block of P panels by all rows of `a`.
template <class Format, bool kZeros, bool kOwn, int P>
inline void MultiplyGroups(const GemmArgs& a, const Block& block) {
  constexpr int kRows = kOwn ? kIntRowsOwn : kIntRows;
  static_assert(kTileRows % kRows == 0);
  const int64_t per_row = IntegerInputDwords(a.x_k, a.group);
  const int64_t tiles = (a.m + kTileRows - 1) / kTileRows * (kTileRows / kRows);
  const int64_t share =
      block.groups > 0 ? (block.next_bytes / block.groups + tiles - 1) / tiles : 0;
  // From `start` on, which begins a tile of the packed input of `x_rows`; `row` rows of that are
  // done.
  const auto args_from = [&](int64_t start, int64_t row, int64_t x_rows) {
    const int64_t before = (start + row) / kRows;
    return IntTileArgs{.w = block.w,
                       .w_panel_bytes = block.w_panel_bytes,
                       .x = static_cast<const uint32_t*>(a.x) + start * per_row + row +
                            IntegerInputDwords(block.first * a.group, a.group) * x_rows,
                       .x_rows = x_rows,
                       .group = a.group,
                       .groups = block.groups,
                       .y = block.y + (start + row) * a.y_stride,
                       .y_stride = a.y_stride,
                       .accumulate = a.accumulate || block.first > 0,
                       .last = LastOf(a, block.first + block.groups),
                       .next = kOwn ? block.next : block.next + before * share * block.groups,
                       .next_panel_bytes = a.w_panel_bytes,
                       .next_bytes = share,
                       .next_x = per_row * kTileRows};
  };
  int64_t start = 0;
  if constexpr (!kOwn && !kPairRows) {
    start = a.m / kTileRows * kTileRows;
    if (start > 0) {
      IntTileArgs args = args_from(0, 0, kTileRows);
      args.tiles = start / kRows;
      IntTiles<Format, kZeros, kOwn, P, kRows>(args);
    }
  }
  for (; start < a.m; start += kTileRows) {
    const int64_t x_rows = a.m - start < kTileRows ? a.m - start : kTileRows;
    for (int64_t row = 0; row < x_rows; row += kRows) {
      const int64_t rows = x_rows - row < kRows ? x_rows - row : kRows;
      IntTileOfRows<Format, kZeros, kOwn, P, kRows>(rows, args_from(start, row, x_rows));
    }
  }
}

// Panels as a block of them is held for many rows: bytes with the same headers.
template <class Format, class Unpacked, bool kZeros>
inline void UnpackGroups(const char* w, const typename Format::Panel& from,
                         const typename Format::Panel& to, int64_t groups, char* bytes) {
  for (int64_t g = 0; g < groups; ++g) {
    if (kZeros || g % 2 == 0) {  // bytes without headers write their first line twice
      StoreBits(LoadBits(w + from.HeaderOffset(g)), bytes + to.HeaderOffset(g));
    }
    const char* line = w + from.DataOffset(g);
    char* out = bytes + to.DataOffset(g);
    for (int64_t n = from.group / 8; n > 0; --n) {
      Unpacked::Unpack(line, out);
      line += 16 * Format::kBits;
      out += 128;
    }
  }
}

template <class Format, class Unpacked, bool kZeros, int P>
inline void MultiplyUnpacked(const GemmArgs& a, const Block& block) {
  const typename Format::Panel from{Format::kBits, a.group, kZeros}, to{8, a.group, kZeros};
  auto* scratch = static_cast<char*>(a.scratch);
  Block unpacked = block;
  unpacked.w = scratch;
  unpacked.w_panel_bytes = (to.Bytes(block.groups) + 63) / 64 * 64;
  for (int i = 0; i < P; ++i) {
    const auto n = static_cast<std::size_t>(i);
    UnpackGroups<Format, Unpacked, kZeros>(block.w + n * block.w_panel_bytes, from, to,
                                           block.groups, scratch + n * unpacked.w_panel_bytes);
  }
  MultiplyGroups<Unpacked, kZeros, false, P>(a, unpacked);
}

// From this many rows on, blocks call the weights that come after them, and weights are unpacked or
// put side by side once per block: 4 bits where units for bits are short, all for pairs of rows.
inline constexpr int64_t kManyRows = 2 * kTileRows + 1;
// Values of k of a block: two panels of bytes are 64 KiB of the second cache.
inline constexpr int64_t kIntBlockK = 2048;

template <class Format, bool kZeros, int P>
inline int64_t MultiplyIntPanels(const GemmArgs& a, int64_t p, int64_t first, int64_t groups) {
  const typename Format::Panel panel{Format::kBits, a.group, kZeros};
  for (; p + P <= a.panels; p += P) {
    const char* w = static_cast<const char*>(a.w) + static_cast<std::size_t>(p) * a.w_panel_bytes +
                    panel.HeaderOffset(first);
    const Block block = {.w = w,
                         .w_panel_bytes = a.w_panel_bytes,
                         .y = a.y + p * kPanelRows,
                         .first = first,
                         .groups = groups,
                         .next = w + P * a.w_panel_bytes,
                         .next_bytes = static_cast<int64_t>(panel.Bytes(groups))};
    if (a.m < kManyRows) {
      MultiplyGroups<Format, kZeros, true, P>(a, block);
    } else if constexpr (kPairRows) {
      MultiplyUnpacked<Format, Eights<Format>, kZeros, P>(a, block);
    } else if constexpr (Format::kBits == 8 || !kUnpackNibbles) {
      MultiplyGroups<Format, kZeros, false, P>(a, block);
    } else {
      MultiplyUnpacked<Format, UnpackedInt4Weights, kZeros, P>(a, block);
    }
  }
  return p;
}

template <class Format, bool kZeros>
inline void MultiplyIntegers(const GemmArgs& a) {
  const int64_t groups = (a.k + a.group - 1) / a.group;
  if (a.m == 1) {
    for (int64_t p = 0; p < a.panels; ++p) {
      IntRow<Format, kZeros>(IntTileArgs{
          .w = static_cast<const char*>(a.w) + static_cast<std::size_t>(p) * a.w_panel_bytes,
          .w_panel_bytes = a.w_panel_bytes,
          .x = static_cast<const uint32_t*>(a.x),
          .x_rows = 1,
          .group = a.group,
          .groups = groups,
          .y = a.y + p * kPanelRows,
          .y_stride = a.y_stride,
          .accumulate = a.accumulate});
    }
    return;
  }
  const int64_t even = kIntBlockK / a.group / 2 * 2;  // a line of scales is not cut
  const int64_t block = a.m <= kTileRows ? groups : even > 2 ? even : 2;
  int64_t first = 0;
  do {
    const int64_t count = groups - first < block ? groups - first : block;
    const int64_t done = Format::kBits == 8 && a.m <= kSequentialRows
                             ? 0
                             : MultiplyIntPanels<Format, kZeros, kIntPanels>(a, 0, first, count);
    MultiplyIntPanels<Format, kZeros, 1>(a, done, first, count);
    first += block;
  } while (first < groups);
}

template <class Format>
inline void MultiplyByFormat(const GemmArgs* args) {
  const auto row_bytes = IntegerInputDwords(args->x_k, args->group) * 4;
  ForRowBlocks(*args, row_bytes, [](const GemmArgs& part) {
    part.zeros ? MultiplyIntegers<Format, true>(part) : MultiplyIntegers<Format, false>(part);
  });
}

static void gemm_kv8(const GemmArgs* args) {
  ForRowBlocks(*args, IntegerInputDwords(args->x_k, args->group) * 4,
               MultiplyIntegers<CachedBytes, false>);
}
static void gemm_int8(const GemmArgs* args) { MultiplyByFormat<Int8Weights>(args); }
static void gemm_int4(const GemmArgs* args) { MultiplyByFormat<Int4Weights>(args); }

}  // namespace mossrt::cpu::MOSSRT_ISA
