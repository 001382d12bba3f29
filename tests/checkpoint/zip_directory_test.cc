#include "checkpoint/zip_directory.h"

#include "checkpoint/checkpoint_testing.h"
#include "checkpoint/file_writers.h"

namespace mossrt::runtime::testing {
namespace {

using absl::StatusCode;

absl::StatusOr<ZipDirectory> ReadZip(const std::string& file) {
  const auto source = OpenMemory("mem", {{"f.bin", file}});
  return ReadZipDirectory(*source, "f.bin");
}

const std::vector<ZipItem> kItems = {{"a/one", "first"}, {"a/two", ""}, {"a/three", "333"}};

void ExpectItems(const ZipLayout& zip) {
  const auto directory = ReadZip(zip.file);
  ASSERT_TRUE(directory.ok()) << directory.status();
  ASSERT_EQ(directory->entries().size(), kItems.size());
  for (std::size_t i = 0; i < kItems.size(); ++i) {
    const ZipEntry* entry = directory->Find(kItems[i].name);
    ASSERT_NE(entry, nullptr) << kItems[i].name;
    EXPECT_EQ(entry->offset, zip.data[i]);
    EXPECT_EQ(entry->size, kItems[i].bytes.size());
    const auto source = OpenMemory("mem", {{"f.bin", zip.file}});
    EXPECT_EQ(*ReadZipEntry(*source, "f.bin", *entry, 100), kItems[i].bytes);
  }
  EXPECT_EQ(directory->Find("a/four"), nullptr);
}

TEST(ZipDirectory, AllWaysOfWriting) {
  for (int bits = 0; bits < 8; ++bits) {
    ExpectItems(WriteZip(kItems, {.zip64_end = (bits & 1) != 0,
                                  .zip64_entries = (bits & 2) != 0,
                                  .sizes_follow = (bits & 4) != 0}));
  }
  ExpectItems(WriteZip(kItems, {.comment = std::string(65535, 'c')}));
  // A comment that looks like the end of another directory.
  ExpectItems(WriteZip(kItems, {.comment = U32(0x06054B50) + std::string(40, '\0')}));
}

TEST(ZipDirectory, EveryTruncationIsAnError) {
  for (const bool wide : {false, true}) {
    const ZipLayout zip = WriteZip(kItems, {.zip64_end = wide, .zip64_entries = wide});
    for (std::size_t size = 0; size < zip.file.size(); ++size) {
      EXPECT_FALSE(ReadZip(zip.file.substr(0, size)).ok()) << size;
    }
  }
  ExpectError(ReadZip("").status(), StatusCode::kDataLoss, {"mem/f.bin", "cut short"});
}

TEST(ZipDirectory, CompressedAndEncrypted) {
  ExpectError(ReadZip(WriteZip({{"a/x", "bytes", 8}}).file).status(), StatusCode::kUnimplemented,
              {"f.bin", "\"a/x\"", "compressed", "save it again"});
  ExpectError(ReadZip(WriteZip({{"a/x", "bytes", 0, 1}}).file).status(), StatusCode::kUnimplemented,
              {"\"a/x\"", "encrypted"});
}

TEST(ZipDirectory, Duplicates) {
  ExpectError(ReadZip(WriteZip({{"a/x", "1"}, {"a/y", "2"}, {"a/x", "3"}}).file).status(),
              StatusCode::kDataLoss, {"\"a/x\"", "twice"});
}

TEST(ZipDirectory, OverlapsAndOffsetsBeyondTheFile) {
  const ZipLayout zip = WriteZip(kItems);
  struct Case {
    std::size_t entry;
    std::size_t field;  // offset in the central header
    std::uint64_t value;
    const char* message;
  };
  for (const Case& c :
       std::vector<Case>{{2, 42, zip.locals[0], "passes offset"},      // same header twice
                         {0, 42, 0xFFFFFFF0, "passes offset"},         // beyond the file
                         {0, 42, zip.directory - 4, "passes offset"},  // within the directory
                         {1, 42, zip.locals[1] + 1, "local header"},
                         {0, 42, 0xFFFFFFFF, "Zip64 extra field"}}) {
    std::string file = zip.file;
    Overwrite(&file, zip.centrals[c.entry] + c.field, U32(c.value));
    ExpectError(ReadZip(file).status(), StatusCode::kDataLoss, {"f.bin, offset", c.message});
  }
  // Both sizes grown: the entry would swallow the next one.
  std::string file = zip.file;
  Overwrite(&file, zip.centrals[0] + 20, U32(60000) + U32(60000));
  ExpectError(ReadZip(file).status(), StatusCode::kDataLoss, {"\"a/one\"", "passes offset"});
  file = zip.file;
  Overwrite(&file, zip.centrals[0] + 20, U32(6));
  ExpectError(ReadZip(file).status(), StatusCode::kDataLoss, {"two sizes differ"});
}

TEST(ZipDirectory, GiantCountsAllocateNothing) {
  const ZipLayout zip = WriteZip(kItems);
  for (const std::uint64_t count : {std::uint64_t{4}, std::uint64_t{1} << 40, ~std::uint64_t{0}}) {
    std::string file = zip.file;
    Overwrite(&file, zip.end64 + 24, U64(count) + U64(count));
    Overwrite(&file, zip.end + 8, U16(0xFFFF) + U16(0xFFFF));
    ExpectError(ReadZip(file).status(), StatusCode::kDataLoss, {"f.bin"});
  }
  for (const std::uint64_t size : {std::uint64_t{1} << 50, ~std::uint64_t{0}}) {
    std::string file = zip.file;
    Overwrite(&file, zip.end64 + 40, U64(size) + U64(~size));
    Overwrite(&file, zip.end + 12, U32(0xFFFFFFFF) + U32(0xFFFFFFFF));
    ExpectError(ReadZip(file).status(), StatusCode::kDataLoss, {"f.bin"});
  }
  std::string fewer = zip.file;
  Overwrite(&fewer, zip.end64 + 24, U64(2) + U64(2));
  Overwrite(&fewer, zip.end + 8, U16(2) + U16(2));
  ExpectError(ReadZip(fewer).status(), StatusCode::kDataLoss, {"after its last entry"});
}

TEST(ZipDirectory, ContradictingEnds) {
  const ZipLayout zip = WriteZip(kItems);
  std::string file = zip.file;
  Overwrite(&file, zip.end + 8, U16(2) + U16(2));
  ExpectError(ReadZip(file).status(), StatusCode::kDataLoss, {"contradicts the plain one"});
  file = zip.file;
  Overwrite(&file, zip.end + 4, U16(1));
  ExpectError(ReadZip(file).status(), StatusCode::kDataLoss, {"several disks"});
  const ZipLayout plain = WriteZip(kItems, {.zip64_end = false});
  file = plain.file;
  Overwrite(&file, plain.end + 16, U32(0xFFFFFFFF));
  ExpectError(ReadZip(file).status(), StatusCode::kDataLoss, {"Zip64 record that is missing"});
}

TEST(ZipDirectory, LocalHeaderMustAgree) {
  const ZipLayout zip = WriteZip(kItems, {.sizes_follow = false});
  for (const auto& [at, bytes] : std::vector<std::pair<std::size_t, std::string>>{
           {14, U32(1)}, {18, U32(4)}, {22, U32(6)}, {30, "b"}, {8, U16(8)}, {0, "XX"}}) {
    std::string file = zip.file;
    Overwrite(&file, zip.locals[0] + at, bytes);
    ExpectError(ReadZip(file).status(), StatusCode::kDataLoss, {"local header", "a/one"});
  }
}

TEST(ZipDirectory, EntryWithWrongCrc) {
  const ZipLayout zip = WriteZip(kItems);
  std::string file = zip.file;
  file[zip.data[0]] ^= 1;
  const auto directory = ReadZip(file);
  ASSERT_TRUE(directory.ok());
  const auto source = OpenMemory("mem", {{"f.bin", file}});
  ExpectError(ReadZipEntry(*source, "f.bin", *directory->Find("a/one"), 100).status(),
              StatusCode::kDataLoss, {"f.bin", "a/one", "CRC-32"});
  ExpectError(ReadZipEntry(*source, "f.bin", *directory->Find("a/one"), 4).status(),
              StatusCode::kInvalidArgument, {"5 bytes", "at most 4"});
}

}  // namespace
}  // namespace mossrt::runtime::testing
