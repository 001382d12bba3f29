#include "chat/profile.h"

#include <algorithm>
#include <initializer_list>

#include "base/status.h"

namespace mossrt::runtime {
namespace {

constexpr std::size_t kMaxJson = std::size_t{1} << 20;
constexpr std::size_t kMaxText = 4096;
constexpr std::size_t kMaxSwitches = 64;

// One object of a profile: texts of bounded length, and no key that is not known.
class Section {
 public:
  Section(const Json& json, std::string what) : json_(json), what_(std::move(what)) {}

  absl::Status OnlyKeys(std::initializer_list<std::string_view> known) const {
    if (!json_.is_object()) {
      return absl::InvalidArgumentError(
          Cat(what_, ": expected a JSON object, found ", json_.type_name()));
    }
    for (const auto& [key, value] : json_.items()) {
      if (std::find(known.begin(), known.end(), key) == known.end()) {
        return absl::InvalidArgumentError(
            Cat(what_, ": unknown key \"", key.substr(0, 64), "\"; known are ", Join(known, ", ")));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Text(std::string_view key, std::string* out) const {
    const JsonReader reader(json_, what_);
    MOSSRT_ASSIGN_OR_RETURN(auto value, reader.String(key));
    if (!value) return absl::OkStatus();
    if (value->size() > kMaxText) {
      return absl::InvalidArgumentError(Cat(what_, ": \"", key, "\" has ", value->size(),
                                            " bytes, at most ", kMaxText, " may be"));
    }
    *out = *std::move(value);
    return absl::OkStatus();
  }
  absl::Status Needed(std::string_view key, std::string* out) const {
    MOSSRT_RETURN_IF_ERROR(Text(key, out));
    if (!out->empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        Cat(what_, ": \"", key, "\" must be a text that is not empty"));
  }
  absl::Status Flag(std::string_view key, bool* out) const {
    const JsonReader reader(json_, what_);
    MOSSRT_ASSIGN_OR_RETURN(const auto value, reader.Bool(key));
    if (value) *out = *value;
    return absl::OkStatus();
  }
  const std::string& what() const { return what_; }

 private:
  const Json& json_;
  std::string what_;
};

absl::Status ReadSwitches(const Json& list, const std::string& what, Profile* profile) {
  if (!list.is_array() || list.size() > kMaxSwitches) {
    return absl::InvalidArgumentError(
        Cat(what, ": \"switches\" must be a list of at most ", kMaxSwitches, " objects"));
  }
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Section section(list[i], Cat(what, ": switch ", i));
    Capability capability;
    MOSSRT_RETURN_IF_ERROR(section.OnlyKeys({"label", "command", "on", "off", "with_thoughts"}));
    MOSSRT_RETURN_IF_ERROR(section.Needed("label", &capability.label));
    MOSSRT_RETURN_IF_ERROR(section.Text("command", &capability.command));
    MOSSRT_RETURN_IF_ERROR(section.Needed("off", &capability.off));
    MOSSRT_RETURN_IF_ERROR(section.Text("on", &capability.on));
    MOSSRT_RETURN_IF_ERROR(section.Flag("with_thoughts", &capability.with_thoughts));
    if (capability.on.empty() && (capability.with_thoughts || !capability.command.empty())) {
      return absl::InvalidArgumentError(
          Cat(section.what(), ": \"on\" is missing, which a switch that can be on needs"));
    }
    profile->switches.push_back(std::move(capability));
  }
  return absl::OkStatus();
}

absl::Status ReadMeta(const Json& json, std::string_view what, Profile* profile) {
  const Section section(json, Cat(what, ": meta"));
  MOSSRT_RETURN_IF_ERROR(
      section.OnlyKeys({"head", "capabilities", "switches", "closing", "indent"}));
  const JsonReader reader(json, section.what());
  if (reader.Has("head")) {
    std::string head;
    MOSSRT_RETURN_IF_ERROR(section.Text("head", &head));
    profile->head = std::move(head);
  }
  MOSSRT_RETURN_IF_ERROR(section.Text("capabilities", &profile->capabilities));
  MOSSRT_RETURN_IF_ERROR(section.Text("closing", &profile->closing));
  MOSSRT_ASSIGN_OR_RETURN(const auto indent, reader.Int("indent", 0, 16));
  profile->indent = static_cast<int>(indent.value_or(0));
  const Json* switches = reader.Find("switches");
  return switches == nullptr ? absl::OkStatus() : ReadSwitches(*switches, section.what(), profile);
}

absl::Status ReadField(const Json& json, Field field, std::string_view what, Profile* profile) {
  const Section section(json, Cat(what, ": field ", FieldName(field)));
  FieldSpec spec;
  MOSSRT_RETURN_IF_ERROR(section.OnlyKeys(
      {"tag", "lead", "tail", "none", "dropped", "end", "after", "by_model", "keep_end"}));
  // Without a tag and a control token nothing would tell the fields apart.
  MOSSRT_RETURN_IF_ERROR(section.Needed("tag", &spec.tag));
  MOSSRT_RETURN_IF_ERROR(section.Needed("end", &spec.end));
  for (const auto& [key, text] : {std::pair{"lead", &spec.lead},
                                  {"tail", &spec.tail},
                                  {"none", &spec.none},
                                  {"dropped", &spec.dropped},
                                  {"after", &spec.after}}) {
    MOSSRT_RETURN_IF_ERROR(section.Text(key, text));
  }
  if (spec.dropped.empty()) spec.dropped = spec.none;
  MOSSRT_RETURN_IF_ERROR(section.Flag("by_model", &spec.by_model));
  MOSSRT_RETURN_IF_ERROR(section.Flag("keep_end", &spec.keep_end));
  const bool model_may = field != Field::kHuman && field != Field::kResults;
  if (spec.by_model && !model_may) {
    return absl::InvalidArgumentError(
        Cat(section.what(), ": \"by_model\" cannot be true, this field is given to the model"));
  }
  profile->fields[static_cast<std::size_t>(field)] = std::move(spec);
  return absl::OkStatus();
}

absl::Status ReadFields(const Json& json, std::string_view what, Profile* profile) {
  const Section section(json, Cat(what, ": fields"));
  MOSSRT_RETURN_IF_ERROR(section.OnlyKeys({"human", "thoughts", "commands", "results", "answer"}));
  for (const Field field : kAllFields) {
    const auto it = json.find(std::string(FieldName(field)));
    if (it == json.end() || it->is_null()) continue;
    MOSSRT_RETURN_IF_ERROR(ReadField(*it, field, what, profile));
  }
  const FieldSpec* answer = profile->Spec(Field::kAnswer);
  if (profile->Spec(Field::kHuman) == nullptr || answer == nullptr || !answer->by_model) {
    return absl::InvalidArgumentError(
        Cat(section.what(),
            ": \"human\" and \"answer\", the latter with by_model true, must be "
            "there"));
  }
  return absl::OkStatus();
}

// Never destroyed: a call may still run on another thread while the process ends.
const Json& Builtin() {
  static const Json& profiles = *new Json(Json::parse(kBuiltinProfiles));
  return profiles;
}

std::string BuiltinNames() {
  std::vector<std::string> names;
  for (const auto& [name, profile] : Builtin().items()) names.push_back(name);
  return Join(names, ", ");
}

absl::StatusOr<Json> FindBuiltin(std::string_view name) {
  const auto it = Builtin().find(std::string(name));
  if (it == Builtin().end()) {
    return absl::InvalidArgumentError(Cat("there is no profile \"", name.substr(0, 64),
                                          "\"; known are ", BuiltinNames(),
                                          "; a profile of your own is given as JSON"));
  }
  return *it;
}

}  // namespace

std::string_view FieldName(Field field) {
  constexpr std::array<std::string_view, kFields> names = {"human", "thoughts", "commands",
                                                           "results", "answer"};
  return names[static_cast<std::size_t>(field)];
}

std::string_view PublishedFieldName(Field field) {
  constexpr std::array<std::string_view, kFields> names = {"Human", "Inner Thoughts", "Commands",
                                                           "Tool Responses", "MOSS"};
  return names[static_cast<std::size_t>(field)];
}

absl::StatusOr<Profile> ReadProfile(const Json& json, std::string_view what) {
  const Section section(json, std::string(what));
  MOSSRT_RETURN_IF_ERROR(section.OnlyKeys({"base", "name", "meta", "fields"}));
  Json merged = json;
  std::string base;
  MOSSRT_RETURN_IF_ERROR(section.Text("base", &base));
  if (!base.empty()) {
    MOSSRT_ASSIGN_OR_RETURN(merged, FindBuiltin(base));
    if (merged.contains("base")) {  // built-in ones have a base at most one deep
      MOSSRT_ASSIGN_OR_RETURN(Json root, FindBuiltin(merged["base"].get<std::string>()));
      root.merge_patch(merged);
      merged = std::move(root);
    }
    merged.merge_patch(json);
    merged.erase("base");
  }
  Profile profile;
  const Section whole(merged, std::string(what));
  MOSSRT_RETURN_IF_ERROR(whole.Needed("name", &profile.name));
  const JsonReader reader(merged, what);
  const Json* meta = reader.Find("meta");
  profile.has_meta = meta != nullptr;
  if (meta != nullptr) MOSSRT_RETURN_IF_ERROR(ReadMeta(*meta, what, &profile));
  const Json* fields = reader.Find("fields");
  if (fields == nullptr) return reader.WrongType("fields", "an object");
  MOSSRT_RETURN_IF_ERROR(ReadFields(*fields, what, &profile));
  profile.source = std::move(merged);
  return profile;
}

absl::StatusOr<Profile> ParseProfile(std::string_view json) {
  if (json.size() > kMaxJson) {
    return absl::InvalidArgumentError(
        Cat("the profile has ", json.size(), " bytes, at most ", kMaxJson, " may be"));
  }
  MOSSRT_ASSIGN_OR_RETURN(const Json parsed, ParseJsonObject(json, "profile"));
  return ReadProfile(parsed, "profile");
}

absl::StatusOr<Profile> FindProfile(std::string_view name) {
  MOSSRT_ASSIGN_OR_RETURN(const Json json, FindBuiltin(name));
  return ReadProfile(json, Cat("profile ", name));
}

}  // namespace mossrt::runtime
