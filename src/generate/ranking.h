// Logits in descending order, ties by ascending id, sorted only as far as somebody looks.
#pragma once

#include <bit>
#include <cstdint>
#include <span>
#include <vector>

namespace mossrt::runtime {

// Keys ascend where logits descend, so that a key alone decides the order, ties included. No NaN.
inline std::uint64_t RankKey(float logit, std::int32_t id) {
  const auto bits = std::bit_cast<std::uint32_t>(logit + 0.0f);  // -0 becomes +0: they tie
  const std::uint32_t ascending = (bits & 0x80000000u) != 0 ? ~bits : bits | 0x80000000u;
  return (std::uint64_t{~ascending} << 32) | static_cast<std::uint32_t>(id);
}

inline float LogitOfKey(std::uint64_t key) {
  const std::uint32_t ascending = ~static_cast<std::uint32_t>(key >> 32);
  return std::bit_cast<float>((ascending & 0x80000000u) != 0 ? ascending & 0x7FFFFFFFu
                                                             : ~ascending);
}

inline std::int32_t IdOfKey(std::uint64_t key) { return static_cast<std::int32_t>(key); }

class Ranking {
 public:
  // Takes all logits above -infinity.
  void Assign(std::span<const float> logits);
  std::size_t size() const { return keys_.size(); }
  // The i-th best. Sorts four times as far as before when it has to: 64, 256, 1024, ...
  std::uint64_t At(std::size_t i) {
    if (i >= sorted_) SortBeyond(i);
    return keys_[i];
  }
  // Drops what is worse than the k-th best; what ties with it stays, as in Hugging Face's top_k.
  void KeepBest(std::size_t k);

 private:
  void SortBeyond(std::size_t i);

  std::vector<std::uint64_t> keys_;
  std::size_t sorted_ = 0;
};

// Writes the keys of the best best->size() logits (fewer if there are fewer) in order; returns how
// many.
std::size_t SelectBest(std::span<const float> logits, std::span<std::uint64_t> best);

}  // namespace mossrt::runtime
