#include "mossrt/runtime/sampler.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/philox.h"
#include "generate/counting_allocator.h"
#include "generate/ranking.h"
#include "gtest/gtest.h"

namespace mossrt::runtime {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

std::unique_ptr<Sampler> Make(const SamplingOptions& options) {
  auto sampler = Sampler::Create(options);
  EXPECT_TRUE(sampler.ok()) << sampler.status();
  return sampler.ok() ? *std::move(sampler) : nullptr;
}

TokenChoice Choose(Sampler& sampler, std::vector<float> logits,
                   const std::vector<std::int32_t>& ids = {},
                   const std::vector<std::int32_t>& forbidden = {},
                   std::int64_t allowed = INT32_MAX) {
  TokenChoice choice;
  const absl::Status status = sampler.Sample(ids, logits, forbidden, allowed, &choice);
  EXPECT_TRUE(status.ok()) << status;
  return choice;
}

absl::StatusCode Refusal(std::vector<float> logits, std::int64_t allowed = INT32_MAX) {
  const auto sampler = Make({});
  TokenChoice choice;
  return sampler->Sample({}, logits, {}, allowed, &choice).code();
}

// The formula of make_references.py.
std::vector<float> Logits(std::size_t vocab, std::uint64_t number, float step) {
  std::vector<float> logits(vocab);
  for (std::size_t i = 0; i < vocab; ++i) {
    std::uint64_t hashed =
        (i * 2654435761u + number * (std::uint64_t{40503} * 65537)) & 0xFFFFFFFFu;
    hashed = ((hashed ^ (hashed >> 15)) * 2246822519u) & 0xFFFFFFFFu;
    float value = static_cast<float>(hashed >> 8) * 0x1p-24f;
    value = value * 12.0f;
    value = value - 6.0f;
    logits[i] = step > 0 ? std::floor(value / step) * step : value;
  }
  return logits;
}

TEST(Philox, KnownAnswers) {  // those published with Random123
  using Counter = std::array<std::uint32_t, 4>;
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (Counter{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Counter{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Counter{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, UniformDependsOnEveryArgument) {
  const double u = PhiloxUniform(1, 2, 3);
  EXPECT_GE(u, 0.0);
  EXPECT_LT(u, 1.0);
  EXPECT_EQ(u, PhiloxUniform(1, 2, 3));
  for (const double other :
       {PhiloxUniform(2, 2, 3), PhiloxUniform(1, 3, 3), PhiloxUniform(1, 2, 4),
        PhiloxUniform(1 + (1ull << 32), 2, 3), PhiloxUniform(1, 2 + (1ull << 32), 3)}) {
    EXPECT_NE(u, other);
  }
}

TEST(Sampler, ChoosesWhatTransformersProcessorsLeadTo) {
  std::ifstream file(MOSSRT_SOURCE_DIR "/tests/data/generate/sampling.json");
  const std::string text{std::istreambuf_iterator<char>(file), {}};
  const auto references = ParseJson(text, "sampling.json");
  ASSERT_TRUE(references.ok()) << references.status();
  const auto vocab = (*references)["vocab"].get<std::size_t>();
  std::uint64_t number = 0;
  int draws = 0;
  for (const Json& reference : (*references)["cases"]) {
    const Json& o = reference["options"];
    SamplingOptions options;
    options.do_sample = !o.value("greedy", false);
    options.temperature = o.value("temperature", 1.0);
    options.top_k = o.value("top_k", 0);
    options.top_p = o.value("top_p", 1.0);
    options.min_p = o.value("min_p", 0.0);
    options.repetition_penalty = o.value("repetition_penalty", 1.0);
    options.seed = number + (std::uint64_t{1} << 40);
    const auto ids = reference["ids"].get<std::vector<std::int32_t>>();
    const std::vector<float> logits = Logits(vocab, number, o.value("step", 0.0f));
    for (const Json& draw : reference["draws"]) {
      options.sample_index = draw[0].get<std::uint64_t>();
      const TokenChoice choice = Choose(*Make(options), logits, ids);
      ASSERT_EQ(choice.token, draw[1].get<int>()) << o << " draw " << draw[0];
      ASSERT_NEAR(choice.logprob, draw[2].get<float>(), 2e-6) << o;
      ++draws;
    }
    ++number;
  }
  EXPECT_GT(draws, 1000);
}

TEST(Sampler, GreedyTakesTheLowestOfEqualIds) {
  const auto sampler = Make({});
  EXPECT_EQ(Choose(*sampler, {1, 3, 2, 3, 3}).token, 1);
  EXPECT_EQ(Choose(*sampler, {-0.0f, 0.0f}).token, 0);
  EXPECT_EQ(Choose(*sampler, {-5}).token, 0);
}

TEST(Sampler, TopKKeepsAllThatTie) {
  SamplingOptions options{.do_sample = true, .top_k = 2};
  std::vector<int> count(5);
  for (options.sample_index = 0; options.sample_index < 400; ++options.sample_index) {
    ++count[static_cast<std::size_t>(Choose(*Make(options), {1, 2, 1, 0, 1}).token)];
  }
  EXPECT_GT(count[0], 0);
  EXPECT_GT(count[1], count[0]);
  EXPECT_GT(count[2], 0);
  EXPECT_EQ(count[3], 0);
  EXPECT_GT(count[4], 0);
}

TEST(Sampler, DrawsWithTheRightFrequency) {
  // 0.5, 0.25, 0.25: 4 standard deviations of 4000 draws are 0.032.
  SamplingOptions options{.do_sample = true};
  std::vector<double> count(3);
  const float quarter = std::log(0.25f);
  for (options.sample_index = 0; options.sample_index < 4000; ++options.sample_index) {
    count[static_cast<std::size_t>(
        Choose(*Make(options), {quarter, std::log(0.5f), quarter}).token)] += 1.0 / 4000;
  }
  EXPECT_NEAR(count[0], 0.25, 0.032);
  EXPECT_NEAR(count[1], 0.5, 0.032);
  EXPECT_NEAR(count[2], 0.25, 0.032);
}

TEST(Sampler, RandomNumbersDependOnThePosition) {
  const auto sampler = Make({.do_sample = true, .seed = 7});
  const std::vector<float> even(50, 0.0f);
  std::vector<std::int32_t> ids, tokens, again;
  for (int i = 0; i < 20; ++i) {
    tokens.push_back(Choose(*sampler, even, ids).token);
    again.push_back(Choose(*Make({.do_sample = true, .seed = 7}), even, ids).token);
    ids.push_back(0);
  }
  EXPECT_EQ(tokens, again);
  std::sort(tokens.begin(), tokens.end());
  EXPECT_GT(std::unique(tokens.begin(), tokens.end()) - tokens.begin(), 10);
}

// One hash over many choices in a vocabulary of MOSS's size: equal with every compiler and
// processor.
TEST(Sampler, Bits) {
  std::uint64_t hash = 1469598103934665603u;
  for (std::uint64_t i = 0; i < 12; ++i) {
    const auto sampler = Make({.do_sample = true,
                               .temperature = 0.7 + 0.1 * static_cast<double>(i % 4),
                               .top_k = i % 3 == 0 ? 2000 : 0,
                               .top_p = i % 2 == 0 ? 0.8 : 1.0,
                               .repetition_penalty = 1.02,
                               .seed = i,
                               .top_logprobs = 5});
    const TokenChoice choice = Choose(*sampler, Logits(107008, i, 0), {5, 6, 5});
    for (const std::uint32_t word :
         {static_cast<std::uint32_t>(choice.token), std::bit_cast<std::uint32_t>(choice.logprob),
          std::bit_cast<std::uint32_t>(choice.top_logprobs[4])}) {
      hash = (hash ^ word) * 1099511628211u;
    }
  }
  EXPECT_EQ(hash, 13408547570209492863u);
}

TEST(Sampler, LogProbabilitiesAreOfTheModelsOwnDistribution) {
  const auto sampler = Make({.repetition_penalty = 5.0, .top_logprobs = 3});
  const std::vector<float> logits = {2, 0, 1, 1};
  const TokenChoice choice = Choose(*sampler, logits, {0}, {2}, 3);
  EXPECT_EQ(choice.token, 0);  // 0.4 after the penalty, 2 forbidden, 3 beyond the vocabulary
  const double sum = std::exp(2.0) + 1.0 + 2.0 * std::exp(1.0);
  EXPECT_FLOAT_EQ(choice.logprob, static_cast<float>(2.0 - std::log(sum)));
  EXPECT_EQ(choice.top_ids, (std::vector<std::int32_t>{0, 2, 3}));
  EXPECT_FLOAT_EQ(choice.top_logprobs[2], static_cast<float>(1.0 - std::log(sum)));
}

TEST(Sampler, ManyAlternativesInOrder) {
  const auto sampler = Make({.top_logprobs = 64});
  const std::vector<float> logits = Logits(500, 3, 0.5f);
  const TokenChoice choice = Choose(*sampler, logits);
  std::vector<std::int32_t> order(500);
  for (int i = 0; i < 500; ++i) order[static_cast<std::size_t>(i)] = i;
  std::stable_sort(order.begin(), order.end(), [&](std::int32_t a, std::int32_t b) {
    return logits[static_cast<std::size_t>(a)] > logits[static_cast<std::size_t>(b)];
  });
  order.resize(64);
  EXPECT_EQ(choice.top_ids, order);
  EXPECT_EQ(Choose(*sampler, {1, 2}).top_ids, (std::vector<std::int32_t>{1, 0}));
}

TEST(Sampler, MasksAndForbids) {
  const auto sampler = Make({});
  EXPECT_EQ(Choose(*sampler, {0, 1, 2, 3}, {}, {3}).token, 2);
  EXPECT_EQ(Choose(*sampler, {0, 1, 2, 3}, {}, {3, 99, -4}, 2).token, 1);
  EXPECT_EQ(Choose(*sampler, {-kInfinity, -kInfinity, -3}).token, 2);
}

TEST(Sampler, ProcessorsSeeIdsAndChangeLogits) {
  const auto sampler = Make({.repetition_penalty = 2.0});
  sampler->AddProcessor([](std::span<const std::int32_t> ids, std::span<float> logits) {
    EXPECT_EQ(ids.size(), 2u);
    EXPECT_EQ(logits[0], 1.0f);  // after the penalty
    EXPECT_EQ(logits[1], -2.0f);
    logits[2] = 100;
    return absl::OkStatus();
  });
  sampler->AddProcessor([](std::span<const std::int32_t>, std::span<float> logits) {
    EXPECT_EQ(logits[2], 100.0f);
    return absl::OkStatus();
  });
  EXPECT_EQ(Choose(*sampler, {2, -1, 0}, {0, 1}).token, 2);
  sampler->AddProcessor([](std::span<const std::int32_t>, std::span<float>) {
    return absl::AbortedError("the user's own");
  });
  std::vector<float> logits = {2, -1, 0};
  TokenChoice choice;
  const std::int32_t ids[] = {0, 1};
  EXPECT_EQ(sampler->Sample(ids, logits, {}, 3, &choice).message(), "the user's own");
}

TEST(Sampler, UnusableLogitsAreErrors) {
  EXPECT_EQ(Refusal({}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Refusal({1, std::nanf(""), 2}), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Refusal({1, kInfinity}), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Refusal({-kInfinity, -kInfinity}), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Refusal({1, 2}, 0), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Refusal({1, 2}, -1), absl::StatusCode::kFailedPrecondition);
  std::vector<float> logits(5000);
  logits[4321] = std::nanf("");
  TokenChoice choice;
  const absl::Status status = Make({})->Sample({}, logits, {}, 5000, &choice);
  EXPECT_NE(status.message().find("4321"), absl::string_view::npos) << status;
}

TEST(Sampler, RefusesOptionsThatMakeNoSense) {
  const auto refused = [](const SamplingOptions& options) {
    return Sampler::Create(options).status().code() == absl::StatusCode::kInvalidArgument;
  };
  const double nan = std::nan("");
  for (const double bad : {0.0, -1.0, nan, static_cast<double>(kInfinity)}) {
    EXPECT_TRUE(refused({.do_sample = true, .temperature = bad})) << bad;
    EXPECT_FALSE(refused({.do_sample = false, .temperature = bad})) << bad;
    EXPECT_TRUE(refused({.repetition_penalty = bad})) << bad;
  }
  for (const double bad : {-0.1, 1.1, nan}) {
    EXPECT_TRUE(refused({.do_sample = true, .top_p = bad})) << bad;
    EXPECT_TRUE(refused({.do_sample = true, .min_p = bad})) << bad;
  }
  EXPECT_TRUE(refused({.do_sample = true, .top_k = -1}));
  EXPECT_TRUE(refused({.top_logprobs = 65}));
  EXPECT_TRUE(refused({.top_logprobs = -1}));
}

TEST(Sampler, ExtremeTemperatures) {
  const std::vector<float> logits = {1, 3, 2};
  EXPECT_EQ(Choose(*Make({.do_sample = true, .temperature = 1e-300}), logits).token, 1);
  EXPECT_EQ(Choose(*Make({.do_sample = true, .temperature = 1e-300}), {3e38f, -3e38f}).token, 0);
  SamplingOptions hot{.do_sample = true, .temperature = 1e20};
  std::vector<int> count(3);
  for (hot.seed = 0; hot.seed < 60; ++hot.seed) {
    ++count[static_cast<std::size_t>(Choose(*Make(hot), logits).token)];
  }
  EXPECT_GT(*std::min_element(count.begin(), count.end()), 5);
}

TEST(Sampler, AllocatesNothingAfterTheFirstStep) {
  for (const bool sample : {false, true}) {
    const auto sampler = Make({.do_sample = sample,
                               .top_k = sample ? 500 : 0,
                               .top_p = 0.95,
                               .repetition_penalty = 1.1,
                               .top_logprobs = 8});
    const std::vector<float> original = Logits(20000, 5, 0);
    std::vector<float> logits = original;
    const std::vector<std::int32_t> ids = {1, 2, 3, 2}, forbidden = {7};
    TokenChoice choice;
    ASSERT_TRUE(sampler->Sample(ids, logits, forbidden, 19000, &choice).ok());
    const long long before = AllocationCount();
    for (int i = 0; i < 5; ++i) {
      std::copy(original.begin(), original.end(), logits.begin());
      ASSERT_TRUE(sampler->Sample(ids, logits, forbidden, 19000, &choice).ok());
    }
    EXPECT_EQ(AllocationCount(), before) << "do_sample " << sample;
  }
}

TEST(Ranking, EqualsAFullSort) {
  std::mt19937 random(3);
  for (const std::size_t size : {1u, 5u, 64u, 65u, 300u, 5000u}) {
    std::vector<float> logits(size);
    for (float& logit : logits) logit = static_cast<float>(random() % 97) - 48.0f;
    logits[size / 2] = -kInfinity;
    std::vector<std::uint64_t> keys;
    for (std::size_t i = 0; i < size; ++i) {
      if (logits[i] > -kInfinity) keys.push_back(RankKey(logits[i], static_cast<std::int32_t>(i)));
    }
    std::sort(keys.begin(), keys.end());
    Ranking ranking;
    ranking.Assign(logits);
    ASSERT_EQ(ranking.size(), keys.size());
    for (std::size_t i = 0; i < keys.size(); ++i) {
      ASSERT_EQ(ranking.At(i), keys[i]);
      ASSERT_EQ(LogitOfKey(keys[i]), logits[static_cast<std::size_t>(IdOfKey(keys[i]))]);
    }
  }
}

}  // namespace
}  // namespace mossrt::runtime
