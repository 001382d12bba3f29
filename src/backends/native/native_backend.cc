// The default backend: packed panels and the kernels of src/cpu. Threads split outputs, never the
// chain over k.
#include <algorithm>
#include <atomic>

#include "backends/dense_rows.h"
#include "backends/epilogue.h"
#include "backends/native/integer_weight.h"
#include "backends/native/packed_input.h"
#include "backends/native/packed_weight.h"
#include "backends/native/product_region.h"
#include "backends/native/saved_weight.h"
#include "base/cat.h"
#include "base/status.h"

namespace mossrt::runtime {
namespace {

using cpu::kPanelRows;
using cpu::kTileRows;

// From kFirstIntegerKind on: the backend's integer_inputs_.
enum InputKinds { kPlain, kRounded, kFirstIntegerKind };

// A format of the input that some matrices of integers share.
struct IntegerInput {
  std::int64_t cols;
  ColumnGroups columns;
};

class NativeBackend final : public GemmBackend {
 public:
  NativeBackend() : kernels_(*cpu::Kernels()) {}

  std::string_view name() const override { return "native"; }
  bool deterministic() const override { return true; }
  bool own_threads() const override { return false; }
  WeightFormat HeldAs(const WeightSource& source, const WeightFormat& wanted) const override {
    const IntegerEncoding* integers = source.integers();
    if (!wanted.integers() || integers == nullptr) return wanted;
    const std::int64_t size = integers->group_size;
    return Integers(integers->bits <= 4 ? 4 : 8, size > 64 ? 128 : size > 32 ? 64 : 32, true);
  }
  std::size_t PackedBytes(const WeightSource& source, const WeightFormat& held) const override {
    return static_cast<std::size_t>((source.rows() + kPanelRows - 1) / kPanelRows) *
           (held.integers() ? IntegerWeight::PanelBytes(held, GroupColumns(source, held).groups())
                            : PanelWeight::PanelBytes(source.cols(), held.dtype));
  }
  absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(const PackRequest& request,
                                                     ThreadTeam& team) override {
    const WeightFormat held = HeldAs(*request.source, request.format);
    if (!held.integers()) {
      dense_inputs_ = true;
      return PackPanels(kernels_, request, held.dtype, team);
    }
    MOSSRT_ASSIGN_OR_RETURN(std::unique_ptr<IntegerWeight> weight,
                            PackIntegers(kernels_, request, held, team));
    weight->input_kind = KindOf(*weight);
    return weight;
  }
  std::uint32_t layout_version() const override { return kNativeLayout; }
  absl::StatusOr<SavedWeight> Save(const PackedWeight& weight,
                                   std::span<const std::byte>* bytes) const override {
    return SaveNative(weight, bytes);
  }
  absl::StatusOr<std::size_t> SavedBytes(const SavedWeight& saved) const override {
    return SavedNativeBytes(saved);
  }
  absl::StatusOr<std::unique_ptr<PackedWeight>> TakeUp(SavedWeight saved,
                                                       std::span<const std::byte> bytes) override;
  void ReadRow(const PackedWeight& weight, std::int64_t row, float* out) const override {
    if (weight.format().integers()) {
      static_cast<const IntegerWeight&>(weight).ReadRow(row, out);
    } else {
      static_cast<const PanelWeight&>(weight).ReadRow(row, out);
    }
  }

  // bfloat16 means that inputs are rounded too; float16 weights read float32 inputs.
  int InputKind(const PackedWeight& weight) const override {
    if (weight.format().integers()) return static_cast<const IntegerWeight&>(weight).input_kind;
    return weight.format().dtype == DType::kBF16 ? kRounded : kPlain;
  }
  std::unique_ptr<PreparedInput> CreatePrepared(std::int64_t max_rows,
                                                std::int64_t max_cols) const override;
  absl::Status Prepare(ConstMatrix x, int kind, PreparedInput* out, ThreadTeam& team) override {
    return PrepareRows(x, kind, out, team, nullptr);
  }
  absl::Status MakeAndPrepare(ConstMatrix x, int kind, PreparedInput* out, ThreadTeam& team,
                              MakeRows make) override {
    return PrepareRows(x, kind, out, team, &make);
  }
  absl::Status Run(std::span<const GemmCall> calls, ThreadTeam& team) override {
    return RunAll(calls, nullptr, nullptr, team);
  }
  absl::Status RunAndPrepare(std::span<const GemmCall> calls, std::size_t which, int kind,
                             PreparedInput* out, ThreadTeam& team) override;
  std::uint64_t run_count() const override { return runs_.load(std::memory_order_relaxed); }

 private:
  int KindOf(const IntegerWeight& weight);
  absl::StatusOr<InputPacker> PackerOf(ConstMatrix x, int kind, PreparedInput* out) const;
  // `make` may be null: the rows are there.
  absl::Status PrepareRows(ConstMatrix x, int kind, PreparedInput* out, ThreadTeam& team,
                           const MakeRows* make);
  // `packer` packs the outputs of the call `packed`, unless null.
  absl::Status RunAll(std::span<const GemmCall> calls, const InputPacker* packer,
                      const GemmCall* packed, ThreadTeam& team);
  Product ProductOf(const PackedWeight& weight) const;

  const cpu::KernelTable& kernels_;
  std::vector<IntegerInput> integer_inputs_;
  bool dense_inputs_ = false;  // has a matrix been packed that reads float or bfloat16 inputs?
  std::atomic<std::uint64_t> runs_{0};
};

int NativeBackend::KindOf(const IntegerWeight& weight) {
  const ColumnGroups& columns = weight.columns();
  for (std::size_t i = 0; i < integer_inputs_.size(); ++i) {
    const IntegerInput& known = integer_inputs_[i];
    if (known.cols == weight.cols() && known.columns.group == columns.group &&
        known.columns.places() == columns.places() && known.columns.order == columns.order) {
      return kFirstIntegerKind + static_cast<int>(i);
    }
  }
  integer_inputs_.push_back({weight.cols(), columns});
  return kFirstIntegerKind + static_cast<int>(integer_inputs_.size()) - 1;
}

absl::StatusOr<std::unique_ptr<PackedWeight>> NativeBackend::TakeUp(
    SavedWeight saved, std::span<const std::byte> bytes) {
  MOSSRT_ASSIGN_OR_RETURN(const std::size_t size, SavedNativeBytes(saved));
  if (bytes.size() != size) {
    return absl::InvalidArgumentError(Cat("a matrix of [", saved.rows, ", ", saved.cols, "] in ",
                                          FormatName(saved.format), " has ", size, " bytes, not ",
                                          bytes.size()));
  }
  const std::int64_t rows = saved.rows, cols = saved.cols;
  const WeightFormat format = saved.format;
  if (!format.integers()) {
    dense_inputs_ = true;
    return std::make_unique<PanelWeight>(rows, cols, format.dtype, bytes.data());
  }
  MOSSRT_ASSIGN_OR_RETURN(ColumnGroups columns, SavedColumns(std::move(saved)));
  auto weight =
      std::make_unique<IntegerWeight>(rows, cols, format, std::move(columns), bytes.data());
  weight->input_kind = KindOf(*weight);
  return weight;
}

std::unique_ptr<PreparedInput> NativeBackend::CreatePrepared(std::int64_t max_rows,
                                                             std::int64_t max_cols) const {
  auto input = std::make_unique<PackedInput>();
  std::int64_t dwords = dense_inputs_ || integer_inputs_.empty() ? max_cols + 1 : 0;
  std::int64_t gathered = 0;  // per row
  for (const IntegerInput& format : integer_inputs_) {
    if (format.cols > max_cols) continue;
    dwords =
        std::max(dwords, cpu::IntegerInputDwords(format.columns.places(), format.columns.group));
    if (!format.columns.order.empty()) gathered = std::max(gathered, format.columns.places());
  }
  const auto bytes = [max_rows](std::int64_t per_row) {
    return static_cast<std::size_t>(max_rows * per_row) * 4;
  };
  auto buffer = PageBuffer::Create(bytes(dwords), false);
  if (!buffer.ok()) return nullptr;
  input->buffer = *std::move(buffer);
  if (gathered > 0) {
    auto memory = PageBuffer::Create(bytes(gathered), false);
    if (!memory.ok()) return nullptr;
    input->gathered = *std::move(memory);
  }
  return input;
}

namespace {

// Values of a single tile from which on all threads share it. A guess: tiles of 8 rows of 2048 and
// of 5632 were measured and gain.
constexpr std::int64_t kWorthWaking = 8192;

// Packs every tile of `rows` rows, which `make` (unless null) has just written and the first cache
// still holds. A single tile is made by rows and packed by multiples of the packer's unit.
void PackTiles(const InputPacker& packer, std::int64_t rows, ThreadTeam& team,
               const MakeRows* make) {
  const std::int64_t tiles = (rows + kTileRows - 1) / kTileRows, places = packer.places();
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t tile = begin; tile < end; ++tile) {
      const std::int64_t first = tile * kTileRows;
      const std::int64_t last = std::min<std::int64_t>(rows, first + kTileRows);
      if (make != nullptr) (*make)(first, last);
      packer.Pack({first, last}, {0, places});
    }
  };
  if (tiles > 1) {
    team.ForEachThread([&](int thread, int threads) {
      const Range range = SplitRange(tiles, thread, threads);
      run(range.begin, range.end);
    });
  } else if (rows == 1 || rows * places < kWorthWaking) {
    run(0, 1);
  } else {
    if (make != nullptr) ForRows(rows, team, *make);
    const std::int64_t unit = packer.unit();
    team.ForEachThread([&](int thread, int threads) {
      const Range units = SplitRange((places + unit - 1) / unit, thread, threads);
      const std::int64_t end = std::min(places, units.end * unit);
      if (units.begin < units.end) packer.Pack({0, rows}, {units.begin * unit, end});
    });
  }
}

}  // namespace

absl::StatusOr<InputPacker> NativeBackend::PackerOf(ConstMatrix x, int kind,
                                                    PreparedInput* out) const {
  InputForm form;
  if (kind >= kFirstIntegerKind) {
    form.columns = &integer_inputs_[static_cast<std::size_t>(kind - kFirstIntegerKind)].columns;
  } else {
    form.rounded = kind == kRounded;
  }
  return InputPacker::Create(kernels_, form, x, static_cast<PackedInput*>(out));
}

absl::Status NativeBackend::PrepareRows(ConstMatrix x, int kind, PreparedInput* out,
                                        ThreadTeam& team, const MakeRows* make) {
  MOSSRT_ASSIGN_OR_RETURN(const InputPacker packer, PackerOf(x, kind, out));
  PackTiles(packer, x.rows, team, make);
  return absl::OkStatus();
}

Product NativeBackend::ProductOf(const PackedWeight& weight) const {
  if (weight.format().integers()) {
    const auto& w = static_cast<const IntegerWeight&>(weight);
    const std::int64_t k = w.columns().order.empty() ? w.cols() : w.columns().places();
    return {w.format().bits == 8 ? kernels_.gemm_int8 : kernels_.gemm_int4, w.Panel(0),
            w.panel_bytes(), k};
  }
  const auto& w = static_cast<const PanelWeight&>(weight);
  const auto kernel = w.dtype() == DType::kF16   ? kernels_.gemm_f16
                      : w.dtype() == DType::kF32 ? kernels_.gemm_f32
                      : kernels_.gemm_bf16_pairs ? kernels_.gemm_bf16_pairs
                                                 : kernels_.gemm_bf16;
  return {kernel, w.Panel(0), w.panel_bytes(), w.cols()};
}

absl::Status NativeBackend::RunAll(std::span<const GemmCall> calls, const InputPacker* packer,
                                   const GemmCall* packed, ThreadTeam& team) {
  runs_.fetch_add(1, std::memory_order_relaxed);
  MOSSRT_RETURN_IF_ERROR(CheckFactors(calls));
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
  while (!calls.empty()) {
    ProductRegion region(kernels_, team.size());
    for (; !calls.empty() && !region.full(); calls = calls.subspan(1)) {
      const GemmCall& call = calls.front();
      region.Add(ProductOf(*call.w), call, static_cast<const PackedInput&>(*call.x).buffer.data(),
                 &call == packed ? packer : nullptr);
    }
    region.Run(team);
  }
  return absl::OkStatus();
}

absl::Status NativeBackend::RunAndPrepare(std::span<const GemmCall> calls, std::size_t which,
                                          int kind, PreparedInput* out, ThreadTeam& team) {
  const GemmCall& call = calls[which];
  MOSSRT_ASSIGN_OR_RETURN(const InputPacker packer, PackerOf(call.y, kind, out));
  const bool factors =
      which + 1 < calls.size() && calls[which + 1].epilogue.times.data == call.y.data;
  if (packer.in_order() && !factors) return RunAll(calls, &packer, &call, team);
  return GemmBackend::RunAndPrepare(calls, which, kind, out, team);
}

}  // namespace

std::unique_ptr<GemmBackend> CreateNativeBackend() { return std::make_unique<NativeBackend>(); }

}  // namespace mossrt::runtime
