// Numbers of config.json, architectures and backends that mean harm, or are merely unusual.
#include <atomic>
#include <thread>

#include "made_checkpoint.h"
#include "reference_model.h"

namespace mossrt::runtime {
namespace {

Json With(Json config, const std::function<void(Json&)>& change) {
  change(config);
  return config;
}

std::string ErrorOf(const Json& config, const LoadOptions& options = {}) {
  const auto plan = PlanModel(MadeCheckpoint(config), options);
  EXPECT_FALSE(plan.ok());
  return plan.ok() ? "" : std::string(plan.status().message());
}

void ExpectAll(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    EXPECT_NE(text.find(part), std::string::npos) << "no \"" << part << "\" in: " << text;
  }
}

TEST(HostileConfig, AModelOfWidthOneRuns) {
  const ArchSpec spec = SpecNamed("moss");
  const MadeCheckpoint checkpoint(With(TinyMoss(),
                                       [](Json& c) {
                                         c["n_embd"] = c["n_head"] = c["mp_num"] = 1;
                                         c["n_inner"] = 1;
                                         c["rotary_dim"] = 0;
                                       }),
                                  &spec);
  const auto model = Model::Load(checkpoint, {.threads = 1}, nullptr);
  ASSERT_TRUE(model.ok()) << model.status();
  Sequence sequence(**model, 4);
  const std::int32_t ids[] = {1, 49, 0};
  ASSERT_TRUE(sequence.Feed(ids, SequenceInput::Rows::kAll).ok());
  EXPECT_EQ(sequence.logits.size(), 150u);
  for (const float value : sequence.logits) EXPECT_TRUE(std::isfinite(value));
}

TEST(HostileConfig, NumbersOutOfRangeAreNamed) {
  for (const char* key : {"n_embd", "n_layer", "n_head", "n_inner", "n_positions", "vocab_size"}) {
    for (const Json& value : {Json(0), Json(-1), Json(INT64_MAX), Json(UINT64_MAX), Json(1e300),
                              Json("8"), Json::array(), Json(true)}) {
      const std::string error = ErrorOf(With(TinyMoss(), [&](Json& c) { c[key] = value; }));
      ExpectAll(error, {std::string("\"") + key + "\"", "made"});
      // That, and what to do: nothing that would be true of another value only.
      EXPECT_EQ(std::count(error.begin(), error.end(), '\n'), 1) << error;
    }
  }
  ExpectAll(ErrorOf(With(TinyLlama(), [](Json& c) { c["num_key_value_heads"] = 0; })),
            {"num_key_value_heads"});
  ExpectAll(ErrorOf(With(TinyLlama(), [](Json& c) { c["num_key_value_heads"] = 3; })),
            {"no multiple", "num_key_value_heads"});
  const std::string no_heads =
      ErrorOf(With(TinyLlama(), [](Json& c) { c["num_attention_heads"] = 0; }));
  EXPECT_EQ(no_heads.find("no multiple"), std::string::npos) << no_heads;
  const std::string factor =
      ErrorOf(With(TinyLlama(), [](Json& c) { c["partial_rotary_factor"] = "all"; }));
  EXPECT_EQ(std::count(factor.begin(), factor.end(), '\n'), 1) << factor;
  // A value without fault is still held against the others without.
  ExpectAll(ErrorOf(With(TinyMoss(), [](Json& c) { c["vocab_size"] = 0, c["n_head"] = 3; })),
            {"\"vocab_size\"", "\"n_embd\" = 32 is no multiple of \"n_head\" = 3"});
  ExpectAll(ErrorOf(With(TinyLlama(), [](Json& c) { c["head_dim"] = 0; })), {"head_dim"});
  ExpectAll(ErrorOf(With(TinyMoss(), [](Json& c) { c["mp_num"] = 3; })), {"3 groups"});
}

TEST(HostileConfig, ErrorsSayWhatToDo) {
  ExpectAll(ErrorOf(With(TinyMoss(), [](Json& c) { c.erase("vocab_size"); })),
            {"made/config.json", "\"vocab_size\" is missing", "published"});
  ExpectAll(ErrorOf(With(TinyMoss(), [](Json& c) { c["model_type"] = 3; })),
            {"made/config.json", "model_type"});
  ExpectAll(ErrorOf(With(TinyMoss(), [](Json& c) { c.erase("model_type"); })),
            {"made/config.json", "model_type", "\"architecture\""});
  ExpectAll(ErrorOf(With(TinyMoss(), [](Json& c) { c["wbits"] = "four"; })),
            {"made/config.json: \"wbits\" must be an integer", "\"four\"", "correct the file"});
  ExpectAll(ErrorOf(TinyMoss()), {"missing", "transformer.wte.weight", "published"});
}

TEST(HostileConfig, RotarySettingsAreRead) {
  ExpectAll(ErrorOf(With(TinyLlama(),
                         [](Json& c) {
                           c["rope_parameters"] = {{"partial_rotary_factor", 1e300}};
                         })),
            {"rotary fraction"});
  ExpectAll(ErrorOf(With(TinyLlama(),
                         [](Json& c) {
                           c["rope_parameters"] = {{"rope_theta", "1e6"}};
                         })),
            {"rope_theta", "1e6"});
  ExpectAll(ErrorOf(With(TinyLlama(), [](Json& c) { c["rope_parameters"] = "default"; })),
            {"rope_parameters"});
}

// What moss and codegen compute has one rotary base and no scaling; their own code reads no key for
// either. The same holds for the keys of other families in a LLaMA's config.
TEST(HostileConfig, RotarySettingsThatNobodyReadsAreRefused) {
  const auto moss = [](const char* key, const Json& value) {
    return With(TinyMoss(), [&](Json& c) { c[key] = value; });
  };
  const auto llama = [](const char* key, const Json& value) {
    return With(TinyLlama(), [&](Json& c) { c[key] = value; });
  };
  const Json linear = {{"type", "linear"}, {"factor", 2.0}};
  for (const char* architecture : {"moss", "codegen", "codegen2"}) {
    const LoadOptions options{.architecture = architecture};
    ExpectAll(ErrorOf(moss("rope_scaling", linear), options),
              {"made/config.json", "\"rope_scaling\" is", "linear", "Correct config.json"});
    ExpectAll(ErrorOf(moss("rope_theta", 5e5), options),
              {"made/config.json", "\"rope_theta\" is 500000", architecture, "the base 10000"});
    ExpectAll(ErrorOf(moss("rope_parameters", {{"rope_theta", 5e5}}), options),
              {"rope_parameters.rope_theta is 500000", architecture, "always 10000"});
    ExpectAll(ErrorOf(moss("rope_parameters", linear), options),
              {"rope_parameters.type", "linear"});
    ExpectAll(ErrorOf(moss("sliding_window", 64), options), {"\"sliding_window\" is 64"});
  }
  ExpectAll(ErrorOf(moss("rotary_pct", 0.25)), {"\"rotary_pct\" is 0.25", "of the"});
  ExpectAll(ErrorOf(moss("rope_theta", "1e6")), {"\"rope_theta\" must be a number", "1e6"});
  ExpectAll(ErrorOf(llama("rotary_emb_base", 5000)), {"\"rotary_emb_base\" is 5000"});
  ExpectAll(ErrorOf(llama("partial_rotary_factor", 0.5)), {"\"partial_rotary_factor\" is 0.5"});
  const auto part = [](double factor) { return Json{{"partial_rotary_factor", factor}}; };
  ExpectAll(ErrorOf(llama("rope_parameters", part(0.5))),
            {"made/config.json", "\"rope_parameters.partial_rotary_factor\" is 0.5", "\"llama\"",
             "8 of the 8 dimensions", "Correct config.json"});
  for (const char* architecture : {"moss", "codegen", "codegen2"}) {
    ExpectAll(ErrorOf(moss("rope_parameters", part(0.25)), {.architecture = architecture}),
              {"made/config.json", "\"rope_parameters.partial_rotary_factor\" is 0.25",
               architecture, "4 of the 8 dimensions"});
  }

  // What says the same as the architecture, or nothing, is welcome.
  for (const Json& config :
       {moss("rope_theta", 10000), moss("rope_theta", nullptr), moss("rope_scaling", nullptr),
        moss("rope_parameters", {{"rope_type", "default"}, {"rope_theta", 10000.0}}),
        moss("rope_parameters", {{"rope_type", nullptr}, {"type", nullptr}}),
        moss("rope_parameters", part(0.5))}) {
    const auto params = ReadHyperParams(SpecNamed("moss"), config.dump());
    EXPECT_TRUE(params.ok()) << params.status();
  }
  for (const Json& config : {llama("rope_theta", 5e5), llama("partial_rotary_factor", 1.0),
                             llama("rope_parameters", part(1.0))}) {
    const auto params = ReadHyperParams(SpecNamed("llama"), config.dump());
    EXPECT_TRUE(params.ok()) << params.status();
  }
}

// A family that has such a key reads it in both places.
TEST(HostileConfig, AFamilyThatRotatesAPartReadsRopeParameters) {
  ArchSpec spec = SpecNamed("llama");
  spec.keys.rotary_fraction = "partial_rotary_factor";
  const auto rotated = [&spec](const std::function<void(Json&)>& change) {
    const auto params = ReadHyperParams(spec, With(TinyLlama(), change).dump());
    EXPECT_TRUE(params.ok()) << params.status();
    return params.ok() ? params->rotary_dim : -1;
  };
  EXPECT_EQ(rotated([](Json&) {}), 8);
  EXPECT_EQ(rotated([](Json& c) { c["partial_rotary_factor"] = 0.25; }), 2);
  EXPECT_EQ(rotated([](Json& c) { c["rope_parameters"] = {{"partial_rotary_factor", 0.5}}; }), 4);
}

// Views may claim any size (torch's expand), so no sum of sizes may wrap.
TEST(HostileConfig, SumsOfSizesSaturate) {
  const ArchSpec spec = SpecNamed("llama");
  const MadeCheckpoint checkpoint(With(TinyLlama(),
                                       [](Json& c) {
                                         c["num_hidden_layers"] = 10000;
                                         c["hidden_size"] = c["vocab_size"] = 1 << 24;
                                         c["intermediate_size"] = 1 << 24;
                                         c["num_attention_heads"] = 1 << 16;
                                         c["num_key_value_heads"] = 1 << 16;
                                       }),
                                  &spec);
  const auto plan = PlanModel(checkpoint, {});
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->need.weights, UINT64_MAX);
  EXPECT_EQ(plan->parameters, INT64_MAX);
  const auto model = Model::Load(checkpoint, {.threads = 1}, nullptr);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kResourceExhausted) << model.status();
}

TEST(HostileConfig, TheRotaryTableIsPartOfTheNeed) {
  const ArchSpec spec = SpecNamed("llama");
  // 2^21 positions x 8 dimensions: a table of 64 MiB beside weights of 100 KB.
  const MadeCheckpoint checkpoint(
      With(TinyLlama(), [](Json& c) { c["max_position_embeddings"] = 1 << 21; }), &spec);
  const auto model =
      Model::Load(checkpoint, {.threads = 1, .memory_limit = std::uint64_t{60} << 20}, nullptr);
  ASSERT_EQ(model.status().code(), absl::StatusCode::kResourceExhausted) << model.status();
  ExpectAll(std::string(model.status().message()), {"rotary"});
  // What could never be a model's is refused by its numbers alone.
  ExpectAll(ErrorOf(With(TinyLlama(),
                         [](Json& c) {
                           c["head_dim"] = 128;
                           c["max_position_embeddings"] = 1 << 24;
                         })),
            {"max_position_embeddings", "rotary table"});
}

TEST(HostileConfig, ListsOfWhatIsMissingEnd) {
  const std::string text = ErrorOf(With(TinyMoss(), [](Json& c) { c["n_layer"] = 10000; }));
  EXPECT_LT(text.size(), 40000u);
  ExpectAll(text, {"missing (80005)", "transformer.h.0.ln_1.weight", "and 79805 more"});
}

TEST(HostileConfig, EqualKeysCountAsInPython) {
  const auto params = ReadHyperParams(
      SpecNamed("moss"),
      R"({"n_embd": 8, "n_layer": 1, "n_head": 2, "n_positions": 4, "vocab_size": 3, "mp_num": 1,
          "rotary_dim": 4, "n_embd": 16})");
  ASSERT_TRUE(params.ok()) << params.status();
  EXPECT_EQ(params->hidden, 16);  // json.loads keeps the last one too
}

ArchSpec Outside(const std::string& name) {
  ArchSpec spec = SpecNamed("llama");
  spec.name = name;
  spec.model_types = {name};
  return spec;
}

TEST(Architecture, SpecsThatCannotWorkAreRefused) {
  using Change = std::function<void(ArchSpec&)>;
  const std::pair<std::string, Change> cases[] = {
      {"name", [](ArchSpec& s) { s.name = ""; }},
      {"{}", [](ArchSpec& s) { s.tensors.layer = "model.layers."; }},
      {"order", [](ArchSpec& s) { s.fused_qkv = {.groups = 1, .order = "qkk"}; }},
      {"groups", [](ArchSpec& s) { s.fused_qkv.groups = -2; }},
      {"qkv", [](ArchSpec& s) { s.fused_qkv.groups = 1; }},
      {"mlp_gate", [](ArchSpec& s) { s.tensors.mlp_gate = ""; }},
      {"norm_2", [](ArchSpec& s) { s.tensors.norm_2 = ""; }},
      {"hidden", [](ArchSpec& s) { s.keys.hidden = ""; }},
      {"inner_per_hidden", [](ArchSpec& s) { s.inner_per_hidden = 1 << 30; }},
  };
  for (const auto& [what, change] : cases) {
    ArchSpec spec = Outside("refused");
    change(spec);
    const absl::Status status = RegisterArchitecture(spec);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << what;
    ExpectAll(std::string(status.message()), {what});
  }
  EXPECT_TRUE(RegisterArchitecture(Outside("refused")).ok());
}

TEST(Architecture, AKeyThatTheSpecLacksIsNoNegativeSize) {
  ArchSpec spec = SpecNamed("moss");
  spec.keys.hidden = spec.keys.heads = "";
  EXPECT_FALSE(ReadHyperParams(spec, TinyMoss().dump()).ok());
  spec = SpecNamed("moss");
  spec.fused_qkv.groups = -3;
  EXPECT_FALSE(ReadHyperParams(spec, TinyMoss().dump()).ok());
}

TEST(Architecture, ANameIsGivenOnce) {
  for (int round = 0; round < 20; ++round) {
    std::atomic<int> accepted{0};
    std::vector<std::jthread> threads;
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&accepted, round] {
        if (RegisterArchitecture(Outside("once" + std::to_string(round))).ok()) ++accepted;
      });
    }
    threads.clear();
    EXPECT_EQ(accepted, 1);
  }
}

TEST(Architecture, ASharedNormMayBeSwitchedToTwo) {
  ArchSpec spec = Outside("switched");
  spec.residual = Residual::kParallelSharedNorm;
  spec.keys.parallel_residual = "parallel_attn";
  ASSERT_TRUE(RegisterArchitecture(spec).ok());
  const Json config = With(TinyLlama(), [](Json& c) {
    c["model_type"] = "switched";
    c["parallel_attn"] = false;
  });
  const MadeCheckpoint switched(config, &spec), plain(TinyLlama(), &spec);
  EXPECT_TRUE(switched.tensors().contains("model.layers.0.post_attention_layernorm.weight"));
  const ArchSpec llama = SpecNamed("llama");
  const MadeCheckpoint same(TinyLlama(), &llama);
  std::vector<float> logits[2];
  int i = 0;
  for (const MadeCheckpoint* checkpoint : {&switched, &same}) {
    const auto model = Model::Load(*checkpoint, {.threads = 1}, nullptr);
    ASSERT_TRUE(model.ok()) << model.status();
    Sequence sequence(**model, 4);
    const std::int32_t ids[] = {1, 49, 0};
    ASSERT_TRUE(sequence.Feed(ids, SequenceInput::Rows::kAll).ok());
    logits[i++] = sequence.logits;
  }
  EXPECT_EQ(logits[0], logits[1]);
}

TEST(Backend, FactoriesAreCalledOncePerModel) {
  std::atomic<int> calls{0};
  ASSERT_TRUE(RegisterBackend("counted", [&calls] {
                ++calls;
                return CreateBackend("reference");
              }).ok());
  const ArchSpec spec = SpecNamed("moss");
  const MadeCheckpoint checkpoint(TinyMoss(), &spec);
  ASSERT_TRUE(Model::Load(checkpoint, {.backend = "counted", .threads = 1}, nullptr).ok());
  EXPECT_EQ(calls, 1);
}

TEST(Backend, ThreadsOfItsOwnAreNoted) {
  const ArchSpec spec = SpecNamed("moss");
  const MadeCheckpoint checkpoint(TinyMoss(), &spec);
  const auto plan = PlanModel(checkpoint, {.backend = "openblas", .threads = 1});
  ASSERT_TRUE(plan.ok()) << plan.status();
  std::string notes;
  for (const std::string& note : plan->notes) notes += note + "\n";
  ExpectAll(notes, {"openblas", "threads of its own"});
}

}  // namespace
}  // namespace mossrt::runtime
