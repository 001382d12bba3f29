#include "chat/field_encoder.h"

#include <algorithm>
#include <utility>

#include "base/status.h"

namespace mossrt::runtime {
namespace {

using Ids = std::vector<std::int32_t>;

// Guarded whatever the profile: a model that knows them all obeys them all.
constexpr std::string_view kRoleTags[] = {
    "<|Human|>:", "<|Inner Thoughts|>:", "<|Commands|>:", "<|Results|>:", "<|MOSS|>:"};
constexpr std::string_view kControls[] = {"<eoh>", "<eot>", "<eoc>",
                                          "<eor>", "<eom>", "<|endoftext|>"};
constexpr std::string_view kSpace = " \t\r\n";

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

bool IsSpace(char c) { return kSpace.find(c) != std::string_view::npos; }

// "\n<|MOSS|>:" -> "<|MOSS|>"
std::string_view CoreOf(std::string_view tag) {
  while (!tag.empty() && IsSpace(tag.front())) tag.remove_prefix(1);
  while (!tag.empty() && (IsSpace(tag.back()) || tag.back() == ':')) tag.remove_suffix(1);
  return tag;
}

}  // namespace

absl::StatusOr<FieldEncoder> FieldEncoder::Create(const Tokenizer& tokenizer,
                                                  const Profile& profile) {
  FieldEncoder encoder(tokenizer);
  for (const Field field : kAllFields) {
    if (const FieldSpec* spec = profile.Spec(field)) {
      MOSSRT_RETURN_IF_ERROR(encoder.AddControl(spec->end, profile.name));
      MOSSRT_RETURN_IF_ERROR(encoder.AddRoleTag(spec->tag));
    }
  }
  for (const std::string_view name : kControls) {
    if (tokenizer.TokenId(name) >= 0) {
      MOSSRT_RETURN_IF_ERROR(encoder.AddControl(std::string(name), profile.name));
    }
  }
  for (const std::string_view tag : kRoleTags) MOSSRT_RETURN_IF_ERROR(encoder.AddRoleTag(tag));
  for (const ControlName& control : encoder.controls_) encoder.stop_ids_.push_back(control.id);
  for (const std::int32_t id : {tokenizer.eos_id(), tokenizer.bos_id()}) {
    if (id >= 0) encoder.stop_ids_.push_back(id);
  }
  std::sort(encoder.stop_ids_.begin(), encoder.stop_ids_.end());
  encoder.stop_ids_.erase(std::unique(encoder.stop_ids_.begin(), encoder.stop_ids_.end()),
                          encoder.stop_ids_.end());
  return encoder;
}

absl::Status FieldEncoder::AddRoleTag(std::string_view tag) {
  RoleTag added;
  added.core = CoreOf(tag);
  for (const RoleTag& known : role_tags_) {
    if (known.core == added.core) return absl::OkStatus();
  }
  if (added.core.size() < 2) {
    return absl::InvalidArgumentError(
        Cat("the tag \"", tag, "\" is too short to be told from text; it needs two characters"));
  }
  const std::string with_colon = added.core + ":";
  for (const std::string_view text : {std::string_view(added.core), std::string_view(with_colon)}) {
    MOSSRT_RETURN_IF_ERROR(Plain(text, &added.ids.emplace_back()));
  }
  // From the middle outwards, so that the cut lies in the name where it can.
  const std::size_t size = added.core.size();
  for (std::size_t step = 0; step < size && added.cut == 0; ++step) {
    const std::size_t at = step % 2 == 0 ? size / 2 + step / 2 : size / 2 - (step + 1) / 2;
    if (at == 0 || at >= size || IsContinuation(added.core[at])) continue;
    bool differs = true;
    for (const std::string_view text :
         {std::string_view(added.core), std::string_view(with_colon)}) {
      Ids parts;
      MOSSRT_RETURN_IF_ERROR(Plain(text.substr(0, at), &parts));
      MOSSRT_RETURN_IF_ERROR(Plain(text.substr(at), &parts));
      differs = differs && parts != added.ids[text.size() - size];
    }
    if (differs) added.cut = at;
  }
  role_tags_.push_back(std::move(added));
  return absl::OkStatus();
}

absl::Status FieldEncoder::AddControl(const std::string& name, const std::string& profile) {
  for (const ControlName& known : controls_) {
    if (known.name == name) return absl::OkStatus();
  }
  const std::int32_t id = tokenizer_->TokenId(name);
  if (id < 0) {
    return absl::InvalidArgumentError(
        Cat("the profile ", profile, " ends fields with the token ", name,
            ", which this tokenizer does not have; use a MOSS checkpoint's tokenizer, or a profile "
            "of your own whose tokens it has"));
  }
  ControlName control = {name, id, 0};
  Ids ids;
  MOSSRT_RETURN_IF_ERROR(Plain(name, &ids));
  if (std::find(ids.begin(), ids.end(), id) != ids.end()) {
    control.cut = 1;
    while (control.cut < name.size() && IsContinuation(name[control.cut])) ++control.cut;
  }
  controls_.push_back(std::move(control));
  return absl::OkStatus();
}

bool FieldEncoder::IsControl(std::int32_t id) const {
  return std::any_of(controls_.begin(), controls_.end(),
                     [&](const ControlName& control) { return control.id == id; });
}

std::vector<std::string> FieldEncoder::Markers() const {
  std::vector<std::string> markers;
  for (const RoleTag& tag : role_tags_) markers.push_back(tag.core);
  for (const ControlName& control : controls_) markers.push_back(control.name);
  return markers;
}

absl::Status FieldEncoder::Plain(std::string_view text, Ids* ids) const {
  return tokenizer_->Encode(text, {.add_special_tokens = false}, ids);
}

absl::Status FieldEncoder::Open(const FieldSpec& spec, Ids* ids) const {
  return Plain(spec.tag, ids);
}

absl::Status FieldEncoder::Close(const FieldSpec& spec, Ids* ids) const {
  if (spec.keep_end) ids->push_back(EndId(spec));
  return spec.after.empty() ? absl::OkStatus() : Plain(spec.after, ids);
}

absl::Status FieldEncoder::Whole(const FieldSpec& spec, std::string_view body, Ids* ids,
                                 GuardCounts* counts) const {
  MOSSRT_RETURN_IF_ERROR(Guarded(spec.tag, body, ids, counts));
  return Close(spec, ids);
}

absl::Status FieldEncoder::Text(std::string_view text, Ids* ids, GuardCounts* counts) const {
  return Guarded("", text, ids, counts);
}

std::string FieldEncoder::WithoutUncuttable(std::string_view text, std::size_t from,
                                            GuardCounts* counts) const {
  std::string changed(text);
  for (const RoleTag& tag : role_tags_) {
    if (tag.cut != 0) continue;
    for (std::size_t at = changed.find(tag.core, from); at != std::string::npos;
         at = changed.find(tag.core, at + 1)) {
      changed.insert(at + 1, 1, ' ');
      ++counts->role_tags;
      ++counts->altered;
    }
  }
  return changed;
}

std::vector<std::size_t> FieldEncoder::Cuts(std::string_view text, std::size_t from,
                                            GuardCounts* counts) const {
  std::vector<std::size_t> cuts;
  for (const RoleTag& tag : role_tags_) {
    for (std::size_t at = text.find(tag.core, from); at != std::string_view::npos;
         at = text.find(tag.core, at + 1)) {
      ++counts->role_tags;
      cuts.push_back(at + tag.cut);
    }
  }
  for (const ControlName& control : controls_) {
    for (std::size_t at = text.find(control.name, from); at != std::string_view::npos;
         at = text.find(control.name, at + 1)) {
      ++counts->control_tokens;
      if (control.cut > 0) cuts.push_back(at + control.cut);
    }
  }
  return cuts;
}

absl::Status FieldEncoder::Guarded(std::string_view tag, std::string_view body, Ids* ids,
                                   GuardCounts* counts) const {
  GuardCounts found;
  const std::string text = WithoutUncuttable(Cat(tag, body), tag.size(), &found);
  std::vector<std::size_t> cuts = Cuts(text, tag.size(), &found);
  // A text that begins with no space would join the tag's last token and change it.
  if (!tag.empty() && text.size() > tag.size() && !IsSpace(text[tag.size()])) {
    cuts.push_back(tag.size());
  }
  cuts.push_back(text.size());
  std::sort(cuts.begin(), cuts.end());
  const std::size_t first = ids->size();
  std::size_t begin = 0;
  for (const std::size_t end : cuts) {
    if (end == begin) continue;
    MOSSRT_RETURN_IF_ERROR(Plain(std::string_view(text).substr(begin, end - begin), ids));
    begin = end;
  }
  Ids tag_ids;
  MOSSRT_RETURN_IF_ERROR(Plain(tag, &tag_ids));
  MOSSRT_RETURN_IF_ERROR(Check(body, *ids, first + tag_ids.size()));
  counts->role_tags += found.role_tags;
  counts->control_tokens += found.control_tokens;
  counts->altered += found.altered;
  return absl::OkStatus();
}

// What a tokenizer that rewrites its input makes of a text cannot be foreseen, only looked at.
absl::Status FieldEncoder::Check(std::string_view body, const Ids& ids, std::size_t first) const {
  const auto begin = ids.begin() + static_cast<std::ptrdiff_t>(std::min(first, ids.size()));
  bool forged = std::any_of(begin, ids.end(), [&](std::int32_t id) { return IsControl(id); });
  for (const RoleTag& tag : role_tags_) {
    for (const Ids& sequence : tag.ids) {
      forged =
          forged || std::search(begin, ids.end(), sequence.begin(), sequence.end()) != ids.end();
    }
  }
  if (!forged) return absl::OkStatus();
  return absl::InvalidArgumentError(
      Cat("a text of ", body.size(),
          " bytes spells a role tag or a control token in a way that this tokenizer makes the real "
          "one of; take it out of the text"));
}

}  // namespace mossrt::runtime
