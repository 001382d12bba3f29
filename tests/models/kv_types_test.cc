// Caches of bfloat16 and of bytes: attention against a model of its arithmetic in double, and what
// such a cache costs a whole model.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <random>

#include "attention64.h"
#include "base/page_buffer.h"
#include "mossrt/runtime/kv_cache.h"
#include "mossrt/runtime/thread_team.h"
#include "ops/attention.h"
#include "reference_model.h"

namespace mossrt::runtime {
namespace {

struct Case {
  DType dtype;
  std::int64_t heads, kv_heads, head_dim;
};

// What all tokens of `q` [tokens, heads * head_dim] make of a cache of as many.
std::vector<float> Attended(const Case& c, const KvCache& kv, const std::vector<float>& q) {
  const std::int64_t width = c.heads * c.head_dim, tokens = std::ssize(q) / width;
  const AttentionShape attention{.heads = c.heads,
                                 .kv_heads = c.kv_heads,
                                 .head_dim = c.head_dim,
                                 .block_tokens = kKvBlockTokens,
                                 .kv_dtype = c.dtype,
                                 .scale = 0.25f};
  const AttentionSequence sequence{
      .rows = tokens,
      .cache = &kv,
      .keys =
          [](const void* cache, std::int64_t b, std::int64_t l, std::int64_t h) {
            return static_cast<const std::byte*>(static_cast<const KvCache*>(cache)->Keys(b, l, h));
          },
      .values =
          [](const void* cache, std::int64_t b, std::int64_t l, std::int64_t h) {
            return static_cast<const std::byte*>(
                static_cast<const KvCache*>(cache)->Values(b, l, h));
          }};
  const auto team = *CreateThreadTeam(2);
  const auto scratch = *PageBuffer::Create(2 * AttentionScratchBytes(attention), false);
  std::vector<float> out(q.size());
  Attention(attention, 0, {&sequence, 1}, {q.data(), tokens, width, width},
            {out.data(), tokens, width, width}, scratch.data(), *team);
  return out;
}

class CachedAttention : public testing::TestWithParam<Case> {};
class FloatAttention : public CachedAttention {};  // bytes are numbers: KvBytes

const auto kNameOfCase = [](const auto& info) {
  return std::string(DTypeName(info.param.dtype)) + "_" + std::to_string(info.param.heads) + "_" +
         std::to_string(info.param.head_dim);
};

TEST_P(CachedAttention, RoundsQueriesAndProbabilitiesAsTheCacheDoes) {
  const Case c = GetParam();
  constexpr std::int64_t kTokens = 300;  // more than a block
  const KvShape shape{
      .layers = 1, .kv_heads = c.kv_heads, .head_dim = c.head_dim, .dtype = c.dtype};
  KvCache kv(shape, kTokens);
  ASSERT_TRUE(kv.Reserve(kTokens).ok());
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  const auto draw = [&](std::int64_t n) {
    std::vector<float> row(static_cast<std::size_t>(n));
    for (float& x : row) x = normal(random);
    return row;
  };
  std::vector<std::vector<Row>> keys(static_cast<std::size_t>(c.kv_heads)), values = keys;
  for (std::int64_t t = 0; t < kTokens; ++t) {
    for (std::int64_t h = 0; h < c.kv_heads; ++h) {
      const std::vector<float> k = draw(c.head_dim), v = draw(c.head_dim);
      kv.StoreKeys(t, 0, h, {k.data(), 1, c.head_dim});
      kv.StoreValues(t, 0, h, {v.data(), 1, c.head_dim});
      keys[static_cast<std::size_t>(h)].emplace_back(k.begin(), k.end());
      values[static_cast<std::size_t>(h)].emplace_back(v.begin(), v.end());
    }
  }
  const std::int64_t width = c.heads * c.head_dim;
  const std::vector<float> q = draw(kTokens * width), out = Attended(c, kv, q);

  double difference = 0, rounding = 0, size = 0;
  for (std::int64_t t = 0; t < kTokens; ++t) {
    for (std::int64_t h = 0; h < c.heads; ++h) {
      const auto kv_head = static_cast<std::size_t>(h / (c.heads / c.kv_heads));
      const auto seen = [&](const std::vector<std::vector<Row>>& rows) {
        return std::vector<Row>(rows[kv_head].begin(), rows[kv_head].begin() + t + 1);
      };
      const auto first = static_cast<std::size_t>(t * width + h * c.head_dim);
      const Row query(q.begin() + static_cast<std::ptrdiff_t>(first),
                      q.begin() + static_cast<std::ptrdiff_t>(first) + c.head_dim);
      const Row want = AttentionInDouble(c.dtype, query, seen(keys), seen(values), 0.25);
      const Row exact = AttentionInDouble(DType::kF32, query, seen(keys), seen(values), 0.25);
      for (std::size_t d = 0; d < want.size(); ++d) {
        const double got = static_cast<double>(out[first + d]);
        difference += (got - want[d]) * (got - want[d]);
        rounding += (want[d] - exact[d]) * (want[d] - exact[d]);
        size += exact[d] * exact[d];
      }
    }
  }
  if (c.dtype == DType::kF32) {
    EXPECT_LT(difference, 1e-12 * size);
    return;
  }
  // What is left are values that fall between two steps one way here and the other way there.
  EXPECT_LT(difference, 1e-2 * rounding);
  EXPECT_GT(rounding, 0);
  EXPECT_LT(rounding, (c.dtype == DType::kI8 ? 1e-3 : 1e-4) * size);
}

// An infinity or NaN among the values of a token, at each place of a tile of tokens.
TEST_P(FloatAttention, ValuesThatAreNoNumbersAreSeenByNoTokenBefore) {
  const Case c = GetParam();
  constexpr std::int64_t kTokens = 300;
  const KvShape shape{
      .layers = 1, .kv_heads = c.kv_heads, .head_dim = c.head_dim, .dtype = c.dtype};
  const std::int64_t width = c.heads * c.head_dim;
  for (const float bad : {std::nanf(""), -HUGE_VALF}) {
    KvCache kv(shape, kTokens);
    ASSERT_TRUE(kv.Reserve(kTokens).ok());
    std::mt19937 random(8);
    std::normal_distribution<float> normal;
    std::vector<float> row(static_cast<std::size_t>(c.head_dim));
    for (std::int64_t t = 0; t < kTokens; ++t) {
      for (std::int64_t h = 0; h < c.kv_heads; ++h) {
        for (float& x : row) x = normal(random);
        kv.StoreKeys(t, 0, h, {row.data(), 1, c.head_dim});
        kv.StoreValues(t, 0, h, {row.data(), 1, c.head_dim});
      }
    }
    std::vector<float> q(static_cast<std::size_t>(kTokens * width));
    for (float& x : q) x = normal(random);
    const std::vector<float> finite = Attended(c, kv, q);
    row.back() = bad;
    for (std::int64_t t = kTokens - 1; t >= kTokens - 50; --t) {
      kv.StoreValues(t, 0, c.kv_heads - 1, {row.data(), 1, c.head_dim});
      const std::vector<float> out = Attended(c, kv, q);
      const auto before = static_cast<std::size_t>(t * width);
      ASSERT_EQ(std::memcmp(out.data(), finite.data(), before * sizeof(float)), 0)
          << bad << " at token " << t;
      ASSERT_FALSE(std::isfinite(out[before + static_cast<std::size_t>(width) - 1])) << t;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, CachedAttention,
                         testing::Values(Case{DType::kF32, 6, 2, 20}, Case{DType::kBF16, 6, 2, 20},
                                         Case{DType::kBF16, 4, 4, 64}, Case{DType::kI8, 6, 2, 20},
                                         Case{DType::kI8, 4, 4, 64}, Case{DType::kI8, 2, 1, 256}),
                         kNameOfCase);
INSTANTIATE_TEST_SUITE_P(Types, FloatAttention,
                         testing::Values(Case{DType::kF32, 6, 2, 20}, Case{DType::kBF16, 6, 2, 20},
                                         Case{DType::kBF16, 4, 4, 64}),
                         kNameOfCase);

class KvTypes : public testing::TestWithParam<std::string> {};

TEST_P(KvTypes, CostLittle) {
  const ReferenceModel reference(GetParam());
  const auto model = reference.Load({.dtype = "float32"});
  ASSERT_NE(model, nullptr);
  const auto ids = std::span(reference.ids).first(300);
  Sequence exact(*model, 300), halves(*model, 300, DType::kBF16), bytes(*model, 300, DType::kI8);
  for (Sequence* s : {&exact, &halves, &bytes})
    ASSERT_TRUE(s->Feed(ids, SequenceInput::Rows::kAll).ok());
  double by_halves = 0, by_bytes = 0, size = 0;
  const auto square = [](double x) { return x * x; };
  for (std::size_t i = 0; i < exact.logits.size(); ++i) {
    const double want = static_cast<double>(exact.logits[i]);
    by_halves += square(static_cast<double>(halves.logits[i]) - want);
    by_bytes += square(static_cast<double>(bytes.logits[i]) - want);
    size += want * want;
  }
  EXPECT_GT(by_halves, 0);
  EXPECT_LT(by_halves, 2e-3 * size);
  EXPECT_GT(by_bytes, 0);
  EXPECT_LT(by_bytes, 1e-2 * size);
}

INSTANTIATE_TEST_SUITE_P(Models, KvTypes, testing::Values("moss", "llama", "codegen"),
                         [](const auto& info) { return info.param; });

TEST(KvBytes, ValuesThatAreNoNumbersStayWithTheirToken) {
  const KvShape shape{.layers = 1, .kv_heads = 1, .head_dim = 6, .dtype = DType::kI8};
  KvCache kv(shape, 300);
  ASSERT_TRUE(kv.Reserve(2).ok());
  const float keys[2][6] = {{1, NAN, 2, -3, 4, 5}, {1, -2, 0, 127, 3.5f, 2.5f}};
  kv.StoreKeys(0, 0, 0, {&keys[0][0], 2, 6});
  const auto* scales = reinterpret_cast<const float*>(kv.Keys(0, 0, 0) + shape.KeyPanelsBytes());
  EXPECT_TRUE(std::isnan(scales[0]));
  EXPECT_EQ(scales[1], 1.0f);
  const auto* bytes = reinterpret_cast<const std::uint8_t*>(kv.Keys(0, 0, 0));
  const int want[6] = {1, -2, 0, 127, 4, 2};  // ties to even
  for (int d = 0; d < 6; ++d) EXPECT_EQ(bytes[d / 4 * 64 + 4 + d % 4], want[d] + 128) << d;
}

}  // namespace
}  // namespace mossrt::runtime
