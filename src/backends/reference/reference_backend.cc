// Plain loops in double: slow, and right to the last bit that float32 can show.
#include "backends/dense_rows.h"

namespace mossrt::runtime {
namespace {

class ReferenceBackend final : public DenseBackend {
 public:
  std::string_view name() const override { return "reference"; }
  bool deterministic() const override { return true; }
  bool own_threads() const override { return false; }

 protected:
  void Multiply(ConstMatrix x, const DenseRows& w, std::int64_t first, std::int64_t end,
                Matrix y) const override {
    for (std::int64_t i = 0; i < x.rows; ++i) {
      for (std::int64_t j = first; j < end; ++j) {
        const float* row = w.Row(j);
        double sum = 0;
        for (std::int64_t k = 0; k < w.cols(); ++k) sum += double{x.Row(i)[k]} * double{row[k]};
        y.Row(i)[j] = static_cast<float>(sum);
      }
    }
  }
};

}  // namespace

std::unique_ptr<GemmBackend> CreateReferenceBackend() {
  return std::make_unique<ReferenceBackend>();
}

}  // namespace mossrt::runtime
