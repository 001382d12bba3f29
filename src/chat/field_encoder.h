// Fields to ids. Each field is encoded on its own, control tokens stand only where the profile puts
// them, and no text of a human or a plugin can look like the beginning of a field: role tags are
// ordinary text to a MOSS tokenizer, so the ids of a tag in such a text are kept different from the
// tag's own by encoding it in two parts, which leaves every byte as it was.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "chat/profile.h"
#include "mossrt/runtime/tokenizer.h"

namespace mossrt::runtime {

// What was found in texts that are not ours.
struct GuardCounts {
  std::int64_t role_tags = 0;       // "<|MOSS|>" and its like
  std::int64_t control_tokens = 0;  // "<eom>" and its like, now plain text
  std::int64_t altered = 0;  // of the role tags: got a space, since the vocabulary has no other way
};

class FieldEncoder {
 public:
  // The tokenizer must outlive it. An error names the control token that the tokenizer lacks.
  static absl::StatusOr<FieldEncoder> Create(const Tokenizer& tokenizer, const Profile& profile);

  // tag; what follows is the model's.
  absl::Status Open(const FieldSpec& spec, std::vector<std::int32_t>* ids) const;
  // end after.
  absl::Status Close(const FieldSpec& spec, std::vector<std::int32_t>* ids) const;
  // tag body end after.
  absl::Status Whole(const FieldSpec& spec, std::string_view body, std::vector<std::int32_t>* ids,
                     GuardCounts* counts) const;
  // Text that belongs to no field.
  absl::Status Text(std::string_view text, std::vector<std::int32_t>* ids,
                    GuardCounts* counts) const;

  const Tokenizer& tokenizer() const { return *tokenizer_; }
  std::int32_t EndId(const FieldSpec& spec) const { return tokenizer_->TokenId(spec.end); }
  // Every token that ends what the model writes, whichever field it is.
  const std::vector<std::int32_t>& stop_ids() const { return stop_ids_; }
  bool IsControl(std::int32_t id) const;
  // What a model's text must not hold: role tags without their colon, and names of control tokens.
  std::vector<std::string> Markers() const;

 private:
  struct RoleTag {
    std::string core;                            // "<|MOSS|>"
    std::vector<std::vector<std::int32_t>> ids;  // of the core alone and with its colon
    std::size_t cut = 0;                         // 0: no cut makes a difference
  };
  struct ControlName {
    std::string name;
    std::int32_t id;
    std::size_t cut;  // 0: the tokenizer reads it as plain text anyway
  };

  explicit FieldEncoder(const Tokenizer& tokenizer) : tokenizer_(&tokenizer) {}
  absl::Status AddRoleTag(std::string_view tag);
  absl::Status AddControl(const std::string& name, const std::string& profile);
  absl::Status Plain(std::string_view text, std::vector<std::int32_t>* ids) const;
  absl::Status Guarded(std::string_view tag, std::string_view body, std::vector<std::int32_t>* ids,
                       GuardCounts* counts) const;
  // Spaces into the role tags of text[from..] that no cut keeps apart.
  std::string WithoutUncuttable(std::string_view text, std::size_t from, GuardCounts* counts) const;
  std::vector<std::size_t> Cuts(std::string_view text, std::size_t from, GuardCounts* counts) const;
  absl::Status Check(std::string_view body, const std::vector<std::int32_t>& ids,
                     std::size_t first) const;

  const Tokenizer* tokenizer_;
  std::vector<RoleTag> role_tags_;
  std::vector<ControlName> controls_;
  std::vector<std::int32_t> stop_ids_;
};

}  // namespace mossrt::runtime
