// Errors, options, log and monitor of the C++ interface; include mossrt/mossrt.hpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mossrt/mossrt.h"

namespace mossrt {

enum class Code : std::int32_t {
  kInvalidArgument = MOSSRT_E_INVALID_ARGUMENT,
  kNotFound = MOSSRT_E_NOT_FOUND,
  kIo = MOSSRT_E_IO,
  kFormat = MOSSRT_E_FORMAT,
  kUnsupported = MOSSRT_E_UNSUPPORTED,
  kOutOfMemory = MOSSRT_E_OUT_OF_MEMORY,
  kContextFull = MOSSRT_E_CONTEXT_FULL,
  kBusy = MOSSRT_E_BUSY,
  kCancelled = MOSSRT_E_CANCELLED,
  kCallback = MOSSRT_E_CALLBACK,
  kVersion = MOSSRT_E_VERSION,
  kInternal = MOSSRT_E_INTERNAL,
  kState = MOSSRT_E_STATE,
};

class Error : public std::runtime_error {
 public:
  Error(Code code, const std::string& message, int callback_code = 0)
      : std::runtime_error(message), code_(code), callback_code_(callback_code) {}
  Code code() const noexcept { return code_; }
  // The negative number of a callback that ended the call (kCallback).
  int callback_code() const noexcept { return callback_code_; }

 private:
  Code code_;
  int callback_code_;
};

enum class Finish : std::int32_t {
  kNone = MOSSRT_FINISH_NONE,
  kStopToken = MOSSRT_FINISH_STOP_TOKEN,
  kStopString = MOSSRT_FINISH_STOP_STRING,
  kLength = MOSSRT_FINISH_LENGTH,
  kContextFull = MOSSRT_FINISH_CONTEXT_FULL,
  kCancelled = MOSSRT_FINISH_CANCELLED,
};

enum class OptionKind : std::int32_t {
  kLoad = MOSSRT_OPTIONS_LOAD,
  kSession = MOSSRT_OPTIONS_SESSION,
  kGenerate = MOSSRT_OPTIONS_GENERATE,
  kEval = MOSSRT_OPTIONS_EVAL,
  kTokenizer = MOSSRT_OPTIONS_TOKENIZER,
  kChat = MOSSRT_OPTIONS_CHAT,
};

enum class LogLevel : std::int32_t {
  kOff = MOSSRT_LOG_OFF,
  kError = MOSSRT_LOG_ERROR,
  kWarn = MOSSRT_LOG_WARN,
  kInfo = MOSSRT_LOG_INFO,
  kDebug = MOSSRT_LOG_DEBUG,
};

// Row-major float32; row i starts at data + i * stride.
template <typename T>
struct BasicMatrix {
  T* data = nullptr;
  std::size_t rows = 0, cols = 0, stride = 0;
  std::span<T> Row(std::size_t i) const { return {data + i * stride, cols}; }
};
using Matrix = BasicMatrix<float>;
using ConstMatrix = BasicMatrix<const float>;

// Options: what is not set takes its default (see DescribeOptions). `more_json` is a JSON object of
// further keys, merged last.
struct LoadOptions {
  std::optional<std::string> dtype = {}, backend = {}, architecture = {};
  std::optional<std::int64_t> threads = {};
  std::optional<bool> verify_crc = {}, huge_pages = {}, mmap = {};
  std::optional<std::uint64_t> memory_limit = {};
  std::optional<std::vector<std::string>> overrides = {};  // "pattern=format"
  std::string more_json = {};
};
struct TokenizerOptions {
  std::optional<std::string> added_tokens = {};  // "lossless" | "hf-4.25"
  std::string more_json = {};
};
struct SessionOptions {
  std::optional<std::string> kv_dtype = {};
  std::optional<std::int64_t> context = {}, prefill_chunk = {};
  std::string more_json = {};
};
struct EvalOptions {
  std::optional<std::string> logits = {};  // "none" | "last" | "all"
  std::optional<std::vector<std::int32_t>> hidden = {};
  std::string more_json = {};
};
struct GenerateOptions {
  std::optional<std::int64_t> max_new_tokens = {}, min_new_tokens = {};
  std::optional<bool> do_sample = {};
  std::optional<double> temperature = {};
  std::optional<std::int64_t> top_k = {};
  std::optional<double> top_p = {}, min_p = {}, repetition_penalty = {};
  std::optional<std::uint64_t> seed = {}, sample_index = {};
  std::optional<std::int64_t> top_logprobs = {};
  std::optional<std::vector<std::int32_t>> eos_token_id = {};
  std::optional<std::vector<std::string>> stop = {};
  std::optional<bool> mask_undefined = {}, skip_special_tokens = {};
  std::string more_json = {};
};
struct ChatOptions {
  std::optional<std::string> profile = {}, profile_json = {};
  std::optional<std::vector<std::string>> plugins = {};
  std::optional<std::string> meta = {}, meta_instruction = {}, date = {};
  std::optional<std::int64_t> context = {}, reserve = {};
  std::optional<std::string> on_full = {};   // "cut" | "error"
  std::optional<std::string> commands = {};  // "tolerant" | "strict" | "constrained"
  std::optional<std::int64_t> max_commands = {};
  std::string more_json = {};
};
struct EncodeOptions {
  bool add_special_tokens = true;
  bool parse_special = false;
  bool replace_invalid = false;
};

namespace detail {

// What a callback threw. C frames lie between it and the call that must throw it on; callbacks run
// on the calling thread only.
inline thread_local std::exception_ptr pending_exception;

template <typename F>
std::int32_t Protect(F&& f) noexcept {
  try {
    return f();
  } catch (...) {
    pending_exception = std::current_exception();
    return -1;
  }
}

inline void Check(mossrt_error* e) {
  if (e == nullptr) return;
  const std::unique_ptr<mossrt_error, decltype(&mossrt_error_free)> owner(e, mossrt_error_free);
  const auto code = static_cast<Code>(mossrt_error_code(e));
  if (auto thrown = std::exchange(pending_exception, nullptr); thrown && code == Code::kCallback) {
    std::rethrow_exception(thrown);
  }
  throw Error(code, mossrt_error_message(e), mossrt_error_callback_code(e));
}

// Every object's creation comes through here once.
inline void CheckAbi() {
  static const std::uint32_t found = mossrt_abi_version();
  constexpr std::uint32_t kMajor = MOSSRT_ABI_MAJOR, kMinor = MOSSRT_ABI_MINOR;
  const std::uint32_t major = found >> 16, minor = found & 0xFFFFu;
  if (major != kMajor || (kMajor == 0 ? minor != kMinor : minor < kMinor)) {
    throw Error(Code::kVersion, "this program was built for version " + std::to_string(kMajor) +
                                    "." + std::to_string(kMinor) +
                                    " of mossrt's C interface, the library found has " +
                                    std::to_string(major) + "." + std::to_string(minor) +
                                    ": build the program anew or install the version it needs");
  }
}

template <auto kFree>
struct Deleter {
  template <typename T>
  void operator()(T* p) const {
    kFree(p);
  }
};
template <typename T, auto kFree>
using Handle = std::unique_ptr<T, Deleter<kFree>>;
template <typename T>
using Buffer = std::unique_ptr<T, Deleter<mossrt_free>>;

// f(char**, size_t*) -> mossrt_error*, its text as a string.
template <typename F>
std::string TakeText(F&& f) {
  char* text = nullptr;
  std::size_t len = 0;
  Check(f(&text, &len));
  const Buffer<char> owner(text);
  return std::string(text, len);
}

inline void AppendJson(const std::string& text, std::string* out) {
  constexpr char kHex[] = "0123456789abcdef";
  out->push_back('"');
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out->push_back('\\');
      out->push_back(c);
    } else if (u < 0x20) {
      out->append("\\u00").append(1, kHex[u >> 4]).append(1, kHex[u & 15]);
    } else {
      out->push_back(c);
    }
  }
  out->push_back('"');
}
inline void AppendJson(std::int32_t number, std::string* out) {
  out->append(std::to_string(number));
}

class Options {
 public:
  explicit Options(OptionKind kind) {
    CheckAbi();
    mossrt_options* o = nullptr;
    Check(mossrt_options_create(static_cast<std::int32_t>(kind), &o));
    handle_.reset(o);
  }
  explicit Options(const LoadOptions& o) : Options(OptionKind::kLoad) {
    Set("dtype", o.dtype).Set("backend", o.backend).Set("architecture", o.architecture);
    Set("threads", o.threads).Set("verify_crc", o.verify_crc).Set("huge_pages", o.huge_pages);
    Set("mmap", o.mmap).Set("memory_limit", o.memory_limit).Set("overrides", o.overrides);
    Merge(o.more_json);
  }
  explicit Options(const TokenizerOptions& o) : Options(OptionKind::kTokenizer) {
    Set("added_tokens", o.added_tokens).Merge(o.more_json);
  }
  explicit Options(const SessionOptions& o) : Options(OptionKind::kSession) {
    Set("kv_dtype", o.kv_dtype).Set("context", o.context).Set("prefill_chunk", o.prefill_chunk);
    Merge(o.more_json);
  }
  explicit Options(const EvalOptions& o) : Options(OptionKind::kEval) {
    Set("logits", o.logits).Set("hidden", o.hidden).Merge(o.more_json);
  }
  explicit Options(const GenerateOptions& o) : Options(OptionKind::kGenerate) {
    Set("max_new_tokens", o.max_new_tokens).Set("min_new_tokens", o.min_new_tokens);
    Set("do_sample", o.do_sample).Set("temperature", o.temperature).Set("top_k", o.top_k);
    Set("top_p", o.top_p).Set("min_p", o.min_p).Set("repetition_penalty", o.repetition_penalty);
    Set("seed", o.seed).Set("sample_index", o.sample_index).Set("top_logprobs", o.top_logprobs);
    Set("eos_token_id", o.eos_token_id).Set("stop", o.stop);
    Set("mask_undefined", o.mask_undefined).Set("skip_special_tokens", o.skip_special_tokens);
    Merge(o.more_json);
  }
  explicit Options(const ChatOptions& o) : Options(OptionKind::kChat) {
    Set("profile", o.profile).Set("profile_json", o.profile_json).Set("plugins", o.plugins);
    Set("meta", o.meta).Set("meta_instruction", o.meta_instruction).Set("date", o.date);
    Set("context", o.context).Set("reserve", o.reserve).Set("on_full", o.on_full);
    Set("commands", o.commands).Set("max_commands", o.max_commands).Merge(o.more_json);
  }
  const mossrt_options* get() const { return handle_.get(); }

 private:
  void Put(const char* key, bool v) { Check(mossrt_options_set_int(handle_.get(), key, v)); }
  void Put(const char* key, std::int64_t v) {
    Check(mossrt_options_set_int(handle_.get(), key, v));
  }
  void Put(const char* key, double v) { Check(mossrt_options_set_float(handle_.get(), key, v)); }
  void Put(const char* key, const std::string& v) {
    Check(mossrt_options_set_str(handle_.get(), key, v.data(), v.size()));
  }
  void Put(const char* key, std::uint64_t v) {  // may lie beyond int64
    Merge("{\"" + std::string(key) + "\":" + std::to_string(v) + "}");
  }
  template <typename T>
  void Put(const char* key, const std::vector<T>& list) {
    std::string json = "{\"" + std::string(key) + "\":[";
    for (const T& item : list) {
      if (json.back() != '[') json.push_back(',');
      AppendJson(item, &json);
    }
    Merge(json + "]}");
  }
  template <typename T>
  Options& Set(const char* key, const std::optional<T>& value) {
    if (value) Put(key, *value);
    return *this;
  }
  void Merge(const std::string& json) {
    if (!json.empty()) Check(mossrt_options_merge_json(handle_.get(), json.data(), json.size()));
  }

  Handle<mossrt_options, mossrt_options_free> handle_;
};

inline std::uint32_t Flags(const EncodeOptions& o) {
  return (o.add_special_tokens ? MOSSRT_ENCODE_ADD_SPECIAL : 0u) |
         (o.parse_special ? MOSSRT_ENCODE_PARSE_SPECIAL : 0u) |
         (o.replace_invalid ? MOSSRT_ENCODE_REPLACE_INVALID : 0u);
}

}  // namespace detail

inline std::string Version() { return mossrt_version(); }
inline std::string SystemInfo() {  // JSON
  detail::CheckAbi();
  return detail::TakeText(mossrt_system_info);
}
inline std::string DescribeOptions(OptionKind kind) {  // JSON
  detail::CheckAbi();
  const char* json = nullptr;
  std::size_t len = 0;
  detail::Check(mossrt_options_describe(static_cast<std::int32_t>(kind), &json, &len));
  return std::string(json, len);
}

using LogFunction = std::function<void(LogLevel level, std::string_view text)>;
// One sink for the process; an empty function silences. It is called on any thread, one at a time.
inline void SetLog(LogFunction function, LogLevel level = LogLevel::kWarn) {
  detail::CheckAbi();
  // Never destroyed: messages may still come while the process ends.
  static auto& current = *new std::unique_ptr<LogFunction>;
  auto next = function ? std::make_unique<LogFunction>(std::move(function)) : nullptr;
  const mossrt_log_fn sink = [](void* user, std::int32_t l, const char* text, std::size_t len) {
    try {
      (*static_cast<LogFunction*>(user))(static_cast<LogLevel>(l), std::string_view(text, len));
    } catch (...) {  // there is no call that could report it
    }
  };
  detail::Check(
      mossrt_set_log(next ? sink : nullptr, next.get(), static_cast<std::int32_t>(level)));
  current = std::move(next);
}

// Progress and cancellation of long calls. The function returns a negative number, or throws, to
// end the call: the call throws Error (kCallback), or what the function threw.
class Monitor {
 public:
  using Function =
      std::function<int(std::string_view stage, std::uint64_t done, std::uint64_t total)>;

  explicit Monitor(Function function = nullptr, int min_interval_ms = 50)
      : state_(std::make_shared<State>()) {
    detail::CheckAbi();
    state_->function = std::move(function);
    const mossrt_tick_fn tick = [](void* user, const char* stage, std::uint64_t done,
                                   std::uint64_t total) {
      return detail::Protect(
          [&] { return static_cast<State*>(user)->function(stage, done, total); });
    };
    mossrt_monitor* m = nullptr;
    detail::Check(mossrt_monitor_create(state_->function ? tick : nullptr, state_.get(),
                                        min_interval_ms, &m));
    state_->handle.reset(m);
  }
  Monitor(Monitor&&) noexcept = default;
  Monitor& operator=(Monitor&&) noexcept = default;

  // From any thread or a signal handler.
  void Cancel() noexcept { mossrt_monitor_cancel(state_ ? state_->handle.get() : nullptr); }

 private:
  friend class Model;
  friend class Session;
  friend class Chat;
  friend class Generation;
  struct State {
    Function function;
    detail::Handle<mossrt_monitor, mossrt_monitor_free> handle;
  };
  static mossrt_monitor* Get(Monitor* m) {
    return m == nullptr || m->state_ == nullptr ? nullptr : m->state_->handle.get();
  }
  std::shared_ptr<State> state_;
};

}  // namespace mossrt
