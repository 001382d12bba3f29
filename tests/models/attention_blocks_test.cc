// Attention of few heads, dealt out block by block, has the bits of one thread; so has what it does
// for decoded tokens by itself.
#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <random>
#include <vector>

#include "base/page_buffer.h"
#include "mossrt/runtime/kv_cache.h"
#include "mossrt/runtime/thread_team.h"
#include "ops/attention.h"

namespace mossrt::runtime {
namespace {

// Runs its bodies one after the other, the last thread's first, and counts its regions.
class CountingTeam final : public ThreadTeam {
 public:
  explicit CountingTeam(int size) : size_(size) {}
  int size() const override { return size_; }
  void Run(Body body, void* context) override {
    ++regions;
    for (int t = size_ - 1; t >= 0; --t) body(context, t, size_);
  }
  int regions = 0;

 private:
  int size_;
};

struct Part {
  std::int64_t before, rows;  // positions of the sequence that are stored already, and new ones
};

struct Case {
  std::string name;
  std::int64_t heads, kv_heads, head_dim;
  int threads;
  std::vector<Part> parts;
  int regions;
};

// Turns queries round, as rotation by half a turn does, and stores rows that it holds.
class HeldTokens final : public NewestTokens {
 public:
  struct Row {
    KvCache* kv = nullptr;
    std::int64_t position = 0;
    std::vector<float> keys, values;  // [kv_heads, head_dim]
  };

  HeldTokens(std::int64_t heads, std::int64_t kv_heads, std::int64_t head_dim)
      : heads_(heads), kv_heads_(kv_heads), head_dim_(head_dim) {}

  void Add(Row row) {
    rows_.push_back(std::move(row));
    stored = std::vector<std::atomic<int>>(rows_.size() * static_cast<std::size_t>(kv_heads_));
  }
  void RotateQueries(std::int64_t row, float* queries) const override {
    for (std::int64_t i = 0; i < heads_ / kv_heads_ * head_dim_; ++i) queries[i] *= Turn(row);
  }
  void StoreKeyAndValue(std::int64_t row, std::int64_t head) const override {
    const Row& r = rows_[static_cast<std::size_t>(row)];
    ++stored[static_cast<std::size_t>(row * kv_heads_ + head)];
    const std::int64_t at = head * head_dim_;
    r.kv->StoreKeys(r.position, 0, head, {r.keys.data() + at, 1, head_dim_});
    r.kv->StoreValues(r.position, 0, head, {r.values.data() + at, 1, head_dim_});
  }
  // Powers of 2 of either sign, so that it does not matter where they come in.
  static float Turn(std::int64_t row) { return row % 2 == 0 ? -1.0f : 0.5f; }

  mutable std::vector<std::atomic<int>> stored;  // how often, [rows, kv_heads]

 private:
  std::int64_t heads_, kv_heads_, head_dim_;
  std::vector<Row> rows_;
};

class FewHeads : public testing::TestWithParam<std::tuple<Case, DType>> {};

TEST_P(FewHeads, HaveTheBitsOfOneThread) {
  const auto& [c, dtype] = GetParam();
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  const auto draw = [&](std::int64_t n) {
    std::vector<float> values(static_cast<std::size_t>(n));
    for (float& x : values) x = normal(random);
    return values;
  };
  std::vector<std::unique_ptr<KvCache>> caches;
  std::vector<AttentionSequence> sequences;
  std::int64_t rows = 0;
  HeldTokens newest(c.heads, c.kv_heads, c.head_dim);
  for (const Part& part : c.parts) {
    const std::int64_t tokens = part.before + part.rows;
    caches.push_back(std::make_unique<KvCache>(
        KvShape{.layers = 1, .kv_heads = c.kv_heads, .head_dim = c.head_dim, .dtype = dtype},
        tokens));
    KvCache& kv = *caches.back();
    ASSERT_TRUE(kv.Reserve(tokens).ok());
    HeldTokens::Row last;
    for (std::int64_t t = 0; t < tokens; ++t) {
      last = {&kv, t, draw(c.kv_heads * c.head_dim), draw(c.kv_heads * c.head_dim)};
      for (std::int64_t h = 0; h < c.kv_heads; ++h) {
        kv.StoreKeys(t, 0, h, {last.keys.data() + h * c.head_dim, 1, c.head_dim});
        kv.StoreValues(t, 0, h, {last.values.data() + h * c.head_dim, 1, c.head_dim});
      }
    }
    newest.Add(std::move(last));
    sequences.push_back({.first_row = rows,
                         .rows = part.rows,
                         .first_position = part.before,
                         .cache = &kv,
                         .keys =
                             [](const void* cache, std::int64_t b, std::int64_t l, std::int64_t h) {
                               return static_cast<const std::byte*>(
                                   static_cast<const KvCache*>(cache)->Keys(b, l, h));
                             },
                         .values =
                             [](const void* cache, std::int64_t b, std::int64_t l, std::int64_t h) {
                               return static_cast<const std::byte*>(
                                   static_cast<const KvCache*>(cache)->Values(b, l, h));
                             }});
    rows += part.rows;
  }
  const std::int64_t width = c.heads * c.head_dim;
  std::vector<float> q = draw(rows * width);
  const AttentionShape shape{.heads = c.heads,
                             .kv_heads = c.kv_heads,
                             .head_dim = c.head_dim,
                             .block_tokens = kKvBlockTokens,
                             .kv_dtype = dtype,
                             .scale = 0.2f};
  const auto attend = [&](ThreadTeam& team, const NewestTokens* tokens = nullptr) {
    std::vector<float> out(q.size());
    auto scratch = PageBuffer::Create(
        AttentionScratchBytes(shape) * static_cast<std::size_t>(team.size()), false);
    EXPECT_TRUE(scratch.ok());
    Attention(shape, 0, sequences, {q.data(), rows, width, width}, {out.data(), rows, width, width},
              scratch->data(), team, tokens);
    return out;
  };
  CountingTeam one(1), counting(c.threads);
  const std::vector<float> want = attend(one);
  EXPECT_EQ(one.regions, 1);
  EXPECT_EQ(attend(counting), want);
  EXPECT_EQ(counting.regions, c.regions);
  auto team = CreateThreadTeam(c.threads);
  ASSERT_TRUE(team.ok());
  EXPECT_EQ(attend(**team), want);

  if (rows > static_cast<std::int64_t>(sequences.size())) return;  // decodes nothing
  for (std::int64_t i = 0; i < rows * width; ++i) {
    q[static_cast<std::size_t>(i)] *= HeldTokens::Turn(i / width);
  }
  const std::vector<float> turned = attend(one);
  for (std::int64_t i = 0; i < rows * width; ++i) {
    q[static_cast<std::size_t>(i)] /= HeldTokens::Turn(i / width);
  }
  for (ThreadTeam* each :
       {static_cast<ThreadTeam*>(&one), static_cast<ThreadTeam*>(&counting), team->get()}) {
    const std::vector<float> zeros(static_cast<std::size_t>(c.head_dim));
    for (const AttentionSequence& sequence : sequences) {
      auto* kv = static_cast<KvCache*>(const_cast<void*>(sequence.cache));
      for (std::int64_t h = 0; h < c.kv_heads; ++h) {  // what stood there is gone
        kv->StoreKeys(sequence.first_position, 0, h, {zeros.data(), 1, c.head_dim});
        kv->StoreValues(sequence.first_position, 0, h, {zeros.data(), 1, c.head_dim});
      }
    }
    for (std::atomic<int>& count : newest.stored) count = 0;
    EXPECT_EQ(attend(*each, &newest), turned);
    for (const std::atomic<int>& count : newest.stored) EXPECT_EQ(count, 1);
  }
  EXPECT_EQ(counting.regions, 2 * c.regions);
}

INSTANTIATE_TEST_SUITE_P(
    Shapes, FewHeads,
    testing::Combine(
        testing::Values(
            Case{"OneKeyValueHead", 6, 1, 64, 2, {{1500, 1}}, 2},
            Case{"ThreeOnTwoThreads", 9, 3, 64, 2, {{700, 1}}, 2},
            Case{"ThreeOnEightThreads", 3, 3, 80, 8, {{1100, 2}}, 2},
            // 6 partials of 16 rows fit a thread: 11 of the 16 blocks beside the merged one,
            // then 5.
            Case{"InTurns", 16, 1, 128, 2, {{4000, 1}}, 4},
            Case{"SequencesOfUnequalLength", 4, 1, 32, 8, {{900, 1}, {10, 3}, {300, 1}}, 2},
            Case{"RowsThatSeeNothingOfTheLastBlock", 2, 1, 48, 4, {{500, 20}}, 2},
            Case{"NoRoomForPartials", 1, 1, 16, 4, {{0, 300}}, 1},
            Case{
                "SequencesDecodedTogether", 4, 2, 64, 8, {{900, 1}, {255, 1}, {256, 1}, {0, 1}}, 1},
            Case{"SequencesDecodedByBlocks", 4, 1, 32, 8, {{900, 1}, {300, 1}}, 2},
            Case{"EvenlyDealt", 4, 4, 64, 2, {{900, 1}}, 1},
            Case{"OneBlock", 3, 3, 64, 2, {{200, 1}}, 1}),
        testing::Values(DType::kF32, DType::kBF16, DType::kI8)),
    [](const auto& info) {
      return std::get<0>(info.param).name + std::string(DTypeName(std::get<1>(info.param)));
    });

}  // namespace
}  // namespace mossrt::runtime
