// The turn as a state machine: what it asks for, what it keeps, what it repairs.
#include "chat/chat_testing.h"

namespace mossrt::runtime {
namespace {

using Type = ChatEvent::Type;

ChatOptions Plugin(std::vector<std::string> plugins = {"Calculate"}) {
  return {.profile = "moss-plugin", .plugins = std::move(plugins), .meta = ""};
}
Ids AllIds(const Chat& chat) { return Ids(chat.ids().begin(), chat.ids().end()); }
ChatAction Action(const Chat& chat) { return chat.Next({}).action; }
CommandResult Text(std::string text) { return {.ok = true, .text = std::move(text)}; }

TEST(Turn, WithACommand) {
  const auto chat = NewChat(Plugin());
  EXPECT_EQ(Action(*chat), ChatAction::kDone);
  ASSERT_TRUE(chat->Send("1+2?").ok());
  const Ids human = Join({HumanTag(), ByteIds(" 1+2?"), {kEoh, kNewline}});
  Ids expected = Join({human, ThoughtsTag()});
  EXPECT_EQ(AllIds(*chat), expected);
  EXPECT_EQ(Action(*chat), ChatAction::kGenerate);

  Write(chat.get(), " I add.", kEot);
  expected = Join({expected, ByteIds(" I add."), {kEot, kNewline}, CommandsTag()});
  EXPECT_EQ(AllIds(*chat), expected);

  Write(chat.get(), " Calculate(\"1+2\")", kEoc);
  ASSERT_EQ(Action(*chat), ChatAction::kRunCommands);
  ASSERT_EQ(chat->commands().size(), 1u);
  EXPECT_EQ(chat->commands()[0], (Command{"Calculate", "1+2"}));
  const CommandResult three = Text("3");
  ASSERT_TRUE(chat->SetResults(std::span(&three, 1)).ok());
  expected = Join({expected,
                   ByteIds(" Calculate(\"1+2\")"),
                   {kEoc, kNewline},
                   ResultsTag(),
                   ByteIds("\nCalculate(\"1+2\") => '3'\n"),
                   {kEor, kNewline},
                   AnswerTag()});
  EXPECT_EQ(AllIds(*chat), expected);

  Write(chat.get(), " It is 3.", kEom);
  expected = Join({expected, ByteIds(" It is 3."), {kEom, kNewline}});
  EXPECT_EQ(AllIds(*chat), expected);
  EXPECT_EQ(Action(*chat), ChatAction::kDone);

  const auto events = Events(chat.get());
  EXPECT_EQ(TextOf(events, Type::kThought), "I add.");
  EXPECT_EQ(TextOf(events, Type::kCommand), "Calculate(\"1+2\")");
  EXPECT_EQ(TextOf(events, Type::kResult), "Calculate(\"1+2\") => '3'");
  EXPECT_EQ(TextOf(events, Type::kAnswer), "It is 3.");
  EXPECT_EQ(TextOf(events, Type::kNotice), "");
  const Json turn = TurnOf(*chat);
  EXPECT_EQ(turn["human"], "1+2?");
  EXPECT_EQ(turn["thoughts"], "I add.");
  EXPECT_EQ(turn["answer"], "It is 3.");
  EXPECT_EQ(turn["ended"], "answer");
  EXPECT_EQ(turn["commands"], Json({{{"name", "Calculate"},
                                     {"argument", "1+2"},
                                     {"result", "Calculate(\"1+2\") => '3'"},
                                     {"ok", true}}}));
}

TEST(Turn, WithoutACommand) {
  const auto chat = NewChat(Plugin());
  ASSERT_TRUE(chat->Send("hi").ok());
  Write(chat.get(), " t", kEot);
  Write(chat.get(), " None", kEoc);
  EXPECT_EQ(Action(*chat), ChatAction::kGenerate);
  Write(chat.get(), " hello", kEom);
  EXPECT_EQ(AllIds(*chat), Join({HumanTag(),
                                 ByteIds(" hi"),
                                 {kEoh, kNewline},
                                 ThoughtsTag(),
                                 ByteIds(" t"),
                                 {kEot, kNewline},
                                 CommandsTag(),
                                 ByteIds(" None"),
                                 {kEoc, kNewline},
                                 ResultsTag(),
                                 ByteIds("\nNone\n"),
                                 {kEor, kNewline},
                                 AnswerTag(),
                                 ByteIds(" hello"),
                                 {kEom, kNewline}}));
}

// A session keeps what it has in common with the conversation.
TEST(Turn, NextSaysWhatToKeep) {
  const auto chat = NewChat(Plugin());
  ASSERT_TRUE(chat->Send("hi").ok());
  const Ids all = AllIds(*chat);
  for (std::size_t n = 0; n <= all.size(); ++n) {
    Ids held(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(n));
    const ChatStep step = chat->Next(held);
    EXPECT_EQ(step.keep, n);
    EXPECT_EQ(Ids(step.add.begin(), step.add.end()),
              Ids(all.begin() + static_cast<std::ptrdiff_t>(n), all.end()));
    held.push_back(99999);
    held.push_back(99998);
    EXPECT_EQ(chat->Next(held).keep, n);
  }
}

TEST(Turn, WrongEndsAreRepaired) {
  for (const std::int32_t wrong : {kEom, kEoh, kEor, kEndOfText}) {
    const auto chat = NewChat(Plugin());
    ASSERT_TRUE(chat->Send("hi").ok());
    Write(chat.get(), " t", wrong);
    EXPECT_EQ(AllIds(*chat), Join({HumanTag(),
                                   ByteIds(" hi"),
                                   {kEoh, kNewline},
                                   ThoughtsTag(),
                                   ByteIds(" t"),
                                   {kEot, kNewline},
                                   CommandsTag()}));
    Write(chat.get(), " None", kEoc);
    Write(chat.get(), " a", kEom);
    const Json turn = TurnOf(*chat);
    ASSERT_EQ(turn["repairs"].size(), 1u);
    EXPECT_EQ(turn["repairs"][0]["field"], "thoughts");
    EXPECT_EQ(turn["ended"], "answer");
  }
}

// The model goes on as somebody else, or spells a control token out: nothing of it is kept or
// shown.
TEST(Turn, MissingEndsAreRepaired) {
  for (const std::string more : {"\n<|Commands|>: None", "<eot>", "<|MOSS|>: x"}) {
    const auto chat = NewChat(Plugin());
    ASSERT_TRUE(chat->Send("hi").ok());
    Write(chat.get(), " t" + more, -1);
    const Ids newline = more[0] == '\n' ? Ids{kNewline} : Ids{};
    EXPECT_EQ(AllIds(*chat), Join({HumanTag(),
                                   ByteIds(" hi"),
                                   {kEoh, kNewline},
                                   ThoughtsTag(),
                                   ByteIds(" t"),
                                   newline,
                                   {kEot, kNewline},
                                   CommandsTag()}));
    EXPECT_EQ(TextOf(Events(chat.get()), Type::kThought), more[0] == '\n' ? "t\n" : "t");
    EXPECT_EQ(TurnOf(*chat)["repairs"].size(), 1u);
  }
}

TEST(Turn, AnAnswerThatNeverEnds) {
  for (const auto& [why, name] :
       {std::pair{ChatEnd::kLength, "length"}, std::pair{ChatEnd::kContextFull, "context_full"}}) {
    const auto chat = NewChat({.profile = "moss", .meta = ""});
    ASSERT_TRUE(chat->Send("hi").ok());
    const Ids before = AllIds(*chat);
    Write(chat.get(), " and so on<e", -1);
    ASSERT_TRUE(chat->End(why).ok());
    EXPECT_EQ(AllIds(*chat), Join({before, ByteIds(" and so on"), {kEom, kNewline}}));
    EXPECT_EQ(TurnOf(*chat)["ended"], name);
    EXPECT_EQ(TurnOf(*chat)["answer"], "and so on");
    EXPECT_EQ(TurnOf(*chat)["repairs"].size(), 1u);
  }
}

TEST(Turn, Cancelled) {
  const auto chat = NewChat(Plugin());
  ASSERT_TRUE(chat->Send("first").ok());
  Write(chat.get(), " t", -1);
  ASSERT_TRUE(chat->End(ChatEnd::kCancelled).ok());
  EXPECT_TRUE(chat->ids().empty());  // no answer yet: the turn is taken back
  EXPECT_EQ(TurnOf(*chat)["ended"], "cancelled");
  EXPECT_EQ(Action(*chat), ChatAction::kDone);

  ASSERT_TRUE(chat->Send("second").ok());
  Write(chat.get(), " t", kEot);
  Write(chat.get(), " None", kEoc);
  const Ids before = AllIds(*chat);
  Write(chat.get(), " half", -1);
  ASSERT_TRUE(chat->End(ChatEnd::kCancelled).ok());
  EXPECT_EQ(AllIds(*chat), Join({before, ByteIds(" half"), {kEom, kNewline}}));
  EXPECT_EQ(TurnOf(*chat)["ended"], "cancelled");
  EXPECT_EQ(TurnOf(*chat)["answer"], "half");
}

TEST(Turn, Undo) {
  const auto chat = NewChat({.profile = "moss", .meta = "m"});
  const Ids start = AllIds(*chat);
  EXPECT_FALSE(chat->Undo());
  ASSERT_TRUE(chat->Send("a").ok());
  Write(chat.get(), " b", kEom);
  const Ids one = AllIds(*chat);
  ASSERT_TRUE(chat->Send("c").ok());
  EXPECT_TRUE(chat->Undo());  // while it is open
  EXPECT_EQ(AllIds(*chat), one);
  ASSERT_TRUE(chat->Send("c").ok());
  Write(chat.get(), " d", kEom);
  EXPECT_TRUE(chat->Undo());
  EXPECT_EQ(AllIds(*chat), one);
  EXPECT_EQ(TurnOf(*chat)["human"], "a");
  EXPECT_TRUE(chat->Undo());
  EXPECT_EQ(AllIds(*chat), start);
  EXPECT_EQ(chat->TurnJson(), "null");
}

TEST(Turn, CommandsThatDoNotRun) {
  ChatOptions options = Plugin({"Calculate"});
  options.max_commands = 2;
  const auto chat = NewChat(options);
  ASSERT_TRUE(chat->Send("hi").ok());
  Write(chat.get(), " t", kEot);
  Write(chat.get(), " Search(\"a\"), Calculate(\"1\"), Calculate(\"2\")", kEoc);
  ASSERT_EQ(chat->commands().size(), 1u);
  EXPECT_EQ(chat->commands()[0].argument, "1");
  const CommandResult one = Text("1.0");
  ASSERT_TRUE(chat->SetResults(std::span(&one, 1)).ok());
  const auto events = Events(chat.get());
  EXPECT_EQ(TextOf(events, Type::kResult), "Search(\"a\") => No result.Calculate(\"1\") => '1.0'");
  const std::string notices = TextOf(events, Type::kNotice);
  EXPECT_NE(notices.find("first 2"), std::string::npos) << notices;
  EXPECT_NE(notices.find("Search was not run"), std::string::npos) << notices;
}

TEST(Turn, OnlyCommandsThatDoNotRun) {
  const auto chat = NewChat(Plugin({}));
  ASSERT_TRUE(chat->Send("hi").ok());
  Write(chat.get(), " t", kEot);
  Write(chat.get(), " Calculate(\"1\")", kEoc);
  EXPECT_EQ(Action(*chat), ChatAction::kGenerate);
  EXPECT_TRUE(
      Contains(chat->ids(),
               Join({ByteIds("\nCalculate(\"1\") =>"), {1400}, ByteIds(" result.\n"), {kEor}})));
}

TEST(Turn, StrictCommands) {
  ChatOptions options = Plugin();
  options.grammar = CommandGrammar::kStrict;
  const auto chat = NewChat(options);
  ASSERT_TRUE(chat->Send("hi").ok());
  Write(chat.get(), " t", kEot);
  Write(chat.get(), " 1. Calculate(\"1\")", kEoc);
  EXPECT_EQ(Action(*chat), ChatAction::kGenerate);
  EXPECT_TRUE(Contains(chat->ids(), Join({ResultsTag(), ByteIds("\nNone\n"), {kEor}})));
}

TEST(Turn, AnImageStandsBehindTheTag) {
  const auto chat = NewChat(Plugin({"Text2Image"}));
  ASSERT_TRUE(chat->Send("draw").ok());
  Write(chat.get(), " t", kEot);
  Write(chat.get(), " Text2Image(\"a cat\")", kEoc);
  const CommandResult made = Text("cat.png");
  ASSERT_TRUE(chat->SetResults(std::span(&made, 1)).ok());
  EXPECT_TRUE(Contains(chat->ids(), Join({ResultsTag(),
                                          ByteIds(" Image ge"),
                                          {1008},
                                          ByteIds("ated successfully."),
                                          {kEor, kNewline}})));
}

TEST(Turn, Citations) {
  const auto chat = NewChat(Plugin({"Search"}));
  ASSERT_TRUE(chat->Send("q").ok());
  Write(chat.get(), " t", kEot);
  Write(chat.get(), " Search(\"a\")", kEoc);
  const CommandResult found = {.ok = true, .snippets = {{"", "x"}, {"", "y"}}};
  ASSERT_TRUE(chat->SetResults(std::span(&found, 1)).ok());
  Write(chat.get(), " See<sup><|1|>, <|2|></sup> and<sup><|3|></sup>.", kEom);
  const auto events = Events(chat.get());
  EXPECT_EQ(TextOf(events, Type::kAnswer), "See and.");
  EXPECT_EQ(TextOf(events, Type::kCitation), "<sup><|1|>, <|2|></sup><sup><|3|></sup>");
  EXPECT_NE(TextOf(events, Type::kNotice).find("cites <|3|>"), std::string::npos);
  const Json turn = TurnOf(*chat);
  EXPECT_EQ(turn["citations"], Json({{1, 2}, {3}}));
  EXPECT_EQ(turn["answer"], "See<sup><|1|>, <|2|></sup> and<sup><|3|></sup>.");
  EXPECT_EQ(turn["sources"][1]["text"], "y");
}

TEST(Turn, CallsOutOfTurn) {
  const auto chat = NewChat(Plugin());
  const auto expect_state = [](const absl::Status& status) {
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  };
  expect_state(chat->Push(1).status());
  expect_state(chat->End(ChatEnd::kLength));
  expect_state(chat->SetResults({}));
  ASSERT_TRUE(chat->Send("hi").ok());
  expect_state(chat->Send("again"));
  expect_state(chat->SetResults({}));
  expect_state(chat->Save().status());
  for (const std::int32_t token : {-1, Moss().size(), 2147483647}) {
    ExpectFailure(chat->Push(token).status(), absl::StatusCode::kInvalidArgument, "token");
  }
  EXPECT_TRUE(chat->Push(5).ok());
  ExpectFailure(NewChat(Plugin())->Send("a\xff"), absl::StatusCode::kInvalidArgument, "UTF-8");
}

ChatOptions Small(std::int64_t context, std::int64_t reserve, bool error = false) {
  ChatOptions options = {.profile = "moss", .meta = "m"};
  options.context = context;
  options.reserve = reserve;
  options.error_when_full = error;
  return options;
}

TEST(Turn, WhatDoesNotFitChangesNothing) {
  for (const bool error : {false, true}) {
    const auto chat = NewChat(Small(110, 20, error));
    ASSERT_TRUE(chat->Send("hi").ok());
    Write(chat.get(), " hello", kEom);
    const Ids before = AllIds(*chat);
    ExpectFailure(chat->Send(std::string(100, 'x')), absl::StatusCode::kResourceExhausted,
                  "context of 110");
    EXPECT_EQ(AllIds(*chat), before);
    EXPECT_EQ(Action(*chat), ChatAction::kDone);
    EXPECT_EQ(TurnOf(*chat)["human"], "hi");
    // 52 tokens are held; this turn needs 44 more, and 20 in reserve.
    const absl::Status third = chat->Send("yes");
    EXPECT_EQ(third.ok(), !error) << third;
    EXPECT_EQ(Json::parse(chat->InfoJson())["turns"].size(), 1u);  // the old one, or the new one
  }
}

TEST(Turn, AMetaInstructionThatFillsTheContext) {
  ChatOptions options = Small(10, 1);
  options.meta = "ten letters";
  ExpectFailure(Chat::Create(Moss(), options).status(), absl::StatusCode::kResourceExhausted,
                "meta instruction");
}

// Results that are too long can be replaced by shorter ones.
TEST(Turn, ResultsThatDoNotFit) {
  ChatOptions options = Plugin({"Solve"});
  options.context = 140;
  options.reserve = 10;
  const auto chat = NewChat(options);
  ASSERT_TRUE(chat->Send("hi").ok());
  Write(chat.get(), " t", kEot);
  Write(chat.get(), " Solve(\"x\")", kEoc);
  const Ids before = AllIds(*chat);
  const CommandResult longer = Text(std::string(200, 'y'));
  ExpectFailure(chat->SetResults(std::span(&longer, 1)), absl::StatusCode::kResourceExhausted,
                "results");
  EXPECT_EQ(AllIds(*chat), before);
  const CommandResult shorter = Text("1");
  EXPECT_TRUE(chat->SetResults(std::span(&shorter, 1)).ok());
}

// Thoughts that leave no room end the turn, whose fields are all there nevertheless.
TEST(Turn, AContextThatFillsInTheMiddle) {
  ChatOptions options = Plugin({});
  options.context = 60;
  options.reserve = 10;
  const auto chat = NewChat(options);
  ASSERT_TRUE(chat->Send("hi").ok());
  Write(chat.get(), std::string(38, 't'), -1);
  ASSERT_TRUE(chat->End(ChatEnd::kContextFull).ok());
  EXPECT_EQ(Action(*chat), ChatAction::kDone);
  EXPECT_EQ(TurnOf(*chat)["ended"], "context_full");
  EXPECT_TRUE(Contains(chat->ids(), Join({AnswerTag(), {kEom, kNewline}})));
}

}  // namespace
}  // namespace mossrt::runtime
