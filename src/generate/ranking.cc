#include "generate/ranking.h"

#include <algorithm>
#include <limits>

namespace mossrt::runtime {
namespace {

constexpr float kMasked = -std::numeric_limits<float>::infinity();

}  // namespace

void Ranking::Assign(std::span<const float> logits) {
  keys_.clear();
  keys_.reserve(logits.size());
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] > kMasked) keys_.push_back(RankKey(logits[i], static_cast<std::int32_t>(i)));
  }
  sorted_ = 0;
}

void Ranking::SortBeyond(std::size_t i) {
  std::size_t end = std::max<std::size_t>(64, sorted_ * 4);
  while (end <= i) end *= 4;
  const auto first = keys_.begin() + static_cast<std::ptrdiff_t>(sorted_);
  if (end >= keys_.size()) {
    end = keys_.size();
  } else {
    std::nth_element(first, keys_.begin() + static_cast<std::ptrdiff_t>(end), keys_.end());
  }
  std::sort(first, keys_.begin() + static_cast<std::ptrdiff_t>(end));
  sorted_ = end;
}

void Ranking::KeepBest(std::size_t k) {
  if (k == 0 || k >= keys_.size()) return;
  const auto kth = keys_.begin() + static_cast<std::ptrdiff_t>(k - 1);
  std::nth_element(keys_.begin(), kth, keys_.end());
  const auto worst = static_cast<std::uint32_t>(*kth >> 32);
  const auto end = std::partition(kth + 1, keys_.end(), [&](std::uint64_t key) {
    return static_cast<std::uint32_t>(key >> 32) == worst;
  });
  keys_.erase(end, keys_.end());
  sorted_ = 0;
}

std::size_t SelectBest(std::span<const float> logits, std::span<std::uint64_t> best) {
  if (best.empty()) return 0;
  std::size_t count = 0;
  float worst = kMasked;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    // A later id loses a tie, so only what is strictly better enters a full list.
    if (count == best.size() && !(logits[i] > worst)) continue;
    const std::uint64_t key = RankKey(logits[i], static_cast<std::int32_t>(i));
    const auto end = best.begin() + static_cast<std::ptrdiff_t>(count);
    const auto at = std::lower_bound(best.begin(), end, key);
    if (count < best.size()) {
      std::copy_backward(at, end, end + 1);
      ++count;
    } else {
      std::copy_backward(at, end - 1, end);
    }
    *at = key;
    worst = LogitOfKey(best[count - 1]);
  }
  return count;
}

}  // namespace mossrt::runtime
