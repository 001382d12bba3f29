// What the commands of a turn gave, as the training data writes it.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "mossrt/runtime/chat_commands.h"

namespace mossrt::runtime {

struct RenderedResults {
  std::string lines;              // what stands between the tag's newline and the last newline
  std::vector<std::string> each;  // the same by command
  std::vector<Snippet> cited;     // cited[n - 1] is <|n|>
  bool only_image = false;        // one image and nothing else: written behind the tag, no newlines
};

// Numbers of snippets run on through the turn: three of one search, two each of two, else one each.
RenderedResults RenderResults(std::span<const Command> commands,
                              std::span<const CommandResult> results);

}  // namespace mossrt::runtime
