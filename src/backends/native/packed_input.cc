#include "backends/native/packed_input.h"

#include "base/cat.h"

namespace mossrt::runtime {

absl::StatusOr<InputPacker> InputPacker::Create(const cpu::KernelTable& kernels,
                                                const InputForm& form, ConstMatrix x,
                                                PackedInput* input) {
  InputPacker packer(kernels, x);
  packer.places_ = x.cols;
  packer.rounded_ = form.rounded;
  if (form.columns != nullptr) {
    const ColumnGroups& columns = *form.columns;
    packer.integers_ = true;
    packer.unit_ = columns.group;
    if (!columns.order.empty()) {
      packer.order_ = columns.order.data();
      packer.places_ = columns.places();
      packer.gathered_ = reinterpret_cast<float*>(input->gathered.data());
    }
    packer.row_dwords_ = cpu::IntegerInputDwords(packer.places_, columns.group);
  } else {
    packer.unit_ = 64;
    const std::int64_t per_dword = packer.Pairs() ? 2 : 1;
    packer.row_dwords_ = (x.cols + per_dword - 1) / per_dword;
  }
  packer.packed_ = reinterpret_cast<std::uint32_t*>(input->buffer.data());
  const auto fits = [&x](const PageBuffer& buffer, std::int64_t row_dwords) {
    return static_cast<std::size_t>(x.rows * row_dwords) * 4 <= buffer.size();
  };
  if (!fits(input->buffer, packer.row_dwords_) ||
      (!packer.in_order() && !fits(input->gathered, packer.places_))) {
    return absl::InternalError(
        Cat("a prepared input of [", x.rows, ", ", x.cols, "] does not fit its buffer"));
  }
  input->m = x.rows;
  input->k = x.cols;
  return packer;
}

void InputPacker::Pack(const float* from, std::int64_t stride, Range rows, Range k) const {
  if (integers_) {
    PackIntegers(from, stride, rows, k);
  } else {
    PackFloats(from, stride, rows, k);
  }
}

void InputPacker::Pack(Range rows, Range k) const {
  if (in_order()) return Pack(x_.Row(rows.begin) + k.begin, x_.stride, rows, k);
  for (std::int64_t i = rows.begin; i < rows.end; ++i) {
    float* to = gathered_ + i * places_;
    for (std::int64_t j = k.begin; j < k.end; ++j) {
      const std::int32_t column = order_[j];
      to[j] = column < 0 ? 0.0f : x_.Row(i)[column];
    }
  }
  PackIntegers(gathered_ + rows.begin * places_ + k.begin, places_, rows, k);
}

void InputPacker::PackIntegers(const float* from, std::int64_t stride, Range rows, Range k) const {
  const std::int64_t count = rows.end - rows.begin;
  kernels_->pack_x_int8(
      from, stride, count, k.end - k.begin, unit_,
      packed_ + rows.begin * row_dwords_ + count * cpu::IntegerInputDwords(k.begin, unit_));
}

void InputPacker::PackFloats(const float* from, std::int64_t stride, Range rows, Range k) const {
  const std::int64_t count = rows.end - rows.begin, values = k.end - k.begin;
  std::uint32_t* to = packed_ + rows.begin * row_dwords_;
  if (Pairs()) {
    kernels_->pack_x_bf16_pairs(from, stride, count, values, to + count * (k.begin / 2));
    return;
  }
  auto* floats = reinterpret_cast<float*>(to + count * k.begin);
  if (rounded_) {
    kernels_->pack_x_bf16_as_f32(from, stride, count, values, floats);
  } else {
    kernels_->pack_x_f32(from, stride, count, values, floats);
  }
}

}  // namespace mossrt::runtime
