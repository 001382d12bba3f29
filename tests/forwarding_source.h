// A source that passes all on, for tests that watch or change one call.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "mossrt/runtime/byte_source.h"

namespace mossrt::runtime {

class ForwardingSource : public ByteSource {
 public:
  explicit ForwardingSource(std::unique_ptr<ByteSource> inner) : inner_(std::move(inner)) {}
  std::string name() const override { return inner_->name(); }
  absl::StatusOr<std::vector<std::string>> List() const override { return inner_->List(); }
  absl::StatusOr<std::uint64_t> Size(std::string_view file) const override {
    return inner_->Size(file);
  }
  absl::Status Read(std::string_view file, std::uint64_t offset,
                    std::span<std::uint8_t> out) const override {
    return inner_->Read(file, offset, out);
  }

 private:
  std::unique_ptr<ByteSource> inner_;
};

}  // namespace mossrt::runtime
