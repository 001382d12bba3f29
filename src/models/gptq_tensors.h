// How GPTQ checkpoints store a matrix: names, shapes, and which input belongs to which group.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "models/weight_rules.h"
#include "mossrt/runtime/checkpoint.h"

namespace mossrt::runtime {

// A matrix "X.weight" of N outputs and K inputs in b bits, packed in words of 32 bits, lowest bits
// first. No field crosses a word.
struct GptqTensors {
  std::string base;                     // "X"
  const TensorInfo* qweight = nullptr;  // [K b / 32, N] int32: a word holds inputs of one output
  const TensorInfo* qzeros = nullptr;   // [groups, N b / 32] int32: zero points less one
  const TensorInfo* scales = nullptr;   // [groups, N]
  const TensorInfo* g_idx = nullptr;    // [K]: the group of each input; absent from old files
  std::int64_t inputs = 0, outputs = 0, groups = 0;
  int bits = 0;  // 2, 4 or 8, by the shapes

  // In the order above, null where absent.
  std::vector<const TensorInfo*> all() const { return {qweight, qzeros, scales, g_idx}; }
};

// The tensors of the rule's matrix if the checkpoint stores it so, with what is wrong about them
// appended to `problems`: then groups or bits may be 0.
std::optional<GptqTensors> FindGptq(const Checkpoint& checkpoint, const WeightRule& rule,
                                    std::vector<std::string>* problems);

struct GptqGroups {
  std::vector<std::int32_t> group_of;  // [inputs]
  std::int64_t group_size = 0;         // inputs of the largest group
  bool in_order = true;                // group_of[k] = k / group_size
};

// Reads g_idx, or fills in k / group size where there is none: `claimed` (0: nothing is said, below
// 0: one group) if the number of groups agrees, else what the shapes leave no doubt about.
absl::StatusOr<GptqGroups> ReadGptqGroups(const Checkpoint& checkpoint, const GptqTensors& tensors,
                                          std::int64_t claimed, CrcLedger* ledger);

}  // namespace mossrt::runtime
