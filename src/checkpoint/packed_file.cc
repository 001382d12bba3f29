#include "checkpoint/packed_file.h"

#include <algorithm>
#include <charconv>
#include <new>
#include <set>

#include "base/atomic_file.h"
#include "base/checksum.h"
#include "base/status.h"
#include "checkpoint/bytes.h"
#include "checkpoint/packed_layout.h"

namespace mossrt::runtime {
namespace {

// Small enough that the sum is made while the bytes are in the second cache.
constexpr std::uint64_t kPiece = std::uint64_t{256} << 10;
static_assert(kPackedSlab % kPiece == 0 && kPiece % Checksum::kStripe == 0);

constexpr std::string_view kAgain =
    "; convert the checkpoint again with this version (mossrt convert)";

absl::StatusOr<std::uint64_t> SumOf(const Json& json, std::string_view what) {
  std::uint64_t sum = 0;
  if (json.is_string()) {
    const auto& text = json.get_ref<const std::string&>();
    const char* end = text.data() + text.size();
    const auto parsed = std::from_chars(text.data(), end, sum, 16);
    if (text.size() == 16 && parsed.ec == std::errc() && parsed.ptr == end) return sum;
  }
  return absl::InvalidArgumentError(
      Cat(what, ": a checksum is 16 hexadecimal digits, not ", DumpJson(json).substr(0, 40)));
}

absl::StatusOr<std::uint64_t> Required(const JsonReader& reader, std::string_view key) {
  MOSSRT_ASSIGN_OR_RETURN(const auto value, reader.Int(key, 0, INT64_MAX));
  if (value) return static_cast<std::uint64_t>(*value);
  return reader.WrongType(key, "a number");
}

absl::StatusOr<std::string> RequiredText(const JsonReader& reader, std::string_view key) {
  MOSSRT_ASSIGN_OR_RETURN(auto value, reader.String(key));
  if (value) return *std::move(value);
  return reader.WrongType(key, "a text");
}

}  // namespace

bool IsPackedFile(const std::string& path) { return FileBeginsWith(path, kPackedMagic); }

absl::StatusOr<std::unique_ptr<PackedFile>> PackedFile::Open(std::unique_ptr<ByteSource> folder,
                                                             std::string file) {
  std::unique_ptr<PackedFile> packed(new PackedFile);
  packed->path_ = Cat(folder->name(), folder->name().ends_with('/') ? "" : "/", file);
  packed->folder_ = std::move(folder);
  packed->file_ = std::move(file);
  try {
    MOSSRT_RETURN_IF_ERROR(packed->ReadHeader());
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(Cat(packed->path_, ": no memory for its manifest"));
  }
  return packed;
}

absl::Status PackedFile::Damaged(std::string_view what) const {
  return absl::DataLossError(
      Cat(path_, ": ", what, "; the file is damaged or cut short, so copy or convert it again"));
}

absl::Status PackedFile::ReadHeader() {
  MOSSRT_ASSIGN_OR_RETURN(size_, folder_->Size(file_));
  std::array<std::uint8_t, kPackedHeader> bytes{};
  const std::span<std::uint8_t> start(bytes.data(), std::min<std::uint64_t>(size_, bytes.size()));
  MOSSRT_RETURN_IF_ERROR(folder_->Read(file_, 0, start));
  PackedHeader header;
  std::memcpy(&header, bytes.data(), sizeof header);
  if (start.size() < kPackedMagic.size() ||
      std::string_view(header.magic, sizeof header.magic) != kPackedMagic) {
    return absl::InvalidArgumentError(
        Cat(path_,
            ": is a file, but no packed model (which mossrt convert writes); for a "
            "checkpoint give the folder that holds config.json and the weights"));
  }
  if (start.size() < bytes.size()) {
    return Damaged(Cat("has ", size_, " bytes where the header alone has ", bytes.size()));
  }
  if (header.byte_order == __builtin_bswap32(kPackedByteOrder)) {
    return absl::UnimplementedError(
        Cat(path_,
            ": was written on a machine of the other byte order; convert the checkpoint "
            "again on this one (mossrt convert)"));
  }
  if (header.byte_order != kPackedByteOrder) {
    return Damaged(
        Cat("the mark of its byte order is ", header.byte_order, ", not ", kPackedByteOrder));
  }
  if (header.version != kPackedVersion) {
    return absl::UnimplementedError(Cat(path_, ": is a packed file of version ", header.version,
                                        ", and this version of mossrt reads version ",
                                        kPackedVersion, kAgain));
  }
  const std::uint64_t sum = Checksum::Of({bytes.data(), bytes.size() - 8});
  if (header.sum != sum || header.zero != 0 || header.zero2 != 0) {
    return Damaged("its header does not fit the header's checksum");
  }
  if (header.file_bytes != size_) {
    return Damaged(Cat("has ", size_, " bytes where its header says ", header.file_bytes));
  }
  if (header.manifest_bytes > kMaxPackedManifest || header.manifest_bytes > size_ - bytes.size()) {
    return Damaged(Cat("its header claims a manifest of ", header.manifest_bytes, " bytes"));
  }
  layout_version_ = header.layout_version;
  std::string manifest(static_cast<std::size_t>(header.manifest_bytes), '\0');
  const std::span<std::uint8_t> text(reinterpret_cast<std::uint8_t*>(manifest.data()),
                                     manifest.size());
  MOSSRT_RETURN_IF_ERROR(folder_->Read(file_, kPackedHeader, text));
  if (Checksum::Of(text) != header.manifest_sum) {
    return Damaged("its manifest does not fit its checksum");
  }
  const absl::Status status = ReadManifest(manifest);
  if (!absl::IsInvalidArgument(status)) return status;
  return absl::DataLossError(
      Cat(Message(status), "; the file is damaged, so copy or convert it again"));
}

absl::Status PackedFile::ReadManifest(std::string_view text) {
  const std::string what = Cat(path_, ": manifest");
  MOSSRT_ASSIGN_OR_RETURN(const Json manifest, ParseJsonObject(text, what, ""));
  const JsonReader reader(manifest, what);
  MOSSRT_ASSIGN_OR_RETURN(backend_, RequiredText(reader, "backend"));
  MOSSRT_ASSIGN_OR_RETURN(made_by_, RequiredText(reader, "made_by"));
  const Json* model = reader.Find("model");
  if (model == nullptr || !model->is_object()) return reader.WrongType("model", "an object");
  model_ = *model;
  std::uint64_t end = kPackedHeader + text.size();
  MOSSRT_RETURN_IF_ERROR(ReadFiles(manifest, &end));
  MOSSRT_RETURN_IF_ERROR(ReadSections(manifest, &end));
  if (end == size_) return absl::OkStatus();
  return Damaged(Cat("its parts end at ", end, ", but it has ", size_, " bytes"));
}

absl::Status PackedFile::ReadFiles(const Json& manifest, std::uint64_t* end) {
  const std::string where = Cat(path_, ": manifest");
  const Json* list = JsonReader(manifest, where).Find("files");
  if (list == nullptr || !list->is_array()) {
    return JsonReader(manifest, where).WrongType("files", "a list");
  }
  if (list->size() > kMaxPackedFiles) {
    return Damaged(Cat("its manifest lists ", list->size(), " files, more than ", kMaxPackedFiles));
  }
  std::map<std::string, std::string> files;
  for (const Json& entry : *list) {
    if (!entry.is_object()) return Damaged("an entry of \"files\" in its manifest is no object");
    const JsonReader reader(entry, Cat(where, ": files"));
    MOSSRT_ASSIGN_OR_RETURN(const std::string name, RequiredText(reader, "name"));
    MOSSRT_ASSIGN_OR_RETURN(const std::uint64_t bytes, Required(reader, "bytes"));
    MOSSRT_ASSIGN_OR_RETURN(const std::uint64_t sum,
                            SumOf(entry.value("sum", Json()), Cat(where, ": ", Quoted(name))));
    const std::uint64_t offset = PackedAlignUp(*end, kPackedAlign);
    if (bytes > kMaxPackedFile || offset > size_ || bytes > size_ - offset) {
      return Damaged(Cat("file ", Quoted(name), " of ", bytes, " bytes at offset ", offset,
                         " reaches beyond the end at ", size_));
    }
    std::string text(static_cast<std::size_t>(bytes), '\0');
    const std::span<std::uint8_t> out(reinterpret_cast<std::uint8_t*>(text.data()), text.size());
    MOSSRT_RETURN_IF_ERROR(folder_->Read(file_, offset, out));
    if (Checksum::Of(out) != sum) {
      return Damaged(Cat("file ", Quoted(name), ", ", bytes, " bytes at offset ", offset,
                         ", does not fit its checksum"));
    }
    if (!files.emplace(name, std::move(text)).second) {
      return Damaged(Cat("its manifest lists file ", Quoted(name), " twice"));
    }
    *end = offset + bytes;
  }
  files_ = OpenMemory(path_, std::move(files));
  return absl::OkStatus();
}

absl::Status PackedFile::ReadSections(const Json& manifest, std::uint64_t* end) {
  const std::string where = Cat(path_, ": manifest");
  const Json* all = JsonReader(manifest, where).Find("sections");
  if (all == nullptr || !all->is_object() || all->size() != kPackedParts.size()) {
    return JsonReader(manifest, where)
        .WrongType("sections", Cat("an object with ", Join(kPackedParts, ", ")));
  }
  for (std::size_t i = 0; i < kPackedParts.size(); ++i) {
    const std::string_view name = kPackedParts[i];
    const Json* entry = JsonReader(*all, Cat(where, ": sections")).Find(name);
    if (entry == nullptr || !entry->is_object()) {
      return JsonReader(*all, Cat(where, ": sections")).WrongType(name, "an object");
    }
    const JsonReader reader(*entry, Cat(where, ": section ", name));
    PackedSection& section = sections_[i];
    MOSSRT_ASSIGN_OR_RETURN(section.bytes, Required(reader, "bytes"));
    const bool large = i >= static_cast<std::size_t>(PackedPart::kWeights);
    section.offset =
        section.bytes == 0 ? *end : PackedAlignUp(*end, large ? kPackedPageAlign : kPackedAlign);
    if (section.offset > size_ || section.bytes > size_ - section.offset) {
      return Damaged(Cat("section ", name, " of ", section.bytes, " bytes at offset ",
                         section.offset, " reaches beyond the end at ", size_));
    }
    const Json* sums = reader.Find("sums");
    const std::uint64_t slabs = (section.bytes + kPackedSlab - 1) / kPackedSlab;
    if (sums == nullptr || !sums->is_array() || sums->size() != slabs) {
      return reader.WrongType("sums", Cat("a list of ", slabs, " checksums"));
    }
    for (const Json& sum : *sums) {
      MOSSRT_ASSIGN_OR_RETURN(section.sums.emplace_back(), SumOf(sum, Cat(where, ": ", name)));
    }
    *end = section.offset + section.bytes;
  }
  return absl::OkStatus();
}

// take(offset within the slab, bytes) gives the place where to read them.
template <typename Take>
absl::Status PackedFile::ReadPieces(PackedPart part, std::size_t slab, bool verify,
                                    const Take& take) const {
  const PackedSection& s = section(part);
  const std::uint64_t bytes = s.SlabBytes(slab), offset = s.offset + slab * kPackedSlab;
  Checksum checksum;
  std::uint64_t sum = 0;
  for (std::uint64_t at = 0; at < bytes; at += kPiece) {
    const std::uint64_t n = std::min(kPiece, bytes - at);
    const std::span<std::uint8_t> out = take(at, n);
    MOSSRT_RETURN_IF_ERROR(folder_->Read(file_, offset + at, out));
    if (!verify) continue;
    if (at + n < bytes) {
      checksum.Add(out);
    } else {
      sum = checksum.Finish(out);
    }
  }
  if (!verify || sum == s.sums[slab]) return absl::OkStatus();
  return Damaged(Cat("bytes ", offset, " to ", offset + bytes - 1, " (",
                     kPackedParts[static_cast<std::size_t>(part)], ") do not fit their checksum"));
}

absl::Status PackedFile::ReadSlab(PackedPart part, std::size_t slab, bool verify,
                                  std::span<std::uint8_t> out) const {
  return ReadPieces(part, slab, verify, [out](std::uint64_t at, std::uint64_t n) {
    return out.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(n));
  });
}

absl::Status PackedFile::VerifySlab(PackedPart part, std::size_t slab) const {
  std::vector<std::uint8_t> piece(kPiece);
  return ReadPieces(part, slab, true, [&piece](std::uint64_t, std::uint64_t n) {
    return std::span<std::uint8_t>(piece.data(), static_cast<std::size_t>(n));
  });
}

absl::StatusOr<std::shared_ptr<const std::byte>> PackedFile::Map(PackedPart part) const {
  const PackedSection& s = section(part);
  return folder_->Map(file_, s.offset, s.bytes);
}

}  // namespace mossrt::runtime
