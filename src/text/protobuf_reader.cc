#include "text/protobuf_reader.h"

#include "base/status.h"

namespace mossrt::runtime {

absl::Status ProtobufReader::Error(std::string_view problem) const {
  return absl::InvalidArgumentError(
      Cat(what_, ": offset ", offset_ + position_, ": ", problem,
          "; this is no SentencePiece model or it is damaged, so fetch it again"));
}

absl::StatusOr<std::uint64_t> ProtobufReader::Varint() {
  std::uint64_t value = 0;
  for (unsigned shift = 0; shift < 70; shift += 7) {
    if (done()) return Error("the file ends inside a number");
    const auto byte = static_cast<unsigned char>(message_[position_++]);
    if (shift == 63 && byte > 1) return Error("a number has more than 64 bits");
    value |= std::uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return value;
  }
  return Error("a number has more than 64 bits");
}

absl::StatusOr<ProtobufReader::Field> ProtobufReader::Next() {
  MOSSRT_ASSIGN_OR_RETURN(const std::uint64_t tag, Varint());
  Field field;
  const std::uint64_t number = tag >> 3;
  if (number == 0 || number >= (1u << 29)) return Error(Cat("the field number is ", number));
  field.number = static_cast<std::uint32_t>(number);
  field.wire = static_cast<Wire>(tag & 7);
  switch (field.wire) {
    case kVarint: {
      MOSSRT_ASSIGN_OR_RETURN(field.value, Varint());
      return field;
    }
    case kFixed32:
    case kFixed64: {
      const std::size_t size = field.wire == kFixed32 ? 4 : 8;
      if (message_.size() - position_ < size) return Error("the file ends inside a number");
      for (std::size_t i = 0; i < size; ++i) {
        field.value |= std::uint64_t{static_cast<unsigned char>(message_[position_ + i])}
                       << (8 * i);
      }
      position_ += size;
      return field;
    }
    case kBytes: {
      MOSSRT_ASSIGN_OR_RETURN(const std::uint64_t size, Varint());
      if (size > message_.size() - position_) {
        return Error(Cat("a field of ", size, " bytes is announced, but only ",
                         message_.size() - position_, " are left"));
      }
      field.bytes = message_.substr(position_, static_cast<std::size_t>(size));
      position_ += static_cast<std::size_t>(size);
      return field;
    }
  }
  return Error(Cat("the wire type is ", tag & 7, ", expected 0, 1, 2 or 5"));
}

absl::Status ProtobufReader::Expect(const Field& field, Wire wire) const {
  if (field.wire == wire) return absl::OkStatus();
  return Error(Cat("field ", field.number, " has the wire type ", static_cast<int>(field.wire),
                   ", expected ", static_cast<int>(wire)));
}

}  // namespace mossrt::runtime
