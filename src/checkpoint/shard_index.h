// Which files hold a checkpoint's weights: one file, the shards that an index names, or the shards
// whose names say how many there are.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "mossrt/runtime/checkpoint.h"

namespace mossrt::runtime {

enum class FileFormat { kSafetensors, kTorchPickle };

struct ShardPlan {
  FileFormat format = FileFormat::kSafetensors;
  std::vector<std::string> shards;                // files that exist, in order
  std::string index;                              // the index file, empty if there is none
  std::map<std::string, std::string> weight_map;  // tensor -> shard, by the index
  std::vector<std::string> notes;
};

// `files` is what the source lists.
absl::StatusOr<ShardPlan> PlanShards(const ByteSource& source,
                                     const std::vector<std::string>& files);

// The "weight_map" of an index file. `where` starts each message. Shard names that could leave the
// directory are refused.
absl::StatusOr<std::map<std::string, std::string>> ParseShardIndex(std::string_view json,
                                                                   std::string_view where);

}  // namespace mossrt::runtime
