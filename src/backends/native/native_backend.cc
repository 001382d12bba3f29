// The default backend: packed panels and the kernels of src/cpu. Threads split outputs, never the
// chain over k.
#include <algorithm>
#include <atomic>

#include "backends/dense_rows.h"
#include "backends/epilogue.h"
#include "backends/native/packed_weight.h"
#include "base/cat.h"
#include "base/status.h"

namespace mossrt::runtime {
namespace {

using cpu::kPanelRows;
using cpu::kTileRows;

enum InputKinds { kPlain, kRounded };

class PackedInput final : public PreparedInput {
 public:
  PageBuffer buffer;
  std::int64_t m = 0, k = 0;
};

class NativeBackend final : public GemmBackend {
 public:
  NativeBackend() : kernels_(*cpu::Kernels()) {}

  std::string_view name() const override { return "native"; }
  bool deterministic() const override { return true; }
  bool own_threads() const override { return false; }
  WeightFormat HeldAs(const WeightSource&, const WeightFormat& wanted) const override {
    return wanted.dtype == DType::kF16 || wanted.dtype == DType::kBF16 ? wanted
                                                                       : Dense(DType::kF32);
  }
  std::size_t PackedBytes(const WeightSource& source, const WeightFormat& held) const override {
    return static_cast<std::size_t>((source.rows() + kPanelRows - 1) / kPanelRows) *
           PanelWeight::PanelBytes(source.cols(), held.dtype);
  }
  absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(const PackRequest& request,
                                                     ThreadTeam& team) override {
    return PackPanels(kernels_, request, HeldAs(*request.source, request.format).dtype, team);
  }
  void ReadRow(const PackedWeight& weight, std::int64_t row, float* out) const override {
    static_cast<const PanelWeight&>(weight).ReadRow(row, out);
  }

  // bfloat16 means that inputs are rounded too; float16 weights read float32 inputs.
  int InputKind(const PackedWeight& weight) const override {
    return weight.format().dtype == DType::kBF16 ? kRounded : kPlain;
  }
  std::unique_ptr<PreparedInput> CreatePrepared(std::int64_t max_rows,
                                                std::int64_t max_cols) const override;
  absl::Status Prepare(ConstMatrix x, int kind, PreparedInput* out, ThreadTeam& team) override;
  absl::Status Run(std::span<const GemmCall> calls, ThreadTeam& team) override;
  std::uint64_t run_count() const override { return runs_.load(std::memory_order_relaxed); }

 private:
  void RunPart(std::span<const GemmCall> calls, int thread, int threads) const;

  const cpu::KernelTable& kernels_;
  std::atomic<std::uint64_t> runs_{0};
};

std::unique_ptr<PreparedInput> NativeBackend::CreatePrepared(std::int64_t max_rows,
                                                             std::int64_t max_cols) const {
  auto input = std::make_unique<PackedInput>();
  auto buffer = PageBuffer::Create(
      static_cast<std::size_t>(max_rows * (max_cols + 1)) * sizeof(float), false);
  if (!buffer.ok()) return nullptr;
  input->buffer = *std::move(buffer);
  return input;
}

absl::Status NativeBackend::Prepare(ConstMatrix x, int kind, PreparedInput* out, ThreadTeam& team) {
  auto& input = static_cast<PackedInput&>(*out);
  const bool pairs = kind == kRounded && kernels_.gemm_bf16_pairs != nullptr;
  const std::int64_t depth = pairs ? (x.cols + 1) / 2 : x.cols;  // dwords per row
  if (static_cast<std::size_t>(x.rows * depth) * 4 > input.buffer.size()) {
    return absl::InternalError(
        Cat("a prepared input of [", x.rows, ", ", x.cols, "] does not fit its buffer"));
  }
  input.m = x.rows;
  input.k = x.cols;
  auto* data = reinterpret_cast<float*>(input.buffer.data());
  const std::int64_t tiles = (x.rows + kTileRows - 1) / kTileRows;
  const auto part = [&](int thread, int threads) {
    const Range range = SplitRange(tiles, thread, threads);
    const std::int64_t first = range.begin * kTileRows,
                       end = std::min<std::int64_t>(x.rows, range.end * kTileRows);
    if (first >= end) return;
    float* to = data + first * depth;
    if (pairs) {
      kernels_.pack_x_bf16_pairs(x.Row(first), x.stride, end - first, x.cols,
                                 reinterpret_cast<std::uint32_t*>(to));
    } else if (kind == kRounded) {
      kernels_.pack_x_bf16_as_f32(x.Row(first), x.stride, end - first, x.cols, to);
    } else {
      kernels_.pack_x_f32(x.Row(first), x.stride, end - first, x.cols, to);
    }
  };
  if (tiles == 1) {
    part(0, 1);  // cheaper than waking the team
  } else {
    team.ForEachThread(part);
  }
  return absl::OkStatus();
}

// Panels whose outputs for all rows stay in L2 until the epilogue has run over them.
std::int64_t PanelsPerBlock(std::int64_t m) {
  constexpr std::int64_t kBlockBytes = std::int64_t{256} << 10;
  return std::max<std::int64_t>(
      2, kBlockBytes / (std::max<std::int64_t>(1, m) * kPanelRows * 4) / 2 * 2);
}

void NativeBackend::RunPart(std::span<const GemmCall> calls, int thread, int threads) const {
  alignas(64) thread_local std::byte scratch[cpu::kGemmScratchBytes];
  for (const GemmCall& call : calls) {
    const auto& w = static_cast<const PanelWeight&>(*call.w);
    const auto& x = static_cast<const PackedInput&>(*call.x);
    const auto kernel = w.dtype() == DType::kF16   ? kernels_.gemm_f16
                        : w.dtype() == DType::kF32 ? kernels_.gemm_f32
                        : kernels_.gemm_bf16_pairs ? kernels_.gemm_bf16_pairs
                                                   : kernels_.gemm_bf16;
    const Range range = SplitRange(w.panels(), thread, threads);
    const std::int64_t block = PanelsPerBlock(x.m);
    for (std::int64_t p = range.begin; p < range.end; p += block) {
      const std::int64_t panels = std::min<std::int64_t>(block, range.end - p);
      const cpu::GemmArgs args = {.w = w.Panel(p),
                                  .w_panel_bytes = w.panel_bytes(),
                                  .x = x.buffer.data(),
                                  .x_k = x.k,
                                  .y = call.y.data + p * kPanelRows,
                                  .y_stride = call.y.stride,
                                  .m = x.m,
                                  .k = x.k,
                                  .panels = panels,
                                  .accumulate = false,
                                  .scratch = scratch};
      kernel(&args);
      ApplyEpilogue(kernels_, call.epilogue, call.y, p * kPanelRows,
                    std::min(w.rows(), (p + panels) * kPanelRows));
    }
  }
}

absl::Status NativeBackend::Run(std::span<const GemmCall> calls, ThreadTeam& team) {
  runs_.fetch_add(1, std::memory_order_relaxed);
  for (const GemmCall& call : calls) {
    const auto& x = static_cast<const PackedInput&>(*call.x);
    const std::int64_t padded = (call.w->rows() + kPanelRows - 1) / kPanelRows * kPanelRows;
    if (x.k != call.w->cols() || x.m != call.y.rows || call.y.cols != call.w->rows() ||
        (call.y.stride < padded && x.m > 1)) {
      return absl::InternalError(Cat("product of [", x.m, ", ", x.k, "] with weights [",
                                     call.w->rows(), ", ", call.w->cols(), "] into [", call.y.rows,
                                     ", ", call.y.cols, "], stride ", call.y.stride,
                                     ": shapes do not fit"));
    }
  }
  team.ForEachThread([&](int thread, int threads) { RunPart(calls, thread, threads); });
  return absl::OkStatus();
}

}  // namespace

std::unique_ptr<GemmBackend> CreateNativeBackend() { return std::make_unique<NativeBackend>(); }

}  // namespace mossrt::runtime
