// A conversation in MOSS's protocol as a state machine: text and token ids, no model. Owned by
// src/chat.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mossrt/runtime/chat_commands.h"
#include "mossrt/runtime/tokenizer.h"

namespace mossrt::runtime {

struct ChatOptions {
  std::string profile{};       // name; empty: moss-plugin where there are plugins, else moss
  std::string profile_json{};  // a profile of one's own instead
  std::vector<std::string> plugins{};      // names of commands that run
  std::optional<std::string> meta{};       // the whole meta instruction, as it is
  std::optional<std::string> meta_file{};  // what meta_instruction.txt holds
  std::string date{};                      // YYYY-MM-DD, for profiles that state it
  std::int64_t context = 0;                // most tokens; 0: no limit
  std::int64_t reserve = 0;  // kept free for what the model writes; 0: 512, at most context / 4
  bool error_when_full = false;
  CommandGrammar grammar = CommandGrammar::kTolerant;
  std::int64_t max_commands = 4;  // a turn
};

enum class ChatAction : std::uint8_t {
  kDone,         // no turn is open: Send
  kGenerate,     // a generation is wanted: Push each token, End where it ends without one
  kRunCommands,  // results of commands() are wanted: SetResults
};

struct ChatStep {
  ChatAction action = ChatAction::kDone;
  // What to do with a session that holds certain tokens: keep so many of them, then add these.
  std::size_t keep = 0;
  std::span<const std::int32_t> add{};
  std::int64_t room = -1;  // most tokens to generate; -1: no limit
};

// Text is whole code points, and never a part of a control token or role tag.
struct ChatEvent {
  enum class Type : std::uint8_t {
    kThought = 1,
    kCommand,  // what the model writes as commands, piece by piece
    kResult,   // of one command, as the model sees it
    kAnswer,
    kCitation,  // "<sup><|1|></sup>"; the text of an answer is its answers and citations, joined
    kNotice,    // a sentence about what was repaired, cut or left out
  };
  Type type = Type::kNotice;
  std::string text{};
  std::vector<std::int64_t> numbers{};  // of a citation
};

// Why a generation ended without a token.
enum class ChatEnd : std::uint8_t { kLength, kContextFull, kCancelled };

// Makes tokens impossible (-infinity) that would leave a commands line that does not parse.
// written: the tokens of this generation so far. left: most tokens that may come, this one
// included; -1: no limit. At least one token stays possible.
using CommandMask = std::function<void(std::span<const std::int32_t> written, std::int64_t left,
                                       std::span<float> logits)>;

class Chat {
 public:
  // The tokenizer must outlive it.
  static absl::StatusOr<std::unique_ptr<Chat>> Create(const Tokenizer& tokenizer,
                                                      const ChatOptions& options);
  // What Save gave, checked whole before anything is made. Of the options only context, reserve,
  // error_when_full, grammar and max_commands count.
  static absl::StatusOr<std::unique_ptr<Chat>> Load(const Tokenizer& tokenizer,
                                                    std::string_view saved,
                                                    const ChatOptions& options);
  ~Chat();

  // Begins a turn. kResourceExhausted if it does not fit into the context: nothing has changed
  // then.
  absl::Status Send(std::string_view text);
  // held: the tokens of the session that the conversation runs on.
  ChatStep Next(std::span<const std::int32_t> held) const;
  // A token that the model wrote, the one that ended it included. False: this generation is over,
  // also where no end token came, because the model went on as somebody else.
  absl::StatusOr<bool> Push(std::int32_t token);
  // kCancelled also where results are awaited: a turn without an answer is taken back.
  absl::Status End(ChatEnd why);
  // For the generation that is wanted now, if it is one of commands and the grammar is
  // kConstrained; else empty. It is independent of the chat; the tokenizer must outlive it.
  CommandMask ConstrainCommands() const;
  // The open turn's commands, without those that are not to run.
  std::span<const Command> commands() const;
  // By command; missing ones failed. kResourceExhausted if they do not fit: nothing has changed.
  absl::Status SetResults(std::span<const CommandResult> results);
  bool TakeEvent(ChatEvent* event);

  // All tokens of the conversation, as the model sees them. They are kept, never encoded anew.
  std::span<const std::int32_t> ids() const;
  // Tokens that end what the model writes.
  std::span<const std::int32_t> stop_ids() const;
  // Takes back the open turn, or else the last one; false if there is none.
  bool Undo();
  std::string TurnJson() const;  // about the last turn, see docs/conversation.md; "null": none
  std::string InfoJson() const;
  const std::vector<std::string>& plugins() const;  // names of commands that run
  // Between turns only.
  absl::StatusOr<std::string> Save() const;

 private:
  struct Impl;
  explicit Chat(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

struct RenderedTurns {
  std::vector<std::int32_t> ids;
  std::int64_t role_tags = 0, control_tokens = 0, altered = 0;
};
// Turns as published data has them, a JSON list of objects with the keys "Human", "Inner Thoughts",
// "Commands", "Tool Responses" and "MOSS" (tags may be left out), as ids. In the last turn the
// first missing field that the model writes is opened. Of the options those about profile and meta
// count.
absl::StatusOr<RenderedTurns> RenderTurns(const Tokenizer& tokenizer, const ChatOptions& options,
                                          std::string_view turns_json);

// Whether a conversation begins with what meta_instruction.txt holds, and the options do not say
// it: not where they state the whole instruction, or a profile without one or with a head of its
// own.
absl::StatusOr<bool> WantsMetaFile(const ChatOptions& options);
// meta_instruction.txt of a checkpoint's small files (OpenModelFiles); nothing if there is none.
absl::StatusOr<std::optional<std::string>> ReadMetaFile(const ByteSource& files);
// By path: of a checkpoint directory, or beside a checkpoint that is one file. What a packed file
// holds itself comes first, and is read as above.
absl::StatusOr<std::optional<std::string>> ReadMetaFile(const std::string& checkpoint);

}  // namespace mossrt::runtime
