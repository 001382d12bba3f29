// Any CBLAS library, opened by path when a model asks for it and kept open for the life of the
// process: several of them start threads that must not lose their text.
#include <cblas.h>
#include <dlfcn.h>

#include <cstdint>
#include <limits>
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

// Where a caller passes integers of 32 bits, what stands in the upper halves of registers and of
// the stack is chance: a library that reads 64 bits may multiply rightly today and write anywhere
// tomorrow. So the width is told by a call that is legal for both. The number of values has 2 in
// its lower half and is negative as a whole: 32 bits copy two values, 64 bits none, as every
// function of vectors must for n <= 0. (cblas_sgemm must not be asked: negative sizes are errors
// there, at which some libraries end the process.)
bool TakesIntegersOf32Bits(void* scopy) {
  using Scopy64 =
      void (*)(std::int64_t n, const float* x, std::int64_t incx, float* y, std::int64_t incy);
  const std::int64_t n = std::numeric_limits<std::int64_t>::min() + 2;
  const float x[2] = {3, 4};
  float y[2] = {-1, -1};
  reinterpret_cast<Scopy64>(scopy)(n, x, 1, y, 1);
  return y[0] == 3 && y[1] == 4;
}

bool MultipliesTwoByTwo(SgemmFn sgemm) {
  const float a[4] = {1, 2, 3, 4}, b[4] = {5, 6, 7, 8};
  float c[4] = {-1, -1, -1, -1};
  sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, 2, 2, 2, 1.0f, a, 2, b, 2, 0.0f, c, 2);
  return c[0] == 19 && c[1] == 22 && c[2] == 43 && c[3] == 50;
}

}  // namespace

absl::StatusOr<std::unique_ptr<GemmBackend>> CreateCblasBackend(std::string_view name,
                                                                const std::string& path) {
  if (path.empty()) {  // which would open the program itself
    return absl::InvalidArgumentError(
        Cat("backend \"", name,
            "\": give the path of a CBLAS library behind the colon, as in "
            "\"cblas:/path/lib.so\""));
  }
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
  void* const scopy = dlsym(library, "cblas_scopy");
  if (scopy == nullptr) {
    return absl::InvalidArgumentError(
        Cat("backend \"", name, "\": ", path,
            " has no cblas_scopy, by which integers of 32 and of 64 bits are told apart; give the "
            "path of a whole CBLAS library"));
  }
  if (!TakesIntegersOf32Bits(scopy)) {
    return absl::InvalidArgumentError(
        Cat("backend \"", name, "\": ", path,
            " takes integers of 64 bits; give the path of its build with 32 (LP64)"));
  }
  if (!MultipliesTwoByTwo(sgemm)) {
    return absl::InvalidArgumentError(
        Cat("backend \"", name, "\": cblas_sgemm of ", path,
            " gives a wrong 2x2 product; give the path of another CBLAS library"));
  }
  return std::make_unique<CblasBackend>(std::string(name), sgemm);
}

}  // namespace mossrt::runtime
