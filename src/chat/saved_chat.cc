// Conversations in files: ids as they are, with a checksum, checked whole before they are used.
#include <algorithm>
#include <utility>

#include "base/sha256.h"
#include "base/status.h"
#include "chat/chat_impl.h"
#include "chat/turn_json.h"

namespace mossrt::runtime {
namespace {

constexpr std::string_view kFormat = "mossrt-conversation";
constexpr std::int64_t kVersion = 1;
constexpr std::size_t kMaxBytes = std::size_t{256} << 20;
constexpr std::int64_t kMaxTurns = 1000000;

// Two tokenizers under which equal ids have equal texts give equal ones.
std::string TokenizerPrint(const Tokenizer& tokenizer) {
  std::string all;
  for (std::int32_t id = 0; id < tokenizer.size(); ++id) {
    const auto bytes = tokenizer.TokenBytes(id);
    if (bytes.ok()) all += Cat(bytes->size(), ":", *bytes);
  }
  return Sha256Hex(all);
}

absl::Status Damaged(std::string_view what) {
  return absl::InvalidArgumentError(
      Cat("the saved conversation is damaged or was changed by hand: ", what));
}

absl::StatusOr<std::vector<std::int32_t>> ReadIds(const Json& json, std::int32_t size) {
  if (!json.is_array()) return Damaged("ids are no list");
  std::vector<std::int32_t> ids;
  ids.reserve(json.size());
  for (const Json& id : json) {
    if (!id.is_number_integer() || id.is_number_unsigned() != (id >= 0) || id < 0 || id >= size) {
      return Damaged(Cat("an id is not from 0 to ", size - 1));
    }
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

absl::StatusOr<TurnRecord> ReadTurn(const Json& json, const Profile& profile, std::int32_t size) {
  if (!json.is_object() || !json.contains("fields") || !json["fields"].is_array() ||
      !json.contains("report")) {
    return Damaged("a turn lacks its fields or its report");
  }
  TurnRecord turn;
  for (const Json& entry : json["fields"]) {
    if (!entry.is_object() || !entry.contains("ids") || !entry.contains("field")) {
      return Damaged("a field lacks its name or its ids");
    }
    const auto named = std::find_if(kAllFields.begin(), kAllFields.end(), [&](Field field) {
      return entry["field"] == FieldName(field);
    });
    if (named == kAllFields.end() || profile.Spec(*named) == nullptr) {
      return Damaged("a field is not one of the profile's");
    }
    FieldIds field = {*named, {}};
    MOSSRT_ASSIGN_OR_RETURN(field.ids, ReadIds(entry["ids"], size));
    turn.fields.push_back(std::move(field));
  }
  const JsonReader reader(json, "saved conversation");
  MOSSRT_ASSIGN_OR_RETURN(const auto dropped, reader.Bool("results_dropped"));
  turn.results_dropped = dropped.value_or(false);
  MOSSRT_ASSIGN_OR_RETURN(turn.report, ReadReport(json["report"], "saved conversation"));
  return turn;
}

absl::Status ReadTranscript(const Json& json, const Profile& profile, std::int32_t size,
                            Transcript* transcript) {
  if (!json.contains("meta_ids") || !json.contains("turns") || !json["turns"].is_array() ||
      json["turns"].size() > kMaxTurns) {
    return Damaged("its turns or its meta instruction are missing");
  }
  MOSSRT_ASSIGN_OR_RETURN(transcript->meta, ReadIds(json["meta_ids"], size));
  for (const Json& entry : json["turns"]) {
    MOSSRT_ASSIGN_OR_RETURN(TurnRecord turn, ReadTurn(entry, profile, size));
    transcript->turns.push_back(std::move(turn));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> ReadTexts(const Json& json, std::string_view key) {
  std::vector<std::string> texts;
  const Json* list = JsonReader(json, "saved conversation").Find(key);
  if (list == nullptr) return texts;
  if (!list->is_array()) return Damaged(Cat(key, " are no list"));
  for (const Json& item : *list) {
    if (!item.is_string()) return Damaged(Cat(key, " are no texts"));
    texts.push_back(item.get<std::string>());
  }
  return texts;
}

// The conversation inside, once format, version and checksum are right.
absl::StatusOr<Json> Open(std::string_view saved) {
  if (saved.size() > kMaxBytes) return Damaged(Cat("it has ", saved.size(), " bytes"));
  MOSSRT_ASSIGN_OR_RETURN(const Json json, ParseJsonObject(saved, "saved conversation"));
  const JsonReader reader(json, "saved conversation");
  MOSSRT_ASSIGN_OR_RETURN(const auto format, reader.String("format"));
  if (format != kFormat) {
    return absl::InvalidArgumentError(
        Cat("this is no saved conversation: \"format\" must be \"", kFormat, "\""));
  }
  MOSSRT_ASSIGN_OR_RETURN(const auto version, reader.Int("version", 0, INT64_MAX));
  if (version != kVersion) {
    return absl::UnimplementedError(Cat("the conversation was saved in version ",
                                        version.value_or(0), " of the format; this mossrt reads ",
                                        kVersion));
  }
  MOSSRT_ASSIGN_OR_RETURN(const auto sum, reader.String("sha256"));
  const Json* conversation = reader.Find("conversation");
  if (conversation == nullptr || !conversation->is_object()) return Damaged("it is empty");
  if (sum != Sha256Hex(DumpJson(*conversation))) return Damaged("its checksum does not fit");
  return *conversation;
}

}  // namespace

absl::StatusOr<std::string> Chat::Save() const {
  const Impl& c = *impl_;
  if (c.action != ChatAction::kDone) {
    return absl::FailedPreconditionError(
        "a conversation is saved between turns: let the open turn end, or undo it");
  }
  Json turns = Json::array();
  for (const TurnRecord& turn : c.transcript.turns) {
    Json fields = Json::array();
    for (const FieldIds& field : turn.fields) {
      fields.push_back({{"field", FieldName(field.field)}, {"ids", field.ids}});
    }
    turns.push_back({{"fields", std::move(fields)},
                     {"results_dropped", turn.results_dropped},
                     {"report", ReportJson(turn.report)}});
  }
  const Json conversation = {{"tokenizer", TokenizerPrint(c.encoder.tokenizer())},
                             {"profile", c.profile.source},
                             {"plugins", c.options.plugins},
                             {"meta", c.meta.text},
                             {"meta_source", c.meta.source},
                             {"meta_notes", c.meta.notes},
                             {"meta_ids", c.transcript.meta},
                             {"turns", std::move(turns)}};
  return DumpJson({{"format", kFormat},
                   {"version", kVersion},
                   {"sha256", Sha256Hex(DumpJson(conversation))},
                   {"conversation", conversation}});
}

absl::StatusOr<std::unique_ptr<Chat>> Chat::Load(const Tokenizer& tokenizer, std::string_view saved,
                                                 const ChatOptions& options) {
  MOSSRT_ASSIGN_OR_RETURN(const Json json, Open(saved));
  const JsonReader reader(json, "saved conversation");
  MOSSRT_ASSIGN_OR_RETURN(const auto print, reader.String("tokenizer"));
  if (print != TokenizerPrint(tokenizer)) {
    return absl::InvalidArgumentError(
        "the conversation was saved with another tokenizer, whose ids mean other texts; load it "
        "with the model that it was held with");
  }
  if (!reader.Has("profile")) return Damaged("its profile is missing");
  MOSSRT_ASSIGN_OR_RETURN(Profile profile, ReadProfile(json["profile"], "saved profile"));
  ChatOptions taken = options;
  MOSSRT_ASSIGN_OR_RETURN(taken.plugins, ReadTexts(json, "plugins"));
  MOSSRT_ASSIGN_OR_RETURN(const auto meta, reader.String("meta"));
  taken.meta = meta.value_or("");
  taken.profile.clear();
  taken.profile_json = DumpJson(profile.source);
  Transcript transcript;
  MOSSRT_RETURN_IF_ERROR(ReadTranscript(json, profile, tokenizer.size(), &transcript));
  MOSSRT_ASSIGN_OR_RETURN(std::unique_ptr<Chat> chat, Create(tokenizer, taken));
  Impl& c = *chat->impl_;
  MOSSRT_ASSIGN_OR_RETURN(const auto source, reader.String("meta_source"));
  c.meta.source = source.value_or("");
  MOSSRT_ASSIGN_OR_RETURN(c.meta.notes, ReadTexts(json, "meta_notes"));
  transcript.dropped_results = c.transcript.dropped_results;
  c.transcript = std::move(transcript);
  c.Rebuild();
  return chat;
}

std::string Chat::InfoJson() const {
  const Impl& c = *impl_;
  Json turns = Json::array();
  for (const TurnRecord& turn : c.transcript.turns) {
    turns.push_back({{"human", turn.report.human},
                     {"answer", turn.report.answer},
                     {"tokens", turn.size()},
                     {"results_dropped", turn.results_dropped},
                     {"ended", turn.report.ended}});
  }
  return DumpJson({{"profile", c.profile.name},
                   {"plugins", c.options.plugins},
                   {"meta",
                    {{"text", c.meta.text},
                     {"source", c.meta.source},
                     {"notes", c.meta.notes},
                     {"tokens", c.transcript.meta.size()},
                     {"role_tags", c.meta_counts.role_tags},
                     {"control_tokens", c.meta_counts.control_tokens}}},
                   {"tokens", c.ids.size()},
                   {"context", c.options.context},
                   {"reserve", c.options.context > 0 ? c.Reserve() : c.options.reserve},
                   {"on_full", c.options.error_when_full ? "error" : "cut"},
                   {"turns", std::move(turns)}});
}

}  // namespace mossrt::runtime
