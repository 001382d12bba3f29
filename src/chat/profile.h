// How a conversation is written down for a model, as data: which tagged fields a turn has, who
// writes each, and what comes before the first turn.
#pragma once

#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/json.h"

namespace mossrt::runtime {

// In the order in which a turn has them.
enum class Field : std::uint8_t { kHuman, kThoughts, kCommands, kResults, kAnswer };
inline constexpr std::size_t kFields = 5;
inline constexpr std::array<Field, kFields> kAllFields = {
    Field::kHuman, Field::kThoughts, Field::kCommands, Field::kResults, Field::kAnswer};
// "human", "thoughts", "commands", "results", "answer".
std::string_view FieldName(Field field);
// "Human", "Inner Thoughts", "Commands", "Tool Responses", "MOSS": the keys of published data.
std::string_view PublishedFieldName(Field field);

// tag lead text tail end after, where nothing is said: tag none end after.
struct FieldSpec {
  std::string tag;      // "<|Human|>:"
  std::string lead;     // " "
  std::string tail;     // "" or "\n"
  std::string none;     // " None"
  std::string dropped;  // instead of results that were dropped to make room
  std::string end;      // name of a control token: "<eoh>"
  std::string after;    // "\n"
  bool by_model = false;
  bool keep_end = true;  // false: the end stays out of what later turns see
};

struct Capability {
  std::string label;           // "Calculator"
  std::string command;         // the plugin that switches it on, or empty
  std::string on, off;         // "enabled. API: Calculate(expression)", "disabled."
  bool with_thoughts = false;  // on where the model writes thoughts
};

struct Profile {
  std::string name;
  bool has_meta = true;
  std::optional<std::string> head;  // instead of meta_instruction.txt
  std::string capabilities;         // the line above the switches
  std::vector<Capability> switches;
  std::string closing;  // behind the switches; {date} stands for the date
  int indent = 0;       // spaces behind every newline of the meta instruction
  std::array<std::optional<FieldSpec>, kFields> fields;
  Json source;  // what it was read from, its base merged in

  const FieldSpec* Spec(Field field) const {
    const auto& spec = fields[static_cast<std::size_t>(field)];
    return spec ? &*spec : nullptr;
  }
  bool RunsCommands() const {
    return Spec(Field::kCommands) != nullptr && Spec(Field::kCommands)->by_model &&
           Spec(Field::kResults) != nullptr;
  }
};

// A built-in profile by name; the error lists the names.
absl::StatusOr<Profile> FindProfile(std::string_view name);
// A profile as JSON. With "base" only what differs from that built-in one is written: an object
// changes keys, null takes one away (RFC 7396). Unknown keys are errors.
absl::StatusOr<Profile> ParseProfile(std::string_view json);
absl::StatusOr<Profile> ReadProfile(const Json& json, std::string_view what);

// Built-in profiles as one JSON object, by name; see builtin_profiles.cc.
extern const char kBuiltinProfiles[];

}  // namespace mossrt::runtime
