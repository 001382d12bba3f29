// Inputs of the native backend: rows in the form that its kernels multiply by.
#pragma once

#include "absl/status/statusor.h"
#include "backends/native/integer_weight.h"
#include "base/page_buffer.h"
#include "mossrt/runtime/gemm_backend.h"
#include "mossrt/runtime/kernel_table.h"
#include "mossrt/runtime/thread_team.h"

namespace mossrt::runtime {

class PackedInput final : public PreparedInput {
 public:
  PageBuffer buffer;
  PageBuffer gathered;  // rows in the order of an act-order matrix's groups, if there is one
  std::int64_t m = 0, k = 0;
};

// float32, values rounded to bfloat16, or integers in groups of columns.
struct InputForm {
  const ColumnGroups* columns = nullptr;  // null: no integers
  bool rounded = false;                   // to bfloat16
};

// Packs rows x for `input`, part by part and each part by any thread.
class InputPacker {
 public:
  // An error if they do not fit the input's buffers.
  static absl::StatusOr<InputPacker> Create(const cpu::KernelTable& kernels, const InputForm& form,
                                            ConstMatrix x, PackedInput* input);

  // Values of k in a packed row.
  std::int64_t places() const { return places_; }
  // A part begins at a multiple of so many of them.
  std::int64_t unit() const { return unit_; }
  // Is the value at a place that of the same column of x?
  bool in_order() const { return order_ == nullptr; }
  // Values of k of rows of one tile.
  void Pack(Range rows, Range k) const;
  // The same where they are at `from`, in order.
  void Pack(const float* from, std::int64_t stride, Range rows, Range k) const;

 private:
  InputPacker(const cpu::KernelTable& kernels, ConstMatrix x) : kernels_(&kernels), x_(x) {}

  // Rounded values come two in a dword.
  bool Pairs() const { return rounded_ && kernels_->gemm_bf16_pairs != nullptr; }
  void PackIntegers(const float* from, std::int64_t stride, Range rows, Range k) const;
  void PackFloats(const float* from, std::int64_t stride, Range rows, Range k) const;

  const cpu::KernelTable* kernels_;
  ConstMatrix x_;
  std::int64_t places_ = 0, unit_ = 0;
  std::int64_t row_dwords_ = 0;  // of a packed row
  std::uint32_t* packed_ = nullptr;
  bool integers_ = false, rounded_ = false;
  const std::int32_t* order_ = nullptr;  // [places], where columns change places
  float* gathered_ = nullptr;            // [rows, places]
};

}  // namespace mossrt::runtime
