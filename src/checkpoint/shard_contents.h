// What one file of weights holds, whatever its format.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "mossrt/runtime/checkpoint.h"

namespace mossrt::runtime {

struct ShardContents {
  std::vector<StorageInfo> storages;
  std::vector<TensorInfo> tensors;  // names unique; `storage` counts within this shard
  std::vector<std::string> notes;
};

// A file that torch.save wrote since torch 1.6: a zip of one pickle and one entry a storage.
absl::StatusOr<ShardContents> ReadTorchPickle(const ByteSource& source, const std::string& file);

// A safetensors file: 8 bytes of length, a JSON header, the bytes of the tensors.
absl::StatusOr<ShardContents> ReadSafetensors(const ByteSource& source, const std::string& file);

// kUnimplemented if the file is the text that Git LFS leaves in place of a large file, or an HTML
// page saved under the file's name; OK otherwise. Readers call it before they judge the format.
absl::Status CheckNotPlaceholder(const ByteSource& source, const std::string& file);

}  // namespace mossrt::runtime
