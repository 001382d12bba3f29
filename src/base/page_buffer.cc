#include "base/page_buffer.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstdint>
#include <cstring>

#include "base/cat.h"

namespace mossrt::runtime {
namespace {

constexpr std::size_t kAlignment = std::size_t{2} << 20;

}  // namespace

absl::StatusOr<PageBuffer> PageBuffer::Create(std::size_t bytes, bool huge_pages) {
  PageBuffer buffer;
  if (bytes == 0) return buffer;
  const auto too_much = [bytes](const char* why) {
    return absl::ResourceExhaustedError(Cat(
        "could not reserve ", bytes, " bytes of memory: ", why,
        "; free memory, raise the limit (ulimit -v, cgroup), or choose a smaller model or type"));
  };
  if (bytes > SIZE_MAX - 2 * kAlignment) return too_much("more than the address space holds");
  const std::size_t mapped = bytes + kAlignment;
  void* base = mmap(nullptr, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (base == MAP_FAILED) return too_much(std::strerror(errno));
  const auto start = (reinterpret_cast<std::uintptr_t>(base) + kAlignment - 1) & ~(kAlignment - 1);
  buffer.base_ = base;
  buffer.mapped_ = mapped;
  buffer.data_ = reinterpret_cast<std::byte*>(start);
  buffer.size_ = bytes;
  // Advice only: where huge pages are switched off the buffer works with small ones.
  madvise(buffer.data_, bytes, huge_pages ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  return buffer;
}

PageBuffer PageBuffer::ReadOnly(std::shared_ptr<const std::byte> bytes, std::size_t size) {
  PageBuffer buffer;
  buffer.data_ = const_cast<std::byte*>(bytes.get());
  buffer.size_ = size;
  buffer.shared_ = std::move(bytes);
  return buffer;
}

void PageBuffer::Release() {
  shared_.reset();
  if (base_ != nullptr) munmap(base_, mapped_);
  base_ = nullptr;
  data_ = nullptr;
  mapped_ = size_ = 0;
}

}  // namespace mossrt::runtime
