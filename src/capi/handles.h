// What stands behind the opaque handles. A handle holds references; objects that a later call needs
// are shared, so that handles may be freed in any order.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/json.h"
#include "capi/guard.h"
#include "dialogue/plugin_runner.h"
#include "mossrt/runtime/chat.h"
#include "mossrt/runtime/monitor.h"
#include "mossrt/runtime/options.h"
#include "mossrt/runtime/sampler.h"
#include "mossrt/runtime/session.h"
#include "mossrt/runtime/tokenizer.h"

namespace mossrt::capi {

// One call at a time, or several that only read.
class InUse {
 public:
  bool TryExclusive() {
    int idle = 0;
    return users_.compare_exchange_strong(idle, -1, std::memory_order_acquire);
  }
  bool TryShared() {
    int users = users_.load(std::memory_order_relaxed);
    while (users >= 0) {
      if (users_.compare_exchange_weak(users, users + 1, std::memory_order_acquire)) return true;
    }
    return false;
  }
  void ReleaseExclusive() { users_.store(0, std::memory_order_release); }
  void ReleaseShared() { users_.fetch_sub(1, std::memory_order_release); }

 private:
  std::atomic<int> users_{0};  // -1: one writer
};

// Holds an InUse for a scope; a null one is held by definition.
class Use {
 public:
  enum Mode { kExclusive, kShared };
  Use(InUse* in_use, Mode mode) : in_use_(in_use), mode_(mode) {
    held_ =
        in_use == nullptr || (mode == kExclusive ? in_use->TryExclusive() : in_use->TryShared());
  }
  ~Use() {
    if (in_use_ == nullptr || !held_) return;
    if (mode_ == kExclusive) {
      in_use_->ReleaseExclusive();
    } else {
      in_use_->ReleaseShared();
    }
  }
  Use(const Use&) = delete;
  Use& operator=(const Use&) = delete;
  bool held() const { return held_; }

 private:
  InUse* in_use_;
  Mode mode_;
  bool held_;
};

inline absl::Status Busy(const char* what) {
  return CodedError(
      MOSSRT_E_BUSY,
      runtime::Cat(CallFrame::Current()->function(), ": the ", what,
                   " is in use by another call, on another thread or around this callback; let "
                   "that call end, or use a second ",
                   what));
}

struct MonitorState {
  MonitorState(runtime::Monitor::TickFn tick, std::chrono::milliseconds interval)
      : monitor(std::move(tick), interval) {}
  InUse in_use;
  runtime::Monitor monitor;
};

struct TokenizerState {
  std::unique_ptr<runtime::Tokenizer> tokenizer;
  std::map<std::string, std::vector<std::int32_t>, std::less<>> special;  // ids by role
  std::string path;  // of the checkpoint, absolute
  // meta_instruction.txt, if a packed file holds one; kept since the file may be replaced later.
  absl::StatusOr<std::optional<std::string>> packed_meta = std::optional<std::string>();
};

struct ModelState {
  std::unique_ptr<runtime::Model> model;
  std::shared_ptr<TokenizerState> tokenizer;  // null: tokenizer_status says why
  absl::Status tokenizer_status;
  std::vector<std::string> generation_notes;  // on the checkpoint's settings of generation
  std::string config_json, generation_config_json, info_json;
  std::string path;  // absolute
};

struct SessionState {
  std::shared_ptr<ModelState> model;
  InUse in_use;
  std::map<std::pair<std::string, std::int32_t>, int> hooks;  // ids in the HookSet
  std::unique_ptr<runtime::Session> session;
};

}  // namespace mossrt::capi

struct mossrt_options {
  mossrt::runtime::OptionKind kind;
  mossrt::runtime::Json values = mossrt::runtime::Json::object();
  mutable mossrt::capi::InUse in_use;
};

struct mossrt_monitor {
  std::shared_ptr<mossrt::capi::MonitorState> state;
};

struct mossrt_model {
  std::shared_ptr<mossrt::capi::ModelState> state;
};

struct mossrt_tokenizer {
  std::shared_ptr<mossrt::capi::TokenizerState> state;
};

struct mossrt_detok {
  std::shared_ptr<mossrt::capi::TokenizerState> tokenizer;
  mossrt::runtime::IncrementalDecoder decoder;
  std::string text;
  mossrt::capi::InUse in_use;
};

struct mossrt_session {
  std::shared_ptr<mossrt::capi::SessionState> state;
};

struct mossrt_sampler {
  std::unique_ptr<mossrt::runtime::Sampler> sampler;
  mossrt::runtime::TokenChoice choice;
  std::vector<float> scratch;
  mutable mossrt::capi::InUse in_use;
};

struct mossrt_generation {
  std::shared_ptr<mossrt::capi::SessionState> session;
  std::shared_ptr<mossrt::capi::MonitorState> monitor;
  std::vector<mossrt::runtime::OptionOrigin> origins;
  std::size_t prompt_tokens = 0;
  std::int64_t room = 0;  // most tokens that it makes
  double seconds = 0;
  bool started = false;
  mutable mossrt::capi::InUse in_use;
  mossrt::runtime::GenerationStep step;
  std::unique_ptr<mossrt::runtime::Generation> generation;
};

struct mossrt_chat {
  std::shared_ptr<mossrt::capi::TokenizerState> tokenizer;
  std::unique_ptr<mossrt::runtime::Chat> chat;
  std::vector<std::optional<mossrt::runtime::CommandResult>> results;  // of the open commands
  std::map<std::string, std::shared_ptr<const mossrt::runtime::Plugin>, std::less<>> plugins;
  mossrt::runtime::ChatEvent event;               // the last one given
  std::unique_ptr<mossrt_generation> generation;  // of mossrt_chat_advance, where it is open
  mossrt::capi::InUse driven;                     // by mossrt_chat_advance
  mutable mossrt::capi::InUse in_use;
};
