// What stands behind Session, shared by the files of this room.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <vector>

#include "generate/chunk_policy.h"
#include "mossrt/runtime/session.h"

namespace mossrt::runtime {

struct Session::Impl {
  Impl(const Model& m, const SessionOptions& o)
      : model(m),
        options(o),
        policy(o.prefill_chunk,
               m.plan().parameters / std::max<std::int64_t>(m.params().layers, 1)) {}

  const Model& model;
  SessionOptions options;
  ChunkPolicy policy;
  std::int64_t context = 0;
  std::unique_ptr<KvCache> kv;
  std::unique_ptr<Workspace> workspace;
  HookSet hooks;
  std::vector<std::int32_t> tokens;  // the first kv->length() of them are evaluated

  WantLogits logits_kind = WantLogits::kNone;
  std::vector<float> logits;
  std::int64_t logits_rows = 0;
  bool logits_current = false;               // the last row belongs to the last token
  std::map<int, std::vector<float>> hidden;  // by layer
  std::int64_t hidden_rows = 0;
  std::int64_t evaluated = 0;
  std::int64_t call_start = 0;  // tokens in the cache when the running Eval began
  double seconds = 0;

  std::int64_t size() const { return static_cast<std::int64_t>(tokens.size()); }
  std::int64_t pending() const { return size() - kv->length(); }
  void ForgetLogits() {
    logits_kind = WantLogits::kNone;
    logits_rows = 0;
    logits_current = false;
  }
  absl::Status Check(std::span<const std::int32_t> ids, const EvalOptions& eval) const;
  absl::Status GrowWorkspace(std::int64_t rows);
  // The layers of one chunk as tokens of the whole call, for the caller's monitor.
  struct Prefill {
    Monitor* outer;
    std::int64_t before;  // tokens in the cache when the call began
    std::int64_t total;
    std::int64_t first = 0, rows = 0;  // the chunk
    absl::Status status{};

    int Tick(std::uint64_t layer, std::uint64_t layers) {
      const std::uint64_t done = static_cast<std::uint64_t>(first - before) +
                                 static_cast<std::uint64_t>(rows) * layer / layers;
      status = outer->Tick("prefill", done, static_cast<std::uint64_t>(total));
      return status.ok() ? 0 : -1;
    }
  };
  absl::Status EvalChunk(std::span<const std::int32_t> ids, WantLogits want, Monitor* monitor);
  absl::Status EvalUpTo(std::int64_t end, WantLogits want, Monitor* monitor);
  absl::Status EvalFrom(std::int64_t boundary, const EvalOptions& eval, Monitor* monitor);
};

}  // namespace mossrt::runtime
