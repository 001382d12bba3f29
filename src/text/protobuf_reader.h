// The protobuf wire format, as far as tokenizer.model uses it.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mossrt::runtime {

// Walks the fields of one message. Groups and field numbers beyond 2^29 are refused.
class ProtobufReader {
 public:
  enum Wire : std::uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };
  struct Field {
    std::uint32_t number = 0;
    Wire wire = kVarint;
    std::uint64_t value = 0;  // of a varint or fixed field
    std::string_view bytes;   // of a kBytes field
  };

  // `offset` is where `message` begins in its file, for messages.
  ProtobufReader(std::string_view message, std::string_view what, std::size_t offset)
      : message_(message), what_(what), offset_(offset) {}
  bool done() const { return position_ == message_.size(); }
  absl::StatusOr<Field> Next();
  std::size_t OffsetOf(const Field& field) const {
    return offset_ + static_cast<std::size_t>(field.bytes.data() - message_.data());
  }
  // The field must have this wire type.
  absl::Status Expect(const Field& field, Wire wire) const;
  absl::Status Error(std::string_view problem) const;

 private:
  absl::StatusOr<std::uint64_t> Varint();

  std::string_view message_;
  std::string_view what_;
  std::size_t offset_;
  std::size_t position_ = 0;
};

}  // namespace mossrt::runtime
