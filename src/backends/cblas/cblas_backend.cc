// Any CBLAS library, opened by path when a model asks for it and kept open for the life of the
// process: several of them start threads that must not lose their text.
#include <cblas.h>
#include <dlfcn.h>

#include <string>

#include "backends/dense_rows.h"
#include "base/cat.h"

namespace mossrt::runtime {
namespace {

using SgemmFn = decltype(&cblas_sgemm);

class CblasBackend final : public DenseBackend {
 public:
  CblasBackend(std::string name, SgemmFn sgemm) : name_(std::move(name)), sgemm_(sgemm) {}
  std::string_view name() const override { return name_; }
  bool deterministic() const override { return false; }
  bool own_threads() const override { return true; }

 protected:
  void Multiply(ConstMatrix x, const DenseRows& w, std::int64_t first, std::int64_t end,
                Matrix y) const override {
    sgemm_(CblasRowMajor, CblasNoTrans, CblasTrans, static_cast<blasint>(x.rows),
           static_cast<blasint>(end - first), static_cast<blasint>(w.cols()), 1.0f, x.data,
           static_cast<blasint>(x.stride), w.Row(first), static_cast<blasint>(w.cols()), 0.0f,
           y.data + first, static_cast<blasint>(y.stride));
  }

 private:
  std::string name_;
  SgemmFn sgemm_;
};

// A library whose integers have 64 bits reads other sizes than were passed, and this product shows
// it.
bool MultipliesTwoByTwo(SgemmFn sgemm) {
  const float a[4] = {1, 2, 3, 4}, b[4] = {5, 6, 7, 8};
  float c[4] = {-1, -1, -1, -1};
  sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 2, 2, 2, 1.0f, a, 2, b, 2, 0.0f, c, 2);
  return c[0] == 19 && c[1] == 22 && c[2] == 43 && c[3] == 50;
}

}  // namespace

absl::StatusOr<std::unique_ptr<GemmBackend>> CreateCblasBackend(std::string_view name,
                                                                const std::string& path) {
  void* library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* why = dlerror();
    // Not kNotFound, which is said of what is looked for in a checkpoint.
    return absl::InvalidArgumentError(
        Cat("backend \"", name, "\": could not open ", path, ": ", why == nullptr ? "" : why,
            "; install a CBLAS library (Debian: libopenblas0) or give its path as "
            "\"cblas:/path/lib.so\""));
  }
  const auto sgemm = reinterpret_cast<SgemmFn>(dlsym(library, "cblas_sgemm"));
  if (sgemm == nullptr) {
    return absl::InvalidArgumentError(
        Cat("backend \"", name, "\": ", path, " has no cblas_sgemm",
            dlsym(library, "cblas_sgemm64_") != nullptr
                ? "; its integers have 64 bits, a library with 32-bit integers is needed"
                : "; give the path of a CBLAS library"));
  }
  if (!MultipliesTwoByTwo(sgemm)) {
    return absl::InvalidArgumentError(
        Cat("backend \"", name, "\": cblas_sgemm of ", path,
            " gives a wrong 2x2 product; probably its integers have 64 bits, and 32 are needed"));
  }
  return std::make_unique<CblasBackend>(std::string(name), sgemm);
}

}  // namespace mossrt::runtime
