// Text to ids and back; include mossrt/mossrt.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "mossrt/hpp/library.hpp"

namespace mossrt {

// Ids in, whole code points out. The views last until the next call.
class Detokenizer {
 public:
  std::string_view Push(std::span<const std::int32_t> ids) {
    const char* text = nullptr;
    std::size_t len = 0;
    detail::Check(mossrt_detok_push(handle_.get(), ids.data(), ids.size(), &text, &len));
    return {text, len};
  }
  std::string_view Push(std::int32_t id) { return Push(std::span(&id, 1)); }
  std::string_view Flush() {
    const char* text = nullptr;
    std::size_t len = 0;
    detail::Check(mossrt_detok_flush(handle_.get(), &text, &len));
    return {text, len};
  }

 private:
  friend class Tokenizer;
  explicit Detokenizer(mossrt_detok* d) : handle_(d) {}
  detail::Handle<mossrt_detok, mossrt_detok_free> handle_;
};

class Tokenizer {
 public:
  static Tokenizer Load(const std::string& path, const TokenizerOptions& options = {}) {
    const detail::Options o(options);
    mossrt_tokenizer* t = nullptr;
    detail::Check(mossrt_tokenizer_load(path.c_str(), o.get(), &t));
    return Tokenizer(t);
  }
  std::size_t size() const { return mossrt_tokenizer_size(handle_.get()); }
  std::string_view kind() const { return mossrt_tokenizer_kind(handle_.get()); }

  std::vector<std::int32_t> Encode(std::string_view text, const EncodeOptions& options = {}) const {
    std::int32_t* ids = nullptr;
    std::size_t n = 0;
    detail::Check(mossrt_tokenizer_encode(handle_.get(), text.data(), text.size(),
                                          detail::Flags(options), &ids, &n));
    const detail::Buffer<std::int32_t> owner(ids);
    return std::vector<std::int32_t>(ids, ids + n);
  }
  std::string Decode(std::span<const std::int32_t> ids, bool skip_special_tokens = false) const {
    return DecodeWith(ids, skip_special_tokens ? MOSSRT_DECODE_SKIP_SPECIAL : 0u);
  }
  // Not necessarily whole code points.
  std::string DecodeBytes(std::span<const std::int32_t> ids,
                          bool skip_special_tokens = false) const {
    return DecodeWith(
        ids, MOSSRT_DECODE_RAW_BYTES | (skip_special_tokens ? MOSSRT_DECODE_SKIP_SPECIAL : 0u));
  }
  std::string_view TokenBytes(std::int32_t id) const {
    const char* bytes = nullptr;
    std::size_t len = 0;
    detail::Check(mossrt_tokenizer_token_bytes(handle_.get(), id, &bytes, &len));
    return {bytes, len};
  }
  // -1 if there is none.
  std::int32_t TokenId(std::string_view name) const {
    std::int32_t id = -1;
    detail::Check(mossrt_tokenizer_token_id(handle_.get(), name.data(), name.size(), &id));
    return id;
  }
  // role: "bos", "eos", "unk", "pad" or "all".
  std::span<const std::int32_t> SpecialIds(const std::string& role) const {
    const std::int32_t* ids = nullptr;
    std::size_t n = 0;
    detail::Check(mossrt_tokenizer_special_ids(handle_.get(), role.c_str(), &ids, &n));
    return {ids, n};
  }
  Detokenizer Decoder(bool skip_special_tokens = false) const {
    mossrt_detok* d = nullptr;
    detail::Check(mossrt_detok_create(handle_.get(),
                                      skip_special_tokens ? MOSSRT_DECODE_SKIP_SPECIAL : 0u, &d));
    return Detokenizer(d);
  }

 private:
  friend class Model;
  friend class Chat;
  explicit Tokenizer(mossrt_tokenizer* t) : handle_(t) {}
  std::string DecodeWith(std::span<const std::int32_t> ids, std::uint32_t flags) const {
    return detail::TakeText([&](char** text, std::size_t* len) {
      return mossrt_tokenizer_decode(handle_.get(), ids.data(), ids.size(), flags, text, len);
    });
  }
  detail::Handle<mossrt_tokenizer, mossrt_tokenizer_free> handle_;
};

}  // namespace mossrt
