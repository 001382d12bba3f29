// Views of row-major data that somebody else owns; passed by value. Owned by src/tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace mossrt::runtime {

// `rows` rows of `cols` values; row i starts at data + i * stride (in values, stride >= cols).
template <typename T>
struct MatrixView {
  T* data = nullptr;
  std::int64_t rows = 0;
  std::int64_t cols = 0;
  std::int64_t stride = 0;

  MatrixView() = default;
  MatrixView(T* d, std::int64_t r, std::int64_t c) : data(d), rows(r), cols(c), stride(c) {}
  MatrixView(T* d, std::int64_t r, std::int64_t c, std::int64_t s)
      : data(d), rows(r), cols(c), stride(s) {}
  operator MatrixView<const T>() const { return {data, rows, cols, stride}; }  // NOLINT

  T* Row(std::int64_t i) const { return data + i * stride; }
  std::span<T> RowSpan(std::int64_t i) const { return {Row(i), static_cast<std::size_t>(cols)}; }
  MatrixView Rows(std::int64_t first, std::int64_t count) const {
    return {Row(first), count, cols, stride};
  }
  MatrixView Cols(std::int64_t first, std::int64_t count) const {
    return {data + first, rows, count, stride};
  }
};

using Matrix = MatrixView<float>;
using ConstMatrix = MatrixView<const float>;

}  // namespace mossrt::runtime
