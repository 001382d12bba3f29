// Reading published checkpoints: named tensors behind a byte source. Owned by src/checkpoint.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mossrt/runtime/byte_source.h"
#include "mossrt/runtime/dtype.h"
#include "mossrt/runtime/monitor.h"

namespace mossrt::runtime {

// A run of bytes of one file that one or more tensors view.
struct StorageInfo {
  std::string file;
  std::uint64_t offset = 0;  // in the file
  std::uint64_t size = 0;    // bytes
  bool has_crc = false;      // zip entries carry one, safetensors do not
  std::uint32_t crc = 0;     // CRC-32 of the whole storage
  bool swap_bytes = false;   // stored in the other byte order
};

struct TensorInfo {
  std::string name;
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t>
      strides;              // in elements; row-major contiguous unless the file holds a view
  std::size_t storage = 0;  // index into Checkpoint::storages()
  std::uint64_t storage_offset = 0;  // of the first element, in elements

  std::int64_t elements() const;
  bool contiguous() const;
};

class PackedFile;

class Checkpoint {
 public:
  virtual ~Checkpoint() = default;
  virtual const ByteSource& source() const = 0;
  virtual const std::string& config_json() const = 0;  // config.json as it stands
  // What AutoGPTQ writes beside it; empty if there is none.
  virtual const std::string& quantize_config_json() const;
  virtual const std::map<std::string, TensorInfo, std::less<>>& tensors() const = 0;
  virtual const std::vector<StorageInfo>& storages() const = 0;
  // What a person should know although it is no error ("torch_dtype says float32, ...").
  virtual const std::vector<std::string>& notes() const = 0;

  // Rows [first, first + rows) of dimension 0, dense, row-major, native byte order, into
  // out (rows * elements per row * DTypeSize bytes). A 0-d or 1-d tensor counts each element as a
  // row. Many threads at once. Views with strides are gathered.
  virtual absl::Status ReadRows(const TensorInfo& tensor, std::int64_t first, std::int64_t rows,
                                std::span<std::uint8_t> out) const = 0;
  // Null, or the file whose weights are packed already (docs/packed-file.md): tensors() is empty
  // then, and Model::Load and PlanModel read the rest.
  virtual const PackedFile* packed() const { return nullptr; }
};

// Opens config.json and whatever weights stand beside it: model.safetensors(.index.json), else
// pytorch_model.bin(.index.json), else misnamed shards; reads headers only, compares every
// byte range with its file's size; nothing is allocated that a header merely claims.
absl::StatusOr<std::unique_ptr<Checkpoint>> OpenCheckpoint(std::unique_ptr<ByteSource> source);
// By path: a directory as above, or a packed file.
absl::StatusOr<std::unique_ptr<Checkpoint>> OpenCheckpoint(const std::string& path);
// File `file` of `folder`, which must be a packed one.
absl::StatusOr<std::unique_ptr<Checkpoint>> OpenPacked(std::unique_ptr<ByteSource> folder,
                                                       const std::string& file);
// Only the small files (config.json, the tokenizer's) of what OpenCheckpoint opens.
absl::StatusOr<std::unique_ptr<ByteSource>> OpenModelFiles(const std::string& path);

// Collects CRCs of slabs as they are read (any order, any thread) and judges whole storages at the
// end. Slabs that do not tile a storage exactly are judged by reading that storage once more.
class CrcLedger {
 public:
  explicit CrcLedger(const Checkpoint& checkpoint);
  ~CrcLedger();
  CrcLedger(const CrcLedger&) = delete;
  CrcLedger& operator=(const CrcLedger&) = delete;
  // `bytes` are rows [first, first + n) of a contiguous tensor exactly as ReadRows returned them.
  void Add(const TensorInfo& tensor, std::int64_t first, std::span<const std::uint8_t> bytes);
  // Calls work(thread, threads) on each of some threads, thread 0 being the caller.
  using Runner = std::function<void(const std::function<void(int thread, int threads)>& work)>;
  // kDataLoss naming file, tensor and offset of the first storage whose CRC is wrong. Storages that
  // must be read once more are shared out among the threads of `on_all_threads` (null: the calling
  // one). `tick` (may be null) runs on thread 0 before each MiB; its error ends the check, as does
  // a cancel by `monitor`, before the next MiB is read.
  absl::Status Check(const Runner& on_all_threads = nullptr,
                     const std::function<absl::Status()>& tick = nullptr,
                     const Monitor* monitor = nullptr) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mossrt::runtime
