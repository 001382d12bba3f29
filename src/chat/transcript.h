// The ids of a conversation by turn and field, and the rules by which old ones make room.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "chat/profile.h"
#include "mossrt/runtime/chat.h"

namespace mossrt::runtime {

struct Repair {
  Field field = Field::kAnswer;
  std::string what;  // a sentence
};

struct Cut {
  std::int64_t results = 0, turns = 0, tokens = 0;
};

struct TurnReport {
  std::string human, thoughts, commands_text, results_text, answer;
  std::vector<Command> commands;      // those that ran
  std::vector<std::string> rendered;  // results by command
  std::vector<bool> succeeded;
  std::vector<Snippet> cited;
  std::vector<std::vector<std::int64_t>> citations;
  std::vector<Repair> repairs;
  std::vector<std::string> notices;
  std::int64_t role_tags = 0, control_tokens = 0, altered = 0;
  Cut cut;
  std::string ended;  // "answer", "length", "context_full", "cancelled"; empty while it is open
};

struct FieldIds {
  Field field = Field::kHuman;
  std::vector<std::int32_t> ids;
};

struct TurnRecord {
  std::vector<FieldIds> fields;
  bool results_dropped = false;
  TurnReport report;

  std::int64_t size() const;
  FieldIds* Find(Field field);
};

class Transcript {
 public:
  std::vector<std::int32_t> meta;
  std::vector<TurnRecord> turns;
  // Results as they stand where they were dropped; empty: they are never dropped.
  std::vector<std::int32_t> dropped_results;

  std::int64_t size() const;
  std::vector<std::int32_t> Ids() const;
  // Drops results of old turns, oldest first, and where that is not enough whole turns, oldest
  // first, until at most `limit` tokens are left. The last turn and the meta instruction stay;
  // false if they are more.
  bool Shrink(std::int64_t limit, Cut* cut);
};

}  // namespace mossrt::runtime
