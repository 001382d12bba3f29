// Contract 1: the bits of a sequence's logits depend on checkpoint, tokens and numeric settings
// only.
#include "gpt_neox_spec.h"
#include "reference_model.h"

namespace mossrt::runtime {
namespace {

class ContractTest : public testing::TestWithParam<std::string> {};

// Of every kind of product, and scales with and without zero points.
constexpr const char* kDTypes[] = {"float32",       "float16", "bfloat16",      "int8",
                                   "int8-g32-asym", "int4",    "int4-g128-asym"};

constexpr std::size_t kTokens = 530;  // over two KV blocks, ending within a third

std::vector<float> AllLogits(const Model& model, const ReferenceModel& reference,
                             const std::vector<std::size_t>& chunks, const HookSet* hooks = nullptr,
                             DType kv = DType::kF32) {
  Sequence sequence(model, static_cast<std::int64_t>(kTokens), kv);
  std::size_t at = 0;
  for (std::size_t i = 0; at < kTokens; ++i) {
    const std::size_t n = std::min(chunks[i % chunks.size()], kTokens - at);
    EXPECT_TRUE(
        sequence.Feed(std::span(reference.ids).subspan(at, n), SequenceInput::Rows::kAll, hooks)
            .ok());
    at += n;
  }
  return sequence.logits;
}

void ExpectSameBits(const std::vector<float>& a, const std::vector<float>& b,
                    const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  if (a.empty()) return;
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0) << what;
}

TEST_P(ContractTest, ThreadsAndChunksChangeNoBit) {
  const ReferenceModel reference(GetParam());
  for (const std::string dtype : kDTypes) {
    for (const DType kv : {DType::kF32, DType::kBF16, DType::kI8}) {
      const auto one = reference.Load({.dtype = dtype, .threads = 1});
      const std::vector<float> want = AllLogits(*one, reference, {512, 18}, nullptr, kv);
      for (const int threads : {1, 2, 3}) {
        const auto model = reference.Load({.dtype = dtype, .threads = threads});
        for (const std::vector<std::size_t>& chunks :
             std::vector<std::vector<std::size_t>>{{1}, {7}, {13, 1, 255}, {256}, {300}}) {
          if (chunks[0] == 1 && threads != 2) continue;  // single steps: once is enough
          ExpectSameBits(want, AllLogits(*model, reference, chunks, nullptr, kv),
                         dtype + ", " + std::to_string(threads) + " threads, first chunk " +
                             std::to_string(chunks[0]));
        }
      }
    }
  }
}

TEST_P(ContractTest, HooksThatOnlyReadChangeNoBit) {
  const ReferenceModel reference(GetParam());
  HookSet hooks;
  int calls = 0;
  for (int p = 0; p < kHookPoints; ++p) {
    hooks.Add(static_cast<HookPoint>(p), HookSet::kAllLayers, [&calls](const HookCall&) {
      ++calls;
      return absl::OkStatus();
    });
  }
  for (const std::string dtype : kDTypes) {
    const auto model = reference.Load({.dtype = dtype});
    ASSERT_NE(model, nullptr) << dtype;
    const std::vector<float> want = AllLogits(*model, reference, {100});
    calls = 0;
    ExpectSameBits(want, AllLogits(*model, reference, {100}, &hooks), "hooked, " + dtype);
    const int layers = static_cast<int>(model->params().layers);
    EXPECT_EQ(calls, 6 * (9 * layers + 3)) << dtype;
  }
}

class EachBlockTest : public ContractTest {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(RegisterArchitecture(GptNeoxSpec()).ok()); }
};

// Where nobody looks, sums and norms are made inside the regions that prepare inputs; one hook
// takes just its own point out of them.
TEST_P(EachBlockTest, AHookAtOnePointAloneChangesNoBit) {
  const ReferenceModel reference(GetParam());
  for (const std::string dtype : {"float32", "int8"}) {
    const auto model = reference.Load({.dtype = dtype});
    ASSERT_NE(model, nullptr) << dtype;
    const std::vector<float> want = AllLogits(*model, reference, {300});
    for (int p = 0; p < kHookPoints; ++p) {
      const auto point = static_cast<HookPoint>(p);
      HookSet hooks;
      int calls = 0;
      hooks.Add(point, HookSet::kAllLayers, [&calls](const HookCall&) {
        ++calls;
        return absl::OkStatus();
      });
      ExpectSameBits(want, AllLogits(*model, reference, {300}, &hooks),
                     std::string(HookName(point)) + ", " + dtype);
      EXPECT_GT(calls, 0) << HookName(point);
    }
  }
}

TEST_P(EachBlockTest, ALastLayerOfTheWantedRowAloneChangesNoBit) {
  const ReferenceModel reference(GetParam());
  for (const std::string dtype : {"float32", "int8"}) {
    const auto model = reference.Load({.dtype = dtype});
    ASSERT_NE(model, nullptr) << dtype;
    const std::vector<float> all = AllLogits(*model, reference, {kTokens});
    Sequence last(*model, kTokens);
    ASSERT_TRUE(
        last.Feed(std::span(reference.ids).first(kTokens), SequenceInput::Rows::kLast).ok());
    ASSERT_EQ(last.logits.size(), static_cast<std::size_t>(model->params().vocab));
    ExpectSameBits({all.end() - model->params().vocab, all.end()}, last.logits, dtype);
  }
}

// They share blocks of the cache, of which the last is not full.
TEST_P(ContractTest, ACacheAndItsForkDecodeTogether) {
  const ReferenceModel reference(GetParam());
  const std::span<const std::int32_t> ids(reference.ids);
  for (const std::string dtype : kDTypes) {
    const auto model = reference.Load({.dtype = dtype});
    ASSERT_NE(model, nullptr) << dtype;
    for (const std::size_t before : {100u, 300u}) {
      std::vector<float> want;
      for (const std::size_t next : {700u, 800u}) {
        Sequence alone(*model, 512);
        ASSERT_TRUE(alone.Feed(ids.first(before), SequenceInput::Rows::kNone).ok());
        for (std::size_t i = 0; i < 2; ++i)
          ASSERT_TRUE(alone.Feed(ids.subspan(next + i, 1), SequenceInput::Rows::kLast).ok());
        want.insert(want.end(), alone.logits.begin(), alone.logits.end());
      }
      Sequence first(*model, 512);
      ASSERT_TRUE(first.Feed(ids.first(before), SequenceInput::Rows::kNone).ok());
      const std::unique_ptr<KvCache> fork = first.kv().Fork();
      std::vector<float> got[2];
      for (std::size_t i = 0; i < 2; ++i) {
        SequenceInput inputs[2];
        for (const std::size_t which : {0u, 1u}) {
          inputs[which].kv = which == 0 ? &first.kv() : fork.get();
          inputs[which].tokens = ids.subspan((which == 0 ? 700 : 800) + i, 1);
          inputs[which].want = SequenceInput::Rows::kLast;
        }
        const auto logits = model->Forward(inputs, {}, first.workspace());
        ASSERT_TRUE(logits.ok()) << logits.status();
        for (const std::size_t which : {0u, 1u}) {
          const auto row = logits->RowSpan(static_cast<std::int64_t>(which));
          got[which].insert(got[which].end(), row.begin(), row.end());
        }
      }
      got[0].insert(got[0].end(), got[1].begin(), got[1].end());
      ExpectSameBits(want, got[0], dtype + " after " + std::to_string(before));
    }
  }
}

TEST_P(ContractTest, SequencesBesideItChangeNoBit) {
  const ReferenceModel reference(GetParam());
  for (const std::string dtype : kDTypes) {
    const auto model = reference.Load({.dtype = dtype});
    ASSERT_NE(model, nullptr) << dtype;
    const std::vector<float> want = AllLogits(*model, reference, {64});
    Sequence first(*model, 512), second(*model, 1), third(*model, 1);
    std::vector<float> got;
    for (std::size_t at = 0; at < kTokens; at += 53) {
      const std::size_t n = std::min<std::size_t>(53, kTokens - at);
      const std::span<const std::int32_t> ids(reference.ids);
      const SequenceInput inputs[] = {{.kv = &second.kv(),
                                       .tokens = ids.subspan(at / 2 + 900, 3),
                                       .embeddings = {},
                                       .want = SequenceInput::Rows::kLast,
                                       .listed = {}},
                                      {.kv = &first.kv(),
                                       .tokens = ids.subspan(at, n),
                                       .embeddings = {},
                                       .want = SequenceInput::Rows::kAll,
                                       .listed = {}},
                                      {.kv = &third.kv(),
                                       .tokens = ids.subspan(at + 1000, 11),
                                       .embeddings = {},
                                       .want = SequenceInput::Rows::kNone,
                                       .listed = {}}};
      const auto logits = model->Forward(inputs, {}, first.workspace());
      ASSERT_TRUE(logits.ok()) << logits.status();
      ASSERT_EQ(logits->rows, static_cast<std::int64_t>(n) + 1);
      for (std::int64_t i = 1; i < logits->rows; ++i) {
        const auto row = logits->RowSpan(i);
        got.insert(got.end(), row.begin(), row.end());
      }
    }
    ExpectSameBits(want, got, "batched, " + dtype);
  }
}

void ExpectRewindsAndForksChangeNoBit(const Model& model, const ReferenceModel& reference, DType kv,
                                      const std::string& dtype) {
  const std::span<const std::int32_t> ids(reference.ids);
  const std::vector<float> all = AllLogits(model, reference, {512}, nullptr, kv);
  const auto vocab = static_cast<std::size_t>(model.params().vocab);
  for (const std::size_t cut : std::initializer_list<std::size_t>{1, 255, 256, 257, 300}) {
    Sequence sequence(model, static_cast<std::int64_t>(kTokens), kv);
    ASSERT_TRUE(sequence.Feed(ids.first(cut), SequenceInput::Rows::kNone).ok());
    ASSERT_TRUE(sequence.Feed(ids.subspan(1000, 90), SequenceInput::Rows::kNone).ok());
    sequence.kv().Rewind(static_cast<std::int64_t>(cut));
    const auto fork = sequence.kv().Fork();
    // The fork goes another way before and after the original goes on.
    const SequenceInput other{.kv = fork.get(),
                              .tokens = ids.subspan(1200, 5),
                              .embeddings = {},
                              .want = SequenceInput::Rows::kNone,
                              .listed = {}};
    ASSERT_TRUE(model.Forward({&other, 1}, {}, sequence.workspace()).ok());
    for (std::size_t at = cut; at < kTokens;) {
      const std::size_t n = std::min<std::size_t>(512, kTokens - at);
      ASSERT_TRUE(sequence.Feed(ids.subspan(at, n), SequenceInput::Rows::kAll).ok());
      at += n;
    }
    ExpectSameBits({all.begin() + static_cast<std::ptrdiff_t>(cut * vocab), all.end()},
                   sequence.logits, dtype + " after a rewind to " + std::to_string(cut));
  }
}

TEST_P(ContractTest, RewindAndForkChangeNoBit) {
  const ReferenceModel reference(GetParam());
  for (const std::string dtype : kDTypes) {
    const auto model = reference.Load({.dtype = dtype});
    ASSERT_NE(model, nullptr) << dtype;
    for (const DType kv : {DType::kF32, DType::kBF16, DType::kI8})
      ExpectRewindsAndForksChangeNoBit(*model, reference, kv, dtype);
  }
}

// The last layer computes only what the wanted rows need, unless a hook looks at it.
TEST_P(ContractTest, WantedRowsChangeNoBit) {
  const ReferenceModel reference(GetParam());
  const auto model = reference.Load({.dtype = "int8"});
  ASSERT_NE(model, nullptr);
  const std::span<const std::int32_t> ids(reference.ids);
  const auto vocab = static_cast<std::ptrdiff_t>(model->params().vocab);
  const std::vector<std::vector<std::int32_t>> wanted = {{}, {39}, {0, 1, 2, 17, 18, 39}, {38}};
  Sequence all(*model, 80);
  ASSERT_TRUE(all.Feed(ids.first(40), SequenceInput::Rows::kAll).ok());
  HookSet last;
  std::int64_t rows_seen = 0;
  last.Add(HookPoint::kResid, static_cast<int>(model->params().layers) - 1,
           [&](const HookCall& call) {
             rows_seen = call.values.rows;
             return absl::OkStatus();
           });
  for (const std::vector<std::int32_t>& rows : wanted) {
    std::vector<float> want;
    for (const std::int32_t row : rows) {
      const auto from = all.logits.begin() + row * vocab;
      want.insert(want.end(), from, from + vocab);
    }
    for (const HookSet* hooks : {static_cast<const HookSet*>(nullptr), &std::as_const(last)}) {
      Sequence some(*model, 80);
      rows_seen = 0;
      ASSERT_TRUE(some.Feed(ids.first(40), SequenceInput::Rows::kListed, hooks, rows).ok());
      EXPECT_EQ(rows_seen, hooks == nullptr ? 0 : 40);
      ExpectSameBits(want, some.logits, std::to_string(rows.size()) + " rows wanted");
      // The cache is whole: what follows is as after a call for all rows.
      Sequence whole(*model, 80);
      ASSERT_TRUE(whole.Feed(ids.first(40), SequenceInput::Rows::kAll).ok());
      some.logits.clear();
      whole.logits.clear();
      ASSERT_TRUE(some.Feed(ids.subspan(40, 3), SequenceInput::Rows::kAll).ok());
      ASSERT_TRUE(whole.Feed(ids.subspan(40, 3), SequenceInput::Rows::kAll).ok());
      ExpectSameBits(whole.logits, some.logits, "after some rows were wanted");
    }
  }
  // Two sequences, of which one wants its last row and the other rows apart from each other.
  KvCache first(all.kv().shape(), 100), second(all.kv().shape(), 100);
  const std::vector<std::int32_t> listed = {0, 3, 4};
  const SequenceInput inputs[] = {
      {.kv = &first, .tokens = ids.first(40), .want = SequenceInput::Rows::kLast},
      {.kv = &second,
       .tokens = ids.first(9),
       .want = SequenceInput::Rows::kListed,
       .listed = listed}};
  std::vector<std::int64_t> positions;
  HookSet norm;
  norm.Add(HookPoint::kFinalNorm, -1, [&](const HookCall& call) {
    positions.push_back(call.sequence * 1000 + call.first_position);
    return absl::OkStatus();
  });
  const auto both = model->Forward(inputs, {.hooks = &norm}, all.workspace());
  ASSERT_TRUE(both.ok()) << both.status();
  ASSERT_EQ(both->rows, 4);
  const std::int32_t expected[] = {39, 0, 3, 4};
  for (std::int64_t i = 0; i < 4; ++i) {
    const auto from = all.logits.begin() + expected[i] * vocab;
    const auto row = both->RowSpan(i);
    ExpectSameBits({from, from + vocab}, {row.begin(), row.end()}, "row " + std::to_string(i));
  }
  EXPECT_EQ(positions, (std::vector<std::int64_t>{39, 1000}));
}

INSTANTIATE_TEST_SUITE_P(Models, EachBlockTest, testing::Values("moss", "llama", "gpt-neox"),
                         [](const auto& info) {
                           return info.param == "gpt-neox" ? "gpt_neox" : info.param;
                         });
INSTANTIATE_TEST_SUITE_P(Models, ContractTest, testing::Values("moss", "llama"),
                         [](const auto& info) { return info.param; });

TEST(Forward, RefusesWhatDoesNotFit) {
  const ReferenceModel reference("moss");
  const auto model = reference.Load({.dtype = "float32"});
  Sequence sequence(*model, 8);
  const std::int32_t too_large[] = {1, 300000};
  const auto status = sequence.Feed(too_large, SequenceInput::Rows::kLast);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(status.message()).find("300000"), std::string::npos) << status;
  EXPECT_FALSE(sequence.Feed(std::span(reference.ids).first(9), SequenceInput::Rows::kLast).ok());
  EXPECT_EQ(sequence.kv().length(), 0);
}

TEST(Forward, CancelLeavesTheCacheAsItWas) {
  const ReferenceModel reference("moss");
  const auto model = reference.Load({.dtype = "float32"});
  Sequence sequence(*model, 8);
  ASSERT_TRUE(sequence.Feed(std::span(reference.ids).first(4), SequenceInput::Rows::kNone).ok());
  Monitor monitor;
  monitor.Cancel();
  const SequenceInput input{.kv = &sequence.kv(),
                            .tokens = std::span(reference.ids).subspan(4, 2),
                            .embeddings = {},
                            .want = SequenceInput::Rows::kLast,
                            .listed = {}};
  EXPECT_EQ(
      model->Forward({&input, 1}, {.monitor = &monitor}, sequence.workspace()).status().code(),
      absl::StatusCode::kCancelled);
  EXPECT_EQ(sequence.kv().length(), 4);
}

}  // namespace
}  // namespace mossrt::runtime
