#include "text/tokenizer_config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <map>

#include "base/json.h"
#include "base/log.h"
#include "base/status.h"
#include "base/utf8.h"
#include "text/pre_tokenizer.h"

namespace mossrt::runtime {
namespace {

constexpr std::uint64_t kMaxConfigBytes = std::uint64_t{64} << 20;
constexpr std::array<std::string_view, 7> kRoles = {
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"};
constexpr std::array<std::string_view, 2> kRoleLists = {"additional_special_tokens",
                                                        "extra_special_tokens"};

absl::StatusOr<std::optional<Json>> ReadObject(const ByteSource& source, std::string_view file) {
  absl::StatusOr<std::string> text = ReadAll(source, file, kMaxConfigBytes);
  if (text.status().code() == absl::StatusCode::kNotFound) return std::nullopt;
  if (!text.ok()) return text.status();
  MOSSRT_ASSIGN_OR_RETURN(Json json, ParseJsonObject(*text, Cat(source.name(), "/", file), ""));
  return json;
}

absl::Status CheckName(std::string_view name, std::string_view what) {
  if (!name.empty() && name.size() <= AddedTokenTrie::kMaxTokenBytes) return absl::OkStatus();
  return absl::InvalidArgumentError(Cat(what, ": a token of ", name.size(), " bytes; 1 to ",
                                        AddedTokenTrie::kMaxTokenBytes, " are expected"));
}

absl::StatusOr<bool> Flag(const Json& token, std::string_view key, std::string_view what) {
  MOSSRT_ASSIGN_OR_RETURN(const std::optional<bool> flag, JsonReader(token, what).Bool(key));
  return flag.value_or(false);
}

// "<eom>" or {"content": "<eom>", "lstrip": false, ...}.
absl::Status AddNamed(const Json& value, std::string_view role, std::string_view what,
                      std::vector<TokenizerConfig::Named>* named) {
  TokenizerConfig::Named token{.role = std::string(role), .name = {}};
  if (value.is_string()) {
    token.name = value.get<std::string>();
  } else if (value.is_object() && value.contains("content") && value["content"].is_string()) {
    token.name = value["content"].get<std::string>();
    token.is_object = true;
    MOSSRT_ASSIGN_OR_RETURN(token.lstrip, Flag(value, "lstrip", what));
    MOSSRT_ASSIGN_OR_RETURN(token.rstrip, Flag(value, "rstrip", what));
  } else {
    return absl::InvalidArgumentError(
        Cat(what, ": \"", role, "\" must be a token's text or an object with \"content\", found ",
            value.type_name()));
  }
  if (token.name.empty()) return absl::OkStatus();  // published files write "" for "none"
  MOSSRT_RETURN_IF_ERROR(CheckName(token.name, Cat(what, ": \"", role, "\"")));
  named->push_back(std::move(token));
  return absl::OkStatus();
}

absl::Status AddRoles(const Json& json, std::string_view what, bool strings_are_objects,
                      std::vector<TokenizerConfig::Named>* named) {
  const JsonReader reader(json, what);
  const auto drop = [&](std::string_view role) {
    std::erase_if(*named, [&](const auto& token) { return token.role == role; });
  };
  for (const std::string_view role : kRoles) {
    const Json* value = reader.Find(role);
    if (value == nullptr) continue;
    drop(role);
    MOSSRT_RETURN_IF_ERROR(AddNamed(*value, role, what, named));
    // GPT2Tokenizer's constructor makes objects of these four.
    if (strings_are_objects && value->is_string() && !named->empty() &&
        named->back().role == role &&
        (role == "bos_token" || role == "eos_token" || role == "unk_token" ||
         role == "pad_token")) {
      named->back().is_object = true;
    }
  }
  for (const std::string_view role : kRoleLists) {
    const Json* list = reader.Find(role);
    if (list == nullptr) continue;
    if (!list->is_array() && !list->is_object()) return reader.WrongType(role, "a list of tokens");
    drop(role);
    for (const Json& value : *list) MOSSRT_RETURN_IF_ERROR(AddNamed(value, role, what, named));
  }
  return absl::OkStatus();
}

absl::Status ReadAddedTokens(const Json& json, std::string_view what,
                             std::vector<TokenizerConfig::Added>* added) {
  const JsonReader reader(json, what);
  for (const auto& [name, value] : json.items()) {
    MOSSRT_RETURN_IF_ERROR(CheckName(name, what));
    MOSSRT_ASSIGN_OR_RETURN(const std::optional<std::int64_t> id,
                            reader.Int(name, 0, kMaxTokenId - 1));
    if (!id.has_value()) return reader.WrongType(name, "the token's id");
    added->push_back({.name = name, .id = static_cast<std::int32_t>(*id), .special = {}});
  }
  return absl::OkStatus();
}

absl::Status ReadAddedTokensDecoder(const Json& json, std::string_view what,
                                    std::vector<TokenizerConfig::Added>* added) {
  if (!json.is_object()) {
    return absl::InvalidArgumentError(Cat(what, ": expected an object, found ", json.type_name()));
  }
  for (const auto& [key, value] : json.items()) {
    std::int32_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id >= kMaxTokenId) {
      return absl::InvalidArgumentError(
          Cat(what, ": \"", key, "\" is no id from 0 to ", kMaxTokenId - 1));
    }
    if (!value.is_object()) {
      return absl::InvalidArgumentError(
          Cat(what, "[", id, "]: expected an object, found ", value.type_name()));
    }
    const std::string entry = Cat(what, "[", id, "]");
    const JsonReader reader(value, entry);
    MOSSRT_ASSIGN_OR_RETURN(const std::optional<std::string> name, reader.String("content"));
    if (!name.has_value()) return reader.WrongType("content", "the token's text");
    MOSSRT_RETURN_IF_ERROR(CheckName(*name, entry));
    MOSSRT_ASSIGN_OR_RETURN(const std::optional<bool> special, reader.Bool("special"));
    added->push_back({.name = *name, .id = id, .special = special});
  }
  return absl::OkStatus();
}

bool IsWhiteSpaceOnly(std::string_view text) {
  while (!text.empty()) {
    const DecodedCodePoint c = DecodeUtf8(text);
    if (!IsPythonSpace(c.code_point)) return false;
    text.remove_prefix(static_cast<std::size_t>(c.bytes));
  }
  return true;
}

}  // namespace

const TokenizerConfig::Named* TokenizerConfig::Role(std::string_view role) const {
  const auto it = std::find_if(named.begin(), named.end(),
                               [&](const Named& token) { return token.role == role; });
  return it == named.end() ? nullptr : &*it;
}

absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const ByteSource& source) {
  TokenizerConfig config;
  MOSSRT_ASSIGN_OR_RETURN(const std::optional<Json> added, ReadObject(source, "added_tokens.json"));
  if (added.has_value()) {
    MOSSRT_RETURN_IF_ERROR(
        ReadAddedTokens(*added, Cat(source.name(), "/added_tokens.json"), &config.added));
  }
  MOSSRT_ASSIGN_OR_RETURN(const std::optional<Json> json,
                          ReadObject(source, "tokenizer_config.json"));
  if (json.has_value()) {
    const std::string what = Cat(source.name(), "/tokenizer_config.json");
    const JsonReader reader(*json, what);
    MOSSRT_ASSIGN_OR_RETURN(const std::optional<std::string> name,
                            reader.String("tokenizer_class"));
    config.tokenizer_class = name.value_or("");
    MOSSRT_ASSIGN_OR_RETURN(config.add_bos_token, reader.Bool("add_bos_token"));
    MOSSRT_ASSIGN_OR_RETURN(config.add_eos_token, reader.Bool("add_eos_token"));
    MOSSRT_ASSIGN_OR_RETURN(const std::optional<bool> prefix, reader.Bool("add_prefix_space"));
    config.add_prefix_space = prefix.value_or(false);
    MOSSRT_RETURN_IF_ERROR(AddRoles(*json, what, true, &config.named));
    if (const Json* decoder = reader.Find("added_tokens_decoder"); decoder != nullptr) {
      MOSSRT_RETURN_IF_ERROR(
          ReadAddedTokensDecoder(*decoder, Cat(what, ": added_tokens_decoder"), &config.added));
    }
  }
  MOSSRT_ASSIGN_OR_RETURN(const std::optional<Json> map,
                          ReadObject(source, "special_tokens_map.json"));
  if (map.has_value()) {
    MOSSRT_RETURN_IF_ERROR(
        AddRoles(*map, Cat(source.name(), "/special_tokens_map.json"), false, &config.named));
  }
  return config;
}

absl::StatusOr<std::vector<AddedToken>> TokenizerConfig::Resolve(const IdOfBytes& vocab,
                                                                 std::string_view where) const {
  std::map<std::string, AddedToken, std::less<>> by_name;
  std::map<std::string_view, std::optional<bool>> flags;
  const auto conflict = [&](std::string_view name, std::int32_t a, std::int32_t b) {
    return absl::InvalidArgumentError(Cat(where, ": the token \"", name, "\" has the ids ", a,
                                          " and ", b,
                                          " in the tokenizer's files; they must agree"));
  };
  for (const Added& entry : added) {
    if (const auto it = vocab.find(entry.name); it != vocab.end() && it->second != entry.id) {
      return conflict(entry.name, it->second, entry.id);
    }
    const auto [it, is_new] =
        by_name.emplace(entry.name, AddedToken{.name = entry.name, .id = entry.id});
    if (!is_new && it->second.id != entry.id) return conflict(entry.name, it->second.id, entry.id);
    if (entry.special.has_value()) flags[it->first] = entry.special;
  }
  for (auto& [name, token] : by_name) {
    const auto flag = flags.find(name);
    token.special = flag != flags.end() ? *flag->second : !IsWhiteSpaceOnly(name);
  }
  for (const Named& token : named) {
    auto it = by_name.find(token.name);
    if (it == by_name.end()) {
      const auto known = vocab.find(token.name);
      if (known == vocab.end()) {
        Log(LogLevel::kWarn, Cat(where, ": the ", token.role, " \"", token.name,
                                 "\" has no id in the tokenizer's files and is left out"));
        continue;
      }
      it = by_name.emplace(token.name, AddedToken{.name = token.name, .id = known->second}).first;
    }
    it->second.special = true;
    if (token.is_object) {
      it->second.strips_before = token.lstrip;
      it->second.strips_after = token.rstrip;
    }
  }
  std::vector<AddedToken> tokens;
  std::map<std::int32_t, std::string_view> by_id;
  for (const auto& [name, token] : by_name) {
    const auto [it, is_new] = by_id.emplace(token.id, name);
    if (!is_new) {
      return absl::InvalidArgumentError(Cat(where, ": the added tokens \"", it->second, "\" and \"",
                                            name, "\" have the same id ", token.id,
                                            "; each needs its own"));
    }
    tokens.push_back(token);
  }
  return tokens;
}

}  // namespace mossrt::runtime
