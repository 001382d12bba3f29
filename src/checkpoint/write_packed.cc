#include <cstdio>

#include "base/atomic_file.h"
#include "base/checksum.h"
#include "base/status.h"
#include "checkpoint/packed_file.h"
#include "checkpoint/packed_layout.h"

namespace mossrt::runtime {
namespace {

std::span<const std::uint8_t> BytesOf(std::string_view text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

std::string Hex(std::uint64_t sum) {
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(sum));
  return text;
}

std::string ManifestOf(const PackedImage& image) {
  Json manifest = {{"backend", image.backend},
                   {"made_by", image.made_by},
                   {"model", image.model},
                   {"files", Json::array()},
                   {"sections", Json::object()}};
  for (const auto& [name, text] : image.files) {
    manifest["files"].push_back(
        {{"name", name}, {"bytes", text.size()}, {"sum", Hex(Checksum::Of(BytesOf(text)))}});
  }
  for (std::size_t i = 0; i < kPackedParts.size(); ++i) {
    Json sums = Json::array();
    for (const std::uint64_t sum : image.sums[i]) sums.push_back(Hex(sum));
    manifest["sections"][kPackedParts[i]] = {{"bytes", image.sections[i].size()},
                                             {"sums", std::move(sums)}};
  }
  return DumpJson(manifest);
}

// A run of bytes and where it stands in the file.
struct Part {
  std::uint64_t offset;
  std::span<const std::uint8_t> bytes;
};

std::uint64_t Append(std::span<const std::uint8_t> bytes, std::uint64_t align, std::uint64_t end,
                     std::vector<Part>* parts) {
  if (!bytes.empty()) end = PackedAlignUp(end, align);
  parts->push_back({end, bytes});
  return end + bytes.size();
}

}  // namespace

std::uint64_t PackedSlabSum(std::span<const std::uint8_t> section, std::size_t slab) {
  section = section.subspan(slab * kPackedSlab);
  return Checksum::Of(section.first(std::min<std::size_t>(section.size(), kPackedSlab)));
}

absl::Status WritePacked(
    const PackedImage& image, const std::string& path,
    const std::function<absl::Status(std::uint64_t, std::uint64_t)>& progress) {
  const std::string manifest = ManifestOf(image);
  if (manifest.size() > kMaxPackedManifest || image.files.size() > kMaxPackedFiles) {
    return absl::InvalidArgumentError(Cat(path, ": the manifest would have ", manifest.size(),
                                          " bytes, more than ", kMaxPackedManifest));
  }
  PackedHeader header = {.magic = {},
                         .byte_order = kPackedByteOrder,
                         .version = kPackedVersion,
                         .layout_version = image.layout_version,
                         .zero = 0,
                         .file_bytes = 0,
                         .manifest_bytes = manifest.size(),
                         .manifest_sum = Checksum::Of(BytesOf(manifest)),
                         .zero2 = 0,
                         .sum = 0};
  std::memcpy(header.magic, kPackedMagic.data(), sizeof header.magic);
  const std::span<const std::uint8_t> header_bytes(reinterpret_cast<const std::uint8_t*>(&header),
                                                   sizeof header);
  std::vector<Part> parts = {{0, header_bytes}};
  std::uint64_t end = Append(BytesOf(manifest), 1, kPackedHeader, &parts);
  for (const auto& [name, text] : image.files) {
    // An empty file is a place as well: the reader aligns before it looks at sizes.
    end = PackedAlignUp(end, kPackedAlign);
    end = Append(BytesOf(text), kPackedAlign, end, &parts);
  }
  for (std::size_t i = 0; i < kPackedParts.size(); ++i) {
    const bool large = i >= static_cast<std::size_t>(PackedPart::kWeights);
    end = Append(image.sections[i], large ? kPackedPageAlign : kPackedAlign, end, &parts);
  }
  header.file_bytes = end;
  header.sum = Checksum::Of(header_bytes.first(sizeof header - 8));

  MOSSRT_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path, end));
  for (const Part& part : parts) {
    for (std::uint64_t at = 0; at < part.bytes.size(); at += kPackedSlab) {
      MOSSRT_RETURN_IF_ERROR(progress(part.offset + at, end));
      const std::size_t n = std::min<std::size_t>(part.bytes.size() - at, kPackedSlab);
      MOSSRT_RETURN_IF_ERROR(file.Write(part.offset + at, part.bytes.subspan(at, n)));
    }
  }
  MOSSRT_RETURN_IF_ERROR(progress(end, end));
  return file.Commit();
}

}  // namespace mossrt::runtime
