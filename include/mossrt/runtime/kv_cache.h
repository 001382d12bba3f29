// Keys and values of one sequence, in reference-counted fixed blocks that forks share. Owned by
// src/models.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "mossrt/runtime/dtype.h"
#include "mossrt/runtime/tensor_view.h"

namespace mossrt::runtime {

inline constexpr std::int64_t kKvBlockTokens = 256;
inline constexpr std::int64_t kMostBytesOfHead = 1024;  // head_dim up to which kI8 is possible

struct KvShape {
  std::int64_t layers = 0, kv_heads = 0, head_dim = 0;
  DType dtype = DType::kF32;  // kF32, kBF16, or kI8: bytes with one scale per token and head

  // One head's keys of a block: 16 panels of 16 tokens, [head_dim][16] each, as cpu's products read
  // weights (kernel_list.inc: bfloat16 in pairs, bytes in fours around 128, head_dim a multiple of
  // 16). Behind keys and values of bytes stand the float32 scales of the 256 tokens.
  std::size_t KeyBytes() const { return KeyPanelsBytes() + ScaleBytes(); }
  // One head's values: panels of 16 dimensions, [256][16] each.
  std::size_t ValueBytes() const { return ValuePanelsBytes() + ScaleBytes(); }
  std::size_t KeyPanelBytes() const;  // of 16 tokens
  std::size_t KeyPanelsBytes() const;
  std::size_t ValuePanelsBytes() const;
  std::size_t ScaleBytes() const;  // 0 unless kI8
  std::size_t BlockBytes() const;  // all layers and heads, keys and values
  // One token's key or value of one head by itself: head_dim values, then the scale if kI8.
  std::size_t RowBytes() const;
};

class KvCache {
 public:
  KvCache(const KvShape& shape, std::int64_t capacity);
  ~KvCache();
  KvCache(const KvCache&) = delete;
  KvCache& operator=(const KvCache&) = delete;

  const KvShape& shape() const { return shape_; }
  std::int64_t length() const { return length_; }
  std::int64_t capacity() const { return capacity_; }  // tokens
  std::size_t allocated_bytes() const;                 // shared blocks counted in full

  // Makes positions [length(), length() + tokens) writable: allocates blocks, copies one that a
  // fork shares. kResourceExhausted beyond capacity or memory; nothing changes then.
  absl::Status Reserve(std::int64_t tokens);
  void Advance(std::int64_t tokens) { length_ += tokens; }
  void Rewind(std::int64_t length);
  std::unique_ptr<KvCache> Fork() const;

  // Block b of layer l, kv head h.
  std::byte* Keys(std::int64_t block, std::int64_t layer, std::int64_t head) const;
  std::byte* Values(std::int64_t block, std::int64_t layer, std::int64_t head) const;
  // Writes head_dim float32 values (rounded to dtype) of successive tokens from `position` on:
  // [tokens, head_dim].
  void StoreKeys(std::int64_t position, std::int64_t layer, std::int64_t head, ConstMatrix keys);
  void StoreValues(std::int64_t position, std::int64_t layer, std::int64_t head,
                   ConstMatrix values);
  // One token's row as it is held, KvShape::RowBytes() bytes.
  void ReadKey(std::int64_t position, std::int64_t layer, std::int64_t head, std::byte* row) const;
  void ReadValue(std::int64_t position, std::int64_t layer, std::int64_t head,
                 std::byte* row) const;
  void WriteKey(std::int64_t position, std::int64_t layer, std::int64_t head, const std::byte* row);
  void WriteValue(std::int64_t position, std::int64_t layer, std::int64_t head,
                  const std::byte* row);

 private:
  struct Block;
  KvShape shape_;
  std::int64_t capacity_, length_ = 0;
  std::vector<Block*> blocks_;  // counted references
};

}  // namespace mossrt::runtime
