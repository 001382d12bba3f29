// JSON from files of unknown origin: size, depth and types are checked, errors name file and key.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace mossrt::runtime {

using Json = nlohmann::json;

// What to do about a text that is not as expected; ends the message.
inline constexpr std::string_view kCorrectJson = "correct it there";
inline constexpr std::string_view kCorrectFile = "correct the file or download it again";

// `what` names the text in messages ("moss/config.json"); an empty cure is for callers that add
// their own. Refuses invalid UTF-8 and nesting deeper than 64. The last of two equal keys counts,
// as in Python.
absl::StatusOr<Json> ParseJson(std::string_view text, std::string_view what,
                               std::string_view cure = kCorrectJson);
// As ParseJson, and the top level must be an object.
absl::StatusOr<Json> ParseJsonObject(std::string_view text, std::string_view what,
                                     std::string_view cure = kCorrectJson);

// Reads one key of an object with its type checked. Absent or null: nullopt. Wrong type or out of
// range: kInvalidArgument naming `what`, the key and the cure, if there is one.
class JsonReader {
 public:
  JsonReader(const Json& object, std::string_view what, std::string_view cure = "")
      : object_(&object), what_(what), cure_(cure) {}

  bool Has(std::string_view key) const;  // present and not null
  absl::StatusOr<std::optional<std::int64_t>> Int(std::string_view key, std::int64_t low,
                                                  std::int64_t high) const;
  absl::StatusOr<std::optional<double>> Number(std::string_view key) const;
  absl::StatusOr<std::optional<bool>> Bool(std::string_view key) const;
  absl::StatusOr<std::optional<std::string>> String(std::string_view key) const;
  // A number or an array of numbers, as generation configs write end tokens.
  absl::StatusOr<std::vector<std::int64_t>> IntOrInts(std::string_view key, std::int64_t low,
                                                      std::int64_t high) const;
  const Json* Find(std::string_view key) const;  // null if absent or null
  absl::Status WrongType(std::string_view key, std::string_view wanted) const;

 private:
  const Json* object_;
  std::string what_, cure_;
};

// At most 60 bytes of the value as JSON, for messages.
std::string Excerpt(const Json& value);
// Invalid UTF-8 in values is replaced instead of thrown about.
std::string DumpJson(const Json& json, int indent = -1);

}  // namespace mossrt::runtime
