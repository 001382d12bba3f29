#include <algorithm>

#include "mossrt/runtime/chat_commands.h"

namespace mossrt::runtime {
namespace {

constexpr std::string_view kSpace = " \t\r\n";

bool IsSpace(char c) { return kSpace.find(c) != std::string_view::npos; }
bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsWord(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || IsDigit(c) || c == '_';
}

std::size_t SkipSpace(std::string_view text, std::size_t at) {
  while (at < text.size() && IsSpace(text[at])) ++at;
  return at;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && IsSpace(text.front())) text.remove_prefix(1);
  while (!text.empty() && IsSpace(text.back())) text.remove_suffix(1);
  return text;
}

struct Call {
  std::size_t begin = 0, end = 0;  // of the whole call
  std::string_view name, argument;
};

// The call whose name begins at `at`; the argument ends at the first quote before a parenthesis.
bool MatchCall(std::string_view text, std::size_t at, Call* call) {
  std::size_t name_end = at;
  while (name_end < text.size() && IsWord(text[name_end])) ++name_end;
  if (name_end == at) return false;
  std::size_t open = SkipSpace(text, name_end);
  if (open >= text.size() || text[open] != '(') return false;
  open = SkipSpace(text, open + 1);
  if (open >= text.size() || text[open] != '"') return false;
  for (std::size_t quote = open + 1;; ++quote) {
    quote = text.find('"', quote);
    if (quote == std::string_view::npos) return false;
    const std::size_t close = SkipSpace(text, quote + 1);
    if (close >= text.size() || text[close] != ')') continue;
    if (quote == open + 1) return false;  // Name("")
    *call = {at, close + 1, text.substr(at, name_end - at),
             text.substr(open + 1, quote - open - 1)};
    return true;
  }
}

// Where the last call of the text may end: before it MatchCall finds an end at once, behind it none
// needs to be looked for, so that hostile texts take no quadratic time.
std::size_t LastClosing(std::string_view text) {
  for (std::size_t close = text.rfind(')'); close != std::string_view::npos && close > 0;
       close = text.rfind(')', close - 1)) {
    const std::size_t quote = text.find_last_not_of(kSpace, close - 1);
    if (quote != std::string_view::npos && text[quote] == '"') return close;
  }
  return 0;
}

// Calls of any name, from left to right.
std::vector<Call> FindCalls(std::string_view text) {
  std::vector<Call> calls;
  const std::size_t last = LastClosing(text);
  for (std::size_t at = 0; at < text.size();) {
    if (!IsWord(text[at])) {
      ++at;
      continue;
    }
    Call call;
    if (at < last && !IsDigit(text[at]) && MatchCall(text, at, &call)) {
      at = call.end;
      calls.push_back(call);
      continue;
    }
    while (at < text.size() && IsWord(text[at])) ++at;
  }
  return calls;
}

void AddRest(std::string_view piece, std::string* rest) {
  piece = Trim(piece);
  while (!piece.empty() && piece.front() == ',') piece = Trim(piece.substr(1));
  while (!piece.empty() && piece.back() == ',') piece = Trim(piece.substr(0, piece.size() - 1));
  if (piece.empty()) return;
  if (!rest->empty()) rest->push_back(' ');
  rest->append(piece);
}

bool IsNone(std::string_view text) { return text.empty() || text == "None" || text == "none"; }

// Between two calls of the strict grammar: a comma and spaces.
bool IsSeparator(std::string_view between) {
  return !between.empty() && between.front() == ',' &&
         between.find_first_not_of(' ', 1) == std::string_view::npos;
}

bool IsStrict(std::string_view text, const std::vector<Call>& calls) {
  if (calls.empty()) return IsNone(text);
  std::size_t end = 0;
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const Call& call = calls[i];
    const std::string_view between = text.substr(end, call.begin - end);
    if (i == 0 ? !between.empty() : !IsSeparator(between)) return false;
    const std::size_t written = call.name.size() + call.argument.size() + 4;  // (" and ")
    if (call.end - call.begin != written) return false;
    end = call.end;
  }
  return end == text.size();
}

}  // namespace

const std::vector<std::string>& TrainedCommands() {
  static const auto& names =
      *new std::vector<std::string>{"Search", "Calculate", "Solve", "Text2Image"};
  return names;
}

ParsedCommands ParseCommands(std::string_view text, CommandGrammar grammar,
                             const std::vector<std::string>& known) {
  text = Trim(text);
  ParsedCommands parsed;
  std::size_t end = 0;
  const std::vector<Call> calls = FindCalls(text);
  for (const Call& call : calls) {
    AddRest(text.substr(end, call.begin - end), &parsed.rest);
    end = call.end;
    if (std::find(known.begin(), known.end(), call.name) != known.end()) {
      parsed.commands.push_back({std::string(call.name), std::string(call.argument)});
    } else {
      parsed.unknown.emplace_back(call.name);
      AddRest(text.substr(call.begin, call.end - call.begin), &parsed.rest);
    }
  }
  AddRest(text.substr(end), &parsed.rest);
  if (IsNone(parsed.rest)) parsed.rest.clear();
  parsed.strict = IsStrict(text, calls) && parsed.unknown.empty();
  if (grammar != CommandGrammar::kTolerant && !parsed.strict) {
    parsed.commands.clear();
    parsed.rest = text;
  }
  return parsed;
}

}  // namespace mossrt::runtime
