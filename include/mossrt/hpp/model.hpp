// A loaded checkpoint; include mossrt/mossrt.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mossrt/hpp/library.hpp"
#include "mossrt/hpp/session.hpp"
#include "mossrt/hpp/tokenizer.hpp"

namespace mossrt {

struct Tensor {
  std::vector<std::int64_t> shape;
  std::vector<float> values;  // row-major
};

class Model {
 public:
  static Model Load(const std::string& path, const LoadOptions& options = {},
                    Monitor* monitor = nullptr) {
    const detail::Options o(options);
    mossrt_model* m = nullptr;
    detail::Check(mossrt_model_load(path.c_str(), o.get(), Monitor::Get(monitor), &m));
    return Model(m);
  }
  // JSON: what Load would do, from headers only.
  static std::string Inspect(const std::string& path, const LoadOptions& options = {}) {
    const detail::Options o(options);
    return detail::TakeText([&](char** json, std::size_t* len) {
      return mossrt_model_inspect(path.c_str(), o.get(), json, len);
    });
  }
  // One file that Load reads faster than the checkpoint; appears whole or not at all.
  void SavePacked(const std::string& path, Monitor* monitor = nullptr) const {
    detail::Check(mossrt_model_save_packed(handle_.get(), path.c_str(), Monitor::Get(monitor)));
  }
  std::string_view Info() const {  // JSON
    const char* json = nullptr;
    std::size_t len = 0;
    detail::Check(mossrt_model_info(handle_.get(), &json, &len));
    return {json, len};
  }
  std::int64_t GetInt(const std::string& key) const {
    std::int64_t value = 0;
    detail::Check(mossrt_model_get_int(handle_.get(), key.c_str(), &value));
    return value;
  }
  std::vector<std::int64_t> TensorShape(const std::string& name) const {
    std::size_t rank = 0;
    detail::Check(mossrt_model_tensor_shape(handle_.get(), name.c_str(), nullptr, 0, &rank));
    std::vector<std::int64_t> shape(rank);
    detail::Check(
        mossrt_model_tensor_shape(handle_.get(), name.c_str(), shape.data(), rank, &rank));
    return shape;
  }
  Tensor ReadTensor(const std::string& name) const {
    Tensor tensor{TensorShape(name), {}};
    std::size_t count = 1;
    for (const std::int64_t n : tensor.shape) count *= static_cast<std::size_t>(n);
    tensor.values.resize(count);
    ReadTensor(name, tensor.values);
    return tensor;
  }
  std::size_t ReadTensor(const std::string& name, std::span<float> out) const {
    std::size_t count = 0;
    detail::Check(
        mossrt_model_tensor_read(handle_.get(), name.c_str(), out.data(), out.size(), &count));
    return count;
  }
  // mossrt::Tokenizer: inside the class its own name would hide the type.
  mossrt::Tokenizer Tokenizer() const {
    mossrt_tokenizer* t = nullptr;
    detail::Check(mossrt_model_tokenizer(handle_.get(), &t));
    return mossrt::Tokenizer(t);
  }
  // JSON: key, value and origin of every option that Generate would use.
  std::string GenerationOptions(const GenerateOptions& options = {}) const {
    const detail::Options o(options);
    return detail::TakeText([&](char** json, std::size_t* len) {
      return mossrt_model_generation_options(handle_.get(), o.get(), json, len);
    });
  }
  Session CreateSession(const SessionOptions& options = {}) const {
    const detail::Options o(options);
    mossrt_session* s = nullptr;
    detail::Check(mossrt_session_create(handle_.get(), o.get(), &s));
    return Session(s);
  }

  // What Session::Save wrote, or SaveBytes gave, with this model loaded from the same checkpoint.
  Session RestoreSession(const std::string& path, Monitor* monitor = nullptr) const {
    mossrt_session* s = nullptr;
    detail::Check(mossrt_session_restore_monitored(handle_.get(), path.c_str(), nullptr, 0,
                                                   Monitor::Get(monitor), &s));
    return Session(s);
  }
  Session RestoreSession(std::span<const std::byte> bytes, Monitor* monitor = nullptr) const {
    // No bytes have no address, but are no saved session either.
    static constexpr std::byte kNothing{};
    mossrt_session* s = nullptr;
    detail::Check(mossrt_session_restore_monitored(handle_.get(), nullptr,
                                                   bytes.empty() ? &kNothing : bytes.data(),
                                                   bytes.size(), Monitor::Get(monitor), &s));
    return Session(s);
  }

  // A session of its own, prompt and all: for (const auto& chunk : model.Generate("...")) ...
  Generation Generate(std::string_view prompt, const GenerateOptions& options = {},
                      const EncodeOptions& encode = {}, Monitor* monitor = nullptr) const {
    return Generate(Tokenizer().Encode(prompt, encode), options, monitor);
  }
  Generation Generate(std::span<const std::int32_t> prompt, const GenerateOptions& options = {},
                      Monitor* monitor = nullptr) const {
    Session session = CreateSession();
    session.Eval(prompt, {}, monitor);
    return session.Generate(options, monitor);
  }

 private:
  explicit Model(mossrt_model* m) : handle_(m) {}
  detail::Handle<mossrt_model, mossrt_model_free> handle_;
};

}  // namespace mossrt
