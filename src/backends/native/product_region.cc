#include "backends/native/product_region.h"

#include <algorithm>
#include <atomic>

#include "backends/epilogue.h"
#include "mossrt/runtime/thread_team.h"

namespace mossrt::runtime {
namespace {

using cpu::kPanelRows;

constexpr std::int64_t kDone = std::int64_t{1} << 62;

// Panels of one block: outputs for all rows stay in L2 until the epilogue has run over them, and a
// block is long enough that taking it costs nothing.
std::int64_t PanelsPerBlock(std::int64_t m, std::size_t panel_bytes) {
  constexpr std::int64_t kOutputBytes = std::int64_t{256} << 10;
  constexpr std::int64_t kWeightBytes = std::int64_t{512} << 10;
  const std::int64_t by_outputs = kOutputBytes / (std::max<std::int64_t>(1, m) * kPanelRows * 4);
  const std::int64_t by_weights = kWeightBytes / static_cast<std::int64_t>(panel_bytes + 1);
  return std::max<std::int64_t>(2, std::min(by_outputs, by_weights) / 2 * 2);
}

}  // namespace

ProductRegion::ProductRegion(const cpu::KernelTable& kernels, int threads)
    : kernels_(kernels), team_size_(threads), threads_(std::min(threads, kMostThreads)) {}

Range ProductRegion::Part::PanelsOf(int thread, int threads) const {
  const Range units = SplitRange((args.panels + unit - 1) / unit, thread, threads);
  return {units.begin * unit, std::min(args.panels, units.end * unit)};
}

void ProductRegion::Add(const Product& product, const GemmCall& call, const void* x,
                        const InputPacker* packer) {
  const WeightFormat& format = call.w->format();
  const bool paired = call.epilogue.times.data != nullptr;
  parts_[count_++] = {
      .kernel = product.kernel,
      .args = {.w = product.data,
               .w_panel_bytes = product.panel_bytes,
               .x = x,
               .x_k = product.k,
               .y = call.y.data,
               .y_stride = call.y.stride,
               .m = call.y.rows,
               .k = product.k,
               .panels = (call.w->rows() + kPanelRows - 1) / kPanelRows,
               .accumulate = false,
               .scratch = nullptr,
               .group = format.group,
               .zeros = format.zeros},
      .unit = packer != nullptr ? packer->unit() / kPanelRows : 1,
      .block = PanelsPerBlock(paired ? 2 * call.y.rows : call.y.rows, product.panel_bytes),
      .rows = call.w->rows(),
      .with_next = false,
      .y = call.y,
      .epilogue = call.epilogue,
      .packer = packer,
      .forgotten = false};
  Part* const first = &parts_[count_ - (paired && count_ > 1 ? 2 : 1)];
  Part* const last = &parts_[count_ - 1];
  first->with_next = first != last;
  first->unit = last->unit = std::max(first->unit, last->unit);
  const std::int64_t block = std::min(first->block, last->block) / last->unit * last->unit;
  first->block = last->block = std::max(last->unit, block);
  last->forgotten = packer != nullptr && Forgets(*last) && Forgets(*first);
  first->forgotten = last->forgotten;
}

bool ProductRegion::Forgets(const Part& part) const {
  const std::int64_t floats = (part.y.rows - 1) * part.y.stride + part.args.panels * kPanelRows;
  return part.y.rows > 0 && floats / (part.y.rows * part.block * kPanelRows) >= team_size_;
}

Matrix ProductRegion::OutputsOf(const Part& part, Range panels, int thread) {
  const std::int64_t first = panels.begin * kPanelRows;
  const std::int64_t cols = std::min(part.rows, panels.end * kPanelRows) - first;
  if (!part.forgotten) return part.y.Cols(first, cols);
  const std::int64_t m = part.y.rows, stride = part.block * kPanelRows;
  return {part.y.data + thread * m * stride, m, cols, stride};
}

void ProductRegion::Run(ThreadTeam& team) {
  for (int t = 0; t < threads_; ++t) next_[static_cast<std::size_t>(t)].block = 0;
  team.Run([](void* region, int thread, int) { static_cast<ProductRegion*>(region)->Work(thread); },
           this);
}

void ProductRegion::Work(int thread) {
  for (std::size_t i = 0; i < count_; ++i) CallBeginning(parts_[i], thread);
  for (int i = 0; i < threads_; ++i) {
    const int owner = (thread + i) % threads_;
    const std::atomic_ref next(next_[static_cast<std::size_t>(owner)].block);
    // A look before the count, so that those who find nothing left do not fight for the line.
    while (next.load(std::memory_order_relaxed) < kDone &&
           Take(thread, owner, next.fetch_add(1, std::memory_order_relaxed))) {
    }
    next.store(kDone, std::memory_order_relaxed);
  }
}

void ProductRegion::CallBeginning(const Part& part, int thread) const {
  constexpr std::size_t kBytes = 1024, kLine = 64;
  if (thread >= threads_) return;
  const auto first = static_cast<std::size_t>(part.PanelsOf(thread, threads_).begin);
  const std::byte* panel =
      static_cast<const std::byte*>(part.args.w) + first * part.args.w_panel_bytes;
  for (std::size_t at = 0; at < kBytes; at += kLine) __builtin_prefetch(panel + at, 0, 2);
}

bool ProductRegion::Take(int thread, int owner, std::int64_t block) const {
  for (std::size_t i = 0; i < count_; ++i) {
    const Part& part = parts_[i];
    const Range range = part.PanelsOf(owner, threads_);
    const std::int64_t blocks = (range.end - range.begin + part.block - 1) / part.block;
    if (block < blocks) {
      const std::int64_t first = range.begin + block * part.block;
      const Range panels{first, std::min(range.end, first + part.block)};
      RunBlock(&part, panels, thread);
      return true;
    }
    block -= blocks;
    if (part.with_next) ++i;
  }
  return false;
}

void ProductRegion::Multiply(const Part& part, Range panels, Matrix y) {
  alignas(64) thread_local std::byte scratch[cpu::kGemmScratchBytes];
  cpu::GemmArgs args = part.args;
  args.w = static_cast<const std::byte*>(args.w) +
           static_cast<std::size_t>(panels.begin) * args.w_panel_bytes;
  args.y = y.data;
  args.y_stride = y.stride;
  args.panels = panels.end - panels.begin;
  args.scratch = scratch;
  part.kernel(&args);
}

void ProductRegion::RunBlock(const Part* part, Range panels, int thread) const {
  const std::size_t parts = part->with_next ? 2 : 1;
  std::array<Matrix, 2> y;
  std::array<Epilogue, 2> epilogues;
  Range cols{panels.begin * kPanelRows, 0};
  for (std::size_t i = 0; i < parts; ++i) {
    y[i] = OutputsOf(part[i], panels, thread);
    Multiply(part[i], panels, y[i]);
    cols.end = cols.begin + y[i].cols;
    epilogues[i] = OfColumns(part[i].epilogue, cols);
    if (i > 0) epilogues[i].times = y[i - 1];
  }
  // A tile at a time: the first cache has it from one step to the next.
  for (std::int64_t first = 0, m = y[0].rows; first < m; first += cpu::kTileRows) {
    const Range rows{first, std::min(m, first + cpu::kTileRows)};
    for (std::size_t i = 0; i < parts; ++i) {
      Epilogue epilogue = epilogues[i];
      if (epilogue.times.data != nullptr) {
        epilogue.times = epilogue.times.Rows(first, rows.end - first);
      }
      ApplyEpilogue(kernels_, epilogue, y[i].Rows(first, rows.end - first));
      if (part[i].packer != nullptr) part[i].packer->Pack(y[i].Row(first), y[i].stride, rows, cols);
    }
  }
}

}  // namespace mossrt::runtime
