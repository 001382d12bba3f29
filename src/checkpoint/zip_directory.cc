// The layout is that of PKWARE's APPNOTE.TXT, sections 4.3.7 (local header), 4.3.12 (central
// header), 4.3.14 to 4.3.16 (ends of the directory) and 4.5.3 (Zip64 extra field).
#include "checkpoint/zip_directory.h"

#include <zlib.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include "base/status.h"
#include "checkpoint/bytes.h"

namespace mossrt::runtime {
namespace {

constexpr std::uint32_t kLocalSignature = 0x04034B50;
constexpr std::uint32_t kCentralSignature = 0x02014B50;
constexpr std::uint32_t kEndSignature = 0x06054B50;
constexpr std::uint32_t kEnd64Signature = 0x06064B50;
constexpr std::uint32_t kLocator64Signature = 0x07064B50;
constexpr std::uint64_t kLocalSize = 30;
constexpr std::uint64_t kCentralSize = 46;
constexpr std::uint64_t kEndSize = 22;
constexpr std::uint64_t kEnd64Size = 56;
constexpr std::uint64_t kLocator64Size = 20;
constexpr std::uint16_t kEncrypted = 1 << 0;
constexpr std::uint16_t kSizesFollowData = 1 << 3;  // then the local header may hold zeros
constexpr std::uint32_t kIn64 = 0xFFFFFFFF;         // "see the Zip64 record"
constexpr std::uint64_t kMaxDirectoryBytes = 256u << 20;
constexpr std::uint64_t kMaxEntries = 1'000'000;

struct Central {
  ZipEntry entry;
  std::uint64_t header = 0;  // offset of the local header
  std::uint16_t method = 0;
};

struct Extent {
  std::uint64_t offset = 0;
  std::uint64_t size = 0;
  std::uint64_t entries = 0;
};

struct Sizes {
  std::uint64_t plain = 0;
  std::uint64_t packed = 0;
  std::uint64_t header = 0;
};

class Reader {
 public:
  Reader(const ByteSource& source, const std::string& file) : source_(source), file_(file) {}

  absl::StatusOr<ZipDirectory> Read() {
    MOSSRT_ASSIGN_OR_RETURN(file_size_, source_.Size(file_));
    MOSSRT_ASSIGN_OR_RETURN(const Extent extent, FindDirectory());
    MOSSRT_ASSIGN_OR_RETURN(std::vector<Central> centrals, ReadCentrals(extent));
    std::sort(centrals.begin(), centrals.end(),
              [](const Central& a, const Central& b) { return a.header < b.header; });
    std::vector<ZipEntry> entries;
    entries.reserve(centrals.size());
    for (std::size_t i = 0; i < centrals.size(); ++i) {
      const std::uint64_t limit = i + 1 < centrals.size() ? centrals[i + 1].header : extent.offset;
      MOSSRT_RETURN_IF_ERROR(CheckLocal(limit, &centrals[i]));
      entries.push_back(std::move(centrals[i].entry));
    }
    ZipDirectory directory(std::move(entries));
    const std::vector<ZipEntry>& sorted = directory.entries();
    const auto twin =
        std::adjacent_find(sorted.begin(), sorted.end(),
                           [](const ZipEntry& a, const ZipEntry& b) { return a.name == b.name; });
    if (twin != sorted.end()) {
      return Bad(extent.offset, Cat("the zip directory names ", Quoted(twin->name), " twice"));
    }
    return directory;
  }

 private:
  absl::Status Bad(std::uint64_t offset, std::string_view text) const {
    return absl::DataLossError(Cat(source_.name(), "/", file_, ", offset ", offset, ": ", text,
                                   "; the file is damaged, download it again"));
  }

  absl::StatusOr<std::string> Bytes(std::uint64_t offset, std::uint64_t size) const {
    std::string bytes(size, '\0');
    MOSSRT_RETURN_IF_ERROR(
        source_.Read(file_, offset, {reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()}));
    return bytes;
  }

  absl::StatusOr<Extent> FindDirectory() const {
    // The end record stands last but for a comment of up to 65535 bytes.
    const std::uint64_t tail_size = std::min<std::uint64_t>(file_size_, kEndSize + 0xFFFF);
    const std::uint64_t tail_offset = file_size_ - tail_size;
    MOSSRT_ASSIGN_OR_RETURN(const std::string tail, Bytes(tail_offset, tail_size));
    for (std::uint64_t at = tail_size < kEndSize ? 0 : tail_size - kEndSize + 1; at-- > 0;) {
      const std::uint8_t* end = AsBytes(tail) + at;
      if (LoadLittle<std::uint32_t>(end) == kEndSignature &&
          LoadLittle<std::uint16_t>(end + 20) == tail_size - at - kEndSize) {
        return ReadEnd(tail_offset + at, end);
      }
    }
    return Bad(file_size_,
               "the zip directory that should end the file is missing, so the file is "
               "cut short");
  }

  absl::StatusOr<Extent> ReadEnd(std::uint64_t at, const std::uint8_t* end) const {
    const std::uint64_t entries = LoadLittle<std::uint16_t>(end + 10);
    Extent extent{LoadLittle<std::uint32_t>(end + 16), LoadLittle<std::uint32_t>(end + 12),
                  entries};
    const bool one_disk = LoadLittle<std::uint16_t>(end + 4) == 0 &&
                          LoadLittle<std::uint16_t>(end + 6) == 0 &&
                          LoadLittle<std::uint16_t>(end + 8) == entries;
    if (!one_disk) return Bad(at, "the zip file claims to be one of several disks");
    std::uint64_t directory_end = at;
    MOSSRT_ASSIGN_OR_RETURN(const std::optional<std::uint64_t> end64, FindEnd64(at));
    if (end64) {
      directory_end = *end64;
      MOSSRT_ASSIGN_OR_RETURN(extent, ReadEnd64(*end64, at, extent));
    } else if (extent.offset == kIn64 || extent.size == kIn64 || extent.entries == 0xFFFF) {
      return Bad(at, "the zip directory refers to a Zip64 record that is missing");
    }
    if (extent.offset > directory_end || directory_end - extent.offset != extent.size) {
      return Bad(at, Cat("the zip directory should fill the bytes up to ", directory_end,
                         ", found offset ", extent.offset, " and size ", extent.size));
    }
    if (extent.size > kMaxDirectoryBytes || extent.entries > kMaxEntries ||
        extent.entries > extent.size / kCentralSize) {
      return Bad(at, Cat("the zip directory claims ", extent.entries, " entries in ", extent.size,
                         " bytes"));
    }
    return extent;
  }

  absl::StatusOr<std::optional<std::uint64_t>> FindEnd64(std::uint64_t end) const {
    if (end < kLocator64Size + kEnd64Size) return std::nullopt;
    const std::uint64_t at = end - kLocator64Size;
    MOSSRT_ASSIGN_OR_RETURN(const std::string locator, Bytes(at, kLocator64Size));
    const std::uint8_t* bytes = AsBytes(locator);
    if (LoadLittle<std::uint32_t>(bytes) != kLocator64Signature) return std::nullopt;
    const auto offset = LoadLittle<std::uint64_t>(bytes + 8);
    if (LoadLittle<std::uint32_t>(bytes + 4) != 0 || LoadLittle<std::uint32_t>(bytes + 16) > 1 ||
        offset > at - kEnd64Size) {
      return Bad(at, Cat("the Zip64 locator points to offset ", offset, " or to another disk"));
    }
    return offset;
  }

  // `narrow` is what the older record says; fields that are not saturated there must agree.
  absl::StatusOr<Extent> ReadEnd64(std::uint64_t at, std::uint64_t end, Extent narrow) const {
    MOSSRT_ASSIGN_OR_RETURN(const std::string record, Bytes(at, kEnd64Size));
    const std::uint8_t* bytes = AsBytes(record);
    const std::uint64_t room = end - kLocator64Size - at;
    if (LoadLittle<std::uint32_t>(bytes) != kEnd64Signature ||
        LoadLittle<std::uint64_t>(bytes + 4) != room - 12) {
      return Bad(at, "expected a Zip64 end record that reaches to its locator");
    }
    const auto entries = LoadLittle<std::uint64_t>(bytes + 32);
    const Extent wide{LoadLittle<std::uint64_t>(bytes + 48), LoadLittle<std::uint64_t>(bytes + 40),
                      entries};
    if (LoadLittle<std::uint32_t>(bytes + 16) != 0 || LoadLittle<std::uint32_t>(bytes + 20) != 0 ||
        LoadLittle<std::uint64_t>(bytes + 24) != entries) {
      return Bad(at, "the zip file claims to be one of several disks");
    }
    if ((narrow.offset != kIn64 && narrow.offset != wide.offset) ||
        (narrow.size != kIn64 && narrow.size != wide.size) ||
        (narrow.entries != 0xFFFF && narrow.entries != wide.entries)) {
      return Bad(at, "the Zip64 end record contradicts the plain one");
    }
    return wide;
  }

  absl::StatusOr<std::vector<Central>> ReadCentrals(const Extent& extent) const {
    MOSSRT_ASSIGN_OR_RETURN(const std::string directory, Bytes(extent.offset, extent.size));
    std::vector<Central> centrals;
    centrals.reserve(extent.entries);
    std::uint64_t at = 0;
    for (std::uint64_t i = 0; i < extent.entries; ++i) {
      const std::string_view rest = std::string_view(directory).substr(at);
      const std::uint64_t where = extent.offset + at;
      if (rest.size() < kCentralSize ||
          LoadLittle<std::uint32_t>(AsBytes(rest)) != kCentralSignature) {
        return Bad(where,
                   Cat("expected entry ", i + 1, " of ", extent.entries, " of the zip directory"));
      }
      const std::uint8_t* bytes = AsBytes(rest);
      const std::uint64_t name_size = LoadLittle<std::uint16_t>(bytes + 28);
      const std::uint64_t extra_size = LoadLittle<std::uint16_t>(bytes + 30);
      const std::uint64_t total =
          kCentralSize + name_size + extra_size + LoadLittle<std::uint16_t>(bytes + 32);
      if (total > rest.size())
        return Bad(where, "a zip directory entry passes the directory's end");
      MOSSRT_ASSIGN_OR_RETURN(Central central,
                              ReadCentral(where, bytes, rest.substr(kCentralSize, name_size),
                                          rest.substr(kCentralSize + name_size, extra_size)));
      centrals.push_back(std::move(central));
      at += total;
    }
    if (at != directory.size()) {
      return Bad(extent.offset + at, "the zip directory goes on after its last entry");
    }
    return centrals;
  }

  absl::StatusOr<Central> ReadCentral(std::uint64_t where, const std::uint8_t* bytes,
                                      std::string_view name, std::string_view extra) const {
    Sizes sizes{LoadLittle<std::uint32_t>(bytes + 24), LoadLittle<std::uint32_t>(bytes + 20),
                LoadLittle<std::uint32_t>(bytes + 42)};
    if (!Widen(extra, &sizes)) {
      return Bad(where, Cat("entry ", Quoted(name), " has no whole Zip64 extra field"));
    }
    const auto flags = LoadLittle<std::uint16_t>(bytes + 8);
    const auto method = LoadLittle<std::uint16_t>(bytes + 10);
    if ((flags & kEncrypted) != 0 || method != 0) {
      const bool script = name.find("/code/") != std::string_view::npos;
      return absl::UnimplementedError(
          Cat(source_.name(), "/", file_, ", offset ", where, ": entry ", Quoted(name), " is ",
              method != 0 ? "compressed" : "encrypted",
              script ? "; this is a TorchScript archive, which holds a program. Save the model's "
                       "state_dict with torch.save instead"
                     : "; torch stores entries as they are. Load the file with torch and save it "
                       "again"));
    }
    if (sizes.packed != sizes.plain) {
      return Bad(where, Cat("entry ", Quoted(name), " is stored, yet its two sizes differ: ",
                            sizes.packed, " and ", sizes.plain));
    }
    const auto disk = LoadLittle<std::uint16_t>(bytes + 34);
    if (disk != 0) return Bad(where, Cat("entry ", Quoted(name), " claims to be on disk ", disk));
    Central central;
    central.entry = {std::string(name), 0, sizes.plain, LoadLittle<std::uint32_t>(bytes + 16)};
    central.header = sizes.header;
    central.method = method;
    return central;
  }

  // Replaces saturated fields by those of extra field 1, which holds only these, in this order.
  // False if a field that is needed is missing or the extra fields are malformed.
  static bool Widen(std::string_view extra, Sizes* sizes) {
    std::optional<std::string_view> wide;
    // A tail of fewer than 4 bytes is padding that some writers leave.
    while (extra.size() >= 4) {
      const auto id = LoadLittle<std::uint16_t>(AsBytes(extra));
      const std::size_t size = LoadLittle<std::uint16_t>(AsBytes(extra) + 2);
      if (size > extra.size() - 4) return false;
      if (id == 1 && !wide) wide = extra.substr(4, size);
      extra.remove_prefix(4 + size);
    }
    for (std::uint64_t* field : {&sizes->plain, &sizes->packed, &sizes->header}) {
      if (*field != kIn64) continue;
      if (!wide || wide->size() < 8) return false;
      *field = LoadLittle<std::uint64_t>(AsBytes(*wide));
      wide->remove_prefix(8);
    }
    return true;
  }

  // The local header must repeat the directory's entry; all of it must end before `limit`, where
  // the next header or the directory starts. Bounds are checked before anything is read, so that
  // entries that claim the same bytes cannot multiply the work.
  absl::Status CheckLocal(std::uint64_t limit, Central* central) const {
    ZipEntry& entry = central->entry;
    const std::uint64_t at = central->header;
    const auto passes = [&] {
      return Bad(at, Cat("entry ", Quoted(entry.name), " of ", entry.size, " bytes passes offset ",
                         limit, ", where what follows it starts"));
    };
    if (at > limit || limit - at < kLocalSize + entry.name.size() ||
        limit - at - kLocalSize - entry.name.size() < entry.size) {
      return passes();
    }
    MOSSRT_ASSIGN_OR_RETURN(const std::string header, Bytes(at, kLocalSize + entry.name.size()));
    const std::uint8_t* bytes = AsBytes(header);
    const std::uint64_t extra_size = LoadLittle<std::uint16_t>(bytes + 28);
    if (LoadLittle<std::uint32_t>(bytes) != kLocalSignature ||
        LoadLittle<std::uint16_t>(bytes + 8) != central->method ||
        (LoadLittle<std::uint16_t>(bytes + 6) & kEncrypted) != 0 ||
        LoadLittle<std::uint16_t>(bytes + 26) != entry.name.size() ||
        std::string_view(header).substr(kLocalSize) != entry.name) {
      return Bad(at, Cat("expected the local header of entry ", Quoted(entry.name)));
    }
    entry.offset = at + header.size() + extra_size;
    if (entry.offset > limit || limit - entry.offset < entry.size) return passes();
    return CheckLocalSizes(at, bytes, extra_size, entry);
  }

  absl::Status CheckLocalSizes(std::uint64_t at, const std::uint8_t* header,
                               std::uint64_t extra_size, const ZipEntry& entry) const {
    Sizes sizes{LoadLittle<std::uint32_t>(header + 22), LoadLittle<std::uint32_t>(header + 18), 0};
    const auto crc = LoadLittle<std::uint32_t>(header + 14);
    const bool later = (LoadLittle<std::uint16_t>(header + 6) & kSizesFollowData) != 0;
    if (sizes.plain == kIn64 || sizes.packed == kIn64) {
      MOSSRT_ASSIGN_OR_RETURN(const std::string extra,
                              Bytes(entry.offset - extra_size, extra_size));
      if (!Widen(extra, &sizes)) {
        if (!later) return Bad(at, Cat("entry ", Quoted(entry.name), " has no Zip64 extra field"));
        sizes = {};
      }
    }
    const auto agrees = [later](std::uint64_t local, std::uint64_t central) {
      return local == central || (later && local == 0);
    };
    if (agrees(sizes.plain, entry.size) && agrees(sizes.packed, entry.size) &&
        agrees(crc, entry.crc)) {
      return absl::OkStatus();
    }
    return Bad(at, Cat("the local header of entry ", Quoted(entry.name),
                       " contradicts the zip directory (", entry.size, " bytes, CRC-32 ", entry.crc,
                       "): it says ", sizes.plain, " bytes, CRC-32 ", crc));
  }

  const ByteSource& source_;
  const std::string& file_;
  std::uint64_t file_size_ = 0;
};

}  // namespace

ZipDirectory::ZipDirectory(std::vector<ZipEntry> entries) : entries_(std::move(entries)) {
  std::sort(entries_.begin(), entries_.end(),
            [](const ZipEntry& a, const ZipEntry& b) { return a.name < b.name; });
}

const ZipEntry* ZipDirectory::Find(std::string_view name) const {
  const auto it = std::lower_bound(
      entries_.begin(), entries_.end(), name,
      [](const ZipEntry& entry, std::string_view key) { return entry.name < key; });
  return it == entries_.end() || it->name != name ? nullptr : &*it;
}

absl::StatusOr<ZipDirectory> ReadZipDirectory(const ByteSource& source, const std::string& file) {
  return Reader(source, file).Read();
}

absl::StatusOr<std::string> ReadZipEntry(const ByteSource& source, const std::string& file,
                                         const ZipEntry& entry, std::uint64_t limit) {
  const std::string where = Cat(source.name(), "/", file, ", entry ", Quoted(entry.name));
  if (entry.size > limit) {
    return absl::InvalidArgumentError(
        Cat(where, ": has ", entry.size, " bytes; at most ", limit, " are accepted"));
  }
  std::string bytes(entry.size, '\0');
  MOSSRT_RETURN_IF_ERROR(source.Read(
      file, entry.offset, {reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size()}));
  const auto crc = static_cast<std::uint32_t>(crc32_z(0, AsBytes(bytes), bytes.size()));
  if (crc != entry.crc) {
    return absl::DataLossError(Cat(where, ": its bytes at offset ", entry.offset, " have CRC-32 ",
                                   crc, " where the zip directory says ", entry.crc,
                                   "; the file is damaged, download it again"));
  }
  return bytes;
}

}  // namespace mossrt::runtime
