// What config.json and AutoGPTQ's quantize_config.json say about quantised weights. The tensors
// decide; what is said only serves files that leave something open, and is contradicted in notes.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "mossrt/runtime/checkpoint.h"

namespace mossrt::runtime {

struct QuantizationClaims {
  struct Claim {
    std::string where;  // the file's path and the key: /m/config.json: "wbits"
    std::int64_t value;
  };
  std::vector<Claim> bits;         // 16 or more: not quantised
  std::vector<Claim> group_sizes;  // below 0: one group
  std::vector<Claim> reordered;    // 0 or 1: are inputs grouped out of order (desc_act)?

  // The first group size, or 0.
  std::int64_t group_size() const { return group_sizes.empty() ? 0 : group_sizes.front().value; }
};

// Methods other than GPTQ are refused, as are variants of its layout.
absl::StatusOr<QuantizationClaims> ReadQuantizationClaims(const Checkpoint& checkpoint);

// What the tensors of one quantised matrix turned out to be.
struct QuantizationFacts {
  std::string tensor;  // qweight
  std::string scales;
  int bits = 0;
  std::int64_t inputs = 0, groups = 0, group_size = 0;
  bool in_order = true;
};

// One note for each claim that the matrices contradict.
void NoteContradictions(const QuantizationClaims& claims,
                        const std::vector<QuantizationFacts>& matrices,
                        std::vector<std::string>* notes);

}  // namespace mossrt::runtime
