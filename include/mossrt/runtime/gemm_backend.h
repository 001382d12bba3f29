// The plug for matrix products: another BLAS, another packing. Owned by src/backends.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mossrt/runtime/dtype.h"
#include "mossrt/runtime/monitor.h"
#include "mossrt/runtime/tensor_view.h"
#include "mossrt/runtime/thread_team.h"

namespace mossrt::runtime {

// One weight matrix [rows, cols] = [outputs, inputs] as the model wants it: all folds (fused QKV
// split, rotary order, transposed storage) are composed behind ReadSlab.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual std::string_view name() const = 0;
  virtual std::int64_t rows() const = 0;
  virtual std::int64_t cols() const = 0;
  virtual DType dtype() const = 0;
  // Rows [first, first + count), dense, in dtype(), into out. Many threads at once.
  virtual absl::Status ReadSlab(std::int64_t first, std::int64_t count,
                                std::span<std::uint8_t> out) const = 0;
};

// Memory for packed weights: 64-byte aligned pieces of one huge-page area that is not touched
// before use.
class WeightArena {
 public:
  virtual ~WeightArena() = default;
  virtual absl::StatusOr<std::byte*> Take(std::size_t bytes) = 0;
};

class PackedWeight {
 public:
  PackedWeight(std::int64_t rows, std::int64_t cols, DType dtype)
      : rows_(rows), cols_(cols), dtype_(dtype) {}
  virtual ~PackedWeight() = default;
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  DType dtype() const { return dtype_; }  // how it is held

 private:
  std::int64_t rows_, cols_;
  DType dtype_;
};

// An input in the form a backend multiplies: rounded or rearranged once, read by all matrices of
// the same kind.
class PreparedInput {
 public:
  virtual ~PreparedInput() = default;
};

enum class Activation : std::uint8_t { kNone, kGeluTanh, kGeluErf, kSilu, kRelu };
std::string_view ActivationName(Activation a);

// y = activation(product + bias). Each step is rounded once, so doing it inside Run or after it
// gives equal bits.
struct Epilogue {
  const float* bias = nullptr;  // [weight rows]
  Activation activation = Activation::kNone;
};

struct GemmCall {
  const PreparedInput* x = nullptr;
  const PackedWeight* w = nullptr;
  Matrix y{};  // [x rows, w rows]; its stride reaches to the next multiple of 16 columns, which Run
               // may overwrite
  Epilogue epilogue{};
};

struct PackRequest {
  const WeightSource* source = nullptr;
  DType dtype =
      DType::kF32;  // wanted; the backend answers with what it holds in PackedWeight::dtype()
  WeightArena* arena = nullptr;
  // Called on the calling thread only with the number of source bytes read so far of this weight.
  std::function<absl::Status(std::int64_t)> progress{};
  const Monitor* monitor = nullptr;  // workers leave when it is cancelled
};

class GemmBackend {
 public:
  virtual ~GemmBackend() = default;
  virtual std::string_view name() const = 0;
  // Contract 1: equal bits for any threads, batch and chunks.
  virtual bool deterministic() const = 0;
  // Does it bring threads of its own (OpenBLAS)?
  virtual bool own_threads() const = 0;
  // The type in which a matrix of `file` type is held when `wanted` is asked for.
  virtual DType HeldAs(DType wanted) const = 0;
  // Bytes Pack takes (from the arena, or by itself) for such a matrix.
  virtual std::size_t PackedBytes(std::int64_t rows, std::int64_t cols, DType held) const = 0;
  virtual absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(const PackRequest& request,
                                                             ThreadTeam& team) = 0;
  // One row of the matrix as float32 [cols]: embedding lookups in a tied head, reading weights
  // back.
  virtual void ReadRow(const PackedWeight& weight, std::int64_t row, float* out) const = 0;

  // Weights of equal kind read one PreparedInput.
  virtual int InputKind(const PackedWeight& weight) const = 0;
  virtual std::unique_ptr<PreparedInput> CreatePrepared(std::int64_t max_rows,
                                                        std::int64_t max_cols) const = 0;
  // x: [rows, cols of the weights]. Allocates nothing.
  virtual absl::Status Prepare(ConstMatrix x, int kind, PreparedInput* out, ThreadTeam& team) = 0;
  // All calls as one parallel region. Allocates nothing.
  virtual absl::Status Run(std::span<const GemmCall> calls, ThreadTeam& team) = 0;
  // How often Run has been called, for tests that must notice a fall-back.
  virtual std::uint64_t run_count() const = 0;
};

// Names of built-in and registered backends, "native" first.
std::vector<std::string> BackendNames();
// "native", "reference", "eigen", "openblas", "cblas:/path/lib.so", or a registered name.
absl::StatusOr<std::unique_ptr<GemmBackend>> CreateBackend(std::string_view name);
// Adds a backend under a new name. The factory is called once per model (and per PlanModel), by any
// thread.
absl::Status RegisterBackend(std::string name,
                             std::function<absl::StatusOr<std::unique_ptr<GemmBackend>>()> factory);

}  // namespace mossrt::runtime
