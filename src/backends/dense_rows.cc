#include "backends/dense_rows.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

#include "backends/epilogue.h"
#include "base/cat.h"
#include "base/status.h"

namespace mossrt::runtime {

absl::Status WeightSource::ReadIntegers(std::int64_t, std::int64_t, const IntegerRows&) const {
  return absl::InternalError(Cat(name(), " holds no integers"));
}

absl::Status WeightSource::ReadWords(const IntegerWords&) const {
  return absl::InternalError(Cat(name(), " holds no integers"));
}

absl::Status ForSlabs(
    const PackRequest& request, const Slabs& slabs, ThreadTeam& team,
    const std::function<absl::Status(std::int64_t, std::int64_t, std::span<std::uint8_t>)>& work) {
  const WeightSource& source = *request.source;
  const std::int64_t source_bytes =
      source.rows() * source.cols() * static_cast<std::int64_t>(DTypeSize(source.dtype()));
  const std::int64_t parts = (slabs.units + slabs.align - 1) / slabs.align;
  const std::int64_t slab_parts = std::max<std::int64_t>(
      1, slabs.slab_bytes / std::max<std::int64_t>(1, slabs.unit_bytes * slabs.align));
  const auto slab_bytes =
      static_cast<std::size_t>(std::min(slab_parts, parts) * slabs.align * slabs.unit_bytes);
  std::atomic<std::int64_t> units_done{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  absl::Status first_error;
  const auto fail = [&](const absl::Status& status) {
    stop.store(true, std::memory_order_relaxed);
    const std::lock_guard lock(mutex);
    if (first_error.ok()) first_error = status;
  };

  std::vector<std::atomic<std::int64_t>> taken(static_cast<std::size_t>(team.size()));
  team.ForEachThread([&](int thread, int threads) {
    try {
      std::unique_ptr<std::uint8_t[]> slab;
      for (int i = 0; i < threads; ++i) {  // its own share, then what others have left
        const int owner = (thread + i) % threads;
        const Range range = SplitRange(parts, owner, threads);
        const std::int64_t step = std::min(slab_parts, range.end - range.begin) * slabs.align;
        const std::int64_t end = std::min(slabs.units, range.end * slabs.align);
        while (true) {
          const std::int64_t first =
              range.begin * slabs.align + taken[static_cast<std::size_t>(owner)].fetch_add(step);
          if (first >= end) break;
          if (stop.load(std::memory_order_relaxed)) return;
          if (Cancelled(request.monitor))
            return fail(absl::CancelledError("loading was cancelled"));
          if (slab == nullptr) slab = std::make_unique_for_overwrite<std::uint8_t[]>(slab_bytes);
          const std::int64_t count = std::min(step, end - first);
          const std::span<std::uint8_t> bytes(slab.get(),
                                              static_cast<std::size_t>(count * slabs.unit_bytes));
          if (absl::Status s = work(first, count, bytes); !s.ok()) return fail(s);
          units_done.fetch_add(count, std::memory_order_relaxed);
          if (thread == 0 && request.progress) {
            const double done = static_cast<double>(units_done.load(std::memory_order_relaxed)) /
                                static_cast<double>(slabs.units);
            const auto told = static_cast<std::int64_t>(done * static_cast<double>(source_bytes));
            if (absl::Status s = request.progress(told); !s.ok()) return fail(s);
          }
        }
      }
    } catch (const std::bad_alloc&) {
      fail(absl::ResourceExhaustedError(
          Cat("no memory for slabs of ", slab_bytes, " bytes while reading ", source.name())));
    }
  });
  return first_error;
}

absl::Status ReadSlabs(
    const PackRequest& request, std::int64_t group_rows, ThreadTeam& team,
    const std::function<void(std::int64_t, std::int64_t, std::span<const std::uint8_t>)>& consume) {
  const WeightSource& source = *request.source;
  const std::int64_t row_bytes =
      source.cols() * static_cast<std::int64_t>(DTypeSize(source.dtype()));
  const Slabs slabs{.units = source.rows(), .align = group_rows, .unit_bytes = row_bytes};
  return ForSlabs(request, slabs, team,
                  [&](std::int64_t first, std::int64_t count, std::span<std::uint8_t> slab) {
                    MOSSRT_RETURN_IF_ERROR(source.ReadSlab(first, count, slab));
                    consume(first, count, slab);
                    return absl::OkStatus();
                  });
}

void ToFloat(const cpu::KernelTable& kernels, DType dtype, const std::uint8_t* bytes,
             std::int64_t count, float* out) {
  const auto n = static_cast<std::size_t>(count);
  switch (dtype) {
    case DType::kF16:
      kernels.f16_to_f32(reinterpret_cast<const std::uint16_t*>(bytes), count, out);
      return;
    case DType::kBF16:
      kernels.bf16_to_f32(reinterpret_cast<const std::uint16_t*>(bytes), count, out);
      return;
    case DType::kF64:
      for (std::size_t i = 0; i < n; ++i) {
        double value;
        std::memcpy(&value, bytes + 8 * i, 8);
        out[i] = static_cast<float>(value);
      }
      return;
    default:
      std::memcpy(out, bytes, n * 4);
  }
}

std::size_t DenseBackend::PackedBytes(const WeightSource& source, const WeightFormat&) const {
  return static_cast<std::size_t>(source.rows()) * static_cast<std::size_t>(source.cols()) *
         sizeof(float);
}

absl::StatusOr<std::unique_ptr<PackedWeight>> DenseBackend::Pack(const PackRequest& request,
                                                                 ThreadTeam& team) {
  const WeightSource& source = *request.source;
  const std::int64_t cols = source.cols();
  MOSSRT_ASSIGN_OR_RETURN(std::byte * memory,
                          request.arena->Take(PackedBytes(source, request.format)));
  auto* data = reinterpret_cast<float*>(memory);
  const cpu::KernelTable& kernels = *cpu::Kernels();
  MOSSRT_RETURN_IF_ERROR(
      ReadSlabs(request, 16, team,
                [&](std::int64_t first, std::int64_t count, std::span<const std::uint8_t> bytes) {
                  ToFloat(kernels, source.dtype(), bytes.data(), count * cols, data + first * cols);
                }));
  return std::make_unique<DenseRows>(source.rows(), cols, data);
}

void DenseBackend::ReadRow(const PackedWeight& weight, std::int64_t row, float* out) const {
  const auto& w = static_cast<const DenseRows&>(weight);
  std::copy_n(w.Row(row), w.cols(), out);
}

namespace {

// The input as it is: it must stay in place until Run.
class BorrowedInput final : public PreparedInput {
 public:
  ConstMatrix x;
};

}  // namespace

std::unique_ptr<PreparedInput> DenseBackend::CreatePrepared(std::int64_t, std::int64_t) const {
  return std::make_unique<BorrowedInput>();
}

absl::Status DenseBackend::Prepare(ConstMatrix x, int, PreparedInput* out, ThreadTeam&) {
  static_cast<BorrowedInput*>(out)->x = x;
  return absl::OkStatus();
}

absl::Status DenseBackend::Run(std::span<const GemmCall> calls, ThreadTeam& team) {
  ++runs_;
  MOSSRT_RETURN_IF_ERROR(CheckFactors(calls));
  const cpu::KernelTable& kernels = *cpu::Kernels();
  const auto part = [&](int thread, int threads) {
    for (const GemmCall& call : calls) {
      const auto& w = static_cast<const DenseRows&>(*call.w);
      const ConstMatrix x = static_cast<const BorrowedInput*>(call.x)->x;
      // In steps of 16 columns, so that two threads rarely write to one cache line.
      const Range range = SplitRange((w.rows() + 15) / 16, thread, threads);
      const std::int64_t first = range.begin * 16,
                         end = std::min<std::int64_t>(w.rows(), range.end * 16);
      if (first >= end) continue;
      Multiply(x, w, first, end, call.y);
      ApplyEpilogue(kernels, OfColumns(call.epilogue, {first, end}),
                    call.y.Cols(first, end - first));
    }
  };
  if (own_threads()) {
    part(0, 1);
  } else {
    team.ForEachThread(part);
  }
  return absl::OkStatus();
}

}  // namespace mossrt::runtime
