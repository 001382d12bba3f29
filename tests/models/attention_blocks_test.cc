// Attention of few heads, dealt out block by block, has the bits of one thread.
#include <gtest/gtest.h>

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
  for (const Part& part : c.parts) {
    const std::int64_t tokens = part.before + part.rows;
    caches.push_back(std::make_unique<KvCache>(
        KvShape{.layers = 1, .kv_heads = c.kv_heads, .head_dim = c.head_dim, .dtype = dtype},
        tokens));
    KvCache& kv = *caches.back();
    ASSERT_TRUE(kv.Reserve(tokens).ok());
    for (std::int64_t t = 0; t < tokens; ++t) {
      for (std::int64_t h = 0; h < c.kv_heads; ++h) {
        kv.StoreKeys(t, 0, h, {draw(c.head_dim).data(), 1, c.head_dim});
        kv.StoreValues(t, 0, h, {draw(c.head_dim).data(), 1, c.head_dim});
      }
    }
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
  const auto attend = [&](ThreadTeam& team) {
    std::vector<float> out(q.size());
    auto scratch = PageBuffer::Create(
        AttentionScratchBytes(shape) * static_cast<std::size_t>(team.size()), false);
    EXPECT_TRUE(scratch.ok());
    Attention(shape, 0, sequences, {q.data(), rows, width, width}, {out.data(), rows, width, width},
              scratch->data(), team);
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
            Case{"EvenlyDealt", 4, 4, 64, 2, {{900, 1}}, 1},
            Case{"OneBlock", 3, 3, 64, 2, {{200, 1}}, 1}),
        testing::Values(DType::kF32, DType::kBF16, DType::kI8)),
    [](const auto& info) {
      return std::get<0>(info.param).name + std::string(DTypeName(std::get<1>(info.param)));
    });

}  // namespace
}  // namespace mossrt::runtime
