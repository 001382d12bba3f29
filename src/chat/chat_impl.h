// What stands behind Chat: the profile, the transcript, and where in a turn it is.
#pragma once

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "chat/field_encoder.h"
#include "chat/field_stream.h"
#include "chat/meta_instruction.h"
#include "chat/profile.h"
#include "chat/results.h"
#include "chat/transcript.h"
#include "mossrt/runtime/chat.h"

namespace mossrt::runtime {

inline constexpr std::int64_t kDefaultReserve = 512;  // what MOSS's own service kept free

// The profile that the options name, and its meta instruction.
absl::StatusOr<Profile> ProfileOf(const ChatOptions& options);
absl::StatusOr<MetaInstruction> MetaOf(const Profile& profile, const ChatOptions& options);

struct Chat::Impl {
  Impl(Profile p, FieldEncoder e, ChatOptions o)
      : profile(std::move(p)), encoder(std::move(e)), options(std::move(o)) {}

  Profile profile;
  FieldEncoder encoder;
  ChatOptions options;
  MetaInstruction meta;
  GuardCounts meta_counts;
  Transcript transcript;
  std::vector<std::int32_t> ids;  // of the transcript and of what is being written
  ChatAction action = ChatAction::kDone;
  Field field = Field::kHuman;  // being written, while the action is kGenerate
  std::optional<FieldStream> stream;
  std::vector<Command> asked;   // all commands of the turn, also those that do not run
  std::vector<bool> runs;       // by command asked
  std::vector<Command> to_run;  // those of them that do
  bool sending = false;         // while Send runs: the reserve must be free
  std::deque<ChatEvent> events;
  std::optional<TurnReport> lost;  // of a turn that was taken back because it was cancelled

  // Ids that do not depend on a turn.
  absl::Status Prepare();
  TurnRecord& turn() { return transcript.turns.back(); }
  TurnReport& report() { return turn().report; }
  const FieldSpec& spec() const { return *profile.Spec(field); }

  void Notice(std::string text);
  void Repaired(std::string what);
  void TakePieces();
  std::int64_t Reserve() const;
  // Makes room for the reserve behind what there is, or at least for one token.
  bool MakeRoom(std::int64_t more, Cut* cut);
  void ReportCut(const Cut& cut);
  // Adds fields that need no model until one does, beginning behind `after`.
  absl::Status Advance(Field after);
  absl::Status AddGiven(Field given, std::string_view body);
  // Ends the field that the model writes, and goes on.
  absl::Status CloseField(bool closed);
  // The open turn, which was cancelled; its report stays.
  void TakeBack();
  void TakeCommands(const std::string& text);
  absl::Status AddResults(std::span<const CommandResult> results);
  void Rebuild() { ids = transcript.Ids(); }
};

}  // namespace mossrt::runtime
