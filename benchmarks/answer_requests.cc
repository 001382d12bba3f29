#include "answer_requests.h"

#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::bench {
namespace {

using namespace mossrt::runtime;  // NOLINT
using nlohmann::json;

constexpr int kPrompt = 8;
constexpr int kMostRows = 4096;

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::uint64_t PeakBytes() {
  rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

std::vector<std::int32_t> SomeIds(int count, std::int64_t vocab) {
  std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<std::int32_t>((i * 7919 + 13) % static_cast<std::size_t>(vocab));
  return ids;
}

KvShape CacheShape(const Model& model) {
  const HyperParams& p = model.params();
  return {p.layers, p.kv_heads, p.head_dim, model.plan().kv_dtype};
}

// Sequences that grow by the same tokens.
class Sequences {
 public:
  Sequences(const Model& model, int count) : model_(model) {
    for (int i = 0; i < count; ++i) {
      caches_.push_back(std::make_unique<KvCache>(CacheShape(model), model.params().max_positions));
    }
  }

  // The same tokens after each of the sequences, in one pass.
  absl::Status Append(std::span<const std::int32_t> tokens, Workspace& workspace) {
    inputs_.clear();
    for (const auto& cache : caches_) inputs_.push_back({.kv = cache.get(), .tokens = tokens});
    return model_.Forward(inputs_, {}, workspace).status();
  }

 private:
  const Model& model_;
  std::vector<std::unique_ptr<KvCache>> caches_;
  std::vector<SequenceInput> inputs_;
};

// A workspace of at least so many rows, kept from request to request as a session keeps its own and
// llama.cpp's context its buffers.
absl::StatusOr<Workspace*> WorkspaceOf(const Model& model, std::int64_t rows,
                                       std::unique_ptr<Workspace>* kept) {
  if (*kept == nullptr || (*kept)->max_rows() < rows) {
    auto created = Workspace::Create(model, rows);
    if (!created.ok()) return created.status();
    *kept = *std::move(created);
  }
  return kept->get();
}

absl::StatusOr<double> Prefill(const Model& model, int tokens, std::unique_ptr<Workspace>* kept) {
  auto workspace = WorkspaceOf(model, std::min<std::int64_t>(tokens, kPromptRows), kept);
  if (!workspace.ok()) return workspace.status();
  const auto ids = SomeIds(tokens, model.params().vocab);
  KvCache kv(CacheShape(model), model.params().max_positions);
  const double start = Now();
  if (absl::Status s = ForwardInPasses(model, ids, &kv, **workspace); !s.ok()) return s;
  return Now() - start;
}

absl::StatusOr<double> WholeAnswer(const Model& model, int prompt, int count,
                                   std::unique_ptr<Workspace>* kept) {
  auto workspace = WorkspaceOf(model, std::min<std::int64_t>(prompt, kPromptRows), kept);
  if (!workspace.ok()) return workspace.status();
  const auto ids = SomeIds(prompt + count, model.params().vocab);
  KvCache kv(CacheShape(model), model.params().max_positions);
  const double start = Now();
  std::span<const std::int32_t> part = std::span(ids).first(static_cast<std::size_t>(prompt));
  for (int i = 0; i < count; ++i) {  // the last token is made, not read
    if (absl::Status s = ForwardInPasses(model, part, &kv, **workspace); !s.ok()) return s;
    part = std::span(ids).subspan(static_cast<std::size_t>(prompt + i), 1);
  }
  return Now() - start;
}

absl::StatusOr<double> Decode(const Model& model, int count, int steps,
                              std::unique_ptr<Workspace>* kept) {
  auto workspace = WorkspaceOf(model, count * kPrompt, kept);
  if (!workspace.ok()) return workspace.status();
  const auto ids = SomeIds(kPrompt + steps, model.params().vocab);
  Sequences sequences(model, count);
  if (absl::Status s = sequences.Append(std::span(ids).first(kPrompt), **workspace); !s.ok())
    return s;
  const double start = Now();
  for (int i = 0; i < steps; ++i) {
    const auto one = std::span(ids).subspan(static_cast<std::size_t>(kPrompt + i), 1);
    if (absl::Status s = sequences.Append(one, **workspace); !s.ok()) return s;
  }
  return Now() - start;
}

absl::StatusOr<double> Answer(const Model& model, const char* request,
                              std::unique_ptr<Workspace>* kept) {
  std::array<char, 16> what = {};
  int first = 0, second = 0;
  const int read = std::sscanf(request, "%15s %d %d", what.data(), &first, &second);
  const std::string name = what.data();
  const auto sane = [](int n) { return n > 0 && n <= kMostRows; };
  if (name == "prefill" && read == 2 && sane(first)) return Prefill(model, first, kept);
  if (name == "decode" && read == 2 && sane(first)) return Decode(model, 1, first, kept);
  if (name == "answer" && read == 3 && sane(first) && sane(second))
    return WholeAnswer(model, first, second, kept);
  if (name == "batch" && read == 3 && sane(first) && first <= kMostRows / kPrompt && sane(second))
    return Decode(model, first, second, kept);
  return absl::InvalidArgumentError(
      "a request must be 'prefill N', 'decode N', 'answer P N' or 'batch B N' with numbers from 1 "
      "to 4096 (B to 512), found '" +
      std::string(request) + "'");
}

void Print(const json& line) {
  std::puts(line.dump(-1, ' ', false, json::error_handler_t::replace).c_str());
  std::fflush(stdout);
}

}  // namespace

absl::Status ForwardInPasses(const Model& model, std::span<const std::int32_t> tokens, KvCache* kv,
                             Workspace& workspace) {
  while (!tokens.empty()) {
    const std::size_t rows = std::min<std::size_t>(tokens.size(), kPromptRows);
    const auto want =
        rows < tokens.size() ? SequenceInput::Rows::kNone : SequenceInput::Rows::kLast;
    const SequenceInput input{.kv = kv, .tokens = tokens.first(rows), .want = want};
    if (absl::Status s = model.Forward({&input, 1}, {}, workspace).status(); !s.ok()) return s;
    tokens = tokens.subspan(rows);
  }
  return absl::OkStatus();
}

int AnswerRequests(const Model& model, double load_seconds, std::FILE* requests) {
  Print({{"load_s", load_seconds},
         {"peak_rss", PeakBytes()},
         {"weights_bytes", model.plan().need.weights},
         {"threads", model.team().size()},
         {"numerics", model.numerics()}});
  std::unique_ptr<Workspace> kept;
  std::array<char, 128> line = {};
  while (std::fgets(line.data(), line.size(), requests) != nullptr) {
    std::string request = line.data();
    while (!request.empty() && request.back() == '\n') request.pop_back();
    const auto seconds = Answer(model, request.c_str(), &kept);
    if (seconds.ok()) {
      Print({{"seconds", *seconds}, {"peak_rss", PeakBytes()}});
    } else {
      Print({{"error", std::string(seconds.status().message())}});
    }
  }
  return 0;
}

}  // namespace mossrt::bench
