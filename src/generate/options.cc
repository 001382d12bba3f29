// What is done with the option tables, whatever their kind.
#include "mossrt/runtime/options.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>

#include "base/json.h"
#include "base/status.h"

namespace mossrt::runtime {
namespace {

struct KindName {
  OptionKind kind;
  std::string_view name;
};
constexpr std::array<KindName, 6> kKinds = {{{OptionKind::kLoad, "load"},
                                             {OptionKind::kSession, "session"},
                                             {OptionKind::kGenerate, "generate"},
                                             {OptionKind::kEval, "eval"},
                                             {OptionKind::kTokenizer, "tokenizer"},
                                             {OptionKind::kChat, "chat"}}};

std::string_view NameOf(OptionKind kind) {
  for (const KindName& entry : kKinds) {
    if (entry.kind == kind) return entry.name;
  }
  return "unknown";
}

std::string_view TypeName(OptionType type) {
  switch (type) {
    case OptionType::kBool:
      return "bool";
    case OptionType::kInt:
      return "int";
    case OptionType::kFloat:
      return "float";
    case OptionType::kString:
      return "string";
    case OptionType::kIntList:
      return "int_list";
    case OptionType::kStringList:
      return "string_list";
  }
  return "unknown";
}

std::vector<std::string_view> Choices(std::string_view list) {
  std::vector<std::string_view> choices;
  while (!list.empty()) {
    const std::size_t bar = list.find('|');
    choices.push_back(list.substr(0, bar));
    list.remove_prefix(bar == std::string_view::npos ? list.size() : bar + 1);
  }
  return choices;
}

bool HasRange(const OptionInfo& row) {
  return row.type == OptionType::kInt || row.type == OptionType::kFloat ||
         row.type == OptionType::kIntList;
}

bool InRange(const OptionInfo& row, const Json& value) {
  const double number = value.get<double>();
  return std::isfinite(number) && number >= row.low && number <= row.high;
}

// Small, so that "max_lenght" finds its key and "x" finds none.
std::size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<std::size_t> row(b.size() + 1);
  for (std::size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = row[0];
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row[b.size()];
}

std::string Plain(std::string_view key) {
  std::string plain;
  for (const char c : key.substr(0, 64)) {  // no key is longer
    plain.push_back(c == '-' ? '_'
                             : static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
  }
  return plain;
}

constexpr double kNoLimit = 1e15;  // nobody counts that far

// In full where only integers count: 2147483647, not 2.14748365e+09.
std::string Bound(const OptionInfo& row, double bound) {
  const bool whole = row.type != OptionType::kFloat;
  return whole ? Cat(static_cast<std::int64_t>(bound)) : Cat(bound);
}

std::string Wanted(const OptionInfo& row) {
  std::string range;
  if (HasRange(row) && row.high < kNoLimit) {
    range = Cat(" from ", Bound(row, row.low), " to ", Bound(row, row.high));
  } else if (HasRange(row)) {
    range = Cat(", ", Bound(row, row.low), " or more");
  }
  switch (row.type) {
    case OptionType::kBool:
      return "true or false";
    case OptionType::kInt:
      return "an integer" + range;
    case OptionType::kFloat:
      return "a number" + range;
    case OptionType::kIntList:
      return "an integer" + range + ", or a list of such integers";
    case OptionType::kStringList:
      return "a string or a list of strings";
    case OptionType::kString:
      break;
  }
  return row.choices.empty() ? "a string" : Cat("one of ", Join(Choices(row.choices), ", "));
}

bool Fits(const OptionInfo& row, const Json& value) {
  const auto fits_all = [&](const auto& fits_one) {
    if (!value.is_array()) return fits_one(value);
    return std::all_of(value.begin(), value.end(), fits_one);
  };
  switch (row.type) {
    case OptionType::kBool:
      return value.is_boolean();
    case OptionType::kInt:
      return value.is_number_integer() && InRange(row, value);
    case OptionType::kFloat:
      return value.is_number() && InRange(row, value);
    case OptionType::kIntList:
      return fits_all([&](const Json& v) { return v.is_number_integer() && InRange(row, v); });
    case OptionType::kStringList:
      return fits_all([](const Json& v) { return v.is_string(); });
    case OptionType::kString:
      break;
  }
  if (!value.is_string()) return false;
  if (row.choices.empty()) return true;
  const auto choices = Choices(row.choices);
  return std::find(choices.begin(), choices.end(), value.get<std::string>()) != choices.end();
}

Json Describe(OptionKind kind) {
  Json options = Json::array();
  for (const OptionInfo& row : OptionTable(kind)) {
    Json entry = {{"name", row.key},
                  {"type", TypeName(row.type)},
                  {"default", Json::parse(row.default_json)},
                  {"range", nullptr},
                  {"choices", nullptr},
                  {"since", row.since},
                  {"doc", row.doc}};
    if (HasRange(row)) entry["range"] = {row.low, row.high};
    if (!row.choices.empty()) entry["choices"] = Choices(row.choices);
    options.push_back(std::move(entry));
  }
  return {{"kind", NameOf(kind)}, {"options", std::move(options)}};
}

}  // namespace

const std::string& DescribeOptions(OptionKind kind) {
  using Texts = std::array<std::string, kKinds.size() + 1>;  // the last one is of no kind
  static const auto* texts = [] {
    auto* all = new Texts;
    for (std::size_t i = 0; i < kKinds.size(); ++i) (*all)[i] = DumpJson(Describe(kKinds[i].kind));
    all->back() = "{}";
    return all;
  }();
  for (std::size_t i = 0; i < kKinds.size(); ++i) {
    if (kKinds[i].kind == kind) return (*texts)[i];
  }
  return texts->back();
}

absl::Status CheckOption(OptionKind kind, std::string_view key, std::string_view value_json) {
  const std::span<const OptionInfo> table = OptionTable(kind);
  const auto row = std::find_if(table.begin(), table.end(),
                                [&](const OptionInfo& entry) { return entry.key == key; });
  if (row == table.end()) {
    const std::string nearest = NearestKey(key, table);
    std::string cure;
    if (nearest.empty()) {
      std::vector<std::string_view> keys;
      for (const OptionInfo& entry : table) keys.push_back(entry.key);
      cure = Cat("known are ", Join(keys, ", "));
    } else {
      cure = Cat("did you mean \"", nearest, "\"?");
    }
    return absl::InvalidArgumentError(
        Cat("unknown ", NameOf(kind), " option \"", key.substr(0, 64), "\"; ", cure));
  }
  const std::string what = Cat(NameOf(kind), " option \"", key, "\"");
  MOSSRT_ASSIGN_OR_RETURN(const Json value, ParseJson(value_json, what));
  if (Fits(*row, value)) return absl::OkStatus();
  return absl::InvalidArgumentError(
      Cat(what, " must be ", Wanted(*row), ", found ", Excerpt(value)));
}

std::string NearestKey(std::string_view key, std::span<const OptionInfo> table) {
  const std::string plain = Plain(key);
  std::size_t least = std::max<std::size_t>(2, plain.size() * 2 / 5) + 1;
  std::string nearest;
  for (const OptionInfo& row : table) {
    const std::size_t distance = EditDistance(plain, row.key);
    if (distance < least && distance < row.key.size()) {
      least = distance;
      nearest = row.key;
    }
  }
  return nearest;
}

}  // namespace mossrt::runtime
