#include "backends/epilogue.h"

#include "base/cat.h"

namespace mossrt::runtime {

std::string_view ActivationName(Activation a) {
  switch (a) {
    case Activation::kNone:
      return "none";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kGeluErf:
      return "gelu";
    case Activation::kSilu:
      return "silu";
    case Activation::kRelu:
      return "relu";
  }
  return "unknown";
}

absl::Status CheckFactors(std::span<const GemmCall> calls) {
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const Matrix& y = calls[i].y;
    const ConstMatrix& times = calls[i].epilogue.times;
    if (times.data == nullptr) continue;
    if (i > 0 && times.data == calls[i - 1].y.data && times.rows == y.rows &&
        times.cols == y.cols && calls[i - 1].y.cols == y.cols &&
        calls[i - 1].epilogue.times.data == nullptr) {
      continue;
    }
    return absl::InternalError(
        Cat("call ", i, " of a region multiplies [", y.rows, ", ", y.cols, "] by factors of [",
            times.rows, ", ", times.cols,
            "]; they must be the outputs of the call before, which has no factors itself"));
  }
  return absl::OkStatus();
}

void ApplyEpilogue(const cpu::KernelTable& kernels, const Epilogue& epilogue, Matrix y) {
  const std::int64_t n = y.cols;
  for (std::int64_t i = 0; i < y.rows; ++i) {
    float* row = y.Row(i);
    if (epilogue.bias != nullptr) kernels.add(epilogue.bias, n, row);
    switch (epilogue.activation) {
      case Activation::kNone:
        break;
      case Activation::kGeluTanh:
        kernels.gelu_tanh(row, n);
        break;
      case Activation::kGeluErf:
        kernels.gelu_erf(row, n);
        break;
      case Activation::kSilu:
        kernels.silu(row, n);
        break;
      case Activation::kRelu:
        kernels.relu(row, n);
        break;
    }
    if (epilogue.times.data != nullptr) kernels.multiply(epilogue.times.Row(i), n, row);
  }
}

Epilogue OfColumns(Epilogue epilogue, Range cols) {
  if (epilogue.bias != nullptr) epilogue.bias += cols.begin;
  if (epilogue.times.data != nullptr) {
    epilogue.times = epilogue.times.Cols(cols.begin, cols.end - cols.begin);
  }
  return epilogue;
}

}  // namespace mossrt::runtime
