// Ids of whole conversations, derived by hand from the published vocabulary's ids.
#include "chat/chat_testing.h"

namespace mossrt::runtime {
namespace {

Ids Render(const ChatOptions& options, const Json& turns) {
  const auto rendered = RenderTurns(Moss(), options, turns.dump());
  EXPECT_TRUE(rendered.ok()) << rendered.status();
  return rendered.ok() ? rendered->ids : Ids();
}

ChatOptions Bare(const std::string& profile) { return {.profile = profile, .meta = ""}; }

Ids HumanField(std::string_view text) {
  return Join({HumanTag(), ByteIds(" "), ByteIds(text), {kEoh, kNewline}});
}
// tag " None" end newline
Ids NoneField(const Ids& tag, std::int32_t end) { return Join({tag, {kNone, end, kNewline}}); }
Ids AnswerField(std::string_view text) {
  return Join({AnswerTag(), ByteIds(" "), ByteIds(text), {kEom, kNewline}});
}

const Json kPlain = {{{"Human", "hi"}, {"MOSS", "hello"}}, {{"Human", "yes"}}};

TEST(Render, TestTokenizerHasMossIds) {
  const std::pair<const char*, Ids> table[] = {{"<|Human|>:", HumanTag()},
                                               {"<|Inner Thoughts|>:", ThoughtsTag()},
                                               {"<|Commands|>:", CommandsTag()},
                                               {"<|Results|>:", ResultsTag()},
                                               {"<|MOSS|>:", AnswerTag()},
                                               {" None", {kNone}},
                                               {"\n", {kNewline}},
                                               {"  ", {106058}}};
  for (const auto& [text, ids] : table) {
    Ids found;
    ASSERT_TRUE(Moss().Encode(text, {}, &found).ok());
    EXPECT_EQ(found, ids) << text;
  }
}

TEST(Render, MossHasFiveFieldsOfWhichThreeAreNone) {
  const Ids nones = Join({NoneField(ThoughtsTag(), kEot), NoneField(CommandsTag(), kEoc),
                          NoneField(ResultsTag(), kEor)});
  EXPECT_EQ(Render(Bare("moss"), kPlain), Join({HumanField("hi"), nones, AnswerField("hello"),
                                                HumanField("yes"), nones, AnswerTag()}));
}

TEST(Render, PluginTurn) {
  const Json turns = {{{"Human", "1+2?"},
                       {"Inner Thoughts", "add"},
                       {"Commands", "Calculate(\"1+2\")"},
                       {"Tool Responses", "Calculate(\"1+2\") => '3'"},
                       {"MOSS", "3."}},
                      {{"Human", "thx"}}};
  EXPECT_EQ(Render(Bare("moss-plugin"), turns), Join({HumanField("1+2?"),
                                                      ThoughtsTag(),
                                                      ByteIds(" add"),
                                                      {kEot, kNewline},
                                                      CommandsTag(),
                                                      ByteIds(" Calculate(\"1+2\")"),
                                                      {kEoc, kNewline},
                                                      ResultsTag(),
                                                      ByteIds("\nCalculate(\"1+2\") => '3'\n"),
                                                      {kEor, kNewline},
                                                      AnswerField("3."),
                                                      HumanField("thx"),
                                                      ThoughtsTag()}));
}

// What stands in published files, tags, newlines and oddities included, comes out as it is.
TEST(Render, PublishedValuesKeepTheirBodies) {
  const Json turns = {{{"Human", "<|Human|>: hi <eoh>\n"},
                       {"Inner Thoughts", "<|Inner Thoughts|>: a<eot>\n"},
                       {"Commands", "<|Commands|>: None<eoc>\n"},
                       {"Tool Responses", "<|Results|>:\nNone\n<eor>\n"},
                       {"MOSS", "<|MOSS|>:  two<eom>\n"}}};
  EXPECT_EQ(Render(Bare("moss-plugin"), turns),
            Join({HumanTag(),
                  ByteIds(" hi "),
                  {kEoh, kNewline},
                  ThoughtsTag(),
                  ByteIds(" a"),
                  {kEot, kNewline},
                  CommandsTag(),
                  {kNone, kEoc, kNewline},
                  ResultsTag(),
                  {kNewline, 45, 78, 77, 68, kNewline, kEor, kNewline},
                  AnswerTag(),
                  {106058},
                  ByteIds("two"),
                  {kEom, kNewline}}));
}

TEST(Render, EmptyFieldsSayNone) {
  const Json turns = {{{"Human", "hi"}, {"Inner Thoughts", "a"}, {"Commands", ""}, {"MOSS", "b"}}};
  EXPECT_EQ(Render(Bare("moss-plugin"), turns), Join({HumanField("hi"),
                                                      ThoughtsTag(),
                                                      ByteIds(" a"),
                                                      {kEot, kNewline},
                                                      NoneField(CommandsTag(), kEoc),
                                                      ResultsTag(),
                                                      ByteIds("\nNone\n"),
                                                      {kEor, kNewline},
                                                      AnswerField("b")}));
}

TEST(Render, ReadmeAndOpenCompassHaveTwoFields) {
  const Ids expected =
      Join({HumanField("hi"), AnswerField("hello"), HumanField("yes"), AnswerTag()});
  EXPECT_EQ(Render(Bare("readme"), kPlain), expected);
  EXPECT_EQ(Render({.profile = "opencompass"}, kPlain), expected);
}

// The demo strips control tokens from what it decoded and appends the next question without a
// newline; the tag of an answer is the model's own, behind a newline.
TEST(Render, Demo) {
  const Ids tag = Join({{kNewline}, AnswerTag()});
  const auto question = [](std::string_view text) {
    return Join({HumanTag(), ByteIds(" "), ByteIds(text), {kEoh}});
  };
  EXPECT_EQ(Render(Bare("demo"), kPlain),
            Join({question("hi"), tag, ByteIds(" hello"), question("yes"), tag}));
}

TEST(Render, VortexWritesThoughts) {
  EXPECT_EQ(Render(Bare("vortex"), {{{"Human", "hi"}}}), Join({HumanField("hi"), ThoughtsTag()}));
}

// Encoded together, "\n" and the spaces behind it would become other tokens.
TEST(Render, FieldsAreEncodedEachOnItsOwn) {
  const ChatOptions options = {
      .profile_json = R"({"base": "opencompass", "name": "spaces", "fields": {
        "human": {"after": " "}, "answer": {"tag": "  <|MOSS|>:"}}})",
      .meta = "m "};
  const Ids ids = Render(options, {{{"Human", "hi"}}});
  EXPECT_EQ(ids, Join({ByteIds("m "),
                       HumanTag(),
                       ByteIds(" hi"),
                       {kEoh},
                       ByteIds(" "),
                       {106058},
                       AnswerTag()}));
  Ids together;
  ASSERT_TRUE(
      Moss().Encode("m <|Human|>: hi<eoh>   <|MOSS|>:", {.parse_special = true}, &together).ok());
  EXPECT_NE(ids, together);
}

TEST(Render, WrongTurnsAreNamed) {
  const std::pair<Json, const char*> cases[] = {
      {{{"Human", "hi"}}, "list"},
      {{"hi"}, "turn 0"},
      {{{{"Human", "hi"}, {"MOSS", "a"}}, {{"MOSS", "b"}}}, "turn 1: \"Human\" is missing"},
      {{{{"Human", 3}}}, "must be a text"},
      {{{{"Human", "hi"}, {"Moss", "a"}}}, "unknown field \"Moss\""},
      {{{{"Human", "hi"}, {"human", "a"}}}, "the same field"}};
  for (const auto& [turns, part] : cases) {
    const Json list =
        turns.is_array() && turns.size() == 1 && turns[0].is_array() ? turns[0] : turns;
    ExpectFailure(RenderTurns(Moss(), Bare("moss"), list.dump()).status(),
                  absl::StatusCode::kInvalidArgument, part);
  }
}

TEST(Render, ATokenizerWithoutControlTokensIsRefused) {
  auto files = MossFiles();
  files["added_tokens.json"] = "{}";
  files["special_tokens_map.json"] = "{}";
  const auto tokenizer = LoadTokenizer(*OpenMemory("plain", files), {});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  ExpectFailure(Chat::Create(**tokenizer, Bare("moss")).status(),
                absl::StatusCode::kInvalidArgument, "<eoh>");
}

}  // namespace
}  // namespace mossrt::runtime
