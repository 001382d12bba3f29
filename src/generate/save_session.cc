#include <vector>

#include "base/atomic_file.h"
#include "base/checksum.h"
#include "base/status.h"
#include "generate/saved_session_layout.h"
#include "generate/session_impl.h"

namespace mossrt::runtime {
namespace {

std::span<const std::uint8_t> BytesOf(const void* data, std::size_t size) {
  return {static_cast<const std::uint8_t*>(data), size};
}

// Hands bytes on in whole pieces, with their sum at the end.
class PieceWriter {
 public:
  explicit PieceWriter(const Session::Sink& sink) : sink_(sink) { piece_.reserve(kSavedPiece); }

  absl::Status Add(std::span<const std::uint8_t> bytes) {
    while (!bytes.empty()) {
      const std::size_t n = std::min(bytes.size(), kSavedPiece - piece_.size());
      piece_.insert(piece_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n));
      bytes = bytes.subspan(n);
      if (piece_.size() < kSavedPiece) continue;
      sum_.Add(piece_);
      MOSSRT_RETURN_IF_ERROR(sink_(piece_));
      piece_.clear();
    }
    return absl::OkStatus();
  }
  absl::Status Finish() {
    const std::uint64_t sum = sum_.Finish(piece_);
    if (!piece_.empty()) MOSSRT_RETURN_IF_ERROR(sink_(piece_));
    return sink_(BytesOf(&sum, sizeof sum));
  }

 private:
  const Session::Sink& sink_;
  std::vector<std::uint8_t> piece_;
  Checksum sum_;
};

absl::Status WriteRows(const KvCache& kv, PieceWriter* out) {
  const KvShape& shape = kv.shape();
  std::vector<std::byte> row(shape.RowBytes());
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
      for (const auto read : {&KvCache::ReadKey, &KvCache::ReadValue}) {
        for (std::int64_t position = 0; position < kv.length(); ++position) {
          (kv.*read)(position, layer, head, row.data());
          MOSSRT_RETURN_IF_ERROR(out->Add(BytesOf(row.data(), row.size())));
        }
      }
    }
  }
  return absl::OkStatus();
}

SavedHeader HeaderOf(const Session& session, const KvCache& kv) {
  const KvShape& shape = kv.shape();
  const auto dtype = std::find(kSavedDTypes.begin(), kSavedDTypes.end(), shape.dtype);
  SavedHeader header{
      .kv_dtype = static_cast<std::uint32_t>(dtype - kSavedDTypes.begin()),
      .layers = static_cast<std::uint64_t>(shape.layers),
      .kv_heads = static_cast<std::uint64_t>(shape.kv_heads),
      .head_dim = static_cast<std::uint64_t>(shape.head_dim),
      .context = static_cast<std::uint64_t>(session.context()),
      .tokens = session.tokens().size(),
      .evaluated = static_cast<std::uint64_t>(kv.length()),
      .logits = session.last_logits().size(),
      .probe = static_cast<std::uint64_t>(session.model().params().hidden + Fingerprint::kLogits),
      .shape_bytes = session.model().shape_text().size(),
      .numerics_bytes = session.numerics().size(),
  };
  kSavedMagic.copy(header.magic.data(), header.magic.size());
  header.file_bytes = header.HeadBytes() +
                      header.layers * header.kv_heads * 2 * header.evaluated * shape.RowBytes() +
                      kSavedSum;
  return header;
}

}  // namespace

std::uint64_t Session::saved_bytes() const { return HeaderOf(*this, *impl_->kv).file_bytes; }

absl::Status Session::SaveTo(const Sink& sink, Monitor* monitor) const {
  if (!kSavedAsInMemory) {
    return absl::UnimplementedError(
        "sessions are saved on little-endian machines alone, and this one is not");
  }
  const Impl& s = *impl_;
  MOSSRT_ASSIGN_OR_RETURN(const Fingerprint* fingerprint, s.model.fingerprint(monitor));
  try {
    const SavedHeader header = HeaderOf(*this, *s.kv);
    std::vector<std::uint8_t> head;
    head.reserve(header.HeadBytes());
    const auto append = [&head](const void* data, std::size_t size) {
      const auto bytes = BytesOf(data, size);
      head.insert(head.end(), bytes.begin(), bytes.end());
    };
    append(&header, sizeof header);
    append(s.tokens.data(), s.tokens.size() * sizeof(std::int32_t));
    append(fingerprint->probe.data(), fingerprint->probe.size() * sizeof(float));
    append(last_logits().data(), last_logits().size_bytes());
    append(fingerprint->shape.data(), fingerprint->shape.size());
    append(numerics().data(), header.numerics_bytes);
    const std::uint64_t sum = Checksum::Of(head);
    append(&sum, sizeof sum);
    std::uint64_t done = 0;
    const Sink watched = [&](std::span<const std::uint8_t> piece) -> absl::Status {
      MOSSRT_RETURN_IF_ERROR(sink(piece));
      done += piece.size();
      return Tick(monitor, "save", done, header.file_bytes);
    };
    PieceWriter out(watched);
    MOSSRT_RETURN_IF_ERROR(out.Add(head));
    MOSSRT_RETURN_IF_ERROR(WriteRows(*s.kv, &out));
    return out.Finish();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("no memory for saving the session");
  }
}

absl::Status Session::Save(const std::string& path, Monitor* monitor) const {
  MOSSRT_RETURN_IF_ERROR(CheckReplaces(path, kSavedMagic, "saved session"));
  MOSSRT_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path, saved_bytes()));
  std::uint64_t at = 0;
  const auto write = [&](std::span<const std::uint8_t> piece) {
    const std::uint64_t offset = at;
    at += piece.size();
    return file.Write(offset, piece);
  };
  MOSSRT_RETURN_IF_ERROR(SaveTo(write, monitor));
  return file.Commit();
}

}  // namespace mossrt::runtime
