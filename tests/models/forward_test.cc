// What Forward takes and refuses, and what sequences share.
#include <thread>

#include "made_checkpoint.h"
#include "reference_model.h"

namespace mossrt::runtime {
namespace {

std::unique_ptr<Model> Load(const Json& config, const std::string& architecture, int threads = 2) {
  const ArchSpec spec = SpecNamed(architecture);
  auto model = Model::Load(MadeCheckpoint(config, &spec), {.threads = threads}, nullptr);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

std::vector<std::int32_t> Ids(std::size_t n, std::int32_t first = 0) {
  std::vector<std::int32_t> ids;
  for (std::size_t i = 0; i < n; ++i) {
    ids.push_back((first + static_cast<std::int32_t>(i) * 7) % 50);
  }
  return ids;
}

absl::Status Forward(const Model& model, Workspace& workspace,
                     const std::vector<SequenceInput>& inputs, const HookSet* hooks = nullptr) {
  return model.Forward(inputs, {.hooks = hooks}, workspace).status();
}

void ExpectRefused(const absl::Status& status, const std::string& part) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_NE(std::string(status.message()).find(part), std::string::npos) << status;
}

TEST(Forward, EmbeddingRowsGiveTheBitsOfTheirTokens) {
  for (const std::string name : {"moss", "llama"}) {  // a table of its own, a tied head
    const ReferenceModel reference(name);
    const auto model = reference.Load({});
    const auto ids = std::span(reference.ids).first(20);
    std::vector<float> rows;
    HookSet hooks;
    hooks.Add(HookPoint::kEmbed, HookSet::kAllLayers, [&rows](const HookCall& call) {
      for (std::int64_t i = 0; i < call.values.rows; ++i) {
        const auto row = call.values.RowSpan(i);
        rows.insert(rows.end(), row.begin(), row.end());
      }
      return absl::OkStatus();
    });
    Sequence tokens(*model, 20), embeddings(*model, 20);
    ASSERT_TRUE(tokens.Feed(ids, SequenceInput::Rows::kAll, &hooks).ok());
    const std::int64_t hidden = model->params().hidden;
    ASSERT_EQ(rows.size(), static_cast<std::size_t>(20 * hidden));
    SequenceInput input;
    input.kv = &embeddings.kv();
    input.embeddings = ConstMatrix(rows.data(), 20, hidden);
    input.want = SequenceInput::Rows::kAll;
    const auto logits = model->Forward({&input, 1}, {}, embeddings.workspace());
    ASSERT_TRUE(logits.ok()) << logits.status();
    for (std::int64_t i = 0; i < 20; ++i) {
      const auto row = logits->RowSpan(i);
      EXPECT_EQ(std::memcmp(row.data(), &tokens.logits[static_cast<std::size_t>(i) * row.size()],
                            row.size_bytes()),
                0)
          << name << ", row " << i;
    }
    EXPECT_EQ(embeddings.kv().length(), 20);
  }
}

TEST(Forward, RefusesEmbeddingsThatAreNoMatrix) {
  const auto model = Load(TinyMoss(), "moss");
  Sequence s(*model, 4);
  const std::vector<float> rows(256);
  const auto with = [&](const float* data, std::int64_t n, std::int64_t cols, std::int64_t stride) {
    SequenceInput input;
    input.kv = &s.kv();
    input.embeddings = ConstMatrix(data, n, cols, stride);
    return Forward(*model, s.workspace(), {input});
  };
  ExpectRefused(with(rows.data(), -1, 32, 32), "-1");
  ExpectRefused(with(nullptr, 2, 32, 32), "embeddings");
  ExpectRefused(with(rows.data(), 2, 32, 31), "stride");
  ExpectRefused(with(rows.data(), 2, 31, 32), "31 columns");
  EXPECT_EQ(with(rows.data(), INT64_MAX, 32, 32).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(with(rows.data(), 4, 32, 64).ok());
}

TEST(Forward, RefusesOneCacheTwice) {
  const auto model = Load(TinyMoss(), "moss");
  Sequence a(*model, 8), b(*model, 1);
  const auto ids = Ids(2);
  SequenceInput first, second, third;
  first.kv = third.kv = &a.kv();
  second.kv = &b.kv();
  first.tokens = second.tokens = third.tokens = ids;
  ExpectRefused(Forward(*model, a.workspace(), {first, second, third}), "sequence 2");
  EXPECT_EQ(a.kv().length(), 0);
  EXPECT_TRUE(Forward(*model, a.workspace(), {first, second}).ok());
}

TEST(Forward, RefusesAWorkspaceOfAnotherModel) {
  const auto model = Load(TinyMoss(), "moss"), other = Load(TinyLlama(), "llama");
  Sequence mine(*model, 8), theirs(*other, 8);
  const auto ids = Ids(2);
  SequenceInput input;
  input.kv = &mine.kv();
  input.tokens = ids;
  ExpectRefused(Forward(*model, theirs.workspace(), {input}), "workspace");
}

TEST(Forward, RefusesACacheTypeThatIsNone) {
  const auto model = Load(TinyMoss(), "moss");
  const HyperParams& p = model->params();
  Sequence s(*model, 8);
  KvCache kv({p.layers, p.kv_heads, p.head_dim, DType::kF16}, 64);
  const auto ids = Ids(2);
  SequenceInput input;
  input.kv = &kv;
  input.tokens = ids;
  ExpectRefused(Forward(*model, s.workspace(), {input}), "float16");
}

TEST(Forward, RefusesListedRowsOutOfOrder) {
  const auto model = Load(TinyMoss(), "moss");
  Sequence s(*model, 8);
  const auto ids = Ids(4);
  for (const std::vector<std::int32_t>& listed :
       std::vector<std::vector<std::int32_t>>{{4}, {-1}, {1, 1}, {2, 0}}) {
    ExpectRefused(s.Feed(ids, SequenceInput::Rows::kListed, nullptr, listed), "wanted row");
  }
  EXPECT_TRUE(s.Feed(ids, SequenceInput::Rows::kListed, nullptr, {}).ok());
  EXPECT_TRUE(s.logits.empty());
}

TEST(Forward, RefusesHooksThatCouldNeverRun) {
  const auto model = Load(TinyMoss(), "moss");
  Sequence s(*model, 8);
  for (const int layer : {2, 99, -2}) {
    HookSet hooks;
    hooks.Add(HookPoint::kResid, layer, [](const HookCall&) { return absl::OkStatus(); });
    ExpectRefused(s.Feed(Ids(2), SequenceInput::Rows::kLast, &hooks), "resid");
  }
  HookSet empty;
  empty.Add(HookPoint::kEmbed, -1, nullptr);
  ExpectRefused(s.Feed(Ids(2), SequenceInput::Rows::kLast, &empty), "function");
  EXPECT_EQ(s.kv().length(), 0);
}

// A hook that writes the same thing at the shared norm's two readers does what one at the norm
// does.
TEST(Forward, HooksThatWriteAreFollowed) {
  const auto model = Load(TinyMoss(), "moss");
  const auto logits = [&](const std::vector<HookPoint>& points) {
    HookSet hooks;
    for (const HookPoint point : points) {
      hooks.Add(point, 1, [](const HookCall& call) {
        for (std::int64_t i = 0; i < call.values.rows; ++i) {
          for (float& value : call.values.RowSpan(i)) value = 0;
        }
        return absl::OkStatus();
      });
    }
    Sequence s(*model, 8);
    EXPECT_TRUE(s.Feed(Ids(8), SequenceInput::Rows::kAll, &hooks).ok());
    return s.logits;
  };
  const auto plain = logits({});
  // Everything that the norm feeds, cut after it: queries and keys alone change no value that is 0.
  EXPECT_EQ(logits({HookPoint::kNorm1}),
            logits({HookPoint::kQ, HookPoint::kK, HookPoint::kV, HookPoint::kMlpIn}));
  EXPECT_EQ(logits({HookPoint::kAttnOut, HookPoint::kMlpIn}), logits({HookPoint::kNorm1}));
  for (const HookPoint point :
       {HookPoint::kNorm1, HookPoint::kQ, HookPoint::kK, HookPoint::kV, HookPoint::kAttnOut,
        HookPoint::kMlpIn, HookPoint::kMlpAct, HookPoint::kMlpOut, HookPoint::kResid}) {
    EXPECT_NE(logits({point}), plain) << HookName(point);
  }
}

TEST(Forward, AHookThatFailsLeavesTheCacheAsItWas) {
  const auto model = Load(TinyMoss(), "moss");
  Sequence s(*model, 8), undisturbed(*model, 8);
  ASSERT_TRUE(s.Feed(Ids(3), SequenceInput::Rows::kNone).ok());
  HookSet hooks;
  hooks.Add(HookPoint::kResid, 1, [](const HookCall&) { return absl::UnknownError("enough"); });
  EXPECT_EQ(s.Feed(Ids(5, 11), SequenceInput::Rows::kLast, &hooks).message(), "enough");
  EXPECT_EQ(s.kv().length(), 3);
  ASSERT_TRUE(s.Feed(Ids(4, 5), SequenceInput::Rows::kAll).ok());
  ASSERT_TRUE(undisturbed.Feed(Ids(3), SequenceInput::Rows::kNone).ok());
  ASSERT_TRUE(undisturbed.Feed(Ids(4, 5), SequenceInput::Rows::kAll).ok());
  EXPECT_EQ(s.logits, undisturbed.logits);
}

TEST(Workspace, RefusesMoreRowsThanCouldBe) {
  const auto model = Load(TinyMoss(), "moss");
  for (const std::int64_t rows : {std::int64_t{0}, std::int64_t{-1}, INT64_MAX, INT64_MAX / 64}) {
    EXPECT_FALSE(Workspace::Create(*model, rows).ok()) << rows;
  }
}

TEST(TiedHead, GivesTheBitsOfAHeadThatEqualsTheEmbedding) {
  const ArchSpec spec = SpecNamed("llama");
  Json tied_config = TinyLlama();
  tied_config["tie_word_embeddings"] = true;
  const MadeCheckpoint tied(tied_config, &spec);
  MadeCheckpoint untied(TinyLlama(), &spec), with_head(tied_config, &spec);
  untied.Alias("lm_head.weight", "model.embed_tokens.weight");
  with_head.Add("lm_head.weight", {50, 32});  // stored all the same: what is tied is not read
  EXPECT_FALSE(tied.tensors().contains("lm_head.weight"));
  std::vector<std::vector<float>> logits;
  for (const MadeCheckpoint* checkpoint :
       {static_cast<const MadeCheckpoint*>(&tied), static_cast<const MadeCheckpoint*>(&untied),
        static_cast<const MadeCheckpoint*>(&with_head)}) {
    const auto model = Model::Load(*checkpoint, {.threads = 2}, nullptr);
    ASSERT_TRUE(model.ok()) << model.status();
    Sequence s(**model, 8);
    ASSERT_TRUE(s.Feed(Ids(8), SequenceInput::Rows::kAll).ok());
    logits.push_back(s.logits);
  }
  EXPECT_EQ(logits[0], logits[1]);
  EXPECT_EQ(logits[0], logits[2]);
}

TEST(Sessions, TwoThreadsOnOneModelGetTheBitsOfOne) {
  for (const std::string name : {"moss", "llama"}) {
    const auto model = name == "moss" ? Load(TinyMoss(), name) : Load(TinyLlama(), name);
    const auto run = [&](std::int32_t first) {
      Sequence s(*model, 9);
      for (std::size_t at = 0; at < 60; at += 9) {
        const auto ids = Ids(std::min<std::size_t>(9, 60 - at), first + static_cast<int>(at));
        EXPECT_TRUE(s.Feed(ids, SequenceInput::Rows::kAll).ok());
      }
      return s.logits;
    };
    const std::vector<float> want[2] = {run(0), run(3)};
    std::vector<float> got[2];
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 2; ++t) {
        threads.emplace_back([&, t] {
          for (int round = 0; round < 4; ++round) got[t] = run(3 * t);
        });
      }
    }
    EXPECT_EQ(got[0], want[0]) << name;
    EXPECT_EQ(got[1], want[1]) << name;
  }
}

// Forks of one prefix go on in threads of their own: the copies they take of the shared block race
// with nothing.
TEST(Sessions, ForksGoOnInTwoThreads) {
  const auto model = Load(TinyLlama(), "llama");
  for (int round = 0; round < 3; ++round) {
    Sequence prefix(*model, 300);
    ASSERT_TRUE(prefix.Feed(Ids(300), SequenceInput::Rows::kNone).ok());
    const auto ids = Ids(20, 4);
    std::vector<float> got[2];
    std::unique_ptr<KvCache> forks[2] = {prefix.kv().Fork(), prefix.kv().Fork()};
    {
      std::vector<std::jthread> threads;
      for (int t = 0; t < 2; ++t) {
        threads.emplace_back([&, t] {
          Sequence own(*model, 20);
          SequenceInput input;
          input.kv = forks[t].get();
          input.tokens = ids;
          const auto logits = model->Forward({&input, 1}, {}, own.workspace());
          ASSERT_TRUE(logits.ok()) << logits.status();
          got[t].assign(logits->Row(0), logits->Row(0) + logits->cols);
          forks[t].reset();
        });
      }
    }
    ASSERT_TRUE(prefix.Feed(ids, SequenceInput::Rows::kLast).ok());
    EXPECT_EQ(got[0], prefix.logits);
    EXPECT_EQ(got[1], prefix.logits);
  }
}

TEST(KvCache, AForkCopiesABlockWhenItIsWritten) {
  const KvShape shape{.layers = 2, .kv_heads = 2, .head_dim = 6, .dtype = DType::kF32};
  KvCache kv(shape, 2000);
  ASSERT_TRUE(kv.Reserve(600).ok());
  std::vector<float> values(6);
  for (std::int64_t position = 0; position < 600; ++position) {
    values.assign(6, static_cast<float>(position));
    for (std::int64_t layer = 0; layer < 2; ++layer) {
      for (std::int64_t head = 0; head < 2; ++head) {
        kv.StoreKeys(position, layer, head, {values.data(), 1, 6});
        kv.StoreValues(position, layer, head, {values.data(), 1, 6});
      }
    }
  }
  kv.Advance(600);
  const auto fork = kv.Fork();
  EXPECT_EQ(fork->length(), 600);
  const auto shared = [&](std::int64_t block) {
    return kv.Keys(block, 0, 0) == fork->Keys(block, 0, 0);
  };
  EXPECT_TRUE(shared(0) && shared(1) && shared(2));
  const auto bytes_of = [&](const KvCache& cache, std::int64_t block) {
    return std::string(reinterpret_cast<const char*>(cache.Keys(block, 0, 0)), shape.BlockBytes());
  };
  const std::string before = bytes_of(kv, 2);

  ASSERT_TRUE(fork->Reserve(1).ok());
  EXPECT_TRUE(shared(0) && shared(1));
  EXPECT_FALSE(shared(2));
  EXPECT_EQ(bytes_of(*fork, 2), before);
  values.assign(6, -1.0f);
  fork->StoreKeys(600, 1, 1, {values.data(), 1, 6});
  fork->StoreValues(600, 1, 1, {values.data(), 1, 6});
  fork->Advance(1);
  EXPECT_EQ(bytes_of(kv, 2), before);

  // Nobody shares block 2 any more, so the original writes in place.
  const std::byte* place = kv.Keys(2, 0, 0);
  ASSERT_TRUE(kv.Reserve(1).ok());
  EXPECT_EQ(kv.Keys(2, 0, 0), place);

  // A rewind into a shared block copies that block and only that.
  fork->Rewind(300);
  EXPECT_EQ(fork->allocated_bytes(), 2 * shape.BlockBytes());
  ASSERT_TRUE(fork->Reserve(5).ok());
  EXPECT_TRUE(shared(0));
  EXPECT_FALSE(shared(1));
}

TEST(KvCache, ReserveBeyondTheCapacityChangesNothing) {
  KvCache kv({.layers = 1, .kv_heads = 1, .head_dim = 4, .dtype = DType::kBF16}, 300);
  ASSERT_TRUE(kv.Reserve(10).ok());
  kv.Advance(10);
  const std::size_t bytes = kv.allocated_bytes();
  for (const std::int64_t tokens : {std::int64_t{291}, INT64_MAX}) {
    EXPECT_EQ(kv.Reserve(tokens).code(), absl::StatusCode::kResourceExhausted);
  }
  EXPECT_EQ(kv.Reserve(-1).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(kv.length(), 10);
  EXPECT_EQ(kv.allocated_bytes(), bytes);
}

TEST(ReadTensor, AnswersWithoutAPlaceForTheShape) {
  const auto model = Load(TinyMoss(), "moss");
  const auto values = model->ReadTensor("transformer.ln_f.weight", nullptr);
  ASSERT_TRUE(values.ok()) << values.status();
  EXPECT_EQ(values->size(), 32u);
  const auto status = model->ReadTensor("transformer.ln_x.weight", nullptr).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
}

// Biases of a fused matrix go through the map of its rows, as its weights do.
TEST(ReadTensor, GivesFusedBiasesInTheFilesOrder) {
  ArchSpec spec = SpecNamed("moss");
  spec.name = "moss_with_bias";
  spec.model_types = {"moss_with_bias"};
  spec.qkv_bias = true;
  ASSERT_TRUE(RegisterArchitecture(spec).ok());
  Json config = TinyMoss();
  config["model_type"] = "moss_with_bias";
  const MadeCheckpoint checkpoint(config, &spec);
  const auto model = Model::Load(checkpoint, {.threads = 1}, nullptr);
  ASSERT_TRUE(model.ok()) << model.status();
  const std::string name = "transformer.h.1.attn.qkv_proj.bias";
  const auto values = (*model)->ReadTensor(name, nullptr);
  ASSERT_TRUE(values.ok()) << values.status();
  std::vector<float> want(96);
  ASSERT_TRUE(checkpoint
                  .ReadRows(checkpoint.tensors().at(name), 0, 96,
                            {reinterpret_cast<std::uint8_t*>(want.data()), 96 * sizeof(float)})
                  .ok());
  EXPECT_EQ(*values, want);
}

}  // namespace
}  // namespace mossrt::runtime
