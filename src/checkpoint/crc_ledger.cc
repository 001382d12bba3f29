#include <isa-l/crc.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <functional>
#include <mutex>
#include <new>
#include <optional>
#include <span>
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
  return crc32_gzip_refl(crc, bytes.data(), bytes.size());  // zlib's crc32 by carry-less products
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

// One storage that is read again.
struct Rereading {
  std::size_t index;
  std::uint32_t crc = 0;
};

// `tick` runs before each slab.
absl::Status Reread(const ByteSource& source, const StorageInfo& storage,
                    std::span<std::uint8_t> slab, const std::function<absl::Status()>& tick,
                    std::uint32_t* crc) {
  for (std::uint64_t at = 0; at < storage.size; at += slab.size()) {
    MOSSRT_RETURN_IF_ERROR(tick());
    const auto part = slab.first(std::min<std::uint64_t>(slab.size(), storage.size - at));
    MOSSRT_RETURN_IF_ERROR(source.Read(storage.file, storage.offset + at, part));
    *crc = Crc(*crc, part);
  }
  return absl::OkStatus();
}

// Each thread takes the next storage until none is left or one of them has failed.
absl::Status RereadAll(const Checkpoint& checkpoint, const CrcLedger::Runner& on_all_threads,
                       const std::function<absl::Status()>& tick, const Monitor* monitor,
                       std::vector<Rereading>* rereadings) {
  std::atomic<std::size_t> next{0};
  std::atomic<bool> stop{false};
  std::mutex mutex;
  absl::Status first_error;
  const auto work = [&](int thread, int) {
    absl::Status status;
    const auto before_slab = [&]() -> absl::Status {
      if (Cancelled(monitor)) return absl::CancelledError("loading was cancelled");
      if (stop.load(std::memory_order_relaxed))
        return absl::CancelledError("another thread failed");
      return thread == 0 && tick != nullptr ? tick() : absl::OkStatus();
    };
    try {
      std::vector<std::uint8_t> slab(kSlab);
      for (std::size_t i; status.ok() && (i = next.fetch_add(1)) < rereadings->size();) {
        Rereading& reread = (*rereadings)[i];
        status = Reread(checkpoint.source(), checkpoint.storages()[reread.index], slab, before_slab,
                        &reread.crc);
      }
    } catch (const std::bad_alloc&) {
      status = absl::ResourceExhaustedError("no memory to read storages again for their CRCs");
    }
    if (status.ok()) return;
    const std::lock_guard lock(mutex);
    if (first_error.ok() && !stop) first_error = status;
    stop = true;
  };
  if (on_all_threads != nullptr) {
    on_all_threads(work);
  } else {
    work(0, 1);
  }
  return first_error;
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

absl::Status CrcLedger::Check(const Runner& on_all_threads,
                              const std::function<absl::Status()>& tick,
                              const Monitor* monitor) const {
  std::unique_lock lock(impl_->mutex);
  const std::vector<StorageInfo>& storages = impl_->checkpoint->storages();
  std::map<std::size_t, std::uint32_t> found;
  std::vector<Rereading> rereadings;
  for (const auto& [index, record] : impl_->records) {
    if (const auto crc = Combined(record.pieces, storages[index].size)) {
      found[index] = *crc;
    } else {
      rereadings.push_back({.index = index});
    }
  }
  // The longest first, so that no thread is left with one at the end.
  std::stable_sort(rereadings.begin(), rereadings.end(), [&](const auto& a, const auto& b) {
    return storages[a.index].size > storages[b.index].size;
  });
  lock.unlock();  // never held while waiting for a team whose work calls Add
  MOSSRT_RETURN_IF_ERROR(RereadAll(*impl_->checkpoint, on_all_threads, tick, monitor, &rereadings));
  lock.lock();
  for (const Rereading& reread : rereadings) found[reread.index] = reread.crc;
  for (const auto& [index, record] : impl_->records) {
    const StorageInfo& storage = storages[index];
    if (found[index] == storage.crc) continue;
    return absl::DataLossError(Cat(impl_->checkpoint->source().name(), "/", storage.file, ": the ",
                                   storage.size, " bytes at offset ", storage.offset,
                                   ", which hold tensor ", Quoted(record.tensor), ", have CRC-32 ",
                                   found[index], " where the file's directory says ", storage.crc,
                                   "; the file is damaged, download it again"));
  }
  return absl::OkStatus();
}

}  // namespace mossrt::runtime
