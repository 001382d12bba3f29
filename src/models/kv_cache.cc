#include "mossrt/runtime/kv_cache.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <new>

#include "base/cat.h"
#include "base/page_buffer.h"
#include "base/status.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::runtime {
namespace {

constexpr std::int64_t kLanes = 16;

std::int64_t RoundUp(std::int64_t n, std::int64_t to) { return (n + to - 1) / to * to; }

// Successive values of one lane that share a dword of a panel (kernel_list.inc).
std::int64_t Depth(DType dtype) { return dtype == DType::kBF16 ? 2 : dtype == DType::kI8 ? 4 : 1; }

// Where value k of a lane stands in a panel.
template <std::int64_t kDepth>
std::int64_t IndexInPanel(std::int64_t k, std::int64_t lane) {
  return (k / kDepth * kLanes + lane) * kDepth + k % kDepth;
}

// Where the values of the token in `slot` of a block stand: of its key in the panel of its 16
// tokens, of its value in the block's panels.
auto KeyPlace(std::int64_t slot) {
  return [lane = slot % kLanes]<std::int64_t kDepth>(std::int64_t d) {
    return IndexInPanel<kDepth>(d, lane);
  };
}
auto ValuePlace(std::int64_t slot) {
  return [slot]<std::int64_t kDepth>(std::int64_t d) {
    return d / kLanes * kKvBlockTokens * kLanes + IndexInPanel<kDepth>(slot, d % kLanes);
  };
}
template <typename Byte>
Byte* KeyPanel(const KvShape& shape, Byte* keys, std::int64_t slot) {
  return keys + static_cast<std::size_t>(slot / kLanes) * shape.KeyPanelBytes();
}

// A row of floats as they are, value i at place(i).
template <typename Place>
void StoreFloats(const float* values, std::int64_t n, std::byte* base, const Place& place) {
  for (std::int64_t i = 0; i < n; ++i) {
    reinterpret_cast<float*>(base)[place.template operator()<1>(i)] = values[i];
  }
}

// f(bytes of one value, its place in the panels, its place in a row by itself), for all values.
template <typename Place, typename F>
void ForRow(const KvShape& shape, const Place& place, const F& f) {
  const auto go = [&]<std::int64_t kDepth, std::size_t kSize>() {
    for (std::int64_t i = 0; i < shape.head_dim; ++i) {
      f.template operator()<kSize>(
          static_cast<std::size_t>(place.template operator()<kDepth>(i)) * kSize,
          static_cast<std::size_t>(i) * kSize);
    }
  };
  switch (shape.dtype) {
    case DType::kF32:
      return go.template operator()<1, 4>();
    case DType::kBF16:
      return go.template operator()<2, 2>();
    default:
      return go.template operator()<4, 1>();
  }
}

template <typename Place>
void GatherRow(const KvShape& shape, const std::byte* panels, const Place& place, std::byte* row) {
  ForRow(shape, place, [&]<std::size_t kSize>(std::size_t there, std::size_t here) {
    std::memcpy(row + here, panels + there, kSize);
  });
}
template <typename Place>
void ScatterRow(const KvShape& shape, const std::byte* row, const Place& place, std::byte* panels) {
  ForRow(shape, place, [&]<std::size_t kSize>(std::size_t there, std::size_t here) {
    std::memcpy(panels + there, row + here, kSize);
  });
  if (shape.dtype != DType::kI8) return;
  // Bytes are filled up with zeros, which are 128.
  for (std::int64_t i = shape.head_dim; i < RoundUp(shape.head_dim, kLanes); ++i)
    panels[place.template operator()<4>(i)] = std::byte{128};
}

std::size_t ScaleAt(std::int64_t slot) { return static_cast<std::size_t>(slot) * sizeof(float); }
std::size_t ScaleInRow(const KvShape& shape) {
  return static_cast<std::size_t>(shape.head_dim) * DTypeSize(shape.dtype);
}
void CopyScale(const KvShape& shape, const std::byte* from, std::byte* to) {
  if (shape.dtype == DType::kI8) std::memcpy(to, from, sizeof(float));
}

}  // namespace

std::size_t KvShape::KeyPanelBytes() const {
  return static_cast<std::size_t>(RoundUp(head_dim, dtype == DType::kI8 ? 16 : 2) * kLanes) *
         DTypeSize(dtype);
}

std::size_t KvShape::KeyPanelsBytes() const { return kKvBlockTokens / kLanes * KeyPanelBytes(); }

std::size_t KvShape::ValuePanelsBytes() const {
  return static_cast<std::size_t>(RoundUp(head_dim, kLanes) * kKvBlockTokens) * DTypeSize(dtype);
}

std::size_t KvShape::ScaleBytes() const {
  return dtype == DType::kI8 ? kKvBlockTokens * sizeof(float) : 0;
}

std::size_t KvShape::BlockBytes() const {
  return static_cast<std::size_t>(layers * kv_heads) * (KeyBytes() + ValueBytes());
}

std::size_t KvShape::RowBytes() const {
  return ScaleInRow(*this) + (dtype == DType::kI8 ? sizeof(float) : 0);
}

struct KvCache::Block {
  std::atomic<int> references{1};
  PageBuffer memory;

  static void Release(Block* block) {
    if (block->references.fetch_sub(1, std::memory_order_acq_rel) == 1) delete block;
  }
};

KvCache::KvCache(const KvShape& shape, std::int64_t capacity)
    : shape_(shape), capacity_(capacity) {}

KvCache::~KvCache() {
  for (Block* block : blocks_) Block::Release(block);
}

std::size_t KvCache::allocated_bytes() const { return blocks_.size() * shape_.BlockBytes(); }

std::byte* KvCache::Keys(std::int64_t block, std::int64_t layer, std::int64_t head) const {
  const std::size_t per_head = shape_.KeyBytes() + shape_.ValueBytes();
  return blocks_[static_cast<std::size_t>(block)]->memory.data() +
         static_cast<std::size_t>(layer * shape_.kv_heads + head) * per_head;
}

std::byte* KvCache::Values(std::int64_t block, std::int64_t layer, std::int64_t head) const {
  return Keys(block, layer, head) + shape_.KeyBytes();
}

void KvCache::StoreKeys(std::int64_t position, std::int64_t layer, std::int64_t head,
                        ConstMatrix keys) {
  for (std::int64_t i = 0, count; i < keys.rows; i += count) {
    const std::int64_t slot = (position + i) % kKvBlockTokens, lane = slot % kLanes;
    count = std::min(keys.rows - i, kLanes - lane);
    std::byte* base = Keys((position + i) / kKvBlockTokens, layer, head);
    std::byte* panel = KeyPanel(shape_, base, slot);
    if (shape_.dtype == DType::kI8) {
      cpu::Kernels()->keys_to_bytes(
          keys.Row(i), keys.stride, count, keys.cols,
          reinterpret_cast<std::uint32_t*>(panel) + lane,
          reinterpret_cast<float*>(base + shape_.KeyPanelsBytes()) + slot);
    } else if (shape_.dtype == DType::kBF16) {
      cpu::Kernels()->keys_to_bf16(keys.Row(i), keys.stride, count, keys.cols,
                                   reinterpret_cast<std::uint32_t*>(panel) + lane);
    } else {
      for (std::int64_t t = 0; t < count; ++t) {
        StoreFloats(keys.Row(i + t), keys.cols, panel, KeyPlace(slot + t));
      }
    }
  }
}

void KvCache::StoreValues(std::int64_t position, std::int64_t layer, std::int64_t head,
                          ConstMatrix values) {
  for (std::int64_t i = 0, count; i < values.rows; i += count) {
    const std::int64_t slot = (position + i) % kKvBlockTokens;
    count = std::min(values.rows - i, kKvBlockTokens - slot);
    std::byte* base = Values((position + i) / kKvBlockTokens, layer, head);
    if (shape_.dtype == DType::kI8) {
      cpu::Kernels()->values_to_bytes(
          values.Row(i), values.stride, count, values.cols, slot,
          reinterpret_cast<std::uint8_t*>(base), kKvBlockTokens * kLanes,
          reinterpret_cast<float*>(base + shape_.ValuePanelsBytes()) + slot);
    } else if (shape_.dtype == DType::kBF16) {
      cpu::Kernels()->values_to_bf16(values.Row(i), values.stride, count, values.cols, slot,
                                     reinterpret_cast<std::uint32_t*>(base),
                                     kKvBlockTokens * kLanes * 2);
    } else {
      for (std::int64_t t = 0; t < count; ++t) {
        StoreFloats(values.Row(i + t), values.cols, base, ValuePlace(slot + t));
      }
    }
  }
}

void KvCache::ReadKey(std::int64_t position, std::int64_t layer, std::int64_t head,
                      std::byte* row) const {
  const std::byte* base = Keys(position / kKvBlockTokens, layer, head);
  const std::int64_t slot = position % kKvBlockTokens;
  GatherRow(shape_, KeyPanel(shape_, base, slot), KeyPlace(slot), row);
  CopyScale(shape_, base + shape_.KeyPanelsBytes() + ScaleAt(slot), row + ScaleInRow(shape_));
}

void KvCache::ReadValue(std::int64_t position, std::int64_t layer, std::int64_t head,
                        std::byte* row) const {
  const std::byte* base = Values(position / kKvBlockTokens, layer, head);
  const std::int64_t slot = position % kKvBlockTokens;
  GatherRow(shape_, base, ValuePlace(slot), row);
  CopyScale(shape_, base + shape_.ValuePanelsBytes() + ScaleAt(slot), row + ScaleInRow(shape_));
}

void KvCache::WriteKey(std::int64_t position, std::int64_t layer, std::int64_t head,
                       const std::byte* row) {
  std::byte* base = Keys(position / kKvBlockTokens, layer, head);
  const std::int64_t slot = position % kKvBlockTokens;
  ScatterRow(shape_, row, KeyPlace(slot), KeyPanel(shape_, base, slot));
  CopyScale(shape_, row + ScaleInRow(shape_), base + shape_.KeyPanelsBytes() + ScaleAt(slot));
}

void KvCache::WriteValue(std::int64_t position, std::int64_t layer, std::int64_t head,
                         const std::byte* row) {
  std::byte* base = Values(position / kKvBlockTokens, layer, head);
  const std::int64_t slot = position % kKvBlockTokens;
  ScatterRow(shape_, row, ValuePlace(slot), base);
  CopyScale(shape_, row + ScaleInRow(shape_), base + shape_.ValuePanelsBytes() + ScaleAt(slot));
}

absl::Status KvCache::Reserve(std::int64_t tokens) {
  if (tokens < 0) {
    return absl::InvalidArgumentError(Cat("no cache has room for ", tokens, " tokens"));
  }
  if (tokens > capacity_ - length_) {
    return absl::ResourceExhaustedError(
        Cat("the context is full: ", length_, " of ", capacity_, " tokens are used and ", tokens,
            " more were given; rewind, or open a session with a larger context"));
  }
  if (tokens == 0) return absl::OkStatus();
  const auto no_memory = [] {
    return absl::ResourceExhaustedError(
        "no memory for a block of the key/value cache; free some, or choose a shorter context");
  };
  const auto wanted =
      static_cast<std::size_t>((length_ + tokens + kKvBlockTokens - 1) / kKvBlockTokens);
  try {
    blocks_.reserve(wanted);
  } catch (const std::bad_alloc&) {
    return no_memory();
  }
  // The block that position length() falls into may be half full and shared with a fork: take a
  // copy of its own.
  const std::int64_t used = length_ % kKvBlockTokens;
  const auto current = static_cast<std::size_t>(length_ / kKvBlockTokens);
  if (current < blocks_.size() &&
      blocks_[current]->references.load(std::memory_order_acquire) > 1) {
    MOSSRT_ASSIGN_OR_RETURN(PageBuffer memory, PageBuffer::Create(shape_.BlockBytes(), false));
    auto* copy = new (std::nothrow) Block;
    if (copy == nullptr) return no_memory();
    copy->memory = std::move(memory);
    const std::byte* from = blocks_[current]->memory.data();
    std::byte* to = copy->memory.data();
    const std::size_t key_bytes =
        static_cast<std::size_t>((used + kLanes - 1) / kLanes) * shape_.KeyPanelBytes();
    const auto value_bytes = static_cast<std::size_t>(RoundUp(used, Depth(shape_.dtype)) * kLanes) *
                             DTypeSize(shape_.dtype);
    const auto value_panel =
        static_cast<std::size_t>(kKvBlockTokens * kLanes) * DTypeSize(shape_.dtype);
    for (std::int64_t i = 0; i < shape_.layers * shape_.kv_heads; ++i) {
      std::memcpy(to, from, key_bytes);
      std::memcpy(to + shape_.KeyPanelsBytes(), from + shape_.KeyPanelsBytes(),
                  shape_.ScaleBytes());
      from += shape_.KeyBytes();
      to += shape_.KeyBytes();
      for (std::int64_t p = 0; p < RoundUp(shape_.head_dim, kLanes) / kLanes; ++p) {
        std::memcpy(to, from, value_bytes);
        from += value_panel;
        to += value_panel;
      }
      std::memcpy(to, from, shape_.ScaleBytes());
      from += shape_.ScaleBytes();
      to += shape_.ScaleBytes();
    }
    Block::Release(blocks_[current]);
    blocks_[current] = copy;
  }
  const std::size_t before = blocks_.size();
  while (blocks_.size() < wanted) {
    auto memory = PageBuffer::Create(shape_.BlockBytes(), false);
    auto* block = memory.ok() ? new (std::nothrow) Block : nullptr;
    if (block == nullptr) {
      for (; blocks_.size() > before; blocks_.pop_back()) Block::Release(blocks_.back());
      return memory.ok() ? no_memory() : memory.status();
    }
    block->memory = *std::move(memory);
    blocks_.push_back(block);
  }
  return absl::OkStatus();
}

void KvCache::Rewind(std::int64_t length) {
  length_ = std::clamp<std::int64_t>(length, 0, length_);
  const auto keep = static_cast<std::size_t>((length_ + kKvBlockTokens - 1) / kKvBlockTokens);
  while (blocks_.size() > keep) {
    Block::Release(blocks_.back());
    blocks_.pop_back();
  }
}

std::unique_ptr<KvCache> KvCache::Fork() const {
  auto fork = std::make_unique<KvCache>(shape_, capacity_);
  fork->length_ = length_;
  const auto keep = static_cast<std::size_t>((length_ + kKvBlockTokens - 1) / kKvBlockTokens);
  fork->blocks_.reserve(keep);
  for (std::size_t i = 0; i < keep; ++i) {
    blocks_[i]->references.fetch_add(1, std::memory_order_relaxed);
    fork->blocks_.push_back(blocks_[i]);
  }
  return fork;
}

}  // namespace mossrt::runtime
