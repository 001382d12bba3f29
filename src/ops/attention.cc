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

// Softmax over some positions: rows of sums of values weighted by exp(score - max), and per row the
// greatest score and the sum of the weights.
struct Partial {
  float *out, *max, *sum;

  static std::int64_t Floats(std::int64_t rows, std::int64_t cols) { return rows * (cols + 2); }
  static Partial At(float* floats, std::int64_t rows, std::int64_t cols) {
    return {.out = floats, .max = floats + rows * cols, .sum = floats + rows * (cols + 1)};
  }
};

struct Buffers {
  float *q, *packed, *scores;
  std::int64_t* counts;  // positions that each row sees
  Partial block, merged;
  float* shared;  // of all threads together: partials of tasks that are cut into blocks
  void* gemm;

  static std::int64_t Rows(const AttentionShape& s) {
    return std::max(kTaskRows, s.heads / s.kv_heads);
  }
  static std::int64_t Cols(const AttentionShape& s) { return RoundUp(s.head_dim, kPanelRows); }
  static std::int64_t SharedFloats(const AttentionShape& s) {
    return 2 * Partial::Floats(Rows(s), Cols(s));
  }

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
    counts = reinterpret_cast<std::int64_t*>(take(2 * rows));
    block = Partial::At(take(Partial::Floats(rows, cols)), rows, cols);
    merged = Partial::At(take(Partial::Floats(rows, cols)), rows, cols);
    shared = take(SharedFloats(s));
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
  Task(const AttentionShape& shape, std::int64_t layer, const NewestTokens* newest,
       const Buffers& buffers)
      : shape_(shape),
        layer_(layer),
        newest_(newest),
        b_(buffers),
        kernels_(*cpu::Kernels()),
        products_(shape),
        group_(shape.heads / shape.kv_heads),
        cols_(Buffers::Cols(shape)) {}

  // Tokens [first, first + tokens) of the sequence, all query heads of key/value head `head`.
  void Begin(const AttentionSequence& sequence, std::int64_t head, std::int64_t first,
             std::int64_t tokens) {
    sequence_ = &sequence;
    head_ = head;
    first_ = first;
    rows_ = tokens * group_;
    first_count_ = sequence.first_position + first + 1;
    blocks_ = (first_count_ + tokens - 1 + shape_.block_tokens - 1) / shape_.block_tokens;
  }
  std::int64_t rows() const { return rows_; }
  std::int64_t blocks() const { return blocks_; }

  void LoadQueries(ConstMatrix q) {
    const std::int64_t d = shape_.head_dim;
    for (std::int64_t r = 0; r < rows_; ++r) {
      const float* from =
          q.Row(sequence_->first_row + first_ + r / group_) + (head_ * group_ + r % group_) * d;
      std::copy_n(from, d, b_.q + r * d);
    }
    if (newest_ != nullptr) newest_->RotateQueries(sequence_->first_row, b_.q);
  }

  // Rows of tokens that see nothing of a block come first; they are skipped, and no rows of `to`.
  void RunBlock(std::int64_t block, const Partial& to) {
    const std::int64_t d = shape_.head_dim, n = shape_.block_tokens;
    const std::int64_t begin = Skipped(block), m = rows_ - begin;
    const std::int64_t count0 = first_count_ - block * n;  // what row 0 sees from this block on
    for (std::int64_t i = 0; i < m; ++i) b_.counts[i] = std::min(n, count0 + (begin + i) / group_);
    const std::int64_t panels = (b_.counts[m - 1] + kPanelRows - 1) / kPanelRows;
    const auto panel_bytes =
        static_cast<std::size_t>(products_.key_depth(d) * kPanelRows * products_.element_bytes());
    const std::byte* keys = sequence_->keys(sequence_->cache, block, layer_, head_);
    const std::byte* values = sequence_->values(sequence_->cache, block, layer_, head_);
    if (newest_ != nullptr && block + 1 == blocks_) {
      newest_->StoreKeyAndValue(sequence_->first_row, head_);
    }
    CallValues(values);
    float* weights = b_.scores + begin * n;
    products_.Multiply(b_.q + begin * d, d, m, d, keys, panel_bytes, panels, weights, n, false,
                       b_.packed, b_.gemm);
    const bool bytes = shape_.kv_dtype == DType::kI8;
    const auto* key_scales = reinterpret_cast<const float*>(
        keys + static_cast<std::size_t>(n / kPanelRows) * panel_bytes);
    const auto* value_scales = reinterpret_cast<const float*>(values + n * cols_);
    kernels_.softmax_partial(weights, n, m, b_.counts, shape_.scale, bytes ? key_scales : nullptr,
                             bytes ? value_scales : nullptr, to.max, to.sum);
    if (bytes) {
      AddValuesOfBytes(values, m, panels * kPanelRows, weights, to.out);
    } else {
      AddValues(values, m, weights, to.out);
    }
  }

  // Adds what RunBlock left in `from`; blocks come in order.
  void Merge(std::int64_t block, const Partial& from, const Partial& merged) {
    const std::int64_t begin = Skipped(block), m = rows_ - begin;
    float* const max = merged.max + begin;
    float* const sum = merged.sum + begin;
    float* const out = merged.out + begin * cols_;
    if (block == 0) {
      std::copy_n(from.out, m * cols_, out);
      std::copy_n(from.max, m, max);
      std::copy_n(from.sum, m, sum);
      return;
    }
    float* const pairs = b_.scores;  // become exp(old - both), exp(new - both)
    float* const sums = pairs + 2 * m;
    for (std::int64_t i = 0; i < m; ++i) {
      pairs[2 * i] = max[i];
      pairs[2 * i + 1] = from.max[i];
      b_.counts[i] = 2;
    }
    kernels_.softmax_partial(pairs, 2, m, b_.counts, 1.0f, nullptr, nullptr, max, sums);
    for (std::int64_t i = 0; i < m; ++i) {
      const float* weight = pairs + 2 * i;
      kernels_.scale_add(from.out + i * cols_, weight[1], cols_, weight[0], out + i * cols_);
      sum[i] = sum[i] * weight[0] + from.sum[i] * weight[1];
    }
  }

  void Store(const Partial& merged, Matrix out) {
    const std::int64_t d = shape_.head_dim;
    for (std::int64_t r = 0; r < rows_; ++r) {
      float* to =
          out.Row(sequence_->first_row + first_ + r / group_) + (head_ * group_ + r % group_) * d;
      kernels_.divide(merged.out + r * cols_, merged.sum[r], d, to);
    }
  }

 private:
  std::int64_t Skipped(std::int64_t block) const {
    return std::max<std::int64_t>(0, block * shape_.block_tokens + 1 - first_count_) * group_;
  }

  // Panels of values lie apart; while the keys are multiplied the beginning of each comes, from
  // where the processor goes on by itself.
  void CallValues(const std::byte* values) const {
    constexpr std::int64_t kLine = 64, kBytes = 4 * kLine;
    const std::int64_t panel_bytes = shape_.block_tokens * kPanelRows * products_.element_bytes();
    for (std::int64_t panel = 0; panel < cols_ / kPanelRows; ++panel) {
      for (std::int64_t at = 0; at < kBytes; at += kLine) {
        __builtin_prefetch(values + panel * panel_bytes + at);
      }
    }
  }

  // All rows share the positions that the first of them sees; the rows of each token finish the
  // rest, in the same chain.
  void AddValues(const std::byte* values, std::int64_t m, const float* weights, float* out) {
    const std::int64_t n = shape_.block_tokens, line = kPanelRows * products_.element_bytes();
    const std::int64_t common = b_.counts[0] / products_.depth() * products_.depth();
    const auto panel_bytes = static_cast<std::size_t>(n * line);
    const auto add = [&](std::int64_t first, std::int64_t rows, std::int64_t from,
                         std::int64_t positions) {
      products_.Multiply(weights + first * n + from, n, rows, positions, values + from * line,
                         panel_bytes, cols_ / kPanelRows, out + first * cols_, cols_, from > 0,
                         b_.packed, b_.gemm);
    };
    add(0, m, 0, common);
    for (std::int64_t i = 0; i < m; i += group_) {
      if (b_.counts[i] > common) add(i, group_, common, b_.counts[i] - common);
    }
  }

  // Sums of integers are exact, so positions that a row may not see take part as zeros.
  void AddValuesOfBytes(const std::byte* values, std::int64_t m, std::int64_t positions,
                        float* weights, float* out) {
    const std::int64_t n = shape_.block_tokens;
    for (std::int64_t i = 0; i < m; ++i) {
      std::fill(weights + i * n + b_.counts[i], weights + i * n + positions, 0.0f);
    }
    products_.Multiply(weights, n, m, positions, values, static_cast<std::size_t>(n * kPanelRows),
                       cols_ / kPanelRows, out, cols_, false, b_.packed, b_.gemm);
  }

  const AttentionShape& shape_;
  std::int64_t layer_;
  const NewestTokens* newest_;
  const Buffers& b_;
  const cpu::KernelTable& kernels_;
  CacheProducts products_;
  std::int64_t group_, cols_;
  const AttentionSequence* sequence_ = nullptr;
  std::int64_t head_ = 0, first_ = 0, rows_ = 0, blocks_ = 0;
  std::int64_t first_count_ = 0;  // positions the first token sees
};

// Finds tasks by their number: tiles of a sequence's tokens by key/value heads, the longest rows
// first, sequence after sequence.
class Cursor {
 public:
  Cursor(const AttentionShape& shape, std::span<const AttentionSequence> sequences)
      : heads_(shape.kv_heads),
        tokens_(std::max<std::int64_t>(1, kTaskRows / (shape.heads / shape.kv_heads))),
        sequences_(sequences) {}

  std::int64_t TasksOf(const AttentionSequence& sequence) const {
    return (sequence.rows + tokens_ - 1) / tokens_ * heads_;
  }

  // Numbers do not fall from call to call; false beyond the last.
  bool Begin(std::int64_t number, Task& task) {
    for (; !sequences_.empty(); sequences_ = sequences_.subspan(1)) {
      const AttentionSequence& sequence = sequences_.front();
      const std::int64_t tasks = TasksOf(sequence), n = number - before_;
      if (n < tasks) {
        const std::int64_t first = ((tasks - 1 - n) / heads_) * tokens_;
        task.Begin(sequence, n % heads_, first, std::min(tokens_, sequence.rows - first));
        return true;
      }
      before_ += tasks;
    }
    return false;
  }

 private:
  std::int64_t heads_, tokens_, before_ = 0;
  std::span<const AttentionSequence> sequences_;
};

Buffers BuffersOf(const AttentionShape& shape, std::byte* scratch, std::int64_t thread) {
  Buffers buffers;
  buffers.Place(shape, reinterpret_cast<std::uintptr_t>(scratch) +
                           static_cast<std::size_t>(thread) * AttentionScratchBytes(shape));
  return buffers;
}

// Tasks so few that threads would wait are dealt out block by block; their partials are merged in
// the order in which one thread would make them.
class ByBlocks {
 public:
  ByBlocks(const AttentionShape& shape, std::span<const AttentionSequence> sequences, int threads)
      : shape_(shape), threads_(threads) {
    const std::int64_t group = shape.heads / shape.kv_heads;
    std::int64_t tokens = 0;
    for (const AttentionSequence& sequence : sequences) {
      tasks_ += Cursor(shape, sequences).TasksOf(sequence);
      tokens = std::max(tokens, sequence.rows);
      blocks_ =
          std::max(blocks_, (sequence.first_position + sequence.rows + shape.block_tokens - 1) /
                                shape.block_tokens);
    }
    rows_ = std::min(tokens * group, Buffers::Rows(shape));
    slot_floats_ = RoundUp(Partial::Floats(rows_, Buffers::Cols(shape)), 16);
    per_thread_ = Buffers::SharedFloats(shape) / slot_floats_;
    if (tasks_ > 0) at_once_ = std::min(blocks_, per_thread_ * threads / tasks_ - 1);
  }

  // More than a tenth of the threads' time would be lost, and there is room for the partials.
  bool PaysOff() const {
    const std::int64_t rounds = (tasks_ + threads_ - 1) / threads_;
    return rounds * threads_ * 10 > tasks_ * 11 && blocks_ > 1 && at_once_ > 1;
  }

  void Run(std::int64_t layer, std::span<const AttentionSequence> sequences, ConstMatrix q,
           Matrix out, std::byte* scratch, ThreadTeam& team, const NewestTokens* newest) const {
    std::atomic<std::int64_t> next;
    const auto for_each = [&](std::int64_t count, auto f) {  // f(number, cursor, task)
      next.store(0, std::memory_order_relaxed);
      team.ForEachThread([&](int thread, int) {
        const Buffers buffers = BuffersOf(shape_, scratch, thread);
        Task task(shape_, layer, newest, buffers);
        Cursor cursor(shape_, sequences);
        const auto take = [&] { return next.fetch_add(1, std::memory_order_relaxed); };
        for (std::int64_t number = take(); number < count; number = take()) {
          f(number, cursor, task);
        }
      });
    };
    for (std::int64_t start = 0; start < blocks_; start += at_once_) {
      for_each(tasks_ * at_once_, [&](std::int64_t number, Cursor& cursor, Task& task) {
        const std::int64_t block = start + number % at_once_;
        if (!cursor.Begin(number / at_once_, task) || block >= task.blocks()) return;
        task.LoadQueries(q);
        task.RunBlock(block, Slot(scratch, tasks_ + number));
      });
      for_each(tasks_, [&](std::int64_t number, Cursor& cursor, Task& task) {
        if (!cursor.Begin(number, task) || start >= task.blocks()) return;
        const Partial merged = Slot(scratch, number);
        const std::int64_t end = std::min(start + at_once_, task.blocks());
        for (std::int64_t block = start; block < end; ++block) {
          task.Merge(block, Slot(scratch, tasks_ + number * at_once_ + block - start), merged);
        }
        if (end == task.blocks()) task.Store(merged, out);
      });
    }
  }

 private:
  Partial Slot(std::byte* scratch, std::int64_t i) const {
    float* shared = BuffersOf(shape_, scratch, i / per_thread_).shared;
    return Partial::At(shared + i % per_thread_ * slot_floats_, rows_, Buffers::Cols(shape_));
  }

  const AttentionShape& shape_;
  std::int64_t threads_, tasks_ = 0, blocks_ = 0, rows_ = 0;
  std::int64_t slot_floats_ = 0, per_thread_ = 0;
  std::int64_t at_once_ = 0;  // blocks of every task between two merges
};

}  // namespace

std::size_t AttentionScratchBytes(const AttentionShape& shape) {
  Buffers buffers;
  return static_cast<std::size_t>(buffers.Place(shape, 0));
}

void Attention(const AttentionShape& shape, std::int64_t layer,
               std::span<const AttentionSequence> sequences, ConstMatrix q, Matrix out,
               std::byte* scratch, ThreadTeam& team, const NewestTokens* newest) {
  const ByBlocks by_blocks(shape, sequences, team.size());
  if (by_blocks.PaysOff()) return by_blocks.Run(layer, sequences, q, out, scratch, team, newest);
  std::atomic<std::int64_t> next{0};
  team.ForEachThread([&](int thread, int) {
    const Buffers buffers = BuffersOf(shape, scratch, thread);
    Task task(shape, layer, newest, buffers);
    Cursor cursor(shape, sequences);
    while (cursor.Begin(next.fetch_add(1, std::memory_order_relaxed), task)) {
      task.LoadQueries(q);
      for (std::int64_t block = 0; block < task.blocks(); ++block) {
        task.RunBlock(block, block == 0 ? buffers.merged : buffers.block);
        if (block > 0) task.Merge(block, buffers.block, buffers.merged);
      }
      task.Store(buffers.merged, out);
    }
  });
}

}  // namespace mossrt::runtime
