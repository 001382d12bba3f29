// A model in double of attention over a cache, with the roundings that the cache asks for.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "mossrt/runtime/dtype.h"
#include "mossrt/runtime/kv_cache.h"

namespace mossrt::runtime {

using Row = std::vector<double>;

inline double NearestBf16(double x) {
  if (x == 0) return 0;
  const double step = std::ldexp(1.0, std::ilogb(x) - 7);
  return std::nearbyint(x / step) * step;
}

// What a row becomes when it is stored or meets what is stored: steps of its largest / 127.
inline Row Rounded(DType dtype, Row row) {
  double largest = 0;
  for (const double x : row) largest = std::max(largest, std::abs(x));
  for (double& x : row) {
    if (dtype == DType::kBF16) x = NearestBf16(x);
    if (dtype == DType::kI8 && largest > 0) x = std::nearbyint(x * 127 / largest) * largest / 127;
  }
  return row;
}

// One query over `keys` and `values` in blocks of the cache. A cache of bytes rounds probabilities
// times the scales of the values they meet.
inline Row AttentionInDouble(DType dtype, const Row& query, const std::vector<Row>& keys,
                             const std::vector<Row>& values, double scale) {
  const std::size_t head_dim = query.size();
  const Row q = Rounded(dtype, query);
  Row out(head_dim, 0.0);
  double max = -INFINITY, sum = 0;
  for (std::size_t first = 0; first < keys.size(); first += kKvBlockTokens) {
    const std::size_t end = std::min<std::size_t>(keys.size(), first + kKvBlockTokens);
    Row p, steps;
    for (std::size_t i = first; i < end; ++i) {
      const Row k = Rounded(dtype, keys[i]);
      double score = 0, largest = 0;
      for (std::size_t d = 0; d < head_dim; ++d) {
        score += q[d] * k[d];
        largest = std::max(largest, std::abs(values[i][d]));
      }
      p.push_back(score * scale);
      steps.push_back(dtype == DType::kI8 ? largest / 127 : 1.0);
    }
    const double block_max = *std::max_element(p.begin(), p.end());
    double block_sum = 0;
    for (std::size_t i = 0; i < p.size(); ++i) {
      p[i] = std::exp(p[i] - block_max);
      block_sum += p[i];
      p[i] *= steps[i];
    }
    p = Rounded(dtype, p);
    const double merged = std::max(max, block_max);
    const double old_weight = std::exp(max - merged), new_weight = std::exp(block_max - merged);
    for (double& o : out) o *= old_weight;
    for (std::size_t i = first; i < end; ++i) {
      const Row v = Rounded(dtype, values[i]);
      for (std::size_t d = 0; d < head_dim; ++d)
        out[d] += new_weight * p[i - first] * v[d] / steps[i - first];
    }
    sum = sum * old_weight + block_sum * new_weight;
    max = merged;
  }
  for (double& o : out) o /= sum;
  return out;
}

}  // namespace mossrt::runtime
