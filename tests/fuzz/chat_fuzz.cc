// A profile, a saved conversation, what a human says and what a model writes from one input, parted
// by zero bytes. Whatever is accepted must keep its promises.
#include <algorithm>
#include <cmath>
#include <cstdlib>

#include "base/json.h"
#include "base/utf8.h"
#include "mossrt/runtime/chat.h"

using namespace mossrt::runtime;

namespace {

using Ids = std::vector<std::int32_t>;

void Require(bool promise) {
  if (!promise) std::abort();
}

std::string_view NextPart(std::string_view* input) {
  const std::string_view part = input->substr(0, input->find('\0'));
  input->remove_prefix(std::min(input->size(), part.size() + 1));
  return part;
}

const Tokenizer& MossLike() {
  static const Tokenizer& tokenizer = *[] {
    auto loaded = LoadTokenizer(MOSSRT_SOURCE_DIR "/tests/data/text/moss_like", {});
    Require(loaded.ok());
    return loaded->release();
  }();
  return tokenizer;
}

void TakeEvents(Chat* chat) {
  for (ChatEvent event; chat->TakeEvent(&event);) {
    Require(FindInvalidUtf8(event.text) == std::string_view::npos);
    if (event.type == ChatEvent::Type::kAnswer || event.type == ChatEvent::Type::kThought) {
      Require(event.text.find("<eom>") == std::string::npos);
      Require(event.text.find("<|MOSS|>") == std::string::npos);
    }
  }
}

// One token of a commands line, from logits that depend on what is written. False: the room is
// full.
bool WriteConstrained(Chat* chat, const CommandMask& mask, Ids* line) {
  // Short lines: to look at a whole vocabulary takes most of the time here.
  constexpr std::int64_t kMost = 12;
  const std::int64_t room =
      std::min(chat->Next({}).room, kMost - static_cast<std::int64_t>(line->size()));
  if (room == 0) return false;
  std::vector<float> logits(static_cast<std::size_t>(MossLike().size()));
  std::uint32_t state = static_cast<std::uint32_t>(chat->ids().size()) * 2654435761U;
  for (float& logit : logits) {
    state = state * 1664525U + 1013904223U;
    logit = static_cast<float>(state >> 8);
  }
  mask(*line, room, logits);
  const auto best = std::max_element(logits.begin(), logits.end());
  Require(std::isfinite(*best));
  line->push_back(static_cast<std::int32_t>(best - logits.begin()));
  const auto more = chat->Push(line->back());
  Require(more.ok());
  if (!*more) {
    const Json turn = Json::parse(chat->TurnJson());
    const std::string text = turn["commands_text"];
    std::vector<std::string> names = TrainedCommands();
    Require(ParseCommands(text, CommandGrammar::kStrict, names).strict);
    line->clear();
  }
  return true;
}

void Hold(Chat* chat, std::string_view human, const std::vector<std::int32_t>& written) {
  const std::vector<std::int32_t> before(chat->ids().begin(), chat->ids().end());
  const std::int32_t end_of_human = MossLike().TokenId("<eoh>");
  const auto ends = std::count(before.begin(), before.end(), end_of_human);
  if (!chat->Send(human).ok()) {
    Require(std::equal(before.begin(), before.end(), chat->ids().begin(), chat->ids().end()));
    return;
  }
  Require(std::count(chat->ids().begin(), chat->ids().end(), end_of_human) <= ends + 5);
  std::size_t next = 0;
  Ids line;          // of commands under constraints
  CommandMask mask;  // its own
  for (ChatAction action; (action = chat->Next(before).action) != ChatAction::kDone;) {
    if (line.empty() && action == ChatAction::kGenerate) mask = chat->ConstrainCommands();
    if (action == ChatAction::kRunCommands) {
      const std::vector<CommandResult> results(
          chat->commands().size(), {.ok = true, .text = std::string(human), .snippets = {}});
      if (!chat->SetResults(results).ok()) chat->Undo();
    } else if (mask) {
      if (!WriteConstrained(chat, mask, &line)) {
        line.clear();
        Require(chat->End(ChatEnd::kContextFull).ok());
      }
    } else if (next < written.size()) {
      Require(chat->Push(written[next++]).ok());
    } else {
      Require(chat->End(ChatEnd::kLength).ok());
    }
    TakeEvents(chat);
  }
  Require(!Json::parse(chat->TurnJson()).is_discarded());
  const auto saved = chat->Save();
  Require(saved.ok());
  const auto again = Chat::Load(MossLike(), *saved, {});
  Require(again.ok());
  Require(std::equal(chat->ids().begin(), chat->ids().end(), (*again)->ids().begin(),
                     (*again)->ids().end()));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string profile(NextPart(&input));
  const std::string_view saved = NextPart(&input);
  const std::string_view human = NextPart(&input);
  std::vector<std::int32_t> written;
  const absl::Status encoded =
      MossLike().Encode(input, {.parse_special = true, .invalid = InvalidUtf8::kReplace}, &written);
  if (!encoded.ok()) return 0;
  const ParsedCommands parsed = ParseCommands(input, CommandGrammar::kTolerant, TrainedCommands());
  for (const Command& command : parsed.commands) {
    Require(input.find(command.argument) != std::string_view::npos);
  }
  ChatOptions options = {.profile_json = profile};
  options.date = "2023-04-21";
  options.context = 700;
  options.grammar =
      human.size() % 4 == 3 ? CommandGrammar::kConstrained : CommandGrammar::kTolerant;
  if (profile.find("moss-plugin") != std::string::npos) options.plugins = {"Calculate", "Search"};
  if (const auto chat = Chat::Create(MossLike(), options); chat.ok()) {
    for (int turn = 0; turn < 3; ++turn) Hold(chat->get(), human, written);
  }
  if (const auto chat = Chat::Load(MossLike(), saved, {}); chat.ok()) {
    Hold(chat->get(), human, written);
  }
  return 0;
}
