// Causal attention over a blocked key/value cache, one layer at a time.
#pragma once

#include <cstdint>
#include <span>

#include "mossrt/runtime/dtype.h"
#include "mossrt/runtime/tensor_view.h"
#include "mossrt/runtime/thread_team.h"

namespace mossrt::runtime {

// One sequence's rows in q and out, and how to find its cache. Token i of the rows sees positions
// [0, first_position + i], all of them stored already.
struct AttentionSequence {
  std::int64_t first_row = 0, rows = 0, first_position = 0;
  // Panels of block b of key/value head h in this layer (mossrt/runtime/kv_cache.h has the layout).
  const void* cache = nullptr;
  const std::byte* (*keys)(const void* cache, std::int64_t block, std::int64_t layer,
                           std::int64_t head) = nullptr;
  const std::byte* (*values)(const void* cache, std::int64_t block, std::int64_t layer,
                             std::int64_t head) = nullptr;
};

struct AttentionShape {
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  std::int64_t block_tokens = 256;
  DType kv_dtype = DType::kF32;  // queries and probabilities are rounded as the cache is
  float scale = 1.0f;
};

// Steps of a decoded token that the threads of attention take over, each head where it is needed
// next: without a region of their own, and into the caches of the core that goes on. Many threads
// at once.
class NewestTokens {
 public:
  // Queries of the heads that share a key/value head, [heads / kv_heads, head_dim], in place.
  virtual void RotateQueries(std::int64_t row, float* queries) const = 0;
  // Rotates the key and stores both. Once for each row and head, before the block that it writes to
  // is read.
  virtual void StoreKeyAndValue(std::int64_t row, std::int64_t head) const = 0;

 protected:
  ~NewestTokens() = default;
};

std::size_t AttentionScratchBytes(const AttentionShape& shape);

// out [rows, heads * head_dim] = softmax(scale * q k^T) v. Each block of the cache gives a partial
// (max, sum, out); partials are merged in block order, so the bits of a row depend on its own
// tokens only. `scratch` has AttentionScratchBytes for each thread of the team, 64-byte aligned.
// With `newest`, sequences have one row each, not rotated yet and not in its cache.
void Attention(const AttentionShape& shape, std::int64_t layer,
               std::span<const AttentionSequence> sequences, ConstMatrix q, Matrix out,
               std::byte* scratch, ThreadTeam& team, const NewestTokens* newest = nullptr);

}  // namespace mossrt::runtime
