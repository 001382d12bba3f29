// NumPy arrays and text in and out.
#pragma once

#include "bindings.h"

namespace mossrt::python {

// Token ids from a one-dimensional array of integers or a sequence of them. TypeError or ValueError
// name the argument and the offending place.
std::vector<std::int32_t> IdsFrom(py::handle object, const char* argument);

py::array ToArray(const std::vector<std::int32_t>& ids);
py::array ToArray(std::span<const std::int32_t> ids);
// Takes the memory over.
py::array ToArray(std::vector<float> values, const std::vector<std::int64_t>& shape);
// A copy [rows, cols].
py::array ToArray(const ConstMatrix& matrix);
// The memory itself, read-only, which `owner` keeps alive.
py::array ViewOf(const ConstMatrix& matrix, const py::object& owner);

// float32 values that a callback may change: an array of its own goes to Python, and what it holds
// afterwards goes back. So an array that Python keeps stays valid and never changes on its own.
class Lent {
 public:
  explicit Lent(const Matrix& matrix) : matrix_(matrix), array_(ToArray(Const())) {}
  const py::array& array() const { return array_; }
  void WriteBack() const;
  // Takes values from another array of the same shape.
  void Replace(py::handle values);

 private:
  ConstMatrix Const() const { return {matrix_.data, matrix_.rows, matrix_.cols, matrix_.stride}; }
  Matrix matrix_;
  py::array array_;
};

// UTF-8 of a str; UnicodeEncodeError, which is a ValueError, for lone surrogates. Borrowed.
std::string_view Utf8(const py::str& text);

}  // namespace mossrt::python
