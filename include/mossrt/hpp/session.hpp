// Sampler, session and generation; include mossrt/mossrt.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mossrt/hpp/library.hpp"

namespace mossrt {

// Changes logits [vocab] in place; ids are all tokens so far. What it throws, the call throws.
using LogitsProcessor =
    std::function<void(std::span<const std::int32_t> ids, std::span<float> logits)>;

namespace detail {
inline std::int32_t CallProcessor(void* user, const std::int32_t* ids, std::size_t n_ids,
                                  float* logits, std::size_t n_logits) {
  return Protect([&] {
    (*static_cast<LogitsProcessor*>(user))(std::span(ids, n_ids), std::span(logits, n_logits));
    return 0;
  });
}
using Processors = std::vector<std::unique_ptr<LogitsProcessor>>;
}  // namespace detail

struct Logprobs {
  float logprob = 0;                  // natural logarithm
  std::vector<std::int32_t> top_ids;  // option top_logprobs, best first
  std::vector<float> top_logprobs;
};

class Sampler {
 public:
  explicit Sampler(const GenerateOptions& options = {}) {
    const detail::Options o(options);
    mossrt_sampler* p = nullptr;
    detail::Check(mossrt_sampler_create(o.get(), &p));
    handle_.reset(p);
  }
  void AddProcessor(LogitsProcessor processor) {
    processors_.push_back(std::make_unique<LogitsProcessor>(std::move(processor)));
    detail::Check(mossrt_sampler_add_processor(handle_.get(), detail::CallProcessor,
                                               processors_.back().get()));
  }
  std::int32_t Sample(std::span<const std::int32_t> ids, std::span<const float> logits) {
    std::int32_t token = -1;
    detail::Check(mossrt_sampler_sample(handle_.get(), ids.data(), ids.size(), logits.data(),
                                        logits.size(), &token));
    return token;
  }
  Logprobs LastLogprobs() const {
    Logprobs out;
    const std::int32_t* ids = nullptr;
    const float* values = nullptr;
    std::size_t n = 0;
    detail::Check(mossrt_sampler_logprobs(handle_.get(), &out.logprob, &ids, &values, &n));
    out.top_ids.assign(ids, ids + n);
    out.top_logprobs.assign(values, values + n);
    return out;
  }

 private:
  detail::Processors processors_;
  detail::Handle<mossrt_sampler, mossrt_sampler_free> handle_;
};

struct Chunk {
  std::string text;               // whole code points, maybe empty
  std::int32_t token = -1;        // -1: generation ended without one
  Logprobs logprobs;              // of the token
  Finish finish = Finish::kNone;  // set in the last chunk
};

struct HookCall {
  std::string_view name;
  int layer;                    // -1 where the point has none
  std::int64_t first_position;  // of row 0 in its sequence
  Matrix values;                // what is written here goes on
};
using Hook = std::function<void(const HookCall&)>;

namespace detail {
struct SessionState {
  std::map<std::pair<std::string, std::int32_t>, std::unique_ptr<Hook>> hooks;
  Handle<mossrt_session, mossrt_session_free> handle;
};
}  // namespace detail

// One generation, token by token: a range of Chunk, or Next() by hand.
class Generation {
 public:
  // The next chunk; none after the one that carries a finish value.
  std::optional<Chunk> Next() {
    if (finished_) return std::nullopt;
    Chunk chunk;
    const char* text = nullptr;
    std::size_t len = 0;
    std::int32_t finish = MOSSRT_FINISH_NONE;
    detail::Check(mossrt_generation_next(handle_.get(), &chunk.token, &text, &len, &finish));
    chunk.text.assign(text, len);
    chunk.finish = static_cast<Finish>(finish);
    finished_ = finish != MOSSRT_FINISH_NONE;
    if (chunk.token >= 0) {
      const std::int32_t* ids = nullptr;
      const float* values = nullptr;
      std::size_t n = 0;
      detail::Check(
          mossrt_generation_logprobs(handle_.get(), &chunk.logprobs.logprob, &ids, &values, &n));
      chunk.logprobs.top_ids.assign(ids, ids + n);
      chunk.logprobs.top_logprobs.assign(values, values + n);
    }
    return chunk;
  }
  // Before the first Next().
  void AddProcessor(LogitsProcessor processor) {
    processors_.push_back(std::make_unique<LogitsProcessor>(std::move(processor)));
    detail::Check(mossrt_generation_add_processor(handle_.get(), detail::CallProcessor,
                                                  processors_.back().get()));
  }
  std::string Info() const {  // JSON
    return detail::TakeText([&](char** json, std::size_t* len) {
      return mossrt_generation_info(handle_.get(), json, len);
    });
  }

  class Iterator {
   public:
    using value_type = Chunk;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;
    Iterator() = default;
    explicit Iterator(Generation* generation) : generation_(generation) { ++*this; }
    const Chunk& operator*() const { return *chunk_; }
    const Chunk* operator->() const { return &*chunk_; }
    Iterator& operator++() {
      chunk_ = generation_->Next();
      return *this;
    }
    void operator++(int) { ++*this; }
    friend bool operator==(const Iterator& it, std::default_sentinel_t) { return !it.chunk_; }

   private:
    Generation* generation_ = nullptr;
    std::optional<Chunk> chunk_;
  };
  Iterator begin() { return Iterator(this); }
  std::default_sentinel_t end() const { return {}; }

 private:
  friend class Chat;
  friend class Session;
  Generation(std::shared_ptr<detail::SessionState> session, std::shared_ptr<Monitor::State> monitor,
             mossrt_generation* g)
      : session_(std::move(session)), monitor_(std::move(monitor)), handle_(g) {}
  // Callbacks' functions outlive the handle that calls them.
  std::shared_ptr<detail::SessionState> session_;
  std::shared_ptr<Monitor::State> monitor_;
  detail::Processors processors_;
  detail::Handle<mossrt_generation, mossrt_generation_free> handle_;
  bool finished_ = false;
};

class Session {
 public:
  Session(Session&&) noexcept = default;
  Session& operator=(Session&&) noexcept = default;

  void Eval(std::span<const std::int32_t> ids, const EvalOptions& options = {},
            Monitor* monitor = nullptr) {
    const detail::Options o(options);
    detail::Check(
        mossrt_session_eval(get(), ids.data(), ids.size(), o.get(), Monitor::Get(monitor)));
  }
  ConstMatrix Logits() const {
    ConstMatrix m;
    detail::Check(mossrt_session_logits(get(), &m.data, &m.rows, &m.cols, &m.stride));
    return m;
  }
  ConstMatrix Hidden(std::int32_t layer) const {
    ConstMatrix m;
    detail::Check(mossrt_session_hidden(get(), layer, &m.data, &m.rows, &m.cols, &m.stride));
    return m;
  }
  std::span<const std::int32_t> Tokens() const {
    const std::int32_t* ids = nullptr;
    std::size_t n = 0;
    detail::Check(mossrt_session_tokens(get(), &ids, &n));
    return {ids, n};
  }
  void Rewind(std::size_t tokens) { detail::Check(mossrt_session_rewind(get(), tokens)); }
  Session Fork() const {
    mossrt_session* s = nullptr;
    detail::Check(mossrt_session_fork(get(), &s));
    return Session(s);
  }
  // One file, which appears whole or not at all and from which Model::RestoreSession goes on.
  void Save(const std::string& path, Monitor* monitor = nullptr) const {
    detail::Check(mossrt_session_save_monitored(get(), path.c_str(), nullptr, nullptr,
                                                Monitor::Get(monitor)));
  }
  std::vector<std::byte> SaveBytes(Monitor* monitor = nullptr) const {
    void* bytes = nullptr;
    std::size_t len = 0;
    detail::Check(
        mossrt_session_save_monitored(get(), nullptr, &bytes, &len, Monitor::Get(monitor)));
    const detail::Buffer<std::byte> owner(static_cast<std::byte*>(bytes));
    return std::vector<std::byte>(owner.get(), owner.get() + len);
  }
  std::string Info() const {  // JSON
    return detail::TakeText(
        [&](char** json, std::size_t* len) { return mossrt_session_info(get(), json, len); });
  }

  // layer -1: all layers, or a point that has none. What the hook throws, the call throws.
  void SetHook(const std::string& name, std::int32_t layer, Hook hook) {
    if (!hook) return RemoveHook(name, layer);
    auto held = std::make_unique<Hook>(std::move(hook));
    const mossrt_hook_fn call = [](void* user, const char* point, std::int32_t l,
                                   std::int64_t first, float* values, std::size_t rows,
                                   std::size_t cols, std::size_t stride) {
      return detail::Protect([&] {
        (*static_cast<Hook*>(user))(HookCall{point, l, first, Matrix{values, rows, cols, stride}});
        return 0;
      });
    };
    detail::Check(mossrt_session_set_hook(get(), name.c_str(), layer, call, held.get()));
    state_->hooks[{name, layer}] = std::move(held);
  }
  void RemoveHook(const std::string& name, std::int32_t layer) {
    detail::Check(mossrt_session_set_hook(get(), name.c_str(), layer, nullptr, nullptr));
    state_->hooks.erase({name, layer});
  }

  // Goes on after the session's tokens.
  Generation Generate(const GenerateOptions& options = {}, Monitor* monitor = nullptr) {
    const detail::Options o(options);
    mossrt_generation* g = nullptr;
    detail::Check(mossrt_generation_start(get(), o.get(), Monitor::Get(monitor), &g));
    return Generation(state_, monitor == nullptr ? nullptr : monitor->state_, g);
  }

 private:
  friend class Model;
  friend class Chat;
  explicit Session(mossrt_session* s) : state_(std::make_shared<detail::SessionState>()) {
    state_->handle.reset(s);
  }
  mossrt_session* get() const { return state_ ? state_->handle.get() : nullptr; }
  std::shared_ptr<detail::SessionState> state_;
};

}  // namespace mossrt
