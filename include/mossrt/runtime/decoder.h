// The model in memory and one pass over it. Owned by src/models.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mossrt/runtime/arch_spec.h"
#include "mossrt/runtime/checkpoint.h"
#include "mossrt/runtime/gemm_backend.h"
#include "mossrt/runtime/hooks.h"
#include "mossrt/runtime/kv_cache.h"
#include "mossrt/runtime/monitor.h"
#include "mossrt/runtime/thread_team.h"

namespace mossrt::runtime {

struct LoadOptions {
  std::string dtype = "auto";  // auto | any name that ParseWeightFormat knows
  // "pattern=format": tensors whose name matches (* and ?) are held so instead; the first match
  // counts.
  std::vector<std::string> overrides{};
  std::string backend = "native";
  std::string architecture{};  // empty: by config.json
  int threads = 0;             // 0: DefaultThreads()
  bool verify_crc = true;      // compare checksums of zip archives and packed files while reading
  bool huge_pages = true;
  bool mmap = false;               // of a packed file: pages shared between processes, not read
  std::uint64_t memory_limit = 0;  // bytes; 0: what the machine and its cgroup have
};

// What a model needs, by term, before anything is allocated.
struct MemoryNeed {
  std::uint64_t weights = 0;       // packed matrices
  std::uint64_t vectors = 0;       // norms, biases, rotary table
  std::uint64_t embedding = 0;     // the lookup table, unless the head serves as one
  std::uint64_t mapped = 0;        // both, if they are pages of a file instead (option mmap)
  std::uint64_t loading = 0;       // slabs of all threads, freed afterwards
  std::uint64_t kv_per_token = 0;  // in a cache of ModelPlan::kv_dtype
  std::uint64_t available = 0;     // what this process may still take
  std::string limited_by{};        // "memory" | "cgroup" | "option"
};

// One tensor of the checkpoint and what becomes of it.
struct TensorPlan {
  std::string name{};
  DType file_dtype;
  std::vector<std::int64_t> shape{};
  std::string use{};   // "layer 0 q, k, v", "ignored", ...
  std::string held{};  // name of the format in memory, or empty
};

// What a packed file was made from, and how.
struct PackedOrigin {
  std::string made_by{};  // program and version
  std::string name{};     // of the checkpoint
  std::string dtype{};    // the options that were given
  std::vector<std::string> overrides{};
};

// All that is known from the headers, before any weight is read: the first half of loading, and
// `inspect`.
struct ModelPlan {
  ArchSpec spec;
  HyperParams params;
  WeightFormat format;               // of most matrices
  std::vector<WeightFormat> held{};  // of each of WeightRules()
  std::int64_t parameters = 0;
  std::vector<TensorPlan> tensors{};
  // Of a cache, unless a session asks for another: as wide as the matrices' own type (bytes for
  // integers).
  DType kv_dtype = DType::kF32;
  MemoryNeed need;
  std::vector<std::string> notes{};
  std::optional<PackedOrigin> packed{};  // if the file holds packed weights
};
absl::StatusOr<ModelPlan> PlanModel(const Checkpoint& checkpoint, const LoadOptions& options);

// One sequence's share of a Forward call.
struct SequenceInput {
  KvCache* kv = nullptr;  // continues at kv->length()
  std::span<const std::int32_t> tokens{};
  ConstMatrix embeddings{};  // [n, hidden] instead of tokens, if these are empty
  enum class Rows { kNone, kLast, kAll, kListed } want = Rows::kLast;
  std::span<const std::int32_t> listed{};  // ascending row numbers in [0, n)
};

struct ForwardOptions {
  const HookSet* hooks = nullptr;
  Monitor* monitor = nullptr;  // looked at between layers
};

class Model;

// Most rows of one Forward while a prompt is read, unless asked otherwise: reading the weights is
// no longer felt, and more rows leave the caches between the products of a layer
// (docs/performance.md).
inline constexpr std::int64_t kPromptRows = 256;

// Buffers of Forward for up to max_rows tokens in one call (all sequences together); nothing is
// allocated after construction except for more wanted logits than ever before.
class Workspace {
 public:
  static absl::StatusOr<std::unique_ptr<Workspace>> Create(const Model& model,
                                                           std::int64_t max_rows);
  ~Workspace();
  std::int64_t max_rows() const;
  std::size_t bytes() const;
  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  explicit Workspace(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Tells a model from others, whatever files it came from.
struct Fingerprint {
  static constexpr std::int64_t kLogits = 64;
  std::string shape{};  // architecture and hyper-parameters
  // What eight tokens spread over the vocabulary end in: the final norm's [hidden], then the logits
  // of kLogits tokens likewise. As reproducible as the backend is.
  std::vector<float> probe{};
};

class Model {
 public:
  static absl::StatusOr<std::unique_ptr<Model>> Load(const Checkpoint& checkpoint,
                                                     const LoadOptions& options, Monitor* monitor);
  // The same on threads of the application's: loading and every Forward run on `team`, which must
  // outlive the model. options.threads is 0 or the team's size.
  static absl::StatusOr<std::unique_ptr<Model>> Load(const Checkpoint& checkpoint,
                                                     const LoadOptions& options, ThreadTeam& team,
                                                     Monitor* monitor);
  ~Model();
  const ArchSpec& spec() const;
  const HyperParams& params() const;
  const ModelPlan& plan() const;
  GemmBackend& backend() const;
  ThreadTeam& team() const;
  // The settings that decide bits: dtype, backend, bf16 level (KV dtype is added by the session).
  const std::string& numerics() const;
  std::string numerics(DType kv) const;  // with a cache of this type
  std::uint64_t weight_bytes() const;
  std::string shape_text() const;  // Fingerprint::shape
  // Evaluated by the first call that asks for it, kept as long as the model.
  absl::StatusOr<const Fingerprint*> fingerprint(Monitor* monitor = nullptr) const;

  // Runs all sequences' tokens as one batch, appends them to their caches and gives the logits of
  // the wanted rows, [sum of wanted rows, vocab], in order; valid until the workspace is used
  // again. On an error (also a cancel) no cache has grown.
  absl::StatusOr<Matrix> Forward(std::span<const SequenceInput> sequences,
                                 const ForwardOptions& options, Workspace& workspace) const;

  // A matrix, norm or bias of the checkpoint by its name, as held, in the checkpoint's shape and
  // order. `shape` may be null.
  absl::StatusOr<std::vector<float>> ReadTensor(const std::string& name,
                                                std::vector<std::int64_t>* shape) const;

  struct Impl;
  explicit Model(std::unique_ptr<Impl> impl);
  const Impl& impl() const { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

struct SaveOptions {
  std::string made_by = "mossrt";  // program and version, for whoever inspects the file
  std::string name{};              // of the checkpoint; empty: the last part of the name of `files`
};

// Writes one file (docs/packed-file.md) that OpenCheckpoint and Model::Load read faster than the
// checkpoint, to equal logits. `files`: where config.json and the tokenizer's files are, which go
// along (OpenModelFiles). A file that is no packed model is not replaced; a process killed while it
// writes leaves what was there. Only backends with a layout_version (native) can do it.
absl::Status SavePacked(const Model& model, const ByteSource& files, const std::string& path,
                        const SaveOptions& options, Monitor* monitor);

}  // namespace mossrt::runtime
