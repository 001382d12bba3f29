// Every option of a generation and where its value comes from.
#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "base/json.h"
#include "base/status.h"
#include "mossrt/runtime/options.h"
#include "mossrt/runtime/session.h"

namespace mossrt::runtime {
namespace {

constexpr std::string_view kArgument = "argument";
constexpr std::string_view kGenerationConfig = "generation_config.json";
constexpr std::string_view kConfig = "config.json";

struct Value {
  Json json;
  std::string origin;
};
using Values = std::map<std::string, Value, std::less<>>;

// The sampling that a family published for its model.
struct RecipeEntry {
  std::string_view key, json;
};
struct Recipe {
  std::string_view architecture;
  std::array<RecipeEntry, 5> entries;
  std::array<std::string_view, 2> end_tokens;  // by name, besides those of the config files
};
// MOSS: the README's example. Its config names <|endoftext|> alone (the base model's end) or <eom>
// alone; an answer ends with either.
constexpr Recipe kRecipes[] = {{.architecture = "moss",
                                .entries = {{{"do_sample", "true"},
                                             {"temperature", "0.7"},
                                             {"top_p", "0.8"},
                                             {"repetition_penalty", "1.02"},
                                             {"max_new_tokens", "256"}}},
                                .end_tokens = {"<eom>", "<|endoftext|>"}}};

const Recipe* RecipeOf(const HyperParams& params) {
  for (const Recipe& recipe : kRecipes) {
    if (recipe.architecture == params.architecture) return &recipe;
  }
  return nullptr;
}

// Settings of Hugging Face that mossrt does not have, and the values with which they do nothing.
struct Foreign {
  std::string_view key, neutral;  // JSON values, separated by '|'
};
constexpr Foreign kForeign[] = {{"num_beams", "1"},
                                {"num_beam_groups", "1"},
                                {"num_return_sequences", "1"},
                                {"length_penalty", "1.0|1"},
                                {"early_stopping", "false"},
                                {"diversity_penalty", "0.0|0"},
                                {"no_repeat_ngram_size", "0"},
                                {"encoder_no_repeat_ngram_size", "0"},
                                {"encoder_repetition_penalty", "1.0|1"},
                                {"typical_p", "1.0|1"},
                                {"epsilon_cutoff", "0.0|0"},
                                {"eta_cutoff", "0.0|0"},
                                {"penalty_alpha", "0.0|0"},
                                {"guidance_scale", "1.0|1"},
                                {"min_length", "0"},
                                {"renormalize_logits", "false"},
                                {"remove_invalid_values", "false"},
                                {"bad_words_ids", "[]"},
                                {"suppress_tokens", "[]"},
                                {"begin_suppress_tokens", "[]"}};
// Settings that never change which tokens are chosen here.
constexpr std::string_view kHarmless[] = {"transformers_version",
                                          "_from_model_config",
                                          "bos_token_id",
                                          "pad_token_id",
                                          "decoder_start_token_id",
                                          "use_cache",
                                          "output_attentions",
                                          "output_hidden_states",
                                          "output_scores",
                                          "output_logits",
                                          "return_dict_in_generate",
                                          "cache_implementation",
                                          "trust_remote_code",
                                          "_commit_hash",
                                          "max_matching_ngram_size",
                                          "chat_format"};

bool IsNeutral(std::string_view key, const Json& value) {
  if (value.is_null()) return true;
  if (std::find(std::begin(kHarmless), std::end(kHarmless), key) != std::end(kHarmless))
    return true;
  for (const Foreign& foreign : kForeign) {
    if (foreign.key != key) continue;
    const std::string text = DumpJson(value);
    std::string_view rest = foreign.neutral;
    while (!rest.empty()) {
      const std::size_t bar = rest.find('|');
      if (rest.substr(0, bar) == text) return true;
      rest.remove_prefix(bar == std::string_view::npos ? rest.size() : bar + 1);
    }
  }
  return false;
}

bool IsOption(std::string_view key) {
  const auto table = OptionTable(OptionKind::kGenerate);
  return std::any_of(table.begin(), table.end(),
                     [&](const OptionInfo& row) { return row.key == key; });
}

// Do they have no effect where the most probable token is taken?
bool OnlyForSampling(std::string_view key) {
  return key == "temperature" || key == "top_k" || key == "top_p" || key == "min_p";
}

absl::StatusOr<Json> Parse(std::string_view text, std::string_view what) {
  if (text.empty()) return Json(Json::object());
  return ParseJsonObject(text, what);
}

absl::StatusOr<Json> ParseFile(std::string_view text, std::string_view file) {
  if (text.empty()) return Json(Json::object());
  auto json = ParseJsonObject(text, file, kCorrectFile);
  if (!json.ok()) return absl::DataLossError(json.status().message());
  return json;
}

// An argument takes the place of what the file says.
absl::Status BlameConfig(const absl::Status& status) {
  return absl::DataLossError(Cat(kGenerationConfig, ": ", Message(status),
                                 "; correct the file, or give the option with the call"));
}

void SetIfAbsent(Values* values, std::string_view key, Json json, std::string_view origin) {
  values->try_emplace(std::string(key), Value{std::move(json), std::string(origin)});
}

absl::Status TakeArguments(const Json& arguments, Values* values) {
  for (const auto& [key, value] : arguments.items()) {
    // The key is checked even if there is no value.
    if (value.is_null() && IsOption(key)) continue;
    MOSSRT_RETURN_IF_ERROR(CheckOption(OptionKind::kGenerate, key, DumpJson(value)));
    SetIfAbsent(values, key, value, kArgument);
  }
  return absl::OkStatus();
}

absl::Status TakeGenerationConfig(const Json& config, Values* values,
                                  std::vector<OptionOrigin>* ignored) {
  for (const auto& [key, value] : config.items()) {
    if (value.is_null() || values->contains(key)) continue;
    if (IsOption(key)) {
      // Generation ends at a set of tokens, of which the ids of a padded vocabulary's end are
      // harmless; all else must be as the table says.
      const absl::Status status = CheckOption(OptionKind::kGenerate, key, DumpJson(value));
      if (!status.ok()) return BlameConfig(status);
      if (key != "eos_token_id") SetIfAbsent(values, key, value, kGenerationConfig);
    } else if (!IsNeutral(key, value)) {
      ignored->push_back({key, Excerpt(value), Cat(kGenerationConfig, " (ignored)")});
    }
  }
  return absl::OkStatus();
}

// The family's recipe. What belongs to its sampling is left out where somebody asks for greedy
// choice: then the model's own argmax is wanted.
void TakeRecipe(const Recipe& recipe, Values* values) {
  const auto it = values->find("do_sample");
  const bool greedy = it != values->end() && it->second.json == false;
  for (const RecipeEntry& entry : recipe.entries) {
    if (greedy && entry.key != "max_new_tokens") continue;
    SetIfAbsent(values, entry.key, Json::parse(entry.json), Cat("recipe:", recipe.architecture));
  }
}

// End tokens as a config file states them: one, a list or none. Ids that the model cannot choose
// are left out.
absl::StatusOr<std::vector<std::int64_t>> EndTokens(const Json& config, std::string_view what,
                                                    const HyperParams& params,
                                                    std::vector<OptionOrigin>* ignored) {
  auto found =
      JsonReader(config, what, kCorrectFile).IntOrInts("eos_token_id", INT32_MIN, INT32_MAX);
  if (!found.ok()) return absl::DataLossError(found.status().message());
  std::vector<std::int64_t> ids = *std::move(found);
  std::erase_if(ids, [&](std::int64_t id) {
    if (id >= params.vocab) ignored->push_back({"eos_token_id", Cat(id), Cat(what, " (ignored)")});
    return id < 0 || id >= params.vocab;
  });
  return ids;
}

absl::Status TakeEndTokens(const Json& generation_config, const Json& config,
                           const HyperParams& params, const Recipe* recipe,
                           const Tokenizer* tokenizer, Values* values,
                           std::vector<OptionOrigin>* ignored) {
  if (values->contains("eos_token_id")) return absl::OkStatus();
  MOSSRT_ASSIGN_OR_RETURN(const std::vector<std::int64_t> generation,
                          EndTokens(generation_config, kGenerationConfig, params, ignored));
  MOSSRT_ASSIGN_OR_RETURN(const std::vector<std::int64_t> model,
                          EndTokens(config, kConfig, params, ignored));
  std::vector<std::int64_t> ids = !generation.empty() ? generation : model;
  std::string origin(!generation.empty() ? kGenerationConfig : kConfig);
  const auto add = [&](std::int64_t id) {
    if (id < 0 || id >= params.vocab || std::find(ids.begin(), ids.end(), id) != ids.end()) {
      return false;
    }
    ids.push_back(id);
    return true;
  };
  if (recipe != nullptr) {
    bool more = false;
    for (const std::int64_t id : model) more |= add(id);
    for (const std::string_view name : recipe->end_tokens) {
      if (tokenizer != nullptr) more |= add(tokenizer->TokenId(name));
    }
    if (more) origin = Cat("recipe:", recipe->architecture);
  }
  if (ids.empty() && tokenizer != nullptr && add(tokenizer->eos_id())) origin = "tokenizer";
  if (ids.empty()) origin = "default";
  SetIfAbsent(values, "eos_token_id", ids, origin);
  return absl::OkStatus();
}

// Does the file alone say how to choose tokens?
bool OnlyTheFileSamples(const Values& values) {
  bool file = false;
  for (const char* key :
       {"do_sample", "temperature", "top_k", "top_p", "min_p", "repetition_penalty"}) {
    const std::string& origin = values.find(key)->second.origin;
    if (origin == kArgument) return false;
    file |= origin == kGenerationConfig;
  }
  return file;
}

// More tokens at least than at most: an argument for the most overrules what a file says of the
// least, and that overrules our own default for the most; any other such pair is a mistake.
absl::Status CheckLengths(Values* values) {
  Value& most = values->find("max_new_tokens")->second;
  Value& least = values->find("min_new_tokens")->second;
  const auto n = most.json.get<std::int64_t>();
  if (n < 0 || least.json.get<std::int64_t>() <= n) return absl::OkStatus();
  if (most.origin == kArgument && least.origin != kArgument) {
    least = {n, Cat(least.origin, " (there ", DumpJson(least.json), ", more than max_new_tokens)")};
    return absl::OkStatus();
  }
  if (least.origin == kGenerationConfig && most.origin != kGenerationConfig) {
    most = {least.json, Cat(most.origin, " (there ", n, ", less than min_new_tokens)")};
    return absl::OkStatus();
  }
  const std::string text = Cat("min_new_tokens is ", DumpJson(least.json), " (", least.origin,
                               "), more than max_new_tokens, ", n, " (", most.origin, ")");
  if (least.origin != kArgument) return BlameConfig(absl::InvalidArgumentError(text));
  return absl::InvalidArgumentError(Cat(
      text, "; give a larger max_new_tokens (-1: until the context is full) or a smaller minimum"));
}

// Values have been checked against the table.
GenerateOptions Fill(const Values& values) {
  const auto get = [&](std::string_view key) -> const Json& {
    return values.find(key)->second.json;
  };
  const auto list = [&](std::string_view key) {
    const Json& value = get(key);
    return value.is_array() ? value : Json::array({value});
  };
  GenerateOptions o;
  o.sampling.do_sample = get("do_sample").get<bool>();
  o.sampling.temperature = get("temperature").get<double>();
  o.sampling.top_k = get("top_k").get<std::int64_t>();
  o.sampling.top_p = get("top_p").get<double>();
  o.sampling.min_p = get("min_p").get<double>();
  o.sampling.repetition_penalty = get("repetition_penalty").get<double>();
  o.sampling.seed = get("seed").get<std::uint64_t>();
  o.sampling.sample_index = get("sample_index").get<std::uint64_t>();
  o.sampling.top_logprobs = get("top_logprobs").get<std::int32_t>();
  o.max_new_tokens = get("max_new_tokens").get<std::int64_t>();
  o.min_new_tokens = get("min_new_tokens").get<std::int64_t>();
  for (const Json& id : list("eos_token_id")) o.eos_token_id.push_back(id.get<std::int32_t>());
  for (const Json& text : list("stop")) o.stop.push_back(text.get<std::string>());
  o.mask_undefined = get("mask_undefined").get<bool>();
  o.skip_special_tokens = get("skip_special_tokens").get<bool>();
  return o;
}

}  // namespace

absl::StatusOr<ResolvedGenerateOptions> ResolveGenerateOptions(
    std::string_view arguments_json, std::string_view generation_config_json,
    std::string_view config_json, const HyperParams& params, const Tokenizer* tokenizer) {
  MOSSRT_ASSIGN_OR_RETURN(const Json arguments, Parse(arguments_json, "generate options"));
  MOSSRT_ASSIGN_OR_RETURN(const Json generation_config,
                          ParseFile(generation_config_json, kGenerationConfig));
  MOSSRT_ASSIGN_OR_RETURN(const Json config, ParseFile(config_json, kConfig));
  const Recipe* recipe = RecipeOf(params);

  ResolvedGenerateOptions resolved;
  std::vector<OptionOrigin> ignored;
  Values values;
  MOSSRT_RETURN_IF_ERROR(TakeArguments(arguments, &values));
  MOSSRT_RETURN_IF_ERROR(TakeGenerationConfig(generation_config, &values, &ignored));
  if (recipe != nullptr) TakeRecipe(*recipe, &values);
  MOSSRT_RETURN_IF_ERROR(
      TakeEndTokens(generation_config, config, params, recipe, tokenizer, &values, &ignored));
  for (const OptionInfo& row : OptionTable(OptionKind::kGenerate)) {
    SetIfAbsent(&values, row.key, Json::parse(row.default_json), "default");
  }
  MOSSRT_RETURN_IF_ERROR(CheckLengths(&values));
  const bool greedy = !values.find("do_sample")->second.json.get<bool>();
  for (const OptionInfo& row : OptionTable(OptionKind::kGenerate)) {
    const Value& value = values.find(row.key)->second;
    const bool unused = greedy && value.origin == kArgument && OnlyForSampling(row.key);
    resolved.origins.push_back(
        {std::string(row.key), DumpJson(value.json),
         unused ? Cat(value.origin, " (not used: do_sample is false)") : value.origin});
  }
  resolved.options = Fill(values);
  // Ranges that depend on other options are the sampler's to judge; here, so that the message
  // comes before any token.
  const auto sampler = Sampler::Create(resolved.options.sampling);
  if (!sampler.ok()) {
    return OnlyTheFileSamples(values) ? BlameConfig(sampler.status()) : sampler.status();
  }
  resolved.origins.insert(resolved.origins.end(), ignored.begin(), ignored.end());
  return resolved;
}

}  // namespace mossrt::runtime
