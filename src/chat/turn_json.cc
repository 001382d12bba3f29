#include "chat/turn_json.h"

#include <utility>

#include "base/status.h"

namespace mossrt::runtime {
namespace {

using Texts = std::vector<std::pair<const char*, std::string TurnReport::*>>;

const Texts& TextKeys() {
  static const auto& keys = *new Texts{{"human", &TurnReport::human},
                                       {"thoughts", &TurnReport::thoughts},
                                       {"commands_text", &TurnReport::commands_text},
                                       {"results", &TurnReport::results_text},
                                       {"answer", &TurnReport::answer},
                                       {"ended", &TurnReport::ended}};
  return keys;
}

// Walks through an array of objects of one kind.
template <typename F>
absl::Status Each(const Json& json, std::string_view key, std::string_view what, F&& read) {
  const JsonReader reader(json, what);
  const Json* list = reader.Find(key);
  if (list == nullptr) return absl::OkStatus();
  if (!list->is_array()) return reader.WrongType(key, "a list");
  for (const Json& item : *list) MOSSRT_RETURN_IF_ERROR(read(item));
  return absl::OkStatus();
}

absl::StatusOr<std::string> TextOf(const Json& json, std::string_view key, std::string_view what) {
  if (!json.is_object()) {
    return absl::InvalidArgumentError(Cat(what, ": expected an object, found ", json.type_name()));
  }
  MOSSRT_ASSIGN_OR_RETURN(auto text, JsonReader(json, what).String(key));
  return text.value_or("");
}

absl::StatusOr<std::int64_t> CountOf(const Json& json, std::string_view key,
                                     std::string_view what) {
  MOSSRT_ASSIGN_OR_RETURN(const auto count, JsonReader(json, what).Int(key, 0, INT64_MAX));
  return count.value_or(0);
}

absl::StatusOr<Field> FieldOf(std::string_view name, std::string_view what) {
  for (const Field field : kAllFields) {
    if (FieldName(field) == name) return field;
  }
  return absl::InvalidArgumentError(Cat(what, ": there is no field \"", name.substr(0, 64), "\""));
}

absl::Status ReadCommands(const Json& json, std::string_view what, TurnReport* report) {
  return Each(json, "commands", what, [&](const Json& item) -> absl::Status {
    Command command;
    MOSSRT_ASSIGN_OR_RETURN(command.name, TextOf(item, "name", what));
    MOSSRT_ASSIGN_OR_RETURN(command.argument, TextOf(item, "argument", what));
    report->commands.push_back(std::move(command));
    const JsonReader reader(item, what);
    if (!reader.Has("result")) return absl::OkStatus();
    MOSSRT_ASSIGN_OR_RETURN(std::string result, TextOf(item, "result", what));
    MOSSRT_ASSIGN_OR_RETURN(const auto ok, reader.Bool("ok"));
    report->rendered.push_back(std::move(result));
    report->succeeded.push_back(ok.value_or(false));
    return absl::OkStatus();
  });
}

absl::Status ReadLists(const Json& json, std::string_view what, TurnReport* report) {
  MOSSRT_RETURN_IF_ERROR(Each(json, "sources", what, [&](const Json& item) -> absl::Status {
    Snippet snippet;
    MOSSRT_ASSIGN_OR_RETURN(snippet.title, TextOf(item, "title", what));
    MOSSRT_ASSIGN_OR_RETURN(snippet.text, TextOf(item, "text", what));
    report->cited.push_back(std::move(snippet));
    return absl::OkStatus();
  }));
  MOSSRT_RETURN_IF_ERROR(Each(json, "citations", what, [&](const Json& item) -> absl::Status {
    const Json wrapped = {{"numbers", item}};
    MOSSRT_ASSIGN_OR_RETURN(auto numbers, JsonReader(wrapped, what).IntOrInts("numbers", 0, 9999));
    report->citations.push_back(std::move(numbers));
    return absl::OkStatus();
  }));
  MOSSRT_RETURN_IF_ERROR(Each(json, "repairs", what, [&](const Json& item) -> absl::Status {
    Repair repair;
    MOSSRT_ASSIGN_OR_RETURN(const std::string name, TextOf(item, "field", what));
    MOSSRT_ASSIGN_OR_RETURN(repair.field, FieldOf(name, what));
    MOSSRT_ASSIGN_OR_RETURN(repair.what, TextOf(item, "what", what));
    report->repairs.push_back(std::move(repair));
    return absl::OkStatus();
  }));
  return Each(json, "notices", what, [&](const Json& item) -> absl::Status {
    if (!item.is_string()) {
      return absl::InvalidArgumentError(Cat(what, ": \"notices\" must be a list of texts"));
    }
    report->notices.push_back(item.get<std::string>());
    return absl::OkStatus();
  });
}

}  // namespace

Json ReportJson(const TurnReport& report) {
  Json json = Json::object();
  for (const auto& [key, member] : TextKeys()) json[key] = report.*member;
  json["commands"] = Json::array();
  for (std::size_t i = 0; i < report.commands.size(); ++i) {
    Json command = {{"name", report.commands[i].name}, {"argument", report.commands[i].argument}};
    if (i < report.rendered.size()) {
      command["result"] = report.rendered[i];
      command["ok"] = static_cast<bool>(report.succeeded[i]);
    }
    json["commands"].push_back(std::move(command));
  }
  json["sources"] = Json::array();
  for (const Snippet& snippet : report.cited) {
    json["sources"].push_back({{"title", snippet.title}, {"text", snippet.text}});
  }
  json["citations"] = report.citations;
  json["repairs"] = Json::array();
  for (const Repair& repair : report.repairs) {
    json["repairs"].push_back({{"field", FieldName(repair.field)}, {"what", repair.what}});
  }
  json["notices"] = report.notices;
  json["role_tags"] = report.role_tags;
  json["control_tokens"] = report.control_tokens;
  json["altered"] = report.altered;
  json["cut"] = {
      {"results", report.cut.results}, {"turns", report.cut.turns}, {"tokens", report.cut.tokens}};
  return json;
}

absl::StatusOr<TurnReport> ReadReport(const Json& json, std::string_view what) {
  TurnReport report;
  for (const auto& [key, member] : TextKeys()) {
    MOSSRT_ASSIGN_OR_RETURN(report.*member, TextOf(json, key, what));
  }
  MOSSRT_RETURN_IF_ERROR(ReadCommands(json, what, &report));
  MOSSRT_RETURN_IF_ERROR(ReadLists(json, what, &report));
  MOSSRT_ASSIGN_OR_RETURN(report.role_tags, CountOf(json, "role_tags", what));
  MOSSRT_ASSIGN_OR_RETURN(report.control_tokens, CountOf(json, "control_tokens", what));
  MOSSRT_ASSIGN_OR_RETURN(report.altered, CountOf(json, "altered", what));
  const Json* cut = JsonReader(json, what).Find("cut");
  if (cut != nullptr && cut->is_object()) {
    MOSSRT_ASSIGN_OR_RETURN(report.cut.results, CountOf(*cut, "results", what));
    MOSSRT_ASSIGN_OR_RETURN(report.cut.turns, CountOf(*cut, "turns", what));
    MOSSRT_ASSIGN_OR_RETURN(report.cut.tokens, CountOf(*cut, "tokens", what));
  }
  return report;
}

}  // namespace mossrt::runtime
