// One turn, field by field.
#include <algorithm>
#include <utility>

#include "base/status.h"
#include "chat/chat_impl.h"

namespace mossrt::runtime {
namespace {

ChatEvent::Type EventOf(Field field) {
  return field == Field::kThoughts   ? ChatEvent::Type::kThought
         : field == Field::kCommands ? ChatEvent::Type::kCommand
                                     : ChatEvent::Type::kAnswer;
}

bool Contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

void Chat::Impl::Notice(std::string text) {
  report().notices.push_back(text);
  events.push_back({.type = ChatEvent::Type::kNotice, .text = std::move(text)});
}

void Chat::Impl::Repaired(std::string what) {
  Notice(Cat("the field ", FieldName(field), " ", what));
  report().repairs.push_back({field, std::move(what)});
}

void Chat::Impl::TakePieces() {
  for (StreamPiece& piece : stream->TakePieces()) {
    if (piece.citation) {
      for (const std::int64_t number : piece.numbers) {
        if (number < 1 || number > static_cast<std::int64_t>(report().cited.size())) {
          Notice(Cat("the answer cites <|", number, "|>, but there are ", report().cited.size(),
                     " results to cite"));
        }
      }
      report().citations.push_back(piece.numbers);
    }
    events.push_back({.type = piece.citation ? ChatEvent::Type::kCitation : EventOf(field),
                      .text = std::move(piece.text),
                      .numbers = std::move(piece.numbers)});
  }
}

std::int64_t Chat::Impl::Reserve() const {
  if (options.reserve > 0) return options.reserve;
  return std::min(kDefaultReserve, options.context / 4);
}

bool Chat::Impl::MakeRoom(std::int64_t more, Cut* cut) {
  if (options.context == 0) return true;
  const std::int64_t limit = options.context - more - Reserve();
  if (options.error_when_full) {
    return transcript.size() <= (sending ? limit : options.context - more - 1);
  }
  return transcript.Shrink(limit, cut) || transcript.size() < options.context - more;
}

void Chat::Impl::ReportCut(const Cut& cut) {
  if (cut.results == 0 && cut.turns == 0) return;
  report().cut.results += cut.results;
  report().cut.turns += cut.turns;
  report().cut.tokens += cut.tokens;
  Notice(Cat("the context of ", options.context, " tokens was full: the results of ", cut.results,
             " and the whole of ", cut.turns, " old turns were left out, ", cut.tokens,
             " tokens in all"));
}

absl::Status Chat::Impl::AddGiven(Field given, std::string_view body) {
  GuardCounts counts;
  FieldIds added = {given, {}};
  MOSSRT_RETURN_IF_ERROR(encoder.Whole(*profile.Spec(given), body, &added.ids, &counts));
  turn().fields.push_back(std::move(added));
  report().role_tags += counts.role_tags;
  report().control_tokens += counts.control_tokens;
  report().altered += counts.altered;
  if (counts.altered > 0) {
    Notice(
        Cat(counts.altered, " role tags in the field ", FieldName(given),
            " got a space, since this vocabulary has no other way to keep them from being real"));
  }
  return absl::OkStatus();
}

absl::Status Chat::Impl::Advance(Field after) {
  bool full = false;
  for (std::size_t i = static_cast<std::size_t>(after) + 1; i < kFields; ++i) {
    const Field next = kAllFields[i];
    const FieldSpec* next_spec = profile.Spec(next);
    if (next_spec == nullptr) continue;
    if (next == Field::kResults && !asked.empty() && !full) {
      field = next;
      if (!to_run.empty()) {
        action = ChatAction::kRunCommands;
        Rebuild();
        return absl::OkStatus();
      }
      if (AddResults({}).ok()) continue;
    }
    if (!next_spec->by_model || full) {
      MOSSRT_RETURN_IF_ERROR(AddGiven(next, next_spec->none));
      continue;
    }
    FieldIds opened = {next, {}};
    MOSSRT_RETURN_IF_ERROR(encoder.Open(*next_spec, &opened.ids));
    field = next;
    Cut cut;
    if (MakeRoom(static_cast<std::int64_t>(opened.ids.size()), &cut)) {
      ReportCut(cut);
      turn().fields.push_back(std::move(opened));
      stream.emplace(encoder.tokenizer(), encoder.Markers(), next == Field::kAnswer);
      action = ChatAction::kGenerate;
      Rebuild();
      return absl::OkStatus();
    }
    // Nothing is left to be cut: the rest of the turn stays empty.
    full = true;
    ReportCut(cut);
    Repaired("found no room in the context: the turn ended there");
    report().ended = "context_full";
    MOSSRT_RETURN_IF_ERROR(AddGiven(next, next_spec->none));
  }
  if (report().ended.empty()) report().ended = "answer";
  action = ChatAction::kDone;
  stream.reset();
  Rebuild();
  return absl::OkStatus();
}

absl::Status Chat::Impl::CloseField(bool closed) {
  stream->Finish(closed);
  TakePieces();
  std::vector<std::int32_t>& kept = turn().fields.back().ids;
  kept.insert(kept.end(), stream->ids().begin(), stream->ids().end());
  MOSSRT_RETURN_IF_ERROR(encoder.Close(spec(), &kept));
  const std::string text = stream->text();
  switch (field) {
    case Field::kThoughts:
      report().thoughts = text;
      break;
    case Field::kCommands:
      report().commands_text = text;
      if (profile.RunsCommands()) TakeCommands(text);
      break;
    default:
      report().answer = text;
  }
  return Advance(field);
}

void Chat::Impl::TakeCommands(const std::string& text) {
  std::vector<std::string> known = TrainedCommands();
  known.insert(known.end(), options.plugins.begin(), options.plugins.end());
  ParsedCommands parsed = ParseCommands(text, options.grammar, known);
  if (!parsed.rest.empty()) {
    Notice(Cat("of the commands this was not understood and left out: ", parsed.rest));
  }
  const auto most = static_cast<std::size_t>(options.max_commands);
  if (parsed.commands.size() > most) {
    Notice(Cat("of ", parsed.commands.size(), " commands the first ", most, " count"));
    parsed.commands.resize(most);
  }
  asked = std::move(parsed.commands);
  runs.clear();
  for (const Command& command : asked) {
    runs.push_back(Contains(options.plugins, command.name));
    if (runs.back()) {
      to_run.push_back(command);
    } else {
      Notice(Cat("the command ", command.name, " was not run, since no such plugin is there"));
    }
  }
  report().commands = asked;
}

absl::Status Chat::Impl::AddResults(std::span<const CommandResult> given) {
  std::vector<CommandResult> results(asked.size());
  std::size_t next = 0;
  for (std::size_t i = 0; i < asked.size(); ++i) {
    if (runs[i] && next < given.size()) results[i] = given[next++];
  }
  RenderedResults rendered = RenderResults(asked, results);
  const FieldSpec& results_spec = *profile.Spec(Field::kResults);
  const std::string body = rendered.only_image
                               ? Cat(" ", rendered.lines)
                               : Cat(results_spec.lead, rendered.lines, results_spec.tail);
  Transcript before = transcript;
  const std::size_t events_before = events.size();
  MOSSRT_RETURN_IF_ERROR(AddGiven(Field::kResults, body));
  std::vector<std::int32_t> answer;
  MOSSRT_RETURN_IF_ERROR(encoder.Open(*profile.Spec(Field::kAnswer), &answer));
  Cut cut;
  if (!MakeRoom(static_cast<std::int64_t>(answer.size()), &cut)) {
    const std::int64_t size = transcript.size();
    transcript = std::move(before);
    events.resize(events_before);
    return absl::ResourceExhaustedError(Cat("the results do not fit: with them the turn takes ",
                                            size, " tokens of a context of ", options.context,
                                            "; give shorter ones, or none (\"No result.\")"));
  }
  ReportCut(cut);
  TurnReport& r = report();
  r.results_text = rendered.lines;
  r.cited = std::move(rendered.cited);
  for (std::size_t i = 0; i < results.size(); ++i) {
    r.succeeded.push_back(results[i].ok);
    events.push_back({.type = ChatEvent::Type::kResult, .text = rendered.each[i]});
  }
  r.rendered = std::move(rendered.each);
  return absl::OkStatus();
}

}  // namespace mossrt::runtime
