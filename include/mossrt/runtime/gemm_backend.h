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

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mossrt/runtime/dtype.h"
#include "mossrt/runtime/monitor.h"
#include "mossrt/runtime/tensor_view.h"
#include "mossrt/runtime/thread_team.h"
#include "mossrt/runtime/weight_format.h"

namespace mossrt::runtime {

// How a file holds a matrix of integers: w = (q - zero) * scale, one scale (float16) and one zero
// point for each group of inputs of an output.
struct IntegerEncoding {
  int bits = 0;                            // 2, 4 or 8
  std::int64_t groups = 0;                 // of inputs
  std::int64_t group_size = 0;             // inputs of an ordinary group
  std::span<const std::int32_t> group_of;  // [cols]: the group of each input, in any order
};

// Rows of such a matrix.
struct IntegerRows {
  std::span<std::uint8_t> q;        // [count, cols], 0 .. 2^bits - 1
  std::span<std::uint16_t> scales;  // [count, groups], float16
  std::span<std::uint16_t> zeros;   // [count, groups], 0 .. 2^bits
};

// Successive inputs of all its rows, as they lie in the file: words of 32 / bits inputs, the first
// in the lowest bits, and whole groups.
struct IntegerWords {
  std::int64_t first_word = 0;
  std::span<std::uint32_t> words;  // [count, rows]
  std::int64_t first_group = 0;
  std::span<std::uint16_t> scales;  // [groups, rows], float16
  std::span<std::uint16_t> zeros;   // [groups, rows], 0 .. 2^bits
};

// One weight matrix [rows, cols] = [outputs, inputs] as the model wants it: all folds (fused QKV
// split, rotary order, transposed storage) are composed behind ReadSlab.
class WeightSource {
 public:
  virtual ~WeightSource() = default;
  virtual std::string_view name() const = 0;
  virtual std::int64_t rows() const = 0;
  virtual std::int64_t cols() const = 0;
  virtual DType dtype() const = 0;
  // Null: dense values. Otherwise dtype() is kF32, ReadSlab gives the values that the integers
  // stand for, and ReadIntegers and ReadWords give the integers. It lives as long as the source.
  virtual const IntegerEncoding* integers() const { return nullptr; }
  // Rows [first, first + count). Many threads at once.
  virtual absl::Status ReadIntegers(std::int64_t first, std::int64_t count,
                                    const IntegerRows& out) const;
  // The spans' sizes say how many words and groups; asked for only where cols() * bits is a
  // multiple of 32. Many threads at once; cheapest where each word is read once.
  virtual absl::Status ReadWords(const IntegerWords& out) const;
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
  PackedWeight(std::int64_t rows, std::int64_t cols, const WeightFormat& format)
      : rows_(rows), cols_(cols), format_(format) {}
  virtual ~PackedWeight() = default;
  std::int64_t rows() const { return rows_; }
  std::int64_t cols() const { return cols_; }
  const WeightFormat& format() const { return format_; }  // how it is held

 private:
  std::int64_t rows_, cols_;
  WeightFormat format_;
};

// What a packed weight is beside its bytes: with both a backend takes it up again from a file.
struct SavedWeight {
  std::int64_t rows = 0, cols = 0;
  WeightFormat format{};
  std::int64_t groups = 0;  // integers: groups of inputs
  // Integers: for each place of each group the input that stands there, -1 for none. Empty: inputs
  // as they come.
  std::vector<std::int32_t> order{};
};

// An input in the form a backend multiplies: rounded or rearranged once, read by all matrices of
// the same kind.
class PreparedInput {
 public:
  virtual ~PreparedInput() = default;
};

enum class Activation : std::uint8_t { kNone, kGeluTanh, kGeluErf, kSilu, kRelu };
std::string_view ActivationName(Activation a);

// y = activation(product + bias) * times; a backend that cannot do one of them refuses it. Each
// step is rounded once, so doing it inside Run or after it gives equal bits.
struct Epilogue {
  const float* bias = nullptr;  // [weight rows]
  Activation activation = Activation::kNone;
  // Empty, or the y of the call before, which has the same shape and no factors of its own. Run
  // makes each column there before it makes it here.
  ConstMatrix times{};
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
  // Wanted; the backend answers with what it holds in PackedWeight::format().
  WeightFormat format{};
  WeightArena* arena = nullptr;
  // Called on the calling thread only with the number of source bytes read so far of this weight.
  std::function<absl::Status(std::int64_t)> progress{};
  const Monitor* monitor = nullptr;  // workers leave when it is cancelled
};

// Writes rows [first, end) of an input; any thread, every row once.
using MakeRows = absl::FunctionRef<void(std::int64_t first, std::int64_t end)>;

class GemmBackend {
 public:
  virtual ~GemmBackend() = default;
  virtual std::string_view name() const = 0;
  // Contract 1: equal bits for any threads, batch and chunks.
  virtual bool deterministic() const = 0;
  // Does it bring threads of its own (OpenBLAS)?
  virtual bool own_threads() const = 0;
  // How a matrix is held when `wanted` is asked for. A source of integers keeps them when integers
  // are wanted.
  virtual WeightFormat HeldAs(const WeightSource& source, const WeightFormat& wanted) const = 0;
  // Bytes Pack takes (from the arena, or by itself) for it.
  virtual std::size_t PackedBytes(const WeightSource& source, const WeightFormat& held) const = 0;
  virtual absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(const PackRequest& request,
                                                             ThreadTeam& team) = 0;
  // Version of what the bytes of packed weights mean, the same on every machine; 0: they cannot be
  // saved.
  virtual std::uint32_t layout_version() const { return 0; }
  // `bytes` receives what Pack took from the arena.
  virtual absl::StatusOr<SavedWeight> Save(const PackedWeight& weight,
                                           std::span<const std::byte>* bytes) const;
  // How many bytes belong to such a weight, `order` apart; kInvalidArgument if there is none such.
  virtual absl::StatusOr<std::size_t> SavedBytes(const SavedWeight& saved) const;
  // A weight over those bytes, which it neither copies nor changes; `saved` is not trusted.
  virtual absl::StatusOr<std::unique_ptr<PackedWeight>> TakeUp(SavedWeight saved,
                                                               std::span<const std::byte> bytes);
  // One row of the matrix as float32 [cols]: embedding lookups in a tied head, reading weights
  // back. Many threads at once.
  virtual void ReadRow(const PackedWeight& weight, std::int64_t row, float* out) const = 0;

  // Weights of equal kind read one PreparedInput.
  virtual int InputKind(const PackedWeight& weight) const = 0;
  virtual std::unique_ptr<PreparedInput> CreatePrepared(std::int64_t max_rows,
                                                        std::int64_t max_cols) const = 0;
  // x: [rows, cols of the weights]. Allocates nothing.
  virtual absl::Status Prepare(ConstMatrix x, int kind, PreparedInput* out, ThreadTeam& team) = 0;
  // The same for rows that `make` writes to x first: a backend may have each of them made by the
  // thread that prepares it, in one parallel region.
  virtual absl::Status MakeAndPrepare(ConstMatrix x, int kind, PreparedInput* out, ThreadTeam& team,
                                      MakeRows make);
  // All calls as one parallel region. Allocates nothing.
  virtual absl::Status Run(std::span<const GemmCall> calls, ThreadTeam& team) = 0;
  // Run, and Prepare of the outputs of calls[which], in one parallel region where a backend can: it
  // may prepare each block of them while it is near and forget it. What calls[which].y holds then,
  // and the factors of that call, is not said. No call may read `out`.
  virtual absl::Status RunAndPrepare(std::span<const GemmCall> calls, std::size_t which, int kind,
                                     PreparedInput* out, ThreadTeam& team);
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
