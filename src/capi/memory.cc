#include "capi/memory.h"

#include <cstring>
#include <memory>
#include <mutex>
#include <new>

#include "base/status.h"
#include "capi/guard.h"

namespace mossrt::capi {
namespace {

constexpr std::size_t kAlignment = 64;

// Stands before every piece, so that it goes back to where it came from although the allocator has
// been replaced meanwhile.
struct alignas(kAlignment) Header {
  mossrt_dealloc_fn dealloc;  // null: the default
  void* user;
};

struct Allocator {
  mossrt_alloc_fn alloc = nullptr;
  mossrt_dealloc_fn dealloc = nullptr;
  void* user = nullptr;
};
std::mutex mutex;
Allocator allocator;

void* Take(std::size_t bytes) {
  Allocator a;
  {
    const std::lock_guard lock(mutex);
    a = allocator;
  }
  const std::size_t size = sizeof(Header) + bytes;
  void* memory = a.alloc == nullptr
                     ? ::operator new (size, std::align_val_t{kAlignment}, std::nothrow)
                     : a.alloc(a.user, size, kAlignment);
  if (memory == nullptr) return nullptr;
  auto* header = new (memory) Header{a.alloc == nullptr ? nullptr : a.dealloc, a.user};
  return header + 1;
}

absl::Status NoMemory(std::size_t bytes) {
  return absl::ResourceExhaustedError(
      runtime::Cat("the allocator gave no memory for a result of ", bytes, " bytes"));
}

}  // namespace

absl::Status GiveText(std::string_view text, char** out, std::size_t* len) {
  auto* copy = static_cast<char*>(Take(text.size() + 1));
  if (copy == nullptr) return NoMemory(text.size() + 1);
  std::memcpy(copy, text.data(), text.size());
  copy[text.size()] = '\0';
  *out = copy;
  *len = text.size();
  return absl::OkStatus();
}

absl::Status GiveBytes(std::size_t size,
                       const std::function<absl::Status(std::span<std::uint8_t>)>& fill, void** out,
                       std::size_t* len) {
  std::unique_ptr<void, void (*)(void*)> memory(Take(size), mossrt_free);
  if (memory == nullptr) return NoMemory(size);
  MOSSRT_RETURN_IF_ERROR(fill({static_cast<std::uint8_t*>(memory.get()), size}));
  *out = memory.release();
  *len = size;
  return absl::OkStatus();
}

absl::Status GiveIds(std::span<const std::int32_t> ids, std::int32_t** out, std::size_t* n) {
  auto* copy = static_cast<std::int32_t*>(Take(ids.size_bytes()));
  if (copy == nullptr) return NoMemory(ids.size_bytes());
  if (!ids.empty()) std::memcpy(copy, ids.data(), ids.size_bytes());
  *out = copy;
  *n = ids.size();
  return absl::OkStatus();
}

}  // namespace mossrt::capi

mossrt_error* mossrt_set_allocator(mossrt_alloc_fn alloc, mossrt_dealloc_fn dealloc, void* user) {
  using namespace mossrt::capi;
  return Guard(__func__, [&]() -> absl::Status {
    if ((alloc == nullptr) != (dealloc == nullptr)) {
      return absl::InvalidArgumentError(
          "mossrt_set_allocator: alloc and dealloc must both be given, or both be NULL");
    }
    const std::lock_guard lock(mutex);
    allocator = {alloc, dealloc, user};
    return absl::OkStatus();
  });
}

void mossrt_free(void* p) {
  using namespace mossrt::capi;
  if (p == nullptr) return;
  GuardVoid(__func__, [&] {
    Header* header = static_cast<Header*>(p) - 1;
    if (header->dealloc != nullptr) {
      header->dealloc(header->user, header);
    } else {
      ::operator delete (header, std::align_val_t{kAlignment});
    }
  });
}
