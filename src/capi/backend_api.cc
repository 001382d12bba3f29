// Matrix product backends whose functions the program brings.
#include <cstring>
#include <memory>

#include "backends/dense_rows.h"
#include "backends/epilogue.h"
#include "base/status.h"
#include "capi/guard.h"
#include "capi/handles.h"
#include "mossrt/mossrt.h"
#include "mossrt/runtime/gemm_backend.h"

// A weight while it is being packed: read from its source, or from the copy that is kept anyway.
struct mossrt_weight {
  const mossrt::runtime::WeightSource* source;
  const float* copy;  // [rows, cols] or null
};

namespace mossrt::capi {
namespace {

using runtime::ConstMatrix;
using runtime::DType;
using runtime::GemmBackend;
using runtime::GemmCall;
using runtime::PackedWeight;
using runtime::PackRequest;
using runtime::PreparedInput;
using runtime::ThreadTeam;

template <typename Fn>
struct Callback {
  Fn fn = nullptr;
  void* user = nullptr;
};

struct Functions {
  std::string name;
  Callback<mossrt_pack_fn> pack;
  Callback<mossrt_prepare_fn> prepare;
  Callback<mossrt_run_fn> run;
  Callback<mossrt_read_row_fn> read_row;
  Callback<mossrt_backend_free_fn> free;
};

// What the program made, freed by the program.
class Owned {
 public:
  explicit Owned(std::shared_ptr<const Functions> functions) : functions_(std::move(functions)) {}
  ~Owned() {
    if (data_ != nullptr) functions_->free.fn(functions_->free.user, data_);
  }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
  void* get() const { return data_; }
  void** slot() { return &data_; }

 private:
  std::shared_ptr<const Functions> functions_;
  void* data_ = nullptr;
};

struct OutsideWeight final : PackedWeight {
  OutsideWeight(std::int64_t rows, std::int64_t cols, std::shared_ptr<const Functions> functions)
      : PackedWeight(rows, cols, runtime::Dense(DType::kF32)), packed(std::move(functions)) {}
  Owned packed;
  const float* copy = nullptr;
};

// The input is copied: Run comes later, when the caller's rows may have changed.
struct OutsideInput final : PreparedInput {
  explicit OutsideInput(std::shared_ptr<const Functions> functions)
      : prepared(std::move(functions)) {}
  std::vector<float> x;
  std::int64_t rows = 0, cols = 0;
  Owned prepared;
};

class OutsideBackend final : public GemmBackend {
 public:
  explicit OutsideBackend(std::shared_ptr<const Functions> functions)
      : functions_(std::move(functions)) {}

  std::string_view name() const override { return functions_->name; }
  bool deterministic() const override { return false; }  // nobody has promised it
  bool own_threads() const override { return false; }
  runtime::WeightFormat HeldAs(const runtime::WeightSource&,
                               const runtime::WeightFormat&) const override {
    return runtime::Dense(DType::kF32);
  }
  // What the program packs is not known; float32 is assumed, and the copy comes on top.
  std::size_t PackedBytes(const runtime::WeightSource& source,
                          const runtime::WeightFormat&) const override {
    const std::size_t dense = CopyBytes(source.rows(), source.cols());
    return functions_->read_row.fn == nullptr ? 2 * dense : dense;
  }

  absl::StatusOr<std::unique_ptr<PackedWeight>> Pack(const PackRequest& request,
                                                     ThreadTeam& team) override {
    const runtime::WeightSource& source = *request.source;
    auto weight = std::make_unique<OutsideWeight>(source.rows(), source.cols(), functions_);
    const bool keep = functions_->read_row.fn == nullptr;
    if (keep) {
      MOSSRT_ASSIGN_OR_RETURN(std::byte * memory,
                              request.arena->Take(CopyBytes(source.rows(), source.cols())));
      auto* copy = reinterpret_cast<float*>(memory);
      MOSSRT_RETURN_IF_ERROR(runtime::ReadSlabs(
          request, 1, team,
          [&](std::int64_t first, std::int64_t count, std::span<const std::uint8_t> bytes) {
            runtime::ToFloat(*cpu::Kernels(), source.dtype(), bytes.data(), count * source.cols(),
                             copy + first * source.cols());
          }));
      weight->copy = copy;
    }
    const mossrt_weight view = {&source, weight->copy};
    const std::string name(source.name());
    MOSSRT_RETURN_IF_ERROR(CallBack(runtime::Cat("the pack function, for \"", name, "\","), [&] {
      return functions_->pack.fn(functions_->pack.user, &view, name.c_str(),
                                 static_cast<size_t>(source.rows()),
                                 static_cast<size_t>(source.cols()), weight->packed.slot());
    }));
    if (runtime::Cancelled(request.monitor)) return absl::CancelledError("cancelled by the caller");
    if (!keep && request.progress) {
      const auto size = static_cast<std::int64_t>(runtime::DTypeSize(source.dtype()));
      MOSSRT_RETURN_IF_ERROR(request.progress(source.rows() * source.cols() * size));
    }
    return weight;
  }

  void ReadRow(const PackedWeight& weight, std::int64_t row, float* out) const override {
    const auto& w = static_cast<const OutsideWeight&>(weight);
    const auto bytes = static_cast<std::size_t>(w.cols()) * sizeof(float);
    if (w.copy != nullptr) {
      std::memcpy(out, w.copy + row * w.cols(), bytes);
      return;
    }
    std::int32_t code = -1;
    try {
      code = functions_->read_row.fn(functions_->read_row.user, w.packed.get(),
                                     static_cast<size_t>(row), out);
    } catch (...) {
    }
    if (code >= 0) return;
    // Rows cannot fail, and worker threads read them too: the next product reports it.
    read_row_code_.store(code);
    std::memset(out, 0, bytes);
  }

  int InputKind(const PackedWeight&) const override { return 0; }
  std::unique_ptr<PreparedInput> CreatePrepared(std::int64_t max_rows,
                                                std::int64_t max_cols) const override {
    auto input = std::make_unique<OutsideInput>(functions_);
    input->x.resize(static_cast<std::size_t>(max_rows * max_cols));
    return input;
  }

  absl::Status Prepare(ConstMatrix x, int, PreparedInput* out, ThreadTeam&) override {
    auto* input = static_cast<OutsideInput*>(out);
    input->rows = x.rows;
    input->cols = x.cols;
    for (std::int64_t i = 0; i < x.rows; ++i) {
      std::memcpy(input->x.data() + i * x.cols, x.Row(i),
                  static_cast<std::size_t>(x.cols) * sizeof(float));
    }
    if (functions_->prepare.fn == nullptr) return absl::OkStatus();
    return CallBack("the prepare function", [&] {
      return functions_->prepare.fn(functions_->prepare.user, input->x.data(),
                                    static_cast<size_t>(x.rows), static_cast<size_t>(x.cols),
                                    input->prepared.slot());
    });
  }

  absl::Status Run(std::span<const GemmCall> calls, ThreadTeam&) override {
    ++runs_;
    MOSSRT_RETURN_IF_ERROR(runtime::CheckFactors(calls));
    for (const GemmCall& call : calls) {
      const auto& x = *static_cast<const OutsideInput*>(call.x);
      const auto& w = *static_cast<const OutsideWeight*>(call.w);
      MOSSRT_RETURN_IF_ERROR(CallBack("the run function", [&] {
        return functions_->run.fn(
            functions_->run.user, w.packed.get(), x.prepared.get(), x.x.data(),
            static_cast<size_t>(x.rows), static_cast<size_t>(x.cols), call.y.data,
            static_cast<size_t>(w.rows()), static_cast<size_t>(call.y.stride));
      }));
      runtime::ApplyEpilogue(*cpu::Kernels(), call.epilogue, call.y);
    }
    return CallBack("the read_row function", [&] { return read_row_code_.exchange(0); });
  }
  std::uint64_t run_count() const override { return runs_; }

 private:
  static std::size_t CopyBytes(std::int64_t rows, std::int64_t cols) {
    return static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols) * sizeof(float);
  }
  std::shared_ptr<const Functions> functions_;
  std::atomic<std::uint64_t> runs_{0};
  mutable std::atomic<std::int32_t> read_row_code_{0};
};

}  // namespace
}  // namespace mossrt::capi

struct mossrt_backend {
  mossrt::capi::Functions functions;
  mossrt::capi::InUse in_use;
};

using namespace mossrt::capi;     // NOLINT: the definitions below are the C functions
using namespace mossrt::runtime;  // NOLINT

namespace {

template <typename Fn>
mossrt_error* SetFunction(const char* function, mossrt_backend* b, Fn fn, void* user,
                          Callback<Fn> Functions::*member) {
  return Guard(function, [&]() -> absl::Status {
    MOSSRT_NEED(b);
    MOSSRT_NEED(fn);
    const Use use(&b->in_use, Use::kExclusive);
    if (!use.held()) return Busy("backend");
    b->functions.*member = {fn, user};
    return absl::OkStatus();
  });
}

}  // namespace

mossrt_error* mossrt_backend_create(const char* name, mossrt_backend** out) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(name);
    MOSSRT_NEED(out);
    auto backend = std::make_unique<mossrt_backend>();
    backend->functions.name = name;
    *out = backend.release();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_backend_set_pack(mossrt_backend* b, mossrt_pack_fn fn, void* user) {
  return SetFunction(__func__, b, fn, user, &Functions::pack);
}
mossrt_error* mossrt_backend_set_prepare(mossrt_backend* b, mossrt_prepare_fn fn, void* user) {
  return SetFunction(__func__, b, fn, user, &Functions::prepare);
}
mossrt_error* mossrt_backend_set_run(mossrt_backend* b, mossrt_run_fn fn, void* user) {
  return SetFunction(__func__, b, fn, user, &Functions::run);
}
mossrt_error* mossrt_backend_set_read_row(mossrt_backend* b, mossrt_read_row_fn fn, void* user) {
  return SetFunction(__func__, b, fn, user, &Functions::read_row);
}
mossrt_error* mossrt_backend_set_free(mossrt_backend* b, mossrt_backend_free_fn fn, void* user) {
  return SetFunction(__func__, b, fn, user, &Functions::free);
}

mossrt_error* mossrt_backend_register(mossrt_backend* b) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(b);
    const Use use(&b->in_use, Use::kExclusive);
    if (!use.held()) return Busy("backend");
    const Functions& f = b->functions;
    const char* missing = f.pack.fn == nullptr   ? "pack"
                          : f.run.fn == nullptr  ? "run"
                          : f.free.fn == nullptr ? "free"
                                                 : nullptr;
    if (missing != nullptr) {
      return absl::FailedPreconditionError(Cat("backend \"", f.name, "\" has no ", missing,
                                               " function: call mossrt_backend_set_", missing));
    }
    const auto functions = std::make_shared<const Functions>(f);
    return RegisterBackend(f.name, [functions]() -> absl::StatusOr<std::unique_ptr<GemmBackend>> {
      return std::make_unique<OutsideBackend>(functions);
    });
  });
}

void mossrt_backend_free(mossrt_backend* b) {
  GuardVoid(__func__, [&] { delete b; });
}

mossrt_error* mossrt_weight_read(const mossrt_weight* w, size_t first, size_t count, float* out) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(w);
    if (count > 0) MOSSRT_NEED(out);
    const auto rows = static_cast<size_t>(w->source->rows());
    const std::int64_t cols = w->source->cols();
    if (first > rows || count > rows - first) {
      return absl::InvalidArgumentError(Cat("mossrt_weight_read: rows ", first, " to ",
                                            first + count, " of \"", w->source->name(),
                                            "\" were asked for, which has ", rows));
    }
    if (w->copy != nullptr) {
      const auto width = static_cast<size_t>(cols);
      if (count > 0) std::memcpy(out, w->copy + first * width, count * width * sizeof(float));
      return absl::OkStatus();
    }
    const std::int64_t row_bytes = cols * static_cast<std::int64_t>(DTypeSize(w->source->dtype()));
    const std::int64_t step =
        std::max<std::int64_t>(1, kSlabBytes / std::max<std::int64_t>(1, row_bytes));
    std::vector<std::uint8_t> bytes;
    for (std::int64_t done = 0; done < static_cast<std::int64_t>(count); done += step) {
      const std::int64_t n = std::min(step, static_cast<std::int64_t>(count) - done);
      bytes.resize(static_cast<size_t>(n * row_bytes));
      MOSSRT_RETURN_IF_ERROR(
          w->source->ReadSlab(static_cast<std::int64_t>(first) + done, n, bytes));
      ToFloat(*mossrt::cpu::Kernels(), w->source->dtype(), bytes.data(), n * cols,
              out + done * cols);
    }
    return absl::OkStatus();
  });
}
