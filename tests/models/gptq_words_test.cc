// Integers of GPTQ that reach a backend as words of the file: the same values as by rows, which
// gptq_test compares with NumPy, each byte read once, and no damage overlooked.
#include <algorithm>
#include <atomic>
#include <filesystem>
#include <map>
#include <random>

#include "forwarding_source.h"
#include "models/weight_sources.h"
#include "reference_model.h"

namespace mossrt::runtime {
namespace {

const std::string kModels[] = {"moss-gptq-int2", "moss-gptq-int4", "moss-gptq-int8", "llama-gptq"};

std::string DirectoryOf(const std::string& model) {
  return std::string(MOSSRT_SOURCE_DIR) + "/tests/data/models/" + model;
}

struct Values {
  std::vector<std::uint8_t> q;               // [rows, cols]
  std::vector<std::uint16_t> scales, zeros;  // [rows, groups]
  bool operator==(const Values&) const = default;
};

Values EmptyValues(const WeightSource& source) {
  const auto rows = static_cast<std::size_t>(source.rows()),
             cols = static_cast<std::size_t>(source.cols()),
             groups = static_cast<std::size_t>(source.integers()->groups);
  return {.q = std::vector<std::uint8_t>(rows * cols),
          .scales = std::vector<std::uint16_t>(rows * groups),
          .zeros = std::vector<std::uint16_t>(rows * groups)};
}

Values ByRows(const WeightSource& source) {
  Values values = EmptyValues(source);
  const absl::Status status = source.ReadIntegers(
      0, source.rows(), {.q = values.q, .scales = values.scales, .zeros = values.zeros});
  EXPECT_TRUE(status.ok()) << status;
  return values;
}

// In pieces of `step` words and of a group.
Values ByWords(const WeightSource& source, std::int64_t step) {
  Values values = EmptyValues(source);
  const std::int64_t rows = source.rows(), cols = source.cols(), bits = source.integers()->bits,
                     groups = source.integers()->groups, fields = 32 / bits, all = cols / fields;
  const auto at = [](std::int64_t i) { return static_cast<std::size_t>(i); };
  for (std::int64_t first = 0, group = 0; first < all || group < groups; first += step, ++group) {
    const std::int64_t n = std::clamp<std::int64_t>(all - first, 0, step),
                       n_groups = std::clamp<std::int64_t>(groups - group, 0, 1);
    std::vector<std::uint32_t> words(at(n * rows));
    std::vector<std::uint16_t> scales(at(n_groups * rows)), zeros(at(n_groups * rows));
    const absl::Status status = source.ReadWords({.first_word = std::min(first, all),
                                                  .words = words,
                                                  .first_group = std::min(group, groups),
                                                  .scales = scales,
                                                  .zeros = zeros});
    EXPECT_TRUE(status.ok()) << status;
    for (std::int64_t i = 0; i < n * fields; ++i) {
      for (std::int64_t row = 0; row < rows; ++row) {
        values.q[at(row * cols + first * fields + i)] = static_cast<std::uint8_t>(
            words[at(i / fields * rows + row)] >> (i % fields * bits) & ((1u << bits) - 1));
      }
    }
    for (std::int64_t row = 0; row < n_groups * rows; ++row) {
      values.scales[at(row * groups + group)] = scales[at(row)];
      values.zeros[at(row * groups + group)] = zeros[at(row)];
    }
  }
  return values;
}

class GptqWords : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto checkpoint = OpenCheckpoint(DirectoryOf(GetParam()));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    checkpoint_ = *std::move(checkpoint);
    const auto plan = PlanModel(*checkpoint_, {});
    ASSERT_TRUE(plan.ok()) << plan.status();
    rules_ = WeightRules(plan->spec, plan->params);
  }

  std::unique_ptr<Checkpoint> checkpoint_;
  std::vector<WeightRule> rules_;
};

TEST_P(GptqWords, AreTheIntegersOfTheRows) {
  std::mt19937 random(5);
  int seen = 0;
  for (WeightRule rule : rules_) {
    if (rule.shape.size() != 2) continue;
    const std::int64_t outputs = rule.shape[0];
    // As they stand, shuffled, and a shuffled part with gaps, as the query of a fused matrix is.
    std::vector<std::int64_t> shuffled(static_cast<std::size_t>(outputs));
    for (std::size_t i = 0; i < shuffled.size(); ++i) shuffled[i] = static_cast<std::int64_t>(i);
    std::shuffle(shuffled.begin(), shuffled.end(), random);
    const std::vector<std::int64_t> part(shuffled.begin(),
                                         shuffled.begin() + std::max<std::int64_t>(1, outputs / 5));
    for (const auto& map : {std::vector<std::int64_t>{}, shuffled, part}) {
      rule.rows = map.empty() ? outputs : std::ssize(map);
      MatrixSources sources(*checkpoint_, 64, nullptr, nullptr);
      const auto source = sources.Open(rule, &map);
      ASSERT_TRUE(source.ok()) << source.status();
      if ((*source)->integers() == nullptr) continue;
      const Values want = ByRows(**source);
      for (const std::int64_t step : {1, 3, 1000}) {
        EXPECT_EQ(ByWords(**source, step), want) << rule.tensor << ", " << step;
      }
      ++seen;
    }
  }
  EXPECT_GE(seen, 3 * 8);
}

TEST_P(GptqWords, BeyondTheMatrixAreRefused) {
  const auto rule = std::find_if(rules_.begin(), rules_.end(), [&](const WeightRule& r) {
    return !checkpoint_->tensors().contains(r.tensor) && r.shape.size() == 2;
  });
  ASSERT_NE(rule, rules_.end());
  MatrixSources sources(*checkpoint_, 64, nullptr, nullptr);
  const auto opened = sources.Open(*rule, nullptr);
  ASSERT_TRUE(opened.ok()) << opened.status();
  const WeightSource& source = **opened;
  const auto rows = static_cast<std::size_t>(source.rows());
  const std::int64_t all = source.cols() * source.integers()->bits / 32;
  std::vector<std::uint32_t> words(2 * rows);
  std::vector<std::uint16_t> scales(rows), zeros(rows);
  const auto read = [&](std::int64_t word, std::size_t n_words, std::int64_t group,
                        std::size_t n_zeros) {
    return source
        .ReadWords({.first_word = word,
                    .words = {words.data(), n_words},
                    .first_group = group,
                    .scales = scales,
                    .zeros = {zeros.data(), n_zeros}})
        .code();
  };
  EXPECT_EQ(read(all - 2, 2 * rows, 0, rows), absl::StatusCode::kOk);
  EXPECT_EQ(read(all - 1, 2 * rows, 0, rows), absl::StatusCode::kInternal);
  EXPECT_EQ(read(-1, 2 * rows, 0, rows), absl::StatusCode::kInternal);
  EXPECT_EQ(read(0, 2 * rows - 1, 0, rows), absl::StatusCode::kInternal);
  EXPECT_EQ(read(0, 2 * rows, -1, rows), absl::StatusCode::kInternal);
  EXPECT_EQ(read(0, 2 * rows, source.integers()->groups, rows), absl::StatusCode::kInternal);
  EXPECT_EQ(read(0, 2 * rows, 0, rows - 1), absl::StatusCode::kInternal);
}

INSTANTIATE_TEST_SUITE_P(Models, GptqWords, testing::ValuesIn(kModels), [](const auto& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
});

// Counts how often each byte of a file is read.
class CountingSource final : public ForwardingSource {
 public:
  using Counts = std::map<std::string, std::vector<int>, std::less<>>;
  CountingSource(std::unique_ptr<ByteSource> inner, Counts* counts)
      : ForwardingSource(std::move(inner)), counts_(counts) {}
  absl::Status Read(std::string_view file, std::uint64_t offset,
                    std::span<std::uint8_t> out) const override {
    if (const auto found = counts_->find(file); found != counts_->end()) {
      for (std::size_t i = 0; i < out.size(); ++i)
        ++found->second[static_cast<std::size_t>(offset) + i];
    }
    return ForwardingSource::Read(file, offset, out);
  }

 private:
  Counts* counts_;
};

// The checksum is added up from pieces, of the fused query, key and value as well.
TEST(GptqLoading, EachWordIsReadOnce) {
  const std::string directory = DirectoryOf("moss-gptq-int8"), name = "pytorch_model.bin";
  CountingSource::Counts counts;
  const auto checkpoint =
      OpenCheckpoint(std::make_unique<CountingSource>(*OpenDirectory(directory), &counts));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  counts[name].resize(std::filesystem::file_size(directory + "/" + name));
  const auto model = Model::Load(**checkpoint, {.threads = 1}, nullptr);
  ASSERT_TRUE(model.ok()) << model.status();
  int tensors = 0;
  for (const auto& [tensor, info] : (*checkpoint)->tensors()) {
    if (!tensor.ends_with(".qweight") && !tensor.ends_with(".qzeros") &&
        !tensor.ends_with(".scales"))
      continue;
    const StorageInfo& storage = (*checkpoint)->storages()[info.storage];
    ASSERT_TRUE(storage.has_crc);
    const auto begin = counts[name].begin() + static_cast<std::ptrdiff_t>(storage.offset);
    const auto end = begin + static_cast<std::ptrdiff_t>(storage.size);
    EXPECT_EQ(*std::min_element(begin, end), 1) << tensor;
    EXPECT_EQ(*std::max_element(begin, end), 1) << tensor;
    ++tensors;
  }
  EXPECT_EQ(tensors, 3 * 8);
}

}  // namespace
}  // namespace mossrt::runtime
