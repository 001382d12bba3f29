// Eigen's products, one block of columns per thread of ours. Its sums are in Eigen's order: not
// contract 1.
#include "backends/dense_rows.h"

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <Eigen/Core>

namespace mossrt::runtime {
namespace {

using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

class EigenBackend final : public DenseBackend {
 public:
  std::string_view name() const override { return "eigen"; }
  bool deterministic() const override { return false; }
  bool own_threads() const override { return false; }

 protected:
  void Multiply(ConstMatrix x, const DenseRows& w, std::int64_t first, std::int64_t end,
                Matrix y) const override {
    const Eigen::Map<const RowMajor, 0, Eigen::OuterStride<>> left(x.data, x.rows, x.cols,
                                                                   Eigen::OuterStride<>(x.stride));
    const Eigen::Map<const RowMajor> right(w.Row(first), end - first, w.cols());
    Eigen::Map<RowMajor, 0, Eigen::OuterStride<>> out(y.data + first, y.rows, end - first,
                                                      Eigen::OuterStride<>(y.stride));
    out.noalias() = left * right.transpose();
  }
};

}  // namespace

std::unique_ptr<GemmBackend> CreateEigenBackend() { return std::make_unique<EigenBackend>(); }

}  // namespace mossrt::runtime
