#include "base/json.h"

#include <cmath>

#include "base/json_fault.h"
#include "base/status.h"
#include "base/utf8.h"

namespace mossrt::runtime {
namespace {

constexpr int kMaxDepth = 64;

// The parser recurses nowhere, but a deep value is destroyed recursively.
bool TooDeep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) return true;
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return false;
}

absl::Status Refusal(std::string_view problem, std::string_view cure) {
  return absl::InvalidArgumentError(Cat(problem, cure.empty() ? "" : "; ", cure));
}

}  // namespace

absl::StatusOr<Json> ParseJson(std::string_view text, std::string_view what,
                               std::string_view cure) {
  if (TooDeep(text)) {
    return Refusal(Cat(what, ": expected JSON of at most ", kMaxDepth,
                       " levels, as all known files have, found a deeper one"),
                   cure);
  }
  try {
    return Json::parse(text);
  } catch (const Json::exception&) {
    const JsonFault fault =
        FindJsonFault(text).value_or(JsonFault{.expected = "JSON", .found = "something else"});
    return Refusal(Cat(what, ", line ", fault.line, ", column ", fault.column,
                       ": not JSON: expected ", fault.expected, ", found ", fault.found),
                   cure);
  }
}

absl::StatusOr<Json> ParseJsonObject(std::string_view text, std::string_view what,
                                     std::string_view cure) {
  MOSSRT_ASSIGN_OR_RETURN(Json json, ParseJson(text, what, cure));
  if (!json.is_object()) {
    return Refusal(Cat(what, ": expected a JSON object, found ", Excerpt(json)), cure);
  }
  return json;
}

std::string Excerpt(const Json& value) {
  const std::string text = DumpJson(value);
  if (text.size() <= 60) return text;
  return Cat(std::string_view(text).substr(0, CompleteUtf8Prefix(text.substr(0, 57))), "...");
}

const Json* JsonReader::Find(std::string_view key) const {
  const auto it = object_->find(std::string(key));
  return it == object_->end() || it->is_null() ? nullptr : &*it;
}

bool JsonReader::Has(std::string_view key) const { return Find(key) != nullptr; }

absl::Status JsonReader::WrongType(std::string_view key, std::string_view wanted) const {
  const Json* value = Find(key);
  return Refusal(Cat(what_, ": \"", key, "\" must be ", wanted, ", found ",
                     value == nullptr ? "nothing" : Excerpt(*value)),
                 cure_);
}

absl::StatusOr<std::optional<std::int64_t>> JsonReader::Int(std::string_view key, std::int64_t low,
                                                            std::int64_t high) const {
  const Json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  const auto wrong = [&] { return WrongType(key, Cat("an integer from ", low, " to ", high)); };
  std::int64_t n = 0;
  if (value->is_number_unsigned()) {
    const auto u = value->get<std::uint64_t>();
    if (u > static_cast<std::uint64_t>(INT64_MAX)) return wrong();
    n = static_cast<std::int64_t>(u);
  } else if (value->is_number_integer()) {
    n = value->get<std::int64_t>();
  } else {
    return wrong();
  }
  if (n < low || n > high) return wrong();
  return n;
}

absl::StatusOr<std::optional<double>> JsonReader::Number(std::string_view key) const {
  const Json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_number()) return WrongType(key, "a number");
  const double number = value->get<double>();
  if (!std::isfinite(number)) return WrongType(key, "a finite number");
  return number;
}

absl::StatusOr<std::optional<bool>> JsonReader::Bool(std::string_view key) const {
  const Json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_boolean()) return WrongType(key, "true or false");
  return value->get<bool>();
}

absl::StatusOr<std::optional<std::string>> JsonReader::String(std::string_view key) const {
  const Json* value = Find(key);
  if (value == nullptr) return std::nullopt;
  if (!value->is_string()) return WrongType(key, "a string");
  return value->get<std::string>();
}

absl::StatusOr<std::vector<std::int64_t>> JsonReader::IntOrInts(std::string_view key,
                                                                std::int64_t low,
                                                                std::int64_t high) const {
  std::vector<std::int64_t> result;
  const Json* value = Find(key);
  if (value == nullptr) return result;
  const auto wrong = [&] {
    return WrongType(key,
                     Cat("an integer from ", low, " to ", high, " or a list of such integers"));
  };
  const auto add = [&](const Json& item) {
    if (!item.is_number_integer()) return false;
    const auto n = item.get<std::int64_t>();
    if (item.is_number_unsigned() &&
        item.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX)) {
      return false;
    }
    if (n < low || n > high) return false;
    result.push_back(n);
    return true;
  };
  if (value->is_array()) {
    for (const Json& item : *value) {
      if (!add(item)) return wrong();
    }
  } else if (!add(*value)) {
    return wrong();
  }
  return result;
}

std::string DumpJson(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace mossrt::runtime
