// Weights as plain float32 rows [rows, cols]: what the reference, Eigen and CBLAS backends hold,
// and the reading of a source slab by slab that every backend shares.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/page_buffer.h"
#include "mossrt/runtime/gemm_backend.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::runtime {

// Bytes of one slab per thread while reading: small enough that a cancel is seen at once, large
// enough for disks.
inline constexpr std::int64_t kSlabBytes = std::int64_t{4} << 20;

// How the reading of a source is cut up: `units` (rows, or groups of inputs) of `unit_bytes`, taken
// in multiples of `align`.
struct Slabs {
  std::int64_t units;
  std::int64_t align;
  std::int64_t unit_bytes;
  std::int64_t slab_bytes = kSlabBytes;
};

// Works through units [0, slabs.units) in slabs of at most `slab_bytes` on all threads:
// work(first, count, buffer), where the buffer has room for the slab's `count` units and is the
// thread's own. Thread t takes its SplitRange of the multiples of `align` and then what the others
// have left of theirs. std::bad_alloc becomes an error.
absl::Status ForSlabs(const PackRequest& request, const Slabs& slabs, ThreadTeam& team,
                      const std::function<absl::Status(std::int64_t first, std::int64_t count,
                                                       std::span<std::uint8_t> buffer)>& work);

// Reads rows [0, request.source->rows()) in slabs of groups of `group_rows`, dealt out as above, so
// that a thread touches first what it will read later. `consume(first, count, bytes)` runs on the
// thread that has read them.
absl::Status ReadSlabs(const PackRequest& request, std::int64_t group_rows, ThreadTeam& team,
                       const std::function<void(std::int64_t first, std::int64_t count,
                                                std::span<const std::uint8_t> bytes)>& consume);

// `count` values of `dtype` (kF64, kF32, kF16 or kBF16) as float32.
void ToFloat(const cpu::KernelTable& kernels, DType dtype, const std::uint8_t* bytes,
             std::int64_t count, float* out);

class DenseRows final : public PackedWeight {
 public:
  DenseRows(std::int64_t rows, std::int64_t cols, const float* data)
      : PackedWeight(rows, cols, Dense(DType::kF32)), data_(data) {}
  const float* Row(std::int64_t i) const { return data_ + i * cols(); }

 private:
  const float* data_;
};

// The common half of backends that hold DenseRows and read inputs as they are.
class DenseBackend : public GemmBackend {
 public:
  WeightFormat HeldAs(const WeightSource&, const WeightFormat&) const override {
    return Dense(DType::kF32);
  }
  std::size_t PackedBytes(const WeightSource& source, const WeightFormat&) const override;
  absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(const PackRequest& request,
                                                     ThreadTeam& team) override;
  void ReadRow(const PackedWeight& weight, std::int64_t row, float* out) const override;
  int InputKind(const PackedWeight&) const override { return 0; }
  std::unique_ptr<PreparedInput> CreatePrepared(std::int64_t max_rows,
                                                std::int64_t max_cols) const override;
  absl::Status Prepare(ConstMatrix x, int kind, PreparedInput* out, ThreadTeam& team) override;
  absl::Status Run(std::span<const GemmCall> calls, ThreadTeam& team) override;
  std::uint64_t run_count() const override { return runs_; }

 protected:
  // y columns [first, end) = x * w^T for those rows of w. Called on one thread if own_threads(),
  // else on all.
  virtual void Multiply(ConstMatrix x, const DenseRows& w, std::int64_t first, std::int64_t end,
                        Matrix y) const = 0;

 private:
  std::atomic<std::uint64_t> runs_{0};
};

std::unique_ptr<GemmBackend> CreateNativeBackend();
std::unique_ptr<GemmBackend> CreateReferenceBackend();
std::unique_ptr<GemmBackend> CreateEigenBackend();
absl::StatusOr<std::unique_ptr<GemmBackend>> CreateCblasBackend(std::string_view name,
                                                                const std::string& path);

}  // namespace mossrt::runtime
