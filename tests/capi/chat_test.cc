// Conversations through the C interface and mossrt.hpp, with the trained model of the examples.
#include <cmath>

#include "capi/capi_testing.h"
#include "mossrt/mossrt.hpp"

namespace mossrt_testing {
namespace {

const char kTrained[] = MOSSRT_SOURCE_DIR "/examples/tiny-moss/model";

std::optional<std::string> Multiply(std::string_view expression) {
  const std::string text(expression);
  char* end = nullptr;
  const double left = std::strtod(text.c_str(), &end);
  if (*end != '*') return std::nullopt;
  return std::to_string(std::lround(left * std::strtod(end + 1, nullptr)));
}

const mossrt::Model& Trained() {
  static const mossrt::Model& model = *new mossrt::Model(mossrt::Model::Load(kTrained));
  return model;
}

TEST(Chat, OneTurnByHandInC) {
  mossrt_model* model = nullptr;
  mossrt_tokenizer* tokenizer = nullptr;
  mossrt_session* session = nullptr;
  mossrt_chat* chat = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_model_load(kTrained, nullptr, nullptr, &model)));
  ASSERT_TRUE(Succeeds(mossrt_model_tokenizer(model, &tokenizer)));
  ASSERT_TRUE(Succeeds(mossrt_session_create(model, nullptr, &session)));
  mossrt_options* o = Options(MOSSRT_OPTIONS_CHAT, R"({"plugins": ["Calculate"]})");
  ASSERT_TRUE(Succeeds(mossrt_chat_create(tokenizer, o, &chat)));
  mossrt_options_free(o);
  mossrt_options* generate = Options(MOSSRT_OPTIONS_GENERATE, R"({"do_sample": false})");
  ASSERT_TRUE(Succeeds(mossrt_chat_set_options(chat, generate)));
  mossrt_model_free(model);  // handles keep what they need
  mossrt_tokenizer_free(tokenizer);

  const std::string question = "What is 12 * 34?";
  ASSERT_TRUE(Succeeds(mossrt_chat_send(chat, question.data(), question.size())));
  std::string answer;
  for (std::int32_t action = MOSSRT_CHAT_GENERATE; action != MOSSRT_CHAT_DONE;) {
    ASSERT_TRUE(Succeeds(mossrt_chat_next(chat, nullptr, 0, &action, nullptr, nullptr, nullptr)));
    if (action == MOSSRT_CHAT_RUN_COMMANDS) {
      std::size_t n = 0, len = 0;
      const char *name = nullptr, *argument = nullptr;
      ASSERT_TRUE(Succeeds(mossrt_chat_commands(chat, &n)));
      ASSERT_EQ(n, 1u);
      ASSERT_TRUE(Succeeds(mossrt_chat_command(chat, 0, &name, &argument, &len)));
      EXPECT_STREQ(name, "Calculate");
      EXPECT_EQ(std::string_view(argument, len), "12*34");
      EXPECT_TRUE(
          FailsWith(mossrt_chat_set_result(chat, 1, "1", 1), MOSSRT_E_INVALID_ARGUMENT, "index 1"));
      ASSERT_TRUE(Succeeds(mossrt_chat_set_result(chat, 0, "408", 3)));
      ASSERT_TRUE(Succeeds(mossrt_chat_end_commands(chat)));
    }
    if (action == MOSSRT_CHAT_GENERATE) {
      mossrt_generation* g = nullptr;
      ASSERT_TRUE(Succeeds(mossrt_chat_eval(chat, session, nullptr)));
      ASSERT_TRUE(Succeeds(mossrt_generation_start(session, generate, nullptr, &g)));
      for (std::int32_t more = 1; more != 0;) {
        std::int32_t token = -1;
        ASSERT_TRUE(Succeeds(mossrt_generation_next(g, &token, nullptr, nullptr, nullptr)));
        ASSERT_TRUE(Succeeds(mossrt_chat_push(chat, token, &more)));
      }
      mossrt_generation_free(g);
    }
    for (std::int32_t type = -1; type != MOSSRT_CHAT_EVENT_NONE;) {
      const char* text = nullptr;
      ASSERT_TRUE(Succeeds(mossrt_chat_event(chat, &type, &text, nullptr, nullptr, nullptr)));
      if (type == MOSSRT_CHAT_EVENT_ANSWER) answer += text;
    }
  }
  EXPECT_EQ(answer, "The result is 408.");
  char* text = nullptr;
  std::size_t len = 0;
  ASSERT_TRUE(Succeeds(mossrt_chat_turn(chat, &text, &len)));
  EXPECT_EQ(TakeJson(text, len)["commands"][0]["result"], "Calculate(\"12*34\") => '408'");
  mossrt_options_free(generate);
  mossrt_session_free(session);
  mossrt_chat_free(chat);
}

TEST(Chat, TurnsInCpp) {
  mossrt::Session session = Trained().CreateSession();
  mossrt::Chat chat(Trained().Tokenizer(), {.plugins = {{"Calculate"}}, .context = 1024});
  std::string answers;
  const auto show = [&](const mossrt::ChatEvent& event) {
    if (event.type == mossrt::ChatEvent::Type::kAnswer) answers += event.text + "|";
  };
  chat.AddPlugin("Calculate", Multiply);
  const Json turn = Json::parse(chat.Say(session, "What is 6 * 7?", {.do_sample = false}, show));
  EXPECT_EQ(turn["answer"], "The result is 42.");
  EXPECT_NE(answers.find("result|"), std::string::npos) << answers;
  const Json hello = Json::parse(chat.Say(session, "你好！", {.do_sample = false}));
  EXPECT_NE(hello["answer"].get<std::string>().find("MOSS"), std::string::npos);
  // The session holds what the conversation holds, up to what the last answer's end adds.
  const std::vector<std::int32_t> ids = chat.Ids();
  ASSERT_LT(session.Tokens().size(), ids.size());
  EXPECT_TRUE(std::equal(session.Tokens().begin(), session.Tokens().end(), ids.begin()));

  mossrt::Chat again = mossrt::Chat::Load(Trained().Tokenizer(), chat.Save());
  EXPECT_EQ(again.Ids(), ids);
  EXPECT_TRUE(again.Undo());
  EXPECT_LT(again.Ids().size(), ids.size());
  EXPECT_EQ(Json::parse(again.Info())["turns"].size(), 1u);
}

// Whatever a program does between two events, the answer is that of an undisturbed turn.
TEST(Chat, AdvancesAfterAnythingInBetween) {
  mossrt::Session session = Trained().CreateSession(), other = Trained().CreateSession();
  const mossrt::GenerateOptions greedy{.do_sample = false};
  mossrt::Chat chat(Trained().Tokenizer(), {.plugins = {{"Calculate"}}});
  chat.AddBuiltinPlugin("Calculate");
  const auto finish = [&] {
    while (chat.Advance(session, greedy)) {
    }
    return Json::parse(chat.TurnJson())["answer"];
  };
  chat.Send("What is 6 * 7?");
  ASSERT_TRUE(chat.Advance(session, greedy));
  ASSERT_TRUE(chat.Advance(other, greedy));  // goes on with another session, and then back
  EXPECT_EQ(finish(), "The result is 42.");
  EXPECT_FALSE(chat.Advance(session, greedy)) << "the turn is over, and stays so";

  chat.Send("What is 6 * 7?");
  ASSERT_TRUE(chat.Advance(session, greedy));
  session.Rewind(3);
  EXPECT_EQ(finish(), "The result is 42.");

  chat.Send("What is 6 * 7?");
  ASSERT_TRUE(chat.Advance(session, greedy));
  ASSERT_TRUE(chat.Undo());
  EXPECT_FALSE(chat.Advance(session, greedy)) << "no turn is open";
  chat.Send("What is 5 * 5?");
  EXPECT_EQ(finish(), "The result is 25.");

  chat.Send("What is 6 * 7?");
  ASSERT_TRUE(chat.Advance(session, greedy));
  chat.End(mossrt::Finish::kCancelled);  // it has no answer, and is taken back
  EXPECT_EQ(Json::parse(chat.Info())["turns"].size(), 3u);
  EXPECT_EQ(Json::parse(chat.Say(session, "What is 6 * 7?", greedy))["answer"],
            "The result is 42.");
}

TEST(Chat, AdvanceLeavesTheTurnOpenAfterAnError) {
  mossrt::Session session = Trained().CreateSession();
  mossrt::Chat chat(Trained().Tokenizer(), {.plugins = {{"Calculate"}}});
  try {
    chat.Say(session, "What is 6 * 7?", {.do_sample = false});
    FAIL() << "no plugin is attached";
  } catch (const mossrt::Error& e) {
    EXPECT_EQ(e.code(), mossrt::Code::kNotFound) << e.what();
  }
  EXPECT_EQ(chat.Next().action, mossrt::ChatAction::kRunCommands);
  chat.AddBuiltinPlugin("Calculate");
  while (chat.Advance(session, {.do_sample = false})) {
  }
  EXPECT_EQ(Json::parse(chat.TurnJson())["answer"], "The result is 42.");
}

TEST(Chat, LimitsAndCodes) {
  const mossrt::Tokenizer tokenizer = Trained().Tokenizer();
  mossrt::Chat chat(tokenizer, {.meta = "", .context = 80});
  try {
    chat.Send(std::string(400, 'x'));
    FAIL() << "400 letters fit into 80 tokens";
  } catch (const mossrt::Error& e) {
    EXPECT_EQ(e.code(), mossrt::Code::kContextFull) << e.what();
  }
  try {
    chat.Push(5);
    FAIL() << "no turn is open";
  } catch (const mossrt::Error& e) {
    EXPECT_EQ(e.code(), mossrt::Code::kState) << e.what();
  }
  EXPECT_THROW(chat.End(mossrt::Finish::kStopToken), mossrt::Error);
  EXPECT_THROW(mossrt::Chat(tokenizer, {.profile = "moos"}), mossrt::Error);
}

TEST(Chat, AnswersThatAreCutShort) {
  mossrt::Session session = Trained().CreateSession();
  mossrt::Chat chat(Trained().Tokenizer(), {.profile = "moss"});
  const Json turn = Json::parse(chat.Say(session, "What is the capital of France?",
                                         {.max_new_tokens = 2, .do_sample = false}));
  EXPECT_EQ(turn["ended"], "length");
  EXPECT_EQ(turn["repairs"].size(), 1u);
}

TEST(Chat, ConstrainedCommands) {
  mossrt::Session session = Trained().CreateSession();
  for (const char* commands : {"strict", "constrained"}) {
    mossrt::Chat chat(Trained().Tokenizer(),
                      {.plugins = {{"Calculate"}}, .meta = "", .commands = commands});
    chat.AddPlugin("Calculate", Multiply);
    const Json turn = Json::parse(chat.Say(session, "What is 6 * 7?", {.do_sample = false}));
    EXPECT_EQ(turn["commands_text"], "Calculate(\"6*7\")");
    EXPECT_EQ(turn["answer"], "The result is 42.");
  }
  int wrong = 0;
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    for (const char* commands : {"tolerant", "constrained"}) {
      mossrt::Chat chat(Trained().Tokenizer(),
                        {.plugins = {{"Calculate"}}, .meta = "", .commands = commands});
      chat.AddPlugin("Calculate", Multiply);
      const Json turn = Json::parse(
          chat.Say(session, "What is 6 * 7?",
                   {.max_new_tokens = 25, .do_sample = true, .temperature = 20, .seed = seed}));
      const std::string text = turn["commands_text"];
      const bool strict = Json::parse(mossrt::Chat::ParseCommands(text, true))["strict"];
      wrong += strict ? 0 : 1;
      EXPECT_TRUE(strict || std::string_view(commands) == "tolerant") << text;
    }
  }
  EXPECT_GT(wrong, 0) << "the model was not hot enough to show anything";
}

TEST(Chat, ConstraintsComeBeforeTheFirstToken) {
  mossrt::Session session = Trained().CreateSession();
  mossrt::Chat chat(Trained().Tokenizer(), {.plugins = {{"Calculate"}}});
  chat.Send("What is 6 * 7?");
  chat.Eval(session);
  mossrt::Generation generation = session.Generate();
  chat.Constrain(generation);
  generation.Next();
  try {
    chat.Constrain(generation);
    FAIL() << "a generation that runs took a processor";
  } catch (const mossrt::Error& e) {
    EXPECT_EQ(e.code(), mossrt::Code::kState) << e.what();
  }
}

TEST(Chat, RenderAndParse) {
  const mossrt::Tokenizer tokenizer = Trained().Tokenizer();
  const auto ids =
      mossrt::Chat::Render(tokenizer, {.profile = "opencompass"}, R"([{"Human": "hi"}])");
  EXPECT_EQ(tokenizer.Decode(ids), "<|Human|>: hi<eoh>\n<|MOSS|>:");
  const Json parsed =
      Json::parse(mossrt::Chat::ParseCommands("1. Mine(\"a\"), Other(\"b\")", false, "Mine,Yours"));
  EXPECT_EQ(parsed["commands"], Json({{{"name", "Mine"}, {"argument", "a"}}}));
  EXPECT_EQ(parsed["unknown"], Json({"Other"}));
  EXPECT_EQ(Json::parse(mossrt::Chat::ParseCommands("1. Solve(\"a\")", true))["commands"].size(),
            0u);
}

}  // namespace
}  // namespace mossrt_testing
