#include "chat/results.h"

#include <algorithm>
#include <string_view>

#include "base/cat.h"
#include "base/utf8.h"
#include "chat/python_repr.h"

namespace mossrt::runtime {
namespace {

constexpr std::size_t kMaxSnippet = 400;  // code points
constexpr std::string_view kNoResult = "No result.";
constexpr std::string_view kImageMade = "Image generated successfully.";

// Valid UTF-8 of at most `limit` code points.
std::string Shortened(std::string_view text, std::size_t limit) {
  std::string valid;
  AppendReplacingInvalid(text, &valid);
  std::size_t end = 0;
  for (std::size_t count = 0; end < valid.size() && count < limit; ++count) {
    end += static_cast<std::size_t>(DecodeUtf8(std::string_view(valid).substr(end)).bytes);
  }
  valid.resize(end);
  return valid;
}

std::string Valid(std::string_view text) {
  std::string valid;
  AppendReplacingInvalid(text, &valid);
  return valid;
}

std::string_view WithoutLastNewlines(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

std::string SearchLines(const std::vector<Snippet>& snippets, std::size_t limit,
                        std::vector<Snippet>* cited) {
  std::string lines;
  for (std::size_t i = 0; i < std::min(limit, snippets.size()); ++i) {
    const Snippet shown = {Shortened(snippets[i].title, kMaxSnippet),
                           Shortened(snippets[i].text, kMaxSnippet)};
    cited->push_back(shown);
    lines += Cat("\n<|", cited->size(), "|>: ");
    if (!shown.title.empty()) lines += Cat(PythonRepr(shown.title), ": ");
    lines += PythonRepr(shown.text);
  }
  return lines;
}

}  // namespace

RenderedResults RenderResults(std::span<const Command> commands,
                              std::span<const CommandResult> results) {
  RenderedResults rendered;
  const auto searches = std::count_if(commands.begin(), commands.end(),
                                      [](const Command& c) { return c.name == "Search"; });
  const std::size_t per_search = searches <= 1 ? 3 : searches == 2 ? 2 : 1;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const Command& command = commands[i];
    const CommandResult none;
    const CommandResult& result = i < results.size() ? results[i] : none;
    std::string line = Cat(command.name, "(\"", command.argument, "\") =>");
    const std::string text = Valid(WithoutLastNewlines(result.text));
    std::vector<Snippet> snippets = result.snippets;
    if (snippets.empty() && !text.empty()) snippets = {{"", result.text}};
    if (!result.ok || (command.name == "Search" && snippets.empty())) {
      line += Cat(" ", kNoResult);
    } else if (command.name == "Search") {
      line += SearchLines(snippets, per_search, &rendered.cited);
    } else if (command.name == "Calculate") {
      line += Cat(" ", PythonRepr(text));
    } else if (command.name == "Text2Image") {
      line = kImageMade;
      rendered.only_image = commands.size() == 1;
    } else if (command.name == "Solve" || text.find('\n') != std::string::npos) {
      line += Cat("\n", text);
    } else {
      line += Cat(" ", text);
    }
    if (i > 0) rendered.lines += "\n";
    rendered.lines += line;
    rendered.each.push_back(std::move(line));
  }
  return rendered;
}

}  // namespace mossrt::runtime
