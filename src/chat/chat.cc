#include "mossrt/runtime/chat.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "chat/chat_impl.h"
#include "chat/command_mask.h"
#include "chat/turn_json.h"

namespace mossrt::runtime {
namespace {

absl::Status NotNow(std::string_view call, ChatAction action) {
  const std::string_view wanted =
      action == ChatAction::kDone ? "no turn is open: send a text first"
      : action == ChatAction::kGenerate
          ? "the model is to write: push its tokens, or undo the turn"
          : "results of commands are awaited: set them, or undo the turn";
  return absl::FailedPreconditionError(Cat(call, " cannot be done now, because ", wanted));
}

absl::Status CheckOptions(const ChatOptions& options) {
  if (options.context < 0 || options.reserve < 0 || options.max_commands < 0) {
    return absl::InvalidArgumentError(
        Cat("context, reserve and max_commands must not be negative, found ", options.context, ", ",
            options.reserve, " and ", options.max_commands));
  }
  if (options.context > 0 && options.reserve >= options.context) {
    return absl::InvalidArgumentError(Cat("reserve (", options.reserve,
                                          ") must be smaller than context (", options.context,
                                          "), or nothing fits"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Profile> ProfileOf(const ChatOptions& options) {
  if (!options.profile_json.empty()) {
    if (!options.profile.empty()) {
      return absl::InvalidArgumentError(
          "profile and profile_json are both given; give one of them (a profile as JSON may name "
          "its \"base\")");
    }
    return ParseProfile(options.profile_json);
  }
  if (!options.profile.empty()) return FindProfile(options.profile);
  return FindProfile(options.plugins.empty() ? "moss" : "moss-plugin");
}

absl::StatusOr<MetaInstruction> MetaOf(const Profile& profile, const ChatOptions& options) {
  return ComposeMeta(profile, {.whole = options.meta,
                               .file = options.meta_file,
                               .plugins = options.plugins,
                               .date = options.date});
}

absl::StatusOr<bool> WantsMetaFile(const ChatOptions& options) {
  if (options.meta || options.meta_file) return false;
  MOSSRT_ASSIGN_OR_RETURN(const Profile profile, ProfileOf(options));
  return profile.has_meta && !profile.head;
}

Chat::Chat(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Chat::~Chat() = default;

absl::StatusOr<std::unique_ptr<Chat>> Chat::Create(const Tokenizer& tokenizer,
                                                   const ChatOptions& options) {
  MOSSRT_RETURN_IF_ERROR(CheckOptions(options));
  MOSSRT_ASSIGN_OR_RETURN(Profile profile, ProfileOf(options));
  MOSSRT_ASSIGN_OR_RETURN(FieldEncoder encoder, FieldEncoder::Create(tokenizer, profile));
  auto impl = std::make_unique<Impl>(std::move(profile), std::move(encoder), options);
  MOSSRT_ASSIGN_OR_RETURN(impl->meta, MetaOf(impl->profile, options));
  MOSSRT_RETURN_IF_ERROR(
      impl->encoder.Text(impl->meta.text, &impl->transcript.meta, &impl->meta_counts));
  MOSSRT_RETURN_IF_ERROR(impl->Prepare());
  return std::unique_ptr<Chat>(new Chat(std::move(impl)));
}

absl::Status Chat::Impl::Prepare() {
  if (const FieldSpec* results = profile.Spec(Field::kResults)) {
    GuardCounts counts;
    MOSSRT_RETURN_IF_ERROR(
        encoder.Whole(*results, results->dropped, &transcript.dropped_results, &counts));
  }
  Rebuild();
  const auto size = static_cast<std::int64_t>(transcript.meta.size());
  if (options.context > 0 && size >= options.context) {
    return absl::ResourceExhaustedError(Cat("the meta instruction alone takes ", size,
                                            " tokens of a context of ", options.context,
                                            "; give a shorter one, or a larger context"));
  }
  return absl::OkStatus();
}

absl::Status Chat::Send(std::string_view text) {
  Impl& c = *impl_;
  if (c.action != ChatAction::kDone) return NotNow("sending a text", c.action);
  Transcript before = c.transcript;
  c.events.clear();
  c.to_run.clear();
  c.asked.clear();
  c.transcript.turns.emplace_back();
  c.report().human = text;
  const FieldSpec& human = *c.profile.Spec(Field::kHuman);
  absl::Status status = c.AddGiven(Field::kHuman, Cat(human.lead, text, human.tail));
  c.sending = true;
  if (status.ok()) status = c.Advance(Field::kHuman);
  c.sending = false;
  if (status.ok() && c.report().ended == "context_full") {
    const std::int64_t size = c.transcript.size();
    const std::int64_t reserve = c.Reserve();
    status = absl::ResourceExhaustedError(
        Cat("the turn does not fit: ", c.options.error_when_full ? "with" : "even without",
            " the turns before it, meta instruction and question take ", size, " tokens and ",
            reserve, " are reserved for what the model writes, in a context of ", c.options.context,
            "; ask something shorter",
            c.options.error_when_full ? ", let old turns be cut (on_full=\"cut\")" : "",
            " or start anew"));
  }
  if (!status.ok()) {
    c.transcript = std::move(before);
    c.events.clear();
    c.action = ChatAction::kDone;
    c.stream.reset();
    c.Rebuild();
    return status;
  }
  c.lost.reset();
  return absl::OkStatus();
}

ChatStep Chat::Next(std::span<const std::int32_t> held) const {
  const Impl& c = *impl_;
  const auto end = std::mismatch(held.begin(), held.end(), c.ids.begin(), c.ids.end());
  ChatStep step;
  step.action = c.action;
  step.keep = static_cast<std::size_t>(end.first - held.begin());
  step.add = std::span(c.ids).subspan(step.keep);
  if (c.options.context > 0) {
    step.room =
        std::max<std::int64_t>(c.options.context - static_cast<std::int64_t>(c.ids.size()), 0);
  }
  return step;
}

absl::StatusOr<bool> Chat::Push(std::int32_t token) {
  Impl& c = *impl_;
  if (c.action != ChatAction::kGenerate) return NotNow("pushing a token", c.action);
  if (token < 0 || token >= c.encoder.tokenizer().size()) {
    return absl::InvalidArgumentError(
        Cat("token ", token, " is not one of the tokenizer's ", c.encoder.tokenizer().size()));
  }
  const std::vector<std::int32_t>& stops = c.encoder.stop_ids();
  if (std::binary_search(stops.begin(), stops.end(), token)) {
    if (token != c.encoder.EndId(c.spec())) {
      MOSSRT_ASSIGN_OR_RETURN(const std::string_view found,
                              c.encoder.tokenizer().TokenBytes(token));
      c.Repaired(
          Cat("ended with ", found, " where ", c.spec().end, " belongs, which was put there"));
    }
    MOSSRT_RETURN_IF_ERROR(c.CloseField(true));
    return false;
  }
  MOSSRT_RETURN_IF_ERROR(c.stream->Push(token));
  c.ids.push_back(token);
  c.TakePieces();
  if (c.stream->marker().empty()) return true;
  c.Repaired(Cat("went on with \"", c.stream->marker(), "\" instead of ending with ", c.spec().end,
                 ": it was cut there"));
  MOSSRT_RETURN_IF_ERROR(c.CloseField(true));
  return false;
}

void Chat::Impl::TakeBack() {
  Repaired("was cancelled before there was an answer: the turn was taken back");
  report().ended = "cancelled";
  lost = std::move(report());
  transcript.turns.pop_back();
  action = ChatAction::kDone;
  stream.reset();
  Rebuild();
}

absl::Status Chat::End(ChatEnd why) {
  Impl& c = *impl_;
  const bool cancelled = why == ChatEnd::kCancelled;
  if (cancelled && c.action == ChatAction::kRunCommands) {
    c.TakeBack();
    return absl::OkStatus();
  }
  if (c.action != ChatAction::kGenerate) return NotNow("ending a generation", c.action);
  if (cancelled) {
    c.stream->Finish(false);
    if (c.field != Field::kAnswer || c.stream->text().empty()) {
      c.TakeBack();
      return absl::OkStatus();
    }
    c.Repaired(Cat("was cancelled: ", c.spec().end, " was put behind what had come"));
    c.report().ended = "cancelled";
    return c.CloseField(false);
  }
  const bool length = why == ChatEnd::kLength;
  c.Repaired(Cat("reached the ", length ? "limit of new tokens" : "end of the context", " without ",
                 c.spec().end, ", which was put there"));
  if (c.field == Field::kAnswer) c.report().ended = length ? "length" : "context_full";
  return c.CloseField(false);
}

CommandMask Chat::ConstrainCommands() const {
  const Impl& c = *impl_;
  if (c.options.grammar != CommandGrammar::kConstrained || c.action != ChatAction::kGenerate ||
      c.field != Field::kCommands || !c.profile.RunsCommands()) {
    return nullptr;
  }
  // A profile's lead is what a human's or a plugin's text begins with; only space can be the
  // model's.
  const bool blank = c.spec().lead.find_first_not_of(" \n") == std::string::npos;
  auto state = std::make_shared<const CommandMaskState>(
      c.encoder.tokenizer(), c.encoder.EndId(c.spec()),
      CommandLines(blank ? c.spec().lead : " ", c.options.plugins, c.options.max_commands,
                   c.encoder.Markers()),
      c.stream->bytes());
  return
      [state = std::move(state)](std::span<const std::int32_t> written, std::int64_t left,
                                 std::span<float> logits) { state->Apply(written, left, logits); };
}

std::span<const Command> Chat::commands() const {
  return impl_->action == ChatAction::kRunCommands ? std::span<const Command>(impl_->to_run)
                                                   : std::span<const Command>();
}

absl::Status Chat::SetResults(std::span<const CommandResult> results) {
  Impl& c = *impl_;
  if (c.action != ChatAction::kRunCommands) return NotNow("setting results", c.action);
  if (results.size() > c.to_run.size()) {
    return absl::InvalidArgumentError(
        Cat(results.size(), " results were given for ", c.to_run.size(), " commands"));
  }
  MOSSRT_RETURN_IF_ERROR(c.AddResults(results));
  return c.Advance(Field::kResults);
}

bool Chat::TakeEvent(ChatEvent* event) {
  if (impl_->events.empty()) return false;
  *event = std::move(impl_->events.front());
  impl_->events.pop_front();
  return true;
}

const std::vector<std::string>& Chat::plugins() const { return impl_->options.plugins; }
std::span<const std::int32_t> Chat::ids() const { return impl_->ids; }
std::span<const std::int32_t> Chat::stop_ids() const { return impl_->encoder.stop_ids(); }

bool Chat::Undo() {
  Impl& c = *impl_;
  c.events.clear();
  c.lost.reset();
  c.stream.reset();
  c.action = ChatAction::kDone;
  if (c.transcript.turns.empty()) return false;
  c.transcript.turns.pop_back();
  c.Rebuild();
  return true;
}

std::string Chat::TurnJson() const {
  if (impl_->lost) return DumpJson(ReportJson(*impl_->lost));
  const auto& turns = impl_->transcript.turns;
  return turns.empty() ? "null" : DumpJson(ReportJson(turns.back().report));
}

}  // namespace mossrt::runtime
