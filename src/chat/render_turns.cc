// Conversations as published data has them to ids.
#include <utility>

#include "base/status.h"
#include "chat/chat_impl.h"

namespace mossrt::runtime {
namespace {

// The value of a field under either of its names; null where there is none.
absl::StatusOr<const Json*> ValueOf(const Json& turn, Field field, std::size_t number) {
  const Json* found = nullptr;
  for (const std::string_view name : {PublishedFieldName(field), FieldName(field)}) {
    const auto it = turn.find(std::string(name));
    if (it == turn.end() || it->is_null()) continue;
    if (!it->is_string()) {
      return absl::InvalidArgumentError(
          Cat("turn ", number, ": \"", name, "\" must be a text, found ", it->type_name()));
    }
    if (found != nullptr) {
      return absl::InvalidArgumentError(Cat("turn ", number, ": \"", PublishedFieldName(field),
                                            "\" and \"", FieldName(field),
                                            "\" are the same field; give one of them"));
    }
    found = &*it;
  }
  return found;
}

absl::Status OnlyFields(const Json& turn, std::size_t number) {
  if (!turn.is_object()) {
    return absl::InvalidArgumentError(
        Cat("turn ", number, ": expected an object, found ", turn.type_name()));
  }
  std::vector<std::string_view> names;
  for (const Field field : kAllFields) {
    names.push_back(PublishedFieldName(field));
    names.push_back(FieldName(field));
  }
  for (const auto& [key, value] : turn.items()) {
    bool known = false;
    for (const std::string_view name : names) known = known || key == name;
    if (!known) {
      return absl::InvalidArgumentError(Cat("turn ", number, ": unknown field \"",
                                            key.substr(0, 64), "\"; known are ",
                                            Join(names, ", ")));
    }
  }
  return absl::OkStatus();
}

// What stands between the tag and the control token; published values bring both along.
std::string BodyOf(const FieldSpec& spec, std::string_view value) {
  std::string_view inner = value;
  const std::string closing = spec.end + spec.after;
  const bool closed = inner.ends_with(closing) || inner.ends_with(spec.end);
  if (inner.starts_with(spec.tag) && closed) {
    inner.remove_prefix(spec.tag.size());
    const std::size_t tail = inner.ends_with(closing) ? closing.size() : spec.end.size();
    if (inner.size() >= tail) return std::string(inner.substr(0, inner.size() - tail));
  }
  return value.empty() ? spec.none : Cat(spec.lead, value, spec.tail);
}

absl::Status RenderTurn(const FieldEncoder& encoder, const Profile& profile, const Json& turn,
                        std::size_t number, bool last, std::vector<std::int32_t>* ids,
                        GuardCounts* counts) {
  MOSSRT_RETURN_IF_ERROR(OnlyFields(turn, number));
  for (const Field field : kAllFields) {
    const FieldSpec* spec = profile.Spec(field);
    if (spec == nullptr) continue;
    MOSSRT_ASSIGN_OR_RETURN(const Json* value, ValueOf(turn, field, number));
    if (value == nullptr && field == Field::kHuman) {
      return absl::InvalidArgumentError(Cat("turn ", number, ": \"Human\" is missing"));
    }
    if (value == nullptr && spec->by_model && last) return encoder.Open(*spec, ids);
    const std::string body =
        value == nullptr ? spec->none : BodyOf(*spec, value->get_ref<const std::string&>());
    const absl::Status status = encoder.Whole(*spec, body, ids, counts);
    if (!status.ok()) return Prefix(status, Cat("turn ", number, ", field ", FieldName(field)));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RenderedTurns> RenderTurns(const Tokenizer& tokenizer, const ChatOptions& options,
                                          std::string_view turns_json) {
  MOSSRT_ASSIGN_OR_RETURN(const Profile profile, ProfileOf(options));
  MOSSRT_ASSIGN_OR_RETURN(const FieldEncoder encoder, FieldEncoder::Create(tokenizer, profile));
  MOSSRT_ASSIGN_OR_RETURN(const MetaInstruction meta, MetaOf(profile, options));
  MOSSRT_ASSIGN_OR_RETURN(const Json turns, ParseJson(turns_json, "turns"));
  if (!turns.is_array()) {
    return absl::InvalidArgumentError(
        Cat("turns: expected a list of objects, found ", turns.type_name()));
  }
  RenderedTurns rendered;
  GuardCounts counts;
  MOSSRT_RETURN_IF_ERROR(encoder.Text(meta.text, &rendered.ids, &counts));
  for (std::size_t i = 0; i < turns.size(); ++i) {
    MOSSRT_RETURN_IF_ERROR(
        RenderTurn(encoder, profile, turns[i], i, i + 1 == turns.size(), &rendered.ids, &counts));
  }
  rendered.role_tags = counts.role_tags;
  rendered.control_tokens = counts.control_tokens;
  rendered.altered = counts.altered;
  return rendered;
}

}  // namespace mossrt::runtime
