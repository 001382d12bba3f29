#include "ops/attention.h"

#include <algorithm>
#include <atomic>
#include <cstdint>

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::runtime {
namespace {

using cpu::kPanelRows;

// Query rows of one task: tokens x query heads of one key/value head. More rows reuse a block of
// keys more often; all of a task's buffers stay in L2.
constexpr std::int64_t kTaskRows = 48;

std::int64_t RoundUp(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

struct Buffers {
  float *q, *packed, *scores, *partial, *out;
  float *max, *sum, *block_max, *block_sum;  // per row
  void* gemm;

  static std::int64_t Rows(const AttentionShape& s) {
    return std::max(kTaskRows, s.heads / s.kv_heads);
  }
  static std::int64_t Cols(const AttentionShape& s) { return RoundUp(s.head_dim, kPanelRows); }

  // Lays the buffers out from `base` and returns the end.
  std::uintptr_t Place(const AttentionShape& s, std::uintptr_t base) {
    const std::int64_t rows = Rows(s), cols = Cols(s);
    const auto take = [&base](std::int64_t floats) {
      auto* p = reinterpret_cast<float*>(base);
      base += static_cast<std::uintptr_t>(
          RoundUp(floats * static_cast<std::int64_t>(sizeof(float)), 64));
      return p;
    };
    q = take(rows * s.head_dim);
    packed = take(rows * std::max(s.block_tokens, s.head_dim));
    scores = take(rows * s.block_tokens);
    partial = take(rows * cols);
    out = take(rows * cols);
    max = take(rows);
    sum = take(rows);
    block_max = take(rows);
    block_sum = take(rows);
    gemm = take(static_cast<std::int64_t>(cpu::kGemmScratchBytes / sizeof(float)));
    return base;
  }
};

// How queries and probabilities meet what the cache holds. They are rounded as it is: to bfloat16,
// or to bytes with one scale a row.
class CacheProducts {
 public:
  explicit CacheProducts(const AttentionShape& shape)
      : dtype_(shape.kv_dtype),
        kernels_(*cpu::Kernels()),
        pairs_(kernels_.gemm_bf16_pairs != nullptr),
        gemm_(dtype_ == DType::kF32  ? kernels_.gemm_f32
              : dtype_ == DType::kI8 ? kernels_.gemm_kv8
              : pairs_               ? kernels_.gemm_bf16_pairs
                                     : kernels_.gemm_bf16) {}

  // Values of k that share a dword of a panel; keys of bytes are padded to a line of vectors.
  std::int64_t depth() const { return dtype_ == DType::kBF16 ? 2 : 1; }
  std::int64_t key_depth(std::int64_t head_dim) const {
    return RoundUp(head_dim, dtype_ == DType::kI8 ? kPanelRows : 2);
  }
  std::int64_t element_bytes() const { return static_cast<std::int64_t>(DTypeSize(dtype_)); }

  // y [m, panels * 16] (+)= x [m, k] by `panels` panels at w.
  void Multiply(const float* x, std::int64_t x_stride, std::int64_t m, std::int64_t k,
                const std::byte* w, std::size_t panel_bytes, std::int64_t panels, float* y,
                std::int64_t y_stride, bool accumulate, float* packed, void* scratch) const {
    const std::int64_t group = RoundUp(k, kPanelRows);
    if (dtype_ == DType::kI8) {
      kernels_.pack_x_int8(x, x_stride, m, k, group, reinterpret_cast<std::uint32_t*>(packed));
    } else if (dtype_ == DType::kF32) {
      kernels_.pack_x_f32(x, x_stride, m, k, packed);
    } else if (pairs_) {
      kernels_.pack_x_bf16_pairs(x, x_stride, m, k, reinterpret_cast<std::uint32_t*>(packed));
    } else {
      kernels_.pack_x_bf16_as_f32(x, x_stride, m, k, packed);
    }
    const cpu::GemmArgs args = {.w = w,
                                .w_panel_bytes = panel_bytes,
                                .x = packed,
                                .x_k = k,
                                .y = y,
                                .y_stride = y_stride,
                                .m = m,
                                .k = k,
                                .panels = panels,
                                .accumulate = accumulate,
                                .scratch = scratch,
                                .group = group};
    gemm_(&args);
  }

 private:
  DType dtype_;
  const cpu::KernelTable& kernels_;
  bool pairs_;
  void (*gemm_)(const cpu::GemmArgs*);
};

class Task {
 public:
  Task(const AttentionShape& shape, std::int64_t layer, const Buffers& buffers)
      : shape_(shape),
        layer_(layer),
        b_(buffers),
        kernels_(*cpu::Kernels()),
        products_(shape),
        group_(shape.heads / shape.kv_heads),
        cols_(Buffers::Cols(shape)) {}

  // Tokens [first, first + tokens) of the sequence, all query heads of key/value head `head`.
  void Run(const AttentionSequence& sequence, std::int64_t head, std::int64_t first,
           std::int64_t tokens, ConstMatrix q, Matrix out) {
    const std::int64_t d = shape_.head_dim, rows = tokens * group_;
    for (std::int64_t r = 0; r < rows; ++r) {
      const float* from =
          q.Row(sequence.first_row + first + r / group_) + (head * group_ + r % group_) * d;
      std::copy_n(from, d, b_.q + r * d);
    }
    const std::int64_t first_count =
        sequence.first_position + first + 1;  // positions the first token sees
    const std::int64_t last_count = first_count + tokens - 1;
    const std::int64_t blocks = (last_count + shape_.block_tokens - 1) / shape_.block_tokens;
    for (std::int64_t block = 0; block < blocks; ++block) {
      // Rows of tokens that see nothing of this block come first; they are skipped.
      const std::int64_t start = block * shape_.block_tokens;
      const std::int64_t skipped = std::max<std::int64_t>(0, start + 1 - first_count);
      RunBlock(sequence, head, block, skipped * group_, rows, first_count - start);
    }
    for (std::int64_t r = 0; r < rows; ++r) {
      float* to =
          out.Row(sequence.first_row + first + r / group_) + (head * group_ + r % group_) * d;
      kernels_.divide(b_.out + r * cols_, b_.sum[r], d, to);
    }
  }

 private:
  // Rows [begin, rows); the token of row 0 sees `count0` positions counted from the start of this
  // block.
  void RunBlock(const AttentionSequence& sequence, std::int64_t head, std::int64_t block,
                std::int64_t begin, std::int64_t rows, std::int64_t count0) {
    const std::int64_t d = shape_.head_dim, n = shape_.block_tokens, m = rows - begin;
    const auto count = [&](std::int64_t r) { return std::min(n, count0 + (begin + r) / group_); };
    const std::int64_t most = count(m - 1), panels = (most + kPanelRows - 1) / kPanelRows;
    const auto panel_bytes =
        static_cast<std::size_t>(products_.key_depth(d) * kPanelRows * products_.element_bytes());
    const std::byte* keys = sequence.keys(sequence.cache, block, layer_, head);
    const std::byte* values = sequence.values(sequence.cache, block, layer_, head);
    float* weights = b_.scores + begin * n;
    products_.Multiply(b_.q + begin * d, d, m, d, keys, panel_bytes, panels, weights, n, false,
                       b_.packed, b_.gemm);
    const bool bytes = shape_.kv_dtype == DType::kI8;
    const auto* key_scales = reinterpret_cast<const float*>(
        keys + static_cast<std::size_t>(n / kPanelRows) * panel_bytes);
    const auto* value_scales = reinterpret_cast<const float*>(values + n * cols_);
    for (std::int64_t i = 0; i < m; ++i) {
      float* row = weights + i * n;
      kernels_.softmax_partial(row, count(i), shape_.scale, bytes ? key_scales : nullptr,
                               bytes ? value_scales : nullptr, &b_.block_max[i], &b_.block_sum[i]);
    }
    if (bytes) {
      AddValuesOfBytes(values, m, panels * kPanelRows, count, weights);
    } else {
      AddValues(values, m, count, weights);
    }
    for (std::int64_t i = 0; i < m; ++i)
      Merge(block, begin + i, b_.partial + i * cols_, b_.block_max[i], b_.block_sum[i]);
  }

  // All rows share the positions that the first of them sees; the rows of each token finish the
  // rest, in the same chain.
  template <typename Count>
  void AddValues(const std::byte* values, std::int64_t m, const Count& count,
                 const float* weights) {
    const std::int64_t n = shape_.block_tokens, line = kPanelRows * products_.element_bytes();
    const std::int64_t common = count(0) / products_.depth() * products_.depth();
    const auto panel_bytes = static_cast<std::size_t>(n * line);
    const auto add = [&](std::int64_t first, std::int64_t rows, std::int64_t from,
                         std::int64_t positions) {
      products_.Multiply(weights + first * n + from, n, rows, positions, values + from * line,
                         panel_bytes, cols_ / kPanelRows, b_.partial + first * cols_, cols_,
                         from > 0, b_.packed, b_.gemm);
    };
    add(0, m, 0, common);
    for (std::int64_t i = 0; i < m; i += group_) {
      if (count(i) > common) add(i, group_, common, count(i) - common);
    }
  }

  // Sums of integers are exact, so positions that a row may not see take part as zeros.
  template <typename Count>
  void AddValuesOfBytes(const std::byte* values, std::int64_t m, std::int64_t positions,
                        const Count& count, float* weights) {
    const std::int64_t n = shape_.block_tokens;
    for (std::int64_t i = 0; i < m; ++i)
      std::fill_n(weights + i * n + count(i), positions - count(i), 0.0f);
    products_.Multiply(weights, n, m, positions, values, static_cast<std::size_t>(n * kPanelRows),
                       cols_ / kPanelRows, b_.partial, cols_, false, b_.packed, b_.gemm);
  }

  void Merge(std::int64_t block, std::int64_t row, const float* partial, float max, float sum) {
    float* out = b_.out + row * cols_;
    if (block == 0) {
      std::copy_n(partial, cols_, out);
      b_.max[row] = max;
      b_.sum[row] = sum;
      return;
    }
    float weight[2] = {b_.max[row], max};  // becomes exp(old - merged), exp(new - merged)
    float merged, total;
    kernels_.softmax_partial(weight, 2, 1.0f, nullptr, nullptr, &merged, &total);
    kernels_.scale_add(partial, weight[1], cols_, weight[0], out);
    b_.sum[row] = b_.sum[row] * weight[0] + sum * weight[1];
    b_.max[row] = merged;
  }

  const AttentionShape& shape_;
  std::int64_t layer_;
  const Buffers& b_;
  const cpu::KernelTable& kernels_;
  CacheProducts products_;
  std::int64_t group_, cols_;
};

}  // namespace

std::size_t AttentionScratchBytes(const AttentionShape& shape) {
  Buffers buffers;
  return static_cast<std::size_t>(buffers.Place(shape, 0));
}

void Attention(const AttentionShape& shape, std::int64_t layer,
               std::span<const AttentionSequence> sequences, ConstMatrix q, Matrix out,
               std::byte* scratch, ThreadTeam& team) {
  const std::size_t scratch_bytes = AttentionScratchBytes(shape);
  const std::int64_t task_tokens =
      std::max<std::int64_t>(1, kTaskRows / (shape.heads / shape.kv_heads));
  std::atomic<std::int64_t> next{0};
  team.ForEachThread([&](int thread, int) {
    Buffers buffers;
    buffers.Place(shape, reinterpret_cast<std::uintptr_t>(scratch) +
                             static_cast<std::size_t>(thread) * scratch_bytes);
    Task task(shape, layer, buffers);
    std::int64_t index = 0;
    std::int64_t mine = next.fetch_add(1, std::memory_order_relaxed);
    for (const AttentionSequence& sequence : sequences) {
      const std::int64_t tiles = (sequence.rows + task_tokens - 1) / task_tokens;
      const std::int64_t tasks = tiles * shape.kv_heads;
      for (; mine < index + tasks; mine = next.fetch_add(1, std::memory_order_relaxed)) {
        const std::int64_t tile =
            tiles - 1 - (mine - index) / shape.kv_heads;  // the longest rows first
        const std::int64_t head = (mine - index) % shape.kv_heads;
        const std::int64_t first = tile * task_tokens;
        task.Run(sequence, head, first, std::min(task_tokens, sequence.rows - first), q, out);
      }
      index += tasks;
    }
  });
}

}  // namespace mossrt::runtime
