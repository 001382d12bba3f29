// Memory straight from the system: 2 MiB aligned, huge pages on request, untouched until used,
// given back at once.
#pragma once

#include <cstddef>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"

namespace mossrt::runtime {

class PageBuffer {
 public:
  PageBuffer() = default;
  ~PageBuffer() { Release(); }
  PageBuffer(PageBuffer&& other) noexcept { *this = std::move(other); }
  PageBuffer& operator=(PageBuffer&& other) noexcept {
    if (this != &other) {
      Release();
      base_ = std::exchange(other.base_, nullptr);
      mapped_ = std::exchange(other.mapped_, 0);
      data_ = std::exchange(other.data_, nullptr);
      size_ = std::exchange(other.size_, 0);
      shared_ = std::move(other.shared_);
    }
    return *this;
  }

  // kResourceExhausted naming the size if the system refuses.
  static absl::StatusOr<PageBuffer> Create(std::size_t bytes, bool huge_pages);
  // Pages that somebody else holds too: they must not be written to.
  static PageBuffer ReadOnly(std::shared_ptr<const std::byte> bytes, std::size_t size);

  std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }

 private:
  void Release();

  void* base_ = nullptr;
  std::size_t mapped_ = 0;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
  std::shared_ptr<const std::byte> shared_;
};

}  // namespace mossrt::runtime
