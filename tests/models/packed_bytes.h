// A packed file as bytes: made from a checkpoint that exists in no file, taken apart and put
// together again with sums that fit, for tests and fuzzing.
#pragma once

#include <cstring>
#include <string>

#include "base/checksum.h"
#include "base/json.h"
#include "checkpoint/packed_layout.h"
#include "mossrt/runtime/decoder.h"

namespace mossrt::runtime {

inline std::span<const std::uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

// One file whose bytes the caller may change while it is open.
class OneFile final : public ByteSource {
 public:
  explicit OneFile(const std::string* bytes) : bytes_(bytes) {}
  std::string name() const override { return "mem"; }
  absl::StatusOr<std::vector<std::string>> List() const override {
    return std::vector<std::string>{"m.mossrt"};
  }
  absl::StatusOr<std::uint64_t> Size(std::string_view) const override { return bytes_->size(); }
  absl::Status Read(std::string_view, std::uint64_t offset,
                    std::span<std::uint8_t> out) const override {
    if (offset > bytes_->size() || out.size() > bytes_->size() - offset) {
      return absl::DataLossError("mem/m.mossrt: read beyond the end");
    }
    std::memcpy(out.data(), bytes_->data() + offset, out.size());
    return absl::OkStatus();
  }

 private:
  const std::string* bytes_;
};

inline PackedHeader HeaderOf(const std::string& file) {
  PackedHeader header;
  std::memcpy(&header, file.data(), sizeof header);
  return header;
}

inline void SetHeader(PackedHeader header, std::string* file) {
  header.sum = Checksum::Of({reinterpret_cast<const std::uint8_t*>(&header), sizeof header - 8});
  std::memcpy(file->data(), &header, sizeof header);
}

inline std::string ManifestOf(const std::string& file) {
  return file.substr(kPackedHeader, HeaderOf(file).manifest_bytes);
}

// `file` with another manifest of the same length or with blanks at its end, and good sums.
inline std::string WithManifest(const std::string& file, std::string manifest) {
  const std::size_t room = HeaderOf(file).manifest_bytes;
  std::string out = file;
  if (manifest.size() < room) manifest.resize(room, ' ');
  PackedHeader header = HeaderOf(file);
  // A longer one moves everything behind it, which then lies elsewhere than the rules say, unless
  // the padding before the next part has room.
  header.manifest_bytes = manifest.size();
  header.manifest_sum = Checksum::Of(BytesOf(manifest));
  std::memcpy(out.data() + kPackedHeader, manifest.data(), manifest.size());
  SetHeader(header, &out);
  return out;
}

}  // namespace mossrt::runtime
