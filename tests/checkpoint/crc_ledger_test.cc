#include <thread>

#include "checkpoint/checkpoint_testing.h"
#include "checkpoint/file_writers.h"
#include "forwarding_source.h"

namespace mossrt::runtime::testing {
namespace {

using absl::StatusCode;

// Counts the bytes that are read, and gives out the file with one byte changed if told to.
class CountingSource final : public ForwardingSource {
 public:
  CountingSource(std::unique_ptr<ByteSource> inner, std::uint64_t* bytes)
      : ForwardingSource(std::move(inner)), bytes_(bytes) {}
  absl::Status Read(std::string_view file, std::uint64_t offset,
                    std::span<std::uint8_t> out) const override {
    EXPECT_LE(out.size(), std::size_t{1} << 20);
    *bytes_ += out.size();
    return ForwardingSource::Read(file, offset, out);
  }

 private:
  std::uint64_t* bytes_;
};

class Ledger : public ::testing::Test {
 protected:
  static constexpr std::size_t kRows = 30000;
  static constexpr std::size_t kSize = kRows * 20 * 4;  // 2.4 MB: three slabs

  void Open(std::ptrdiff_t damage = -1, const std::string& byteorder = "little") {
    const std::string bytes = Counting(kSize);
    const std::vector<PickledTensor> tensors = {
        {.name = "whole", .numel = kRows * 20, .shape = {kRows, 20}, .strides = {20, 1}},
        {.name = "tail",
         .numel = kRows * 20,
         .offset = 20 * 20000,
         .shape = {10000, 20},
         .strides = {20, 1}},
        {.name = "turned", .numel = kRows * 20, .shape = {20, kRows}, .strides = {1, 20}},
        {.name = "empty", .key = "1", .numel = 0, .shape = {0}, .strides = {1}}};
    ZipLayout zip = WriteZip(
        TorchItems(Pickle(StateDictOf(tensors)), {{"0", bytes}, {"1", ""}}, "a", byteorder));
    storage_offset_ = zip.data[2];
    if (damage >= 0) zip.file[storage_offset_ + static_cast<std::size_t>(damage)] ^= 0x10;
    auto checkpoint = OpenCheckpoint(std::make_unique<CountingSource>(
        OpenMemory("mem", {{"config.json", "{}"}, {"pytorch_model.bin", zip.file}}), &bytes_));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    checkpoint_ = *std::move(checkpoint);
    bytes_ = 0;
  }

  const TensorInfo& Tensor(const char* name) { return checkpoint_->tensors().at(name); }
  void Read(CrcLedger* ledger, const char* name, std::int64_t step) {
    ASSERT_TRUE(ReadTensor(*checkpoint_, Tensor(name), step, ledger).ok());
  }
  void ExpectDamage(const absl::Status& status, const std::string& tensor) {
    ExpectError(status, StatusCode::kDataLoss,
                {"mem/pytorch_model.bin", "\"" + tensor + "\"", Cat("at offset ", storage_offset_),
                 "CRC-32"});
  }

  std::uint64_t bytes_ = 0;
  std::size_t storage_offset_ = 0;
  std::unique_ptr<Checkpoint> checkpoint_;
};

TEST_F(Ledger, TilesAreCombinedWithoutReadingAgain) {
  for (const std::string order : {"little", "big"}) {
    Open(-1, order);
    CrcLedger ledger(*checkpoint_);
    EXPECT_TRUE(ledger.Check().ok());  // nothing read, nothing to judge
    Read(&ledger, "whole", 7001);
    const absl::Status status = ledger.Check();
    EXPECT_TRUE(status.ok()) << status;
    EXPECT_EQ(bytes_, kSize);
  }
}

TEST_F(Ledger, DamageIsFoundWhereverItIs) {
  for (const std::ptrdiff_t at :
       {std::ptrdiff_t{0}, std::ptrdiff_t{kSize / 2}, static_cast<std::ptrdiff_t>(kSize) - 1}) {
    Open(at);
    CrcLedger tiled(*checkpoint_);
    Read(&tiled, "whole", 7001);
    ExpectDamage(tiled.Check(), "whole");
    CrcLedger part(*checkpoint_);
    Read(&part, "tail", 500);  // the damage need not lie in what was read
    ExpectDamage(part.Check(), "tail");
    CrcLedger view(*checkpoint_);
    Read(&view, "turned", 20);
    ExpectDamage(view.Check(), "turned");
  }
}

TEST_F(Ledger, IdenticalPiecesCountOnce) {
  Open();
  CrcLedger ledger(*checkpoint_);
  Read(&ledger, "whole", 7001);
  Read(&ledger, "whole", 7001);
  EXPECT_TRUE(ledger.Check().ok());
  EXPECT_EQ(bytes_, 2 * kSize);
}

TEST_F(Ledger, WhatDoesNotTileIsReadOnceMore) {
  Open();
  CrcLedger overlapping(*checkpoint_);
  Read(&overlapping, "whole", 7001);
  Read(&overlapping, "tail", 7001);
  EXPECT_TRUE(overlapping.Check().ok());
  EXPECT_EQ(bytes_, kSize + kSize / 3 + kSize);
  Open();
  CrcLedger partial(*checkpoint_);
  Read(&partial, "tail", 7001);
  EXPECT_TRUE(partial.Check().ok());
  EXPECT_EQ(bytes_, kSize / 3 + kSize);
  Open();
  CrcLedger view(*checkpoint_);
  Read(&view, "turned", 20);
  EXPECT_TRUE(view.Check().ok());
}

TEST_F(Ledger, ReadingOnceMoreCanBeCancelled) {
  Open();
  CrcLedger ledger(*checkpoint_);
  Read(&ledger, "turned", 20);
  bytes_ = 0;
  Monitor monitor;
  monitor.Cancel();
  EXPECT_EQ(ledger.Check(nullptr, nullptr, &monitor).code(), StatusCode::kCancelled);
  EXPECT_EQ(bytes_, 0u);
}

TEST_F(Ledger, ChangedBytesInMemoryAreFound) {
  Open();
  CrcLedger ledger(*checkpoint_);
  std::vector<std::uint8_t> bytes(kSize);
  for (std::size_t row = 0; row < kRows; row += 1000) {
    const std::span<std::uint8_t> slab(bytes.data() + row * 80, 80000);
    ASSERT_TRUE(
        checkpoint_->ReadRows(Tensor("whole"), static_cast<std::int64_t>(row), 1000, slab).ok());
    if (row == 5000) slab[17] ^= 1;
    ledger.Add(Tensor("whole"), static_cast<std::int64_t>(row), slab);
  }
  ExpectDamage(ledger.Check(), "whole");
}

TEST_F(Ledger, AnyThreadAnyOrder) {
  Open();
  CrcLedger ledger(*checkpoint_);
  const std::string whole = *ReadTensor(*checkpoint_, Tensor("whole"), 5000);
  std::vector<std::thread> threads;
  for (std::size_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t row = (2 - t) * 100; row < kRows; row += 300) {
        ledger.Add(Tensor("whole"), static_cast<std::int64_t>(row),
                   {reinterpret_cast<const std::uint8_t*>(whole.data()) + row * 80, 8000});
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  bytes_ = 0;
  EXPECT_TRUE(ledger.Check().ok());
  EXPECT_EQ(bytes_, 0u);
}

TEST_F(Ledger, EmptyTensorsAndFilesWithoutCrc) {
  Open();
  CrcLedger ledger(*checkpoint_);
  ledger.Add(Tensor("empty"), 0, {});
  EXPECT_TRUE(ledger.Check().ok());
  const auto safe = OpenFiles(
      {{"model.safetensors",
        Safetensors("{\"a\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", "xy")}});
  ASSERT_TRUE(safe.ok());
  CrcLedger none(**safe);
  ASSERT_TRUE(ReadTensor(**safe, (*safe)->tensors().at("a"), 1, &none).ok());
  EXPECT_TRUE(none.Check().ok());
}

}  // namespace
}  // namespace mossrt::runtime::testing
