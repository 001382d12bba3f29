// A saved session as bytes, taken apart and put together again with sums that fit, for tests and
// fuzzing.
#pragma once

#include <cstring>
#include <vector>

#include "base/checksum.h"
#include "generate/saved_session_layout.h"
#include "mossrt/runtime/session.h"

namespace mossrt::runtime {

using Bytes = std::vector<std::uint8_t>;

inline absl::StatusOr<Bytes> SaveBytes(const Session& session) {
  Bytes bytes;
  const absl::Status status = session.SaveTo([&bytes](std::span<const std::uint8_t> piece) {
    bytes.insert(bytes.end(), piece.begin(), piece.end());
    return absl::OkStatus();
  });
  if (!status.ok()) return status;
  return bytes;
}

inline SavedHeader HeaderOf(const Bytes& saved) {
  SavedHeader header;
  std::memcpy(&header, saved.data(), sizeof header);
  return header;
}

// Both sums made to fit, as far as the header leaves room for them.
inline void FixSums(Bytes* saved) {
  const auto put = [saved](std::size_t at) {
    const std::uint64_t sum = Checksum::Of(std::span(*saved).first(at));
    std::memcpy(saved->data() + at, &sum, sizeof sum);
  };
  if (saved->size() < sizeof(SavedHeader) + 2 * kSavedSum) return;
  const SavedHeader h = HeaderOf(*saved);
  for (const std::uint64_t n : {h.tokens, h.probe, h.logits, h.shape_bytes, h.numerics_bytes}) {
    if (n > saved->size()) return;
  }
  if (h.HeadBytes() <= saved->size()) put(h.HeadBytes() - kSavedSum);
  put(saved->size() - kSavedSum);
}

}  // namespace mossrt::runtime
