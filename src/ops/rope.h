// Rotary position embedding. Weights are permuted at load so that pairs are (i, i + rotary_dim / 2)
// for every family.
#pragma once

#include <cstdint>
#include <vector>

#include "mossrt/runtime/thread_team.h"

namespace mossrt::runtime {

class RopeTable {
 public:
  RopeTable() = default;
  // A table of zeros, to be filled.
  RopeTable(std::int64_t positions, std::int64_t rotary_dim, double theta);
  // cos and sin of position * theta^(-2i / rotary_dim) for positions [first, first + count). The
  // frequency and the angle are rounded to float32 before sine and cosine, as the reference
  // implementations do (moss: position 2047 would differ by 1e-4 rad otherwise).
  void Fill(std::int64_t first, std::int64_t count, ThreadTeam& team);

  std::int64_t rotary_dim() const { return rotary_dim_; }
  std::size_t bytes() const { return (cos_.size() + sin_.size()) * sizeof(float); }
  // Rotates the heads of one row [heads * head_dim] in place.
  void Apply(std::int64_t position, std::int64_t heads, std::int64_t head_dim, float* row) const;

 private:
  std::int64_t rotary_dim_ = 0;
  std::vector<float> frequency_;  // [rotary_dim / 2]
  std::vector<float> cos_, sin_;  // [positions, rotary_dim / 2]
};

}  // namespace mossrt::runtime
