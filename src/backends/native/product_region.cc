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
    : kernels_(kernels), threads_(std::min(threads, kMostThreads)) {}

void ProductRegion::Add(const Product& product, const GemmCall& call, const void* x) {
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
      .block = PanelsPerBlock(paired ? 2 * call.y.rows : call.y.rows, product.panel_bytes),
      .rows = call.w->rows(),
      .with_next = false,
      .y = call.y,
      .epilogue = call.epilogue};
  if (paired && count_ > 1) {
    Part& before = parts_[count_ - 2];
    before.with_next = true;
    before.block = std::min(before.block, parts_[count_ - 1].block);
  }
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
           Take(owner, next.fetch_add(1, std::memory_order_relaxed))) {
    }
    next.store(kDone, std::memory_order_relaxed);
  }
}

void ProductRegion::CallBeginning(const Part& part, int thread) const {
  constexpr std::size_t kBytes = 1024, kLine = 64;
  if (thread >= threads_) return;
  const auto first = static_cast<std::size_t>(SplitRange(part.args.panels, thread, threads_).begin);
  const std::byte* panel =
      static_cast<const std::byte*>(part.args.w) + first * part.args.w_panel_bytes;
  for (std::size_t at = 0; at < kBytes; at += kLine) __builtin_prefetch(panel + at, 0, 2);
}

bool ProductRegion::Take(int owner, std::int64_t block) const {
  for (std::size_t i = 0; i < count_; ++i) {
    const Part& part = parts_[i];
    const Range range = SplitRange(part.args.panels, owner, threads_);
    const std::int64_t blocks = (range.end - range.begin + part.block - 1) / part.block;
    if (block < blocks) {
      const std::int64_t first = range.begin + block * part.block;
      const std::int64_t end = std::min(range.end, first + part.block);
      RunBlock(part, first, end);
      if (part.with_next) RunBlock(parts_[i + 1], first, end);
      return true;
    }
    block -= blocks;
    if (part.with_next) ++i;
  }
  return false;
}

void ProductRegion::RunBlock(const Part& part, std::int64_t first, std::int64_t end) const {
  alignas(64) thread_local std::byte scratch[cpu::kGemmScratchBytes];
  cpu::GemmArgs args = part.args;
  args.w =
      static_cast<const std::byte*>(args.w) + static_cast<std::size_t>(first) * args.w_panel_bytes;
  args.y += first * kPanelRows;
  args.panels = end - first;
  args.scratch = scratch;
  part.kernel(&args);
  ApplyEpilogue(kernels_, part.epilogue, part.y, first * kPanelRows,
                std::min(part.rows, end * kPanelRows));
}

}  // namespace mossrt::runtime
