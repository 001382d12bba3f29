// What stands before the first turn: a head in prose, and a switch line for each capability.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "chat/profile.h"

namespace mossrt::runtime {

struct MetaRequest {
  std::optional<std::string> whole{};  // taken as it is
  std::optional<std::string> file{};   // what meta_instruction.txt holds
  std::vector<std::string> plugins{};  // commands that run
  std::string date{};                  // YYYY-MM-DD, for profiles that state it
};

struct MetaInstruction {
  std::string text;
  std::string source;  // "given", "meta_instruction.txt", "profile", "own words", "none"
  std::vector<std::string> notes;  // what a reader of the answers should know
};

absl::StatusOr<MetaInstruction> ComposeMeta(const Profile& profile, const MetaRequest& request);

}  // namespace mossrt::runtime
