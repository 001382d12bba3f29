#include "checkpoint/read_rows.h"

#include <algorithm>
#include <random>
#include <thread>

#include "checkpoint/checkpoint_testing.h"
#include "checkpoint/file_writers.h"
#include "checkpoint/tensor_layout.h"

namespace mossrt::runtime::testing {
namespace {

using absl::StatusCode;

// What ReadRows should give, one element at a time.
std::string Expected(const std::string& storage, const TensorInfo& t, bool swap) {
  const std::size_t width = DTypeSize(t.dtype);
  std::string out;
  for (std::int64_t n = 0; n < t.elements(); ++n) {
    std::int64_t rest = n;
    auto at = static_cast<std::int64_t>(t.storage_offset);
    for (std::size_t i = t.shape.size(); i-- > 0;) {
      at += rest % t.shape[i] * t.strides[i];
      rest /= t.shape[i];
    }
    std::string element = storage.substr(static_cast<std::size_t>(at) * width, width);
    if (swap) std::reverse(element.begin(), element.end());
    out += element;
  }
  return out;
}

std::string RandomBytes(std::size_t size, std::mt19937* random) {
  std::string bytes(size, '\0');
  for (char& c : bytes) c = static_cast<char>((*random)() & 0xFF);
  return bytes;
}

void ExpectReads(const std::string& storage_bytes, const TensorInfo& tensor, bool swap) {
  const std::string before = "before!";
  const auto source = OpenMemory("mem", {{"f", before + storage_bytes + "after"}});
  const StorageInfo storage{
      .file = "f", .offset = before.size(), .size = storage_bytes.size(), .swap_bytes = swap};
  const std::string expected = Expected(storage_bytes, tensor, swap);
  const std::int64_t rows = RowCount(tensor);
  if (rows == 0) return;
  const auto row_bytes = static_cast<std::int64_t>(expected.size()) / rows;
  for (const std::int64_t step : {std::int64_t{1}, std::int64_t{3}, rows}) {
    for (std::int64_t first = 0; first < rows; first += step) {
      const std::int64_t n = std::min(step, rows - first);
      std::vector<std::uint8_t> out(static_cast<std::size_t>(n * row_bytes));
      const absl::Status status = ReadTensorRows(*source, storage, tensor, first, n, out);
      ASSERT_TRUE(status.ok()) << status;
      ASSERT_EQ(std::string(out.begin(), out.end()),
                expected.substr(static_cast<std::size_t>(first * row_bytes), out.size()))
          << Join(tensor.shape, ",") << " / " << Join(tensor.strides, ",");
    }
  }
}

TEST(ReadRows, RandomViews) {
  std::mt19937 random(5);
  const auto below = [&](std::int64_t n) { return static_cast<std::int64_t>(random()) % n; };
  constexpr DType kTypes[] = {DType::kF64, DType::kF32, DType::kF16, DType::kU8};
  for (int round = 0; round < 400; ++round) {
    TensorInfo t;
    t.name = "t";
    t.dtype = kTypes[round % 4];
    const std::int64_t rank = below(5);
    std::int64_t last = below(20);
    t.storage_offset = static_cast<std::uint64_t>(last);
    for (std::int64_t i = 0; i < rank; ++i) {
      t.shape.push_back(1 + below(7));
      t.strides.push_back(below(12));
      last += (t.shape.back() - 1) * t.strides.back();
    }
    if (round % 3 == 0) t.strides = DenseStrides(t.shape);  // contiguous ones too
    last = static_cast<std::int64_t>(t.storage_offset);
    for (std::size_t i = 0; i < t.shape.size(); ++i) last += (t.shape[i] - 1) * t.strides[i];
    const std::string storage =
        RandomBytes(static_cast<std::size_t>(last + 1) * DTypeSize(t.dtype), &random);
    ASSERT_NO_FATAL_FAILURE(ExpectReads(storage, t, round % 2 == 0));
  }
}

TEST(ReadRows, LargeTransposedAndSliced) {
  std::mt19937 random(6);
  const std::string storage = RandomBytes(600 * 500 * 4, &random);
  TensorInfo t;
  t.dtype = DType::kF32;
  t.shape = {500, 600};
  t.strides = {1, 500};
  ASSERT_NO_FATAL_FAILURE(ExpectReads(storage, t, false));
  t.shape = {600, 2};  // two lone columns, 1988 bytes apart
  t.strides = {500, 497};
  ASSERT_NO_FATAL_FAILURE(ExpectReads(storage, t, false));
  t.shape = {40, 3, 2000};  // runs of 8000 bytes go past the window
  t.strides = {7000, 2001, 1};
  ASSERT_NO_FATAL_FAILURE(ExpectReads(storage, t, true));
}

TEST(ReadRows, RefusesWrongRangesAndBuffers) {
  const auto source = OpenMemory("mem", {{"f", Counting(24)}});
  const StorageInfo storage{.file = "f", .offset = 0, .size = 24};
  TensorInfo t;
  t.name = "w";
  t.shape = {2, 3};
  t.strides = {3, 1};
  std::vector<std::uint8_t> out(12);
  EXPECT_TRUE(ReadTensorRows(*source, storage, t, 1, 1, out).ok());
  for (const auto& [first, rows] : std::vector<std::pair<std::int64_t, std::int64_t>>{
           {2, 1}, {-1, 1}, {0, -1}, {1, 2}, {INT64_MAX, INT64_MAX}}) {
    ExpectError(ReadTensorRows(*source, storage, t, first, rows, out), StatusCode::kInvalidArgument,
                {"\"w\" has 2 rows"});
  }
  ExpectError(ReadTensorRows(*source, storage, t, 0, 2, out), StatusCode::kInvalidArgument,
              {"24 bytes", "has 12"});
  EXPECT_TRUE(ReadTensorRows(*source, storage, t, 2, 0, {}).ok());
  t.strides = {100, 1};
  ExpectError(ReadTensorRows(*source, storage, t, 0, 1, out), StatusCode::kInvalidArgument,
              {"f: tensor \"w\""});
}

TEST(ReadRows, ManyThreads) {
  const TempDir dir;
  std::mt19937 random(7);
  const std::string bytes = RandomBytes(1000 * 64 * 4, &random);
  dir.Write("config.json", "{}");
  dir.Write("pytorch_model.bin",
            TorchFile({{.name = "w", .numel = 64000, .shape = {1000, 64}, .strides = {64, 1}},
                       {.name = "t", .numel = 64000, .shape = {64, 1000}, .strides = {1, 64}}},
                      {{"0", bytes}}));
  const auto checkpoint = OpenCheckpoint(dir.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const TensorInfo& w = (*checkpoint)->tensors().at("w");
  const TensorInfo& t = (*checkpoint)->tensors().at("t");
  const std::string transposed = Expected(bytes, t, false);
  std::vector<int> wrong(4, 0);
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < wrong.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int round = 0; round < 5; ++round) {
        const auto a = ReadTensor(**checkpoint, w, 7);
        const auto b = ReadTensor(**checkpoint, t, 5);
        if (!a.ok() || *a != bytes || !b.ok() || *b != transposed) ++wrong[i];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace mossrt::runtime::testing
