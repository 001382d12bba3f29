// Small files with every byte changed and every length cut, and a sparse file beyond 4 GiB.
#include <fcntl.h>
#include <unistd.h>

#include "checkpoint/checkpoint_testing.h"
#include "checkpoint/file_writers.h"

namespace mossrt::runtime::testing {
namespace {

using absl::StatusCode;

const std::string kData = MOSSRT_SOURCE_DIR "/tests/data/checkpoint/";

// Opens, reads all, checks CRCs; returns the bytes of all tensors if nothing objects.
absl::StatusOr<std::string> ReadEverything(const std::string& name, const std::string& file) {
  MOSSRT_ASSIGN_OR_RETURN(const auto checkpoint, OpenFiles({{name, file}}));
  CrcLedger ledger(*checkpoint);
  std::string all;
  for (const auto& [tensor_name, tensor] : checkpoint->tensors()) {
    if (tensor.elements() > 100'000) {  // an expanded view may claim any size
      all += "huge";
      continue;
    }
    MOSSRT_ASSIGN_OR_RETURN(const std::string bytes,
                            ReadTensor(*checkpoint, tensor, INT64_MAX, &ledger));
    all += Cat(tensor_name, ":", DTypeName(tensor.dtype), ":", Join(tensor.shape, ","), "=", bytes);
  }
  MOSSRT_RETURN_IF_ERROR(ledger.Check());
  return all;
}

struct HostileCase {
  const char* path;
  const char* name;
};

class HostileFile : public ::testing::TestWithParam<HostileCase> {};

// With a CRC over pickle and storages a changed byte is an error, or lies where it means nothing.
TEST_P(HostileFile, EverySingleByteMutation) {
  const std::string file = ReadWholeFile(kData + GetParam().path);
  const auto whole = ReadEverything(GetParam().name, file);
  ASSERT_TRUE(whole.ok()) << whole.status();
  const bool has_crc = std::string_view(GetParam().name).ends_with(".bin");
  std::size_t unharmed = 0;
  for (std::size_t at = 0; at < file.size(); ++at) {
    for (const int change : {0x01, 0x80, 0xFF}) {
      std::string bad = file;
      bad[at] = static_cast<char>(bad[at] ^ change);
      const auto result = ReadEverything(GetParam().name, bad);
      if (!result.ok()) continue;
      ++unharmed;
      // Without a CRC a name or a value may change; sizes may not.
      if (!has_crc) continue;
      EXPECT_EQ(*result, *whole) << "byte " << at << " ^ " << change;
    }
  }
  EXPECT_GT(unharmed, 0u);
}

TEST_P(HostileFile, EveryTruncation) {
  const std::string file = ReadWholeFile(kData + GetParam().path);
  for (std::size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(ReadEverything(GetParam().name, file.substr(0, size)).ok()) << size;
  }
}

INSTANTIATE_TEST_SUITE_P(
    Files, HostileFile,
    ::testing::Values(HostileCase{"big_endian/pytorch_model.bin", "pytorch_model.bin"},
                      HostileCase{"module/pytorch_model.bin", "pytorch_model.bin"},
                      HostileCase{"safetensors_sharded/model-00001-of-00002.safetensors",
                                  "model.safetensors"}),
    [](const auto& info) {
      return std::string(info.param.path, std::string_view(info.param.path).find('/'));
    });

// The pickle's own CRC made right again, so that the machine and the layout checks see the change.
TEST(HostilePickle, EveryMutationAndTruncationBehindAGoodCrc) {
  const std::vector<PickledTensor> tensors = {
      {.name = "w", .numel = 6, .offset = 1, .shape = {2, 2}, .strides = {1, 2}},
      {.name = "v", .key = "1", .numel = 3, .shape = {3}, .strides = {1}}};
  const std::map<std::string, std::string> storages = {{"0", Counting(24)}, {"1", Counting(12)}};
  const std::string pickle = Pickle(StateDictOf(tensors) + "}" + Text("_metadata") + "}sb");
  const auto read = [&](const std::string& changed) {
    return ReadEverything("pytorch_model.bin", WriteZip(TorchItems(changed, storages)).file);
  };
  ASSERT_TRUE(read(pickle).ok()) << read(pickle).status();
  for (std::size_t at = 0; at < pickle.size(); ++at) {
    EXPECT_FALSE(read(pickle.substr(0, at)).ok()) << at;
    // Over seven bytes every value occurs; all 256 of each take minutes under a sanitizer.
    for (int value = static_cast<int>(at % 7); value < 256; value += 7) {
      std::string bad = pickle;
      bad[at] = static_cast<char>(value);
      const auto result = read(bad);  // must return; what it says is free
      if (!result.ok()) {
        EXPECT_NE(Message(result.status()).find("mem"), std::string_view::npos) << result.status();
      }
    }
  }
}

// Two tensors of a torch file whose bytes lie at 4 GiB + 100 and later. Only headers take space.
class SparseZip64 : public ::testing::Test {
 protected:
  static constexpr std::uint64_t kGap = (std::uint64_t{4} << 30) + (std::uint64_t{1} << 20);

  void Put(std::uint64_t offset, const std::string& bytes) {
    ASSERT_EQ(pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset)),
              static_cast<ssize_t>(bytes.size()));
  }

  // A local header whose sizes stand in a Zip64 extra field; returns where the bytes start.
  std::uint64_t PutLocal(std::uint64_t at, const std::string& name, std::uint64_t size,
                         std::uint32_t crc) {
    const std::string extra = U16(1) + U16(16) + U64(size) + U64(size);
    Put(at, U32(0x04034B50) + U16(45) + U16(0) + U16(0) + U32(0) + U32(crc) + U32(0xFFFFFFFF) +
                U32(0xFFFFFFFF) + U16(name.size()) + U16(extra.size()) + name + extra);
    centrals_ += U32(0x02014B50) + U16(45) + U16(45) + U16(0) + U16(0) + U32(0) + U32(crc) +
                 U32(0xFFFFFFFF) + U32(0xFFFFFFFF) + U16(name.size()) + U16(28) + U16(0) + U16(0) +
                 U16(0) + U32(0) + U32(0xFFFFFFFF) + name + U16(1) + U16(24) + U64(size) +
                 U64(size) + U64(at);
    return at + 30 + name.size() + extra.size();
  }

  void SetUp() override {
    const std::string path = dir_.File("pytorch_model.bin");
    fd_ = open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600);
    ASSERT_GE(fd_, 0);
    const std::string late = Counting(64);
    const std::string pickle = Pickle(StateDictOf(
        {{.name = "big",
          .storage_class = "ByteStorage",
          .numel = static_cast<std::int64_t>(kGap),
          .shape = {static_cast<std::int64_t>(kGap / 1024), 1024},
          .strides = {1024, 1}},
         {.name = "late", .key = "1", .numel = 16, .shape = {4, 4}, .strides = {4, 1}}}));
    Put(PutLocal(0, "a/data.pkl", pickle.size(), CrcOf(pickle)), pickle);
    big_ = PutLocal(1000, "a/data/0", kGap, 0x12345678);
    Put(big_ + kGap - 4, "tail");
    const std::uint64_t second = big_ + kGap;
    late_ = PutLocal(second, "a/data/1", late.size(), CrcOf(late));
    Put(late_, late);
    const std::uint64_t directory = late_ + late.size();
    Put(directory, centrals_ + U32(0x06064B50) + U64(44) + U16(45) + U16(45) + U32(0) + U32(0) +
                       U64(3) + U64(3) + U64(centrals_.size()) + U64(directory) + U32(0x07064B50) +
                       U32(0) + U64(directory + centrals_.size()) + U32(1) + U32(0x06054B50) +
                       U16(0) + U16(0) + U16(3) + U16(3) + U32(centrals_.size()) + U32(0xFFFFFFFF) +
                       U16(0));
    dir_.Write("config.json", "{}");
  }
  ~SparseZip64() override {
    if (fd_ >= 0) close(fd_);
  }

  TempDir dir_;
  int fd_ = -1;
  std::string centrals_;
  std::uint64_t big_ = 0;
  std::uint64_t late_ = 0;
};

TEST_F(SparseZip64, TensorsBeyond4GiB) {
  const auto checkpoint = OpenCheckpoint(dir_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const TensorInfo& late = (*checkpoint)->tensors().at("late");
  EXPECT_EQ((*checkpoint)->storages()[late.storage].offset, late_);
  EXPECT_GT(late_, std::uint64_t{1} << 32);
  CrcLedger ledger(**checkpoint);
  EXPECT_EQ(*ReadTensor(**checkpoint, late, 3, &ledger), Counting(64));
  EXPECT_TRUE(ledger.Check().ok()) << ledger.Check();
  const TensorInfo& big = (*checkpoint)->tensors().at("big");
  EXPECT_EQ((*checkpoint)->storages()[big.storage].size, kGap);
  std::vector<std::uint8_t> row(1024);
  ASSERT_TRUE((*checkpoint)->ReadRows(big, big.shape[0] - 1, 1, row).ok());
  EXPECT_EQ(std::string(row.end() - 4, row.end()), "tail");
}

TEST_F(SparseZip64, DamageBeyond4GiB) {
  Put(late_ + 5, "X");
  const auto checkpoint = OpenCheckpoint(dir_.path());
  ASSERT_TRUE(checkpoint.ok());
  CrcLedger ledger(**checkpoint);
  ASSERT_TRUE(ReadTensor(**checkpoint, (*checkpoint)->tensors().at("late"), 4, &ledger).ok());
  ExpectError(ledger.Check(), StatusCode::kDataLoss, {"\"late\"", Cat("offset ", late_)});
}

}  // namespace
}  // namespace mossrt::runtime::testing
