// Commands that a model writes and what they gave. Owned by src/chat.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mossrt::runtime {

struct Command {
  std::string name;
  std::string argument;  // as it stands between the quotes: nothing is escaped in the training data

  bool operator==(const Command&) const = default;
};

struct ParsedCommands {
  std::vector<Command> commands;
  bool strict = true;                // the whole text follows the grammar
  std::vector<std::string> unknown;  // names that look like commands and are none
  std::string rest;                  // what was not understood, without the commas between commands
};

enum class CommandGrammar : std::uint8_t {
  kTolerant,     // every Name("argument") of a known name counts, wherever it stands
  kStrict,       // Name("argument")(, Name("argument"))* and nothing else, or no command at all
  kConstrained,  // kStrict, and Chat::ConstrainCommands keeps the model from writing anything else
};

// The four commands that MOSS was trained with: Search, Calculate, Solve, Text2Image.
const std::vector<std::string>& TrainedCommands();

// `known`: the names that are commands.
ParsedCommands ParseCommands(std::string_view text, CommandGrammar grammar,
                             const std::vector<std::string>& known);

struct Snippet {
  std::string title;  // of an answer box; else empty
  std::string text;
};

// What a plugin gave for one command.
struct CommandResult {
  bool ok = false;                  // false: "No result."
  std::string text{};               // of a Search: its only snippet
  std::vector<Snippet> snippets{};  // of Search, best first
};

}  // namespace mossrt::runtime
