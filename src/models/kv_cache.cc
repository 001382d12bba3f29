#include "mossrt/runtime/kv_cache.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <new>

#include "base/cat.h"
#include "base/half.h"
#include "base/page_buffer.h"
#include "base/status.h"

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

// Steps of a row that is rounded to bytes; NaN or an infinity among its values makes the scale NaN.
struct Steps {
  float scale, inverse;

  static Steps Of(const float* values, std::int64_t n) {
    float largest = 0.0f, nothing = 0.0f;
    for (std::int64_t i = 0; i < n; ++i) {
      largest = std::max(largest, std::abs(values[i]));
      nothing += values[i] * 0.0f;  // 0, or NaN if any value is not finite
    }
    const bool counts = largest >= 0x1p-100f;
    return {(counts ? largest / 127.0f : 0.0f) + nothing, counts ? 127.0f / largest : 0.0f};
  }
  // To nearest, ties to even; NaN counts as 0.
  std::uint8_t Byte(float value) const {
    constexpr float kMagic = 12582912.0f;
    const float whole = value * inverse + kMagic - kMagic;
    return static_cast<std::uint8_t>((std::abs(whole) <= 127.0f ? static_cast<int>(whole) : 0) +
                                     128);
  }
};

// A row as the cache holds it, value i at place<depth of the panels>(i); returns its scale.
template <typename Place>
float StoreRow(DType dtype, const float* values, std::int64_t n, std::byte* base,
               const Place& place) {
  switch (dtype) {
    case DType::kF32:
      for (std::int64_t i = 0; i < n; ++i)
        reinterpret_cast<float*>(base)[place.template operator()<1>(i)] = values[i];
      return 1.0f;
    case DType::kBF16:
      for (std::int64_t i = 0; i < n; ++i)
        reinterpret_cast<std::uint16_t*>(base)[place.template operator()<2>(i)] =
            F32ToBF16(values[i]);
      return 1.0f;
    default: {
      const Steps steps = Steps::Of(values, n);
      for (std::int64_t i = 0; i < n; ++i)
        reinterpret_cast<std::uint8_t*>(base)[place.template operator()<4>(i)] =
            steps.Byte(values[i]);
      return steps.scale;
    }
  }
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

void KvCache::StoreKey(std::int64_t position, std::int64_t layer, std::int64_t head,
                       const float* key) {
  std::byte* base = Keys(position / kKvBlockTokens, layer, head);
  const std::int64_t slot = position % kKvBlockTokens, lane = slot % kLanes;
  std::byte* panel = base + static_cast<std::size_t>(slot / kLanes) * shape_.KeyPanelBytes();
  const float scale = StoreRow(
      shape_.dtype, key, shape_.head_dim, panel,
      [lane]<std::int64_t kDepth>(std::int64_t d) { return IndexInPanel<kDepth>(d, lane); });
  if (shape_.dtype == DType::kI8)
    reinterpret_cast<float*>(base + shape_.KeyPanelsBytes())[slot] = scale;
}

void KvCache::StoreValue(std::int64_t position, std::int64_t layer, std::int64_t head,
                         const float* value) {
  std::byte* base = Values(position / kKvBlockTokens, layer, head);
  const std::int64_t slot = position % kKvBlockTokens;
  const float scale = StoreRow(
      shape_.dtype, value, shape_.head_dim, base, [slot]<std::int64_t kDepth>(std::int64_t d) {
        return d / kLanes * kKvBlockTokens * kLanes + IndexInPanel<kDepth>(slot, d % kLanes);
      });
  if (shape_.dtype == DType::kI8)
    reinterpret_cast<float*>(base + shape_.ValuePanelsBytes())[slot] = scale;
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
