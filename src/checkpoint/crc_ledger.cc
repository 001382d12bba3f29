#include <zlib.h>

#include <algorithm>
#include <array>
#include <mutex>
#include <optional>
#include <utility>

#include "base/status.h"
#include "checkpoint/bytes.h"
#include "checkpoint/read_rows.h"
#include "checkpoint/tensor_layout.h"
#include "mossrt/runtime/checkpoint.h"

namespace mossrt::runtime {
namespace {

constexpr std::uint64_t kSlab = 1 << 20;

std::uint32_t Crc(std::uint32_t crc, std::span<const std::uint8_t> bytes) {
  return static_cast<std::uint32_t>(crc32_z(crc, bytes.data(), bytes.size()));
}

// Of bytes as the file has them: elements of `width` are turned back first.
std::uint32_t CrcOfSwapped(std::span<const std::uint8_t> bytes, std::size_t width) {
  std::array<std::uint8_t, 4096> part;
  std::uint32_t crc = 0;
  for (std::size_t at = 0; at < bytes.size(); at += part.size()) {
    const std::size_t n = std::min(part.size(), bytes.size() - at);
    std::copy_n(bytes.data() + at, n, part.data());
    SwapElements({part.data(), n}, width);
    crc = Crc(crc, {part.data(), n});
  }
  return crc;
}

struct Piece {
  std::uint64_t offset;  // in the storage
  std::uint64_t size;
  std::uint32_t crc;
  // NOLINTNEXTLINE(modernize-use-nullptr): clang-tidy 14 misreads a comparison by default
  auto operator<=>(const Piece&) const = default;
};

struct Record {
  std::string tensor;  // the first that touched the storage, for the message
  std::vector<Piece> pieces;
};

// The CRC of the whole storage if the pieces tile it in order, each counted once.
std::optional<std::uint32_t> Combined(std::vector<Piece> pieces, std::uint64_t size) {
  std::sort(pieces.begin(), pieces.end());
  pieces.erase(std::unique(pieces.begin(), pieces.end()), pieces.end());
  std::uint64_t end = 0;
  std::uint32_t crc = 0;
  for (const Piece& piece : pieces) {
    if (piece.offset != end) return std::nullopt;
    crc =
        static_cast<std::uint32_t>(crc32_combine(crc, piece.crc, static_cast<z_off_t>(piece.size)));
    end += piece.size;
  }
  if (end != size) return std::nullopt;
  return crc;
}

absl::StatusOr<std::uint32_t> Reread(const ByteSource& source, const StorageInfo& storage,
                                     const Monitor* monitor) {
  std::vector<std::uint8_t> slab(std::min(kSlab, storage.size));
  std::uint32_t crc = 0;
  for (std::uint64_t at = 0; at < storage.size; at += slab.size()) {
    if (Cancelled(monitor)) return absl::CancelledError("loading was cancelled");
    const std::span<std::uint8_t> part(slab.data(), std::min(kSlab, storage.size - at));
    MOSSRT_RETURN_IF_ERROR(source.Read(storage.file, storage.offset + at, part));
    crc = Crc(crc, part);
  }
  return crc;
}

}  // namespace

struct CrcLedger::Impl {
  const Checkpoint* checkpoint = nullptr;
  mutable std::mutex mutex;
  std::map<std::size_t, Record> records;  // by storage
};

CrcLedger::CrcLedger(const Checkpoint& checkpoint) : impl_(std::make_unique<Impl>()) {
  impl_->checkpoint = &checkpoint;
}

CrcLedger::~CrcLedger() = default;

void CrcLedger::Add(const TensorInfo& tensor, std::int64_t first,
                    std::span<const std::uint8_t> bytes) {
  const std::vector<StorageInfo>& storages = impl_->checkpoint->storages();
  if (tensor.storage >= storages.size() || !storages[tensor.storage].has_crc) return;
  const StorageInfo& storage = storages[tensor.storage];
  std::optional<Piece> piece;
  // A view that is not contiguous leaves no piece, so its storage is read once more by Check.
  if (!bytes.empty() && first >= 0 && tensor.contiguous()) {
    const std::uint64_t width = DTypeSize(tensor.dtype);
    const std::uint64_t row = static_cast<std::uint64_t>(RowsOf(tensor).elements_per_row) * width;
    const std::uint32_t crc = storage.swap_bytes ? CrcOfSwapped(bytes, width) : Crc(0, bytes);
    piece = Piece{tensor.storage_offset * width + static_cast<std::uint64_t>(first) * row,
                  bytes.size(), crc};
  }
  const std::lock_guard lock(impl_->mutex);
  Record& record = impl_->records[tensor.storage];
  if (record.tensor.empty()) record.tensor = tensor.name;
  if (piece) record.pieces.push_back(*piece);
}

absl::Status CrcLedger::Check(const Monitor* monitor) const {
  const std::lock_guard lock(impl_->mutex);
  for (const auto& [index, record] : impl_->records) {
    const StorageInfo& storage = impl_->checkpoint->storages()[index];
    std::optional<std::uint32_t> crc = Combined(record.pieces, storage.size);
    if (!crc) {
      MOSSRT_ASSIGN_OR_RETURN(crc, Reread(impl_->checkpoint->source(), storage, monitor));
    }
    if (*crc != storage.crc) {
      return absl::DataLossError(Cat(impl_->checkpoint->source().name(), "/", storage.file,
                                     ": the ", storage.size, " bytes at offset ", storage.offset,
                                     ", which hold tensor ", Quoted(record.tensor),
                                     ", have CRC-32 ", *crc, " where the file's directory says ",
                                     storage.crc, "; the file is damaged, download it again"));
    }
  }
  return absl::OkStatus();
}

}  // namespace mossrt::runtime
