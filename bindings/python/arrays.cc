#include "arrays.h"

#include <algorithm>
#include <limits>

namespace mossrt::python {
namespace {

std::string TypeName(py::handle object) { return Py_TYPE(object.ptr())->tp_name; }

[[noreturn]] void NotIds(py::handle object, const char* argument) {
  throw py::type_error(std::string(argument) +
                       " must be a one-dimensional array or a sequence of token ids, found " +
                       TypeName(object));
}

std::int32_t IdFrom(long long value, bool overflow, std::size_t place, const char* argument) {
  constexpr std::int32_t kMax = std::numeric_limits<std::int32_t>::max();
  if (overflow || value < 0 || value > kMax) {
    throw py::value_error(
        std::string(argument) + "[" + std::to_string(place) + "] is no token id: found " +
        (overflow ? std::string("a number beyond 64 bits") : std::to_string(value)));
  }
  return static_cast<std::int32_t>(value);
}

template <typename T>
std::vector<std::int32_t> FromArray(const py::array& array, const char* argument) {
  const auto values = py::array_t<T, py::array::forcecast>(array);
  const auto view = values.template unchecked<1>();
  std::vector<std::int32_t> ids(static_cast<std::size_t>(view.shape(0)));
  for (std::size_t i = 0; i < ids.size(); ++i) {
    const T value = view(static_cast<py::ssize_t>(i));
    const bool overflow =
        std::is_unsigned_v<T> && value > static_cast<T>(std::numeric_limits<std::int64_t>::max());
    ids[i] = IdFrom(static_cast<long long>(value), overflow, i, argument);
  }
  return ids;
}

std::vector<std::int32_t> FromSequence(py::handle object, const char* argument) {
  const auto items =
      py::reinterpret_steal<py::object>(PySequence_Fast(object.ptr(), "not a sequence"));
  if (!items) throw py::error_already_set();
  const auto n = static_cast<std::size_t>(PySequence_Fast_GET_SIZE(items.ptr()));
  std::vector<std::int32_t> ids(n);
  for (std::size_t i = 0; i < n; ++i) {
    const py::handle item = PySequence_Fast_GET_ITEM(items.ptr(), static_cast<Py_ssize_t>(i));
    const auto index = py::reinterpret_steal<py::object>(
        PyBool_Check(item.ptr()) ? nullptr : PyNumber_Index(item.ptr()));
    if (!index) {
      PyErr_Clear();
      throw py::type_error(std::string(argument) + "[" + std::to_string(i) +
                           "] must be an integer, found " + TypeName(item));
    }
    int overflow = 0;
    const long long value = PyLong_AsLongLongAndOverflow(index.ptr(), &overflow);
    ids[i] = IdFrom(value, overflow != 0, i, argument);
  }
  return ids;
}

}  // namespace

std::vector<std::int32_t> IdsFrom(py::handle object, const char* argument) {
  if (PyUnicode_Check(object.ptr()) || PyBytes_Check(object.ptr()) || PyDict_Check(object.ptr())) {
    NotIds(object, argument);
  }
  if (!py::isinstance<py::array>(object)) {
    // Tensors of other libraries know the way to NumPy.
    if (!py::hasattr(object, "__array__")) {
      if (!PySequence_Check(object.ptr())) NotIds(object, argument);
      return FromSequence(object, argument);
    }
    return IdsFrom(py::module_::import("numpy").attr("asarray")(object), argument);
  }
  const auto array = py::reinterpret_borrow<py::array>(object);
  if (array.ndim() != 1) {
    throw py::value_error(std::string(argument) + " must have one dimension, found shape " +
                          py::cast<std::string>(py::str(array.attr("shape"))));
  }
  const char kind = array.dtype().kind();
  if (kind == 'i') return FromArray<std::int64_t>(array, argument);
  if (kind == 'u') return FromArray<std::uint64_t>(array, argument);
  if (array.size() == 0) return {};  // numpy.array([]) is float64
  throw py::type_error(std::string(argument) + " must hold integers, found an array of " +
                       py::cast<std::string>(py::str(array.dtype())));
}

py::array ToArray(std::span<const std::int32_t> ids) {
  return py::array_t<std::int32_t>(static_cast<py::ssize_t>(ids.size()), ids.data());
}

py::array ToArray(const std::vector<std::int32_t>& ids) {
  return ToArray(std::span<const std::int32_t>(ids));
}

py::array ToArray(std::vector<float> values, const std::vector<std::int64_t>& shape) {
  auto held = std::make_unique<std::vector<float>>(std::move(values));
  float* const data = held->data();
  const py::capsule owner(held.get(), [](void* p) { delete static_cast<std::vector<float>*>(p); });
  held.release();
  return py::array_t<float>(std::vector<py::ssize_t>(shape.begin(), shape.end()), data, owner);
}

py::array ToArray(const ConstMatrix& matrix) {
  py::array_t<float> out({matrix.rows, matrix.cols});
  float* to = out.mutable_data();
  for (std::size_t i = 0; i < matrix.rows; ++i) {
    const std::span<const float> row = matrix.Row(i);
    to = std::copy(row.begin(), row.end(), to);
  }
  return out;
}

py::array ViewOf(const ConstMatrix& matrix, const py::object& owner) {
  py::array_t<float> view({matrix.rows, matrix.cols},
                          {matrix.stride * sizeof(float), sizeof(float)}, matrix.data, owner);
  view.attr("setflags")(py::arg("write") = false);
  return view;
}

void Lent::WriteBack() const {
  const auto* from = static_cast<const float*>(array_.data());
  for (std::size_t i = 0; i < matrix_.rows; ++i, from += matrix_.cols) {
    std::copy_n(from, matrix_.cols, matrix_.Row(i).begin());
  }
}

void Lent::Replace(py::handle values) {
  const auto other = py::array_t<float, py::array::c_style | py::array::forcecast>::ensure(values);
  if (!other) {
    PyErr_Clear();
    throw py::type_error("a callback must return None or an array of float32, found " +
                         TypeName(values));
  }
  if (static_cast<std::size_t>(other.size()) != matrix_.rows * matrix_.cols) {
    throw py::value_error("a callback returned " + std::to_string(other.size()) + " values for " +
                          std::to_string(matrix_.rows * matrix_.cols));
  }
  array_ = other;
}

std::string_view Utf8(const py::str& text) {
  Py_ssize_t size = 0;
  const char* data = PyUnicode_AsUTF8AndSize(text.ptr(), &size);
  if (data == nullptr) throw py::error_already_set();
  return {data, static_cast<std::size_t>(size)};
}

}  // namespace mossrt::python
