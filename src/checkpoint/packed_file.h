// The container of packed models (docs/packed-file.md): a header, a manifest, small files, and
// sections of bytes as they stand in memory. What the manifest says about the model is read by
// src/models.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/json.h"
#include "mossrt/runtime/byte_source.h"

namespace mossrt::runtime {

inline constexpr std::uint32_t kPackedVersion = 1;  // of the container
inline constexpr std::uint64_t kPackedSlab = std::uint64_t{4} << 20;
inline constexpr std::string_view kPackedMagic = "\x8BMOSSRT\n";

// In this order; all are there, if only with no bytes.
enum class PackedPart : std::uint8_t { kVectors, kOrders, kWeights, kEmbedding };
inline constexpr std::array<std::string_view, 4> kPackedParts = {"vectors", "orders", "weights",
                                                                 "embedding"};

struct PackedSection {
  std::uint64_t offset = 0, bytes = 0;
  std::vector<std::uint64_t> sums{};  // of each slab of kPackedSlab bytes, the last one shorter

  std::size_t slabs() const { return sums.size(); }
  std::uint64_t SlabBytes(std::size_t slab) const {
    const std::uint64_t begin = slab * kPackedSlab;
    return bytes - begin < kPackedSlab ? bytes - begin : kPackedSlab;
  }
};

class PackedFile {
 public:
  // Reads and checks all but the sections.
  static absl::StatusOr<std::unique_ptr<PackedFile>> Open(std::unique_ptr<ByteSource> folder,
                                                          std::string file);

  const std::string& path() const { return path_; }
  std::uint32_t layout_version() const { return layout_version_; }
  const std::string& backend() const { return backend_; }
  const std::string& made_by() const { return made_by_; }
  const Json& model() const { return model_; }         // an object
  const ByteSource& files() const { return *files_; }  // config.json, the tokenizer's, ...
  const PackedSection& section(PackedPart part) const {
    return sections_[static_cast<std::size_t>(part)];
  }

  // A slab of a section; `verify`: with its sum compared. Many threads at once.
  absl::Status ReadSlab(PackedPart part, std::size_t slab, bool verify,
                        std::span<std::uint8_t> out) const;
  // The same comparison without keeping the bytes.
  absl::Status VerifySlab(PackedPart part, std::size_t slab) const;
  // The section as pages shared between processes. Not compared with its sums.
  absl::StatusOr<std::shared_ptr<const std::byte>> Map(PackedPart part) const;

 private:
  PackedFile() = default;
  absl::Status ReadHeader();
  absl::Status ReadManifest(std::string_view text);
  absl::Status ReadFiles(const Json& manifest, std::uint64_t* end);
  absl::Status ReadSections(const Json& manifest, std::uint64_t* end);
  absl::Status Damaged(std::string_view what) const;
  template <typename Take>
  absl::Status ReadPieces(PackedPart part, std::size_t slab, bool verify, const Take& take) const;

  std::unique_ptr<ByteSource> folder_;
  std::string file_, path_;
  std::uint64_t size_ = 0;
  std::uint32_t layout_version_ = 0;
  std::string backend_, made_by_;
  Json model_;
  std::unique_ptr<ByteSource> files_;
  std::array<PackedSection, kPackedParts.size()> sections_;
};

// Does the file at `path` begin as a packed model does?
bool IsPackedFile(const std::string& path);

// What is to be written. The section of weights may consist of pieces, each followed by zeros up to
// the next multiple of 64 bytes.
struct PackedImage {
  std::string backend;
  std::uint32_t layout_version = 0;
  std::string made_by;
  Json model;
  std::map<std::string, std::string> files;
  std::array<std::span<const std::uint8_t>, kPackedParts.size()> sections;
  std::array<std::vector<std::uint64_t>, kPackedParts.size()> sums;  // of their slabs
};

// The sum of slab `slab` of a section.
std::uint64_t PackedSlabSum(std::span<const std::uint8_t> section, std::size_t slab);

// Writes `path` whole or not at all. `progress(done, total)` is called between slabs and once
// before the file gets its name; its error ends the writing.
absl::Status WritePacked(
    const PackedImage& image, const std::string& path,
    const std::function<absl::Status(std::uint64_t done, std::uint64_t total)>& progress);

}  // namespace mossrt::runtime
