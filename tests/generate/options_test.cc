#include "mossrt/runtime/options.h"

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "gtest/gtest.h"
#include "mossrt/runtime/session.h"

namespace mossrt::runtime {
namespace {

constexpr OptionKind kKinds[] = {OptionKind::kLoad, OptionKind::kSession,   OptionKind::kGenerate,
                                 OptionKind::kEval, OptionKind::kTokenizer, OptionKind::kChat};

std::string Text(const absl::Status& status) { return std::string(status.message()); }

TEST(Options, DefaultsFitTheirOwnRows) {
  for (const OptionKind kind : kKinds) {
    EXPECT_FALSE(OptionTable(kind).empty());
    for (const OptionInfo& row : OptionTable(kind)) {
      EXPECT_FALSE(row.doc.empty()) << row.key;
      if (row.default_json == "null") continue;
      EXPECT_TRUE(CheckOption(kind, row.key, row.default_json).ok()) << row.key;
    }
  }
}

TEST(Options, DescriptionsNameEveryRow) {
  for (const OptionKind kind : kKinds) {
    const auto json = ParseJsonObject(DescribeOptions(kind), "description");
    ASSERT_TRUE(json.ok()) << json.status();
    const Json& options = (*json)["options"];
    ASSERT_EQ(options.size(), OptionTable(kind).size());
    for (std::size_t i = 0; i < options.size(); ++i) {
      EXPECT_EQ(options[i]["name"].get<std::string>(), OptionTable(kind)[i].key);
      for (const char* field : {"type", "default", "range", "choices", "since", "doc"}) {
        EXPECT_TRUE(options[i].contains(field)) << field;
      }
    }
  }
  const auto load = ParseJsonObject(DescribeOptions(OptionKind::kLoad), "description");
  EXPECT_EQ((*load)["kind"], "load");
  EXPECT_TRUE((*load)["options"][0]["choices"].is_null());
  const auto session = ParseJsonObject(DescribeOptions(OptionKind::kSession), "description");
  EXPECT_EQ((*session)["options"][0]["choices"][2], "bfloat16");
}

TEST(Options, UnknownKeysNameTheNearest) {
  const auto nearest = [](std::string_view key) {
    return NearestKey(key, OptionTable(OptionKind::kGenerate));
  };
  EXPECT_EQ(nearest("temprature"), "temperature");
  EXPECT_EQ(nearest("top-p"), "top_p");
  EXPECT_EQ(nearest("MAX_NEW_TOKEN"), "max_new_tokens");
  EXPECT_EQ(nearest("xyzzy_and_more"), "");
  EXPECT_EQ(nearest(""), "");
  EXPECT_EQ(nearest(std::string(100000, 'q')), "");
  const std::string near = Text(CheckOption(OptionKind::kGenerate, "temprature", "1"));
  EXPECT_NE(near.find("\"temperature\""), std::string::npos) << near;
  const std::string far = Text(CheckOption(OptionKind::kSession, "wholly_else", "1"));
  EXPECT_NE(far.find("kv_dtype, context, prefill_chunk"), std::string::npos) << far;
}

TEST(Options, ValuesAreChecked) {
  const auto fits = [](std::string_view key, std::string_view json) {
    return CheckOption(OptionKind::kGenerate, key, json).ok();
  };
  EXPECT_TRUE(fits("top_p", "0.5"));
  EXPECT_TRUE(fits("top_p", "1"));
  EXPECT_FALSE(fits("top_p", "1.01"));
  EXPECT_FALSE(fits("top_p", "\"0.5\""));
  EXPECT_FALSE(fits("top_p", "nul"));
  EXPECT_TRUE(fits("top_k", "40"));
  EXPECT_FALSE(fits("top_k", "40.0"));
  EXPECT_FALSE(fits("top_k", "-1"));
  EXPECT_TRUE(fits("max_new_tokens", "-1"));
  EXPECT_TRUE(fits("seed", "18446744073709551615"));
  EXPECT_FALSE(fits("seed", "18446744073709551616"));
  EXPECT_TRUE(fits("do_sample", "true"));
  EXPECT_FALSE(fits("do_sample", "1"));
  EXPECT_TRUE(fits("eos_token_id", "3"));
  EXPECT_TRUE(fits("eos_token_id", "[3, 4]"));
  EXPECT_FALSE(fits("eos_token_id", "[3, -4]"));
  EXPECT_FALSE(fits("eos_token_id", "[[3]]"));
  EXPECT_TRUE(fits("stop", "\"x\""));
  EXPECT_TRUE(fits("stop", "[\"x\", \"y\"]"));
  EXPECT_FALSE(fits("stop", "[1]"));
  EXPECT_TRUE(CheckOption(OptionKind::kSession, "kv_dtype", "\"bfloat16\"").ok());
  const std::string dtype = Text(CheckOption(OptionKind::kSession, "kv_dtype", "\"int3\""));
  EXPECT_NE(dtype.find("float32, bfloat16, int8"), std::string::npos) << dtype;
}

// --- where values come from ---

class Resolve : public testing::Test {
 protected:
  Resolve() {
    moss_.architecture = "moss";
    moss_.vocab = 107008;
    llama_.architecture = "llama";
    llama_.vocab = 32000;
  }

  // Options and, by key, "value from origin".
  ResolvedGenerateOptions Run(std::string_view arguments, std::string_view generation_config,
                              std::string_view config, const HyperParams& params) {
    auto resolved = ResolveGenerateOptions(arguments, generation_config, config, params, nullptr);
    EXPECT_TRUE(resolved.ok()) << resolved.status();
    origins_.clear();
    if (!resolved.ok()) return {};
    for (const OptionOrigin& o : resolved->origins) origins_[o.key] = o.value + " from " + o.origin;
    return *resolved;
  }

  std::string Refusal(std::string_view arguments, std::string_view generation_config) {
    const auto resolved = ResolveGenerateOptions(arguments, generation_config, "", llama_, nullptr);
    EXPECT_FALSE(resolved.ok());
    return Text(resolved.status());
  }

  HyperParams moss_, llama_;
  std::map<std::string, std::string> origins_;
};

TEST_F(Resolve, NothingGiven) {
  const GenerateOptions o = Run("", "", "", llama_).options;
  EXPECT_FALSE(o.sampling.do_sample);
  EXPECT_EQ(o.max_new_tokens, 256);
  EXPECT_EQ(o.sampling.top_k, 0);
  EXPECT_TRUE(o.eos_token_id.empty());
  EXPECT_EQ(origins_.size(), OptionTable(OptionKind::kGenerate).size());
  for (const auto& [key, text] : origins_) {
    EXPECT_TRUE(text.ends_with(" from default")) << key << ": " << text;
  }
}

TEST_F(Resolve, ArgumentBeatsConfigBeatsRecipe) {
  const GenerateOptions o = Run(R"({"temperature": 0.5, "stop": "###", "top_k": null})",
                                R"({"temperature": 0.6, "top_p": 0.9, "top_k": 20})", "{}", moss_)
                                .options;
  EXPECT_EQ(o.sampling.temperature, 0.5);
  EXPECT_EQ(o.sampling.top_p, 0.9);
  EXPECT_EQ(o.sampling.top_k, 20);
  EXPECT_EQ(o.sampling.repetition_penalty, 1.02);
  EXPECT_TRUE(o.sampling.do_sample);
  EXPECT_EQ(o.stop, (std::vector<std::string>{"###"}));
  EXPECT_EQ(origins_["temperature"], "0.5 from argument");
  EXPECT_EQ(origins_["top_p"], "0.9 from generation_config.json");
  EXPECT_EQ(origins_["top_k"], "20 from generation_config.json");
  EXPECT_EQ(origins_["repetition_penalty"], "1.02 from recipe:moss");
  EXPECT_EQ(origins_["min_p"], "0.0 from default");
}

TEST_F(Resolve, TheRecipeIsForMossAlone) {
  EXPECT_FALSE(Run("", "", "", llama_).options.sampling.do_sample);
  const GenerateOptions o = Run("", "", "", moss_).options;
  EXPECT_TRUE(o.sampling.do_sample);
  EXPECT_EQ(o.sampling.temperature, 0.7);
  EXPECT_EQ(o.sampling.top_p, 0.8);
}

TEST_F(Resolve, GreedyIsGreedyWithoutTheRecipe) {
  for (const auto& [arguments, config] :
       {std::pair{R"({"do_sample": false})", ""}, std::pair{"", R"({"do_sample": false})"}}) {
    const GenerateOptions o = Run(arguments, config, "", moss_).options;
    EXPECT_FALSE(o.sampling.do_sample);
    EXPECT_EQ(o.sampling.repetition_penalty, 1.0);
    EXPECT_EQ(o.max_new_tokens, 256);
  }
}

TEST_F(Resolve, EndTokens) {
  using Ids = std::vector<std::int32_t>;
  EXPECT_EQ(
      Run("", R"({"eos_token_id": [1, 2]})", R"({"eos_token_id": 3})", llama_).options.eos_token_id,
      (Ids{1, 2}));
  EXPECT_EQ(origins_["eos_token_id"], "[1,2] from generation_config.json");
  EXPECT_EQ(Run("", "", R"({"eos_token_id": 3})", llama_).options.eos_token_id, Ids{3});
  EXPECT_EQ(origins_["eos_token_id"], "[3] from config.json");
  EXPECT_EQ(Run(R"({"eos_token_id": 9})", R"({"eos_token_id": 1})", "", moss_).options.eos_token_id,
            Ids{9});
  EXPECT_TRUE(Run(R"({"eos_token_id": []})", R"({"eos_token_id": 1})", "", llama_)
                  .options.eos_token_id.empty());
  // Ids that no logit belongs to cannot end anything.
  EXPECT_EQ(Run("", "", R"({"eos_token_id": [-1, 5, 32000]})", llama_).options.eos_token_id,
            Ids{5});
}

TEST_F(Resolve, MossStopsAtATokenSet) {
  auto tokenizer = LoadTokenizer(MOSSRT_SOURCE_DIR "/tests/data/models/moss", TokenizerOptions{});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::int32_t eom = (*tokenizer)->TokenId("<eom>");
  const std::int32_t end = (*tokenizer)->TokenId("<|endoftext|>");
  ASSERT_GE(eom, 0);
  ASSERT_GE(end, 0);
  moss_.vocab = 352;
  const auto resolved =
      ResolveGenerateOptions("", "", R"({"eos_token_id": 7})", moss_, tokenizer->get());
  ASSERT_TRUE(resolved.ok());
  EXPECT_EQ(resolved->options.eos_token_id, (std::vector<std::int32_t>{7, eom, end}));
  llama_.vocab = 352;
  const auto other = ResolveGenerateOptions("", "", "", llama_, tokenizer->get());
  EXPECT_EQ(other->options.eos_token_id, (std::vector<std::int32_t>{(*tokenizer)->eos_id()}));
}

TEST_F(Resolve, ArgumentsWithoutEffectAreNamed) {
  Run(R"({"do_sample": false, "temperature": 0.5, "seed": 3})", "", "", llama_);
  EXPECT_EQ(origins_["temperature"], "0.5 from argument (not used: do_sample is false)");
  EXPECT_EQ(origins_["seed"], "3 from argument");
  Run(R"({"do_sample": true, "temperature": 0.5})", "", "", llama_);
  EXPECT_EQ(origins_["temperature"], "0.5 from argument");
}

TEST_F(Resolve, MoreTokensAtLeastThanAtMost) {
  const auto refused = [&](std::string_view arguments, std::string_view part) {
    const auto resolved = ResolveGenerateOptions(arguments, "", "", moss_, nullptr);
    EXPECT_EQ(resolved.status().code(), absl::StatusCode::kInvalidArgument) << arguments;
    EXPECT_NE(Text(resolved.status()).find(part), std::string::npos) << resolved.status();
  };
  refused(R"({"min_new_tokens": 9, "max_new_tokens": 8})",
          "min_new_tokens is 9 (argument), more than max_new_tokens, 8 (argument); give a larger");
  refused(R"({"min_new_tokens": 257})", "more than max_new_tokens, 256 (recipe:moss)");
  for (const char* fits : {R"({"min_new_tokens": 256})", R"({"min_new_tokens": 0})",
                           R"({"min_new_tokens": 8, "max_new_tokens": 8})",
                           R"({"min_new_tokens": 9999, "max_new_tokens": -1})"}) {
    EXPECT_TRUE(ResolveGenerateOptions(fits, "", "", moss_, nullptr).ok()) << fits;
  }
  const std::string_view file = R"({"min_new_tokens": 50, "max_new_tokens": 20})";
  const auto blamed = ResolveGenerateOptions("", file, "", llama_, nullptr).status();
  EXPECT_EQ(blamed.code(), absl::StatusCode::kDataLoss) << blamed;
  EXPECT_TRUE(Text(blamed).starts_with("generation_config.json: min_new_tokens is 50")) << blamed;
  // Whoever wants few tokens gets them, from a file that wants many as well.
  const auto few = Run(R"({"max_new_tokens": 3})", file, "", llama_);
  EXPECT_EQ(few.options.max_new_tokens, 3);
  EXPECT_EQ(few.options.min_new_tokens, 3);
  EXPECT_EQ(origins_["min_new_tokens"],
            "3 from generation_config.json (there 50, more than max_new_tokens)");
  // A file that says nothing of the most does not contradict itself.
  const auto many = Run("", R"({"min_new_tokens": 300})", "", moss_);
  EXPECT_EQ(many.options.min_new_tokens, 300);
  EXPECT_EQ(many.options.max_new_tokens, 300);
  EXPECT_EQ(origins_["max_new_tokens"],
            "300 from recipe:moss (there 256, less than min_new_tokens)");
}

TEST_F(Resolve, NothingIsIgnoredInSilence) {
  Run("", R"({"num_beams": 4, "length_penalty": 1.0, "bos_token_id": 1, "max_length": 4096,
              "transformers_version": "5.0", "penalty_alpha": null, "new_thing": true})",
      "", llama_);
  EXPECT_EQ(origins_["num_beams"], "4 from generation_config.json (ignored)");
  EXPECT_EQ(origins_["max_length"], "4096 from generation_config.json (ignored)");
  EXPECT_EQ(origins_["new_thing"], "true from generation_config.json (ignored)");
  const auto dropped = [](std::string_view generation, std::string_view config) {
    const auto resolved = ResolveGenerateOptions("", generation, config, {.vocab = 100}, nullptr);
    EXPECT_TRUE(resolved.ok()) << resolved.status();
    std::string all;
    for (const OptionOrigin& origin : resolved->origins) {
      if (origin.origin.ends_with("(ignored)"))
        all += origin.value + " from " + origin.origin + ";";
    }
    return all;
  };
  EXPECT_EQ(dropped(R"({"eos_token_id": [7, 100]})", ""),
            "100 from generation_config.json (ignored);");
  EXPECT_EQ(dropped("", R"({"eos_token_id": 99999999})"), "99999999 from config.json (ignored);");
  EXPECT_EQ(dropped("", R"({"eos_token_id": -1})"), "");  // says that there is none
  for (const char* harmless :
       {"length_penalty", "bos_token_id", "transformers_version", "penalty_alpha"}) {
    EXPECT_FALSE(origins_.contains(harmless)) << harmless;
  }
}

TEST_F(Resolve, BadValuesNameFileAndKey) {
  EXPECT_NE(Refusal(R"({"max_tokens": 3})", "").find("\"max_new_tokens\""), std::string::npos);
  EXPECT_NE(Refusal(R"({"nonsense": null})", "").find("nonsense"), std::string::npos);
  const std::string file = Refusal("", R"({"top_p": "high"})");
  EXPECT_NE(file.find("generation_config.json"), std::string::npos) << file;
  EXPECT_NE(file.find("top_p"), std::string::npos) << file;
  EXPECT_NE(Refusal("[1]", "").find("object"), std::string::npos);
  EXPECT_NE(Refusal("", "{").find("generation_config.json"), std::string::npos);
  EXPECT_NE(Refusal(R"({"do_sample": true, "temperature": 0})", "").find("temperature"),
            std::string::npos);
  EXPECT_NE(Text(CheckOption(OptionKind::kGenerate, "eos_token_id", "-1")).find("2147483647"),
            std::string::npos);
  // Published files have it, and greedy choice does not look at it.
  EXPECT_FALSE(
      Run("", R"({"do_sample": false, "temperature": 0})", "", llama_).options.sampling.do_sample);
}

TEST_F(Resolve, AFileAtFaultIsBlamedAndNotTheCaller) {
  const auto status = [&](std::string_view arguments, std::string_view generation_config,
                          std::string_view config = "") {
    return ResolveGenerateOptions(arguments, generation_config, config, llama_, nullptr).status();
  };
  for (const auto& [file, part] :
       {std::pair{"{\"temperature\": ", ", line 1, column 17: not JSON: expected a value, found"},
        {"[1]", ": expected a JSON object, found [1]"},
        {R"({"temperature": "hot"})", "\"temperature\" must be a number"},
        {R"({"temperature": -3})", "0 or more, found -3"},
        {R"({"do_sample": true, "temperature": 0})", "temperature must be a number above 0"},
        {R"({"eos_token_id": "x"})", "found \"x\""}}) {
    const absl::Status found = status("", file);
    EXPECT_EQ(found.code(), absl::StatusCode::kDataLoss) << found;
    EXPECT_TRUE(Text(found).starts_with("generation_config.json")) << found;
    EXPECT_NE(Text(found).find(part), std::string::npos) << found;
    EXPECT_NE(Text(found).find("correct the file"), std::string::npos) << found;
  }
  const absl::Status config = status("", "", R"({"eos_token_id": "x"})");
  EXPECT_EQ(config.code(), absl::StatusCode::kDataLoss) << config;
  EXPECT_TRUE(Text(config).starts_with("config.json")) << config;
  // Arguments are the caller's, and go before the file.
  EXPECT_EQ(status(R"({"do_sample": true})", R"({"temperature": 0})").code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(status(R"({"temperature": 0.5})", R"({"temperature": "hot"})").ok());
}

}  // namespace
}  // namespace mossrt::runtime
