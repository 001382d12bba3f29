// Matrix products of the program's own; include mossrt/mossrt.hpp.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "mossrt/hpp/library.hpp"

namespace mossrt {

// A weight matrix [rows, cols] = [outputs, inputs] while it is being packed.
class Weight {
 public:
  Weight(const mossrt_weight* w, std::string_view tensor, std::size_t outputs, std::size_t inputs)
      : name(tensor), rows(outputs), cols(inputs), weight_(w) {}
  const std::string_view name;
  const std::size_t rows, cols;
  // Rows [first, first + count) as dense float32 into out [count, cols].
  void Read(std::size_t first, std::size_t count, std::span<float> out) const {
    if (out.size() / (cols == 0 ? 1 : cols) < count) {
      throw Error(Code::kInvalidArgument, "Weight::Read: out holds fewer than count * cols values");
    }
    detail::Check(mossrt_weight_read(weight_, first, count, out.data()));
  }

 private:
  const mossrt_weight* weight_;
};

// A matrix product of the program's own. Functions may throw; the call that led to them throws it.
class Backend {
 public:
  // What the backend makes of a weight, or of an input.
  struct Data {
    virtual ~Data() = default;
  };
  virtual ~Backend() = default;
  virtual std::unique_ptr<Data> Pack(const Weight& weight) = 0;
  // y [m, n] = x [m, k] times the transpose of the packed matrix [n, k]. prepared: null unless
  // Prepares().
  virtual void Run(const Data& packed, const Data* prepared, ConstMatrix x, Matrix y) = 0;
  virtual bool Prepares() const { return false; }
  // prepared: null, or what an earlier call left there.
  virtual void Prepare(ConstMatrix /*x*/, std::unique_ptr<Data>& /*prepared*/) {}
  // Without it the library keeps a float32 copy of every matrix.
  virtual bool ReadsRows() const { return false; }
  // Called by several threads at once, and while a call of mossrt runs: it must not call back.
  virtual void ReadRow(const Data& /*packed*/, std::size_t /*row*/, float* /*out*/) {}
};

// For the life of the process. The load option "backend" takes the name.
inline void RegisterBackend(const std::string& name, std::unique_ptr<Backend> backend) {
  using Data = Backend::Data;
  detail::CheckAbi();
  if (backend == nullptr) throw Error(Code::kInvalidArgument, "RegisterBackend: backend is null");
  mossrt_backend* raw = nullptr;
  detail::Check(mossrt_backend_create(name.c_str(), &raw));
  const detail::Handle<mossrt_backend, mossrt_backend_free> b(raw);
  Backend* const self = backend.get();
  detail::Check(mossrt_backend_set_pack(
      raw,
      [](void* user, const mossrt_weight* w, const char* weight_name, std::size_t rows,
         std::size_t cols, void** packed) {
        return detail::Protect([&] {
          auto data = static_cast<Backend*>(user)->Pack(Weight(w, weight_name, rows, cols));
          *packed = data.release();
          return 0;
        });
      },
      self));
  detail::Check(mossrt_backend_set_run(
      raw,
      [](void* user, const void* packed, const void* prepared, const float* x, std::size_t m,
         std::size_t k, float* y, std::size_t n, std::size_t y_stride) {
        return detail::Protect([&] {
          static_cast<Backend*>(user)->Run(*static_cast<const Data*>(packed),
                                           static_cast<const Data*>(prepared),
                                           ConstMatrix{x, m, k, k}, Matrix{y, m, n, y_stride});
          return 0;
        });
      },
      self));
  detail::Check(mossrt_backend_set_free(
      raw, [](void*, void* p) { delete static_cast<Data*>(p); }, nullptr));
  if (self->Prepares()) {
    detail::Check(mossrt_backend_set_prepare(
        raw,
        [](void* user, const float* x, std::size_t m, std::size_t k, void** prepared) {
          return detail::Protect([&] {
            std::unique_ptr<Data> data(static_cast<Data*>(std::exchange(*prepared, nullptr)));
            static_cast<Backend*>(user)->Prepare(ConstMatrix{x, m, k, k}, data);
            *prepared = data.release();
            return 0;
          });
        },
        self));
  }
  if (self->ReadsRows()) {
    detail::Check(mossrt_backend_set_read_row(
        raw,
        [](void* user, const void* packed, std::size_t row, float* out) {
          return detail::Protect([&] {
            static_cast<Backend*>(user)->ReadRow(*static_cast<const Data*>(packed), row, out);
            return 0;
          });
        },
        self));
  }
  detail::Check(mossrt_backend_register(raw));
  static_cast<void>(backend.release());
}

}  // namespace mossrt
