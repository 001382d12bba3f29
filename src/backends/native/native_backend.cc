// The default backend: packed panels and the kernels of src/cpu. Threads split outputs, never the
// chain over k.
#include <algorithm>
#include <atomic>

#include "backends/dense_rows.h"
#include "backends/epilogue.h"
#include "backends/native/integer_weight.h"
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

class PackedInput final : public PreparedInput {
 public:
  PageBuffer buffer;
  PageBuffer gathered;  // rows in the order of an act-order matrix's groups, if there is one
  std::int64_t m = 0, k = 0;
};

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
  absl::Status Run(std::span<const GemmCall> calls, ThreadTeam& team) override;
  std::uint64_t run_count() const override { return runs_.load(std::memory_order_relaxed); }

 private:
  int KindOf(const IntegerWeight& weight);
  const IntegerInput& IntegerInputOf(int kind) const {
    return integer_inputs_[static_cast<std::size_t>(kind - kFirstIntegerKind)];
  }
  // `make` may be null: the rows are there.
  absl::Status PrepareRows(ConstMatrix x, int kind, PreparedInput* out, ThreadTeam& team,
                           const MakeRows* make);
  absl::Status PrepareIntegers(ConstMatrix x, const IntegerInput& format, PackedInput& input,
                               ThreadTeam& team, const MakeRows* make) const;
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

// What is packed at once: values of k of rows of a tile.
struct Part {
  Range rows, k;
};

// pack(part) for every tile of `x`, whose rows `make` (unless null) has just written and the first
// cache still holds. A single tile is made by rows and packed by multiples of `unit` values of k.
template <typename Pack>
void ForTiles(ConstMatrix x, std::int64_t places, std::int64_t unit, ThreadTeam& team,
              const MakeRows* make, const Pack& pack) {
  const std::int64_t tiles = (x.rows + kTileRows - 1) / kTileRows;
  const auto run = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t tile = begin; tile < end; ++tile) {
      const std::int64_t first = tile * kTileRows;
      const std::int64_t last = std::min<std::int64_t>(x.rows, first + kTileRows);
      if (make != nullptr) (*make)(first, last);
      pack(Part{{first, last}, {0, places}});
    }
  };
  if (tiles > 1) {
    team.ForEachThread([&](int thread, int threads) {
      const Range range = SplitRange(tiles, thread, threads);
      run(range.begin, range.end);
    });
  } else if (x.rows == 1 || x.rows * places < kWorthWaking) {
    run(0, 1);
  } else {
    if (make != nullptr) ForRows(x.rows, team, *make);
    team.ForEachThread([&](int thread, int threads) {
      const Range units = SplitRange((places + unit - 1) / unit, thread, threads);
      const std::int64_t end = std::min(places, units.end * unit);
      if (units.begin < units.end) pack(Part{{0, x.rows}, {units.begin * unit, end}});
    });
  }
}

absl::Status DoesNotFit(ConstMatrix x) {
  return absl::InternalError(
      Cat("a prepared input of [", x.rows, ", ", x.cols, "] does not fit its buffer"));
}

}  // namespace

absl::Status NativeBackend::PrepareIntegers(ConstMatrix x, const IntegerInput& format,
                                            PackedInput& input, ThreadTeam& team,
                                            const MakeRows* make) const {
  const ColumnGroups& columns = format.columns;
  const bool reorder = !columns.order.empty();
  const std::int64_t places = reorder ? columns.places() : x.cols;
  const std::int64_t dwords = cpu::IntegerInputDwords(places, columns.group);
  if (static_cast<std::size_t>(x.rows * dwords) * 4 > input.buffer.size() ||
      (reorder && static_cast<std::size_t>(x.rows * places) * 4 > input.gathered.size())) {
    return DoesNotFit(x);
  }
  auto* packed = reinterpret_cast<std::uint32_t*>(input.buffer.data());
  auto* gathered = reinterpret_cast<float*>(input.gathered.data());
  ForTiles(x, places, columns.group, team, make, [&](const Part& part) {
    const auto& [rows, k] = part;
    const float* from = x.Row(rows.begin) + k.begin;
    std::int64_t stride = x.stride;
    if (reorder) {
      for (std::int64_t i = rows.begin; i < rows.end; ++i) {
        float* to = gathered + i * places;
        for (std::int64_t j = k.begin; j < k.end; ++j) {
          const std::int32_t column = columns.order[static_cast<std::size_t>(j)];
          to[j] = column < 0 ? 0.0f : x.Row(i)[column];
        }
      }
      from = gathered + rows.begin * places + k.begin;
      stride = places;
    }
    const std::int64_t count = rows.end - rows.begin;
    kernels_.pack_x_int8(
        from, stride, count, k.end - k.begin, columns.group,
        packed + rows.begin * dwords + count * cpu::IntegerInputDwords(k.begin, columns.group));
  });
  return absl::OkStatus();
}

absl::Status NativeBackend::PrepareRows(ConstMatrix x, int kind, PreparedInput* out,
                                        ThreadTeam& team, const MakeRows* make) {
  auto& input = static_cast<PackedInput&>(*out);
  input.m = x.rows;
  input.k = x.cols;
  if (kind >= kFirstIntegerKind) {
    return PrepareIntegers(x, IntegerInputOf(kind), input, team, make);
  }
  const bool pairs = kind == kRounded && kernels_.gemm_bf16_pairs != nullptr;
  const std::int64_t per_dword = pairs ? 2 : 1;
  const std::int64_t depth = (x.cols + per_dword - 1) / per_dword;  // dwords per row
  if (static_cast<std::size_t>(x.rows * depth) * 4 > input.buffer.size()) return DoesNotFit(x);
  auto* data = reinterpret_cast<float*>(input.buffer.data());
  constexpr std::int64_t kUnit = 64;
  ForTiles(x, x.cols, kUnit, team, make, [&](const Part& part) {
    const auto& [rows, k] = part;
    const float* from = x.Row(rows.begin) + k.begin;
    const std::int64_t count = rows.end - rows.begin, values = k.end - k.begin;
    float* to = data + rows.begin * depth + count * (k.begin / per_dword);
    if (pairs) {
      kernels_.pack_x_bf16_pairs(from, x.stride, count, values,
                                 reinterpret_cast<std::uint32_t*>(to));
    } else if (kind == kRounded) {
      kernels_.pack_x_bf16_as_f32(from, x.stride, count, values, to);
    } else {
      kernels_.pack_x_f32(from, x.stride, count, values, to);
    }
  });
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

absl::Status NativeBackend::Run(std::span<const GemmCall> calls, ThreadTeam& team) {
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
      region.Add(ProductOf(*call.w), call, static_cast<const PackedInput&>(*call.x).buffer.data());
    }
    region.Run(team);
  }
  return absl::OkStatus();
}

}  // namespace

std::unique_ptr<GemmBackend> CreateNativeBackend() { return std::make_unique<NativeBackend>(); }

}  // namespace mossrt::runtime
