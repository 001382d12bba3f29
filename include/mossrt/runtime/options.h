// Options by name: one table per kind feeds parsing, errors, the JSON schema, docs and bindings.
// Owned by src/generate; the tables stand in option_tables.cc.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mossrt::runtime {

enum class OptionType : std::uint8_t { kBool, kInt, kFloat, kString, kIntList, kStringList };

struct OptionInfo {
  std::string_view key;
  OptionType type;
  std::string_view default_json;  // "null": resolved elsewhere; the doc says where
  double low, high;               // range of numbers, ends included
  std::string_view choices;       // "a|b|c" for strings, or empty
  std::string_view since;         // "0.1"
  std::string_view doc;
};

enum class OptionKind : std::uint8_t {
  kLoad = 1,
  kSession = 2,
  kGenerate = 3,
  kEval = 6,       // "logits": "none" | "last" | "all"; "hidden": list of layers (EvalOptions)
  kTokenizer = 7,  // "added_tokens": "lossless" | "hf-4.25" (TokenizerOptions)
  kChat = 8,       // profile, plugins, what to do when the context is full (ChatOptions)
};
std::span<const OptionInfo> OptionTable(OptionKind kind);
// {"kind": ..., "options": [{"name", "type", "default", "range", "choices", "since", "doc"}, ...]}
const std::string& DescribeOptions(OptionKind kind);

// Checks one value (JSON text) against its row; an unknown key names the nearest one.
absl::Status CheckOption(OptionKind kind, std::string_view key, std::string_view value_json);
// The key of `keys` with the smallest edit distance to `key`, or empty if none is near.
std::string NearestKey(std::string_view key, std::span<const OptionInfo> table);

}  // namespace mossrt::runtime
