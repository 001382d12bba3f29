// Plugins of a conversation through the C interface and mossrt.hpp.
#include <atomic>
#include <cmath>
#include <future>
#include <mutex>
#include <stdexcept>
#include <thread>

#include "capi/capi_testing.h"
#include "mossrt/mossrt.hpp"

namespace mossrt_testing {
namespace {

const char kTrained[] = MOSSRT_SOURCE_DIR "/examples/tiny-moss/model";

const mossrt::Model& Trained() {
  static const mossrt::Model& model = *new mossrt::Model(mossrt::Model::Load(kTrained));
  return model;
}

// A turn of any conversation up to where the results of these commands are awaited.
void Ask(mossrt::Chat* chat, const std::string& commands) {
  const mossrt::Tokenizer tokenizer = Trained().Tokenizer();
  const auto write = [&](const std::string& text) {
    for (const std::int32_t id : tokenizer.Encode(text, {.parse_special = true})) chat->Push(id);
  };
  chat->Send("go on");
  write(" I use tools.<eot>");
  write(commands + "<eoc>");
  ASSERT_EQ(chat->Next().action, mossrt::ChatAction::kRunCommands);
}

std::string Results(const mossrt::Chat& chat) { return Json::parse(chat.TurnJson())["results"]; }

struct Counters {
  std::atomic<int> calls{0}, destroyed{0};
  std::string last;
};

std::int32_t Shout(void* user, const char* argument, std::size_t len, mossrt_plugin_call* call) {
  auto* counters = static_cast<Counters*>(user);
  ++counters->calls;
  counters->last.assign(argument, len);
  const std::string text = counters->last + "!";
  EXPECT_EQ(mossrt_plugin_wanted(call), 1);
  EXPECT_EQ(argument[len], '\0');
  EXPECT_TRUE(
      FailsWith(mossrt_plugin_set_text(call, nullptr, 1), MOSSRT_E_INVALID_ARGUMENT, "text"));
  EXPECT_TRUE(
      FailsWith(mossrt_plugin_set_error(call, nullptr, 1), MOSSRT_E_INVALID_ARGUMENT, "text"));
  EXPECT_TRUE(FailsWith(mossrt_plugin_add_snippet(call, nullptr, 1, nullptr, 0),
                        MOSSRT_E_INVALID_ARGUMENT, "title"));
  EXPECT_TRUE(FailsWith(mossrt_plugin_add_snippet(call, nullptr, 0, nullptr, 1),
                        MOSSRT_E_INVALID_ARGUMENT, "text"));
  return Succeeds(mossrt_plugin_set_text(call, text.data(), text.size())) ? 0 : -1;
}
void Destroy(void* user) { ++static_cast<Counters*>(user)->destroyed; }

TEST(ChatPlugins, InC) {
  mossrt_model* model = nullptr;
  mossrt_tokenizer* tokenizer = nullptr;
  mossrt_chat* chat = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_model_load(kTrained, nullptr, nullptr, &model)));
  ASSERT_TRUE(Succeeds(mossrt_model_tokenizer(model, &tokenizer)));
  mossrt_options* o = Options(MOSSRT_OPTIONS_CHAT, R"({"plugins": ["Calculate", "Shout"]})");
  ASSERT_TRUE(Succeeds(mossrt_chat_create(tokenizer, o, &chat)));
  mossrt_options_free(o);

  Counters first, second, refused;
  const auto add = [&](const char* name, double timeout, Counters* counters) {
    return mossrt_chat_add_plugin(chat, name, "says it louder", timeout, Shout, counters, Destroy);
  };
  EXPECT_TRUE(FailsWith(add("Whisper", 1, &refused), MOSSRT_E_INVALID_ARGUMENT, "option plugins"));
  for (const double timeout : {0.0, -1.0, std::nan(""), HUGE_VAL}) {
    EXPECT_TRUE(FailsWith(add("Shout", timeout, &refused), MOSSRT_E_INVALID_ARGUMENT, "timeout"));
  }
  EXPECT_EQ(refused.destroyed, 0);
  ASSERT_TRUE(Succeeds(add("Shout", 60, &first)));
  ASSERT_TRUE(Succeeds(add("Shout", 30, &second)));
  EXPECT_EQ(first.destroyed, 1) << "it was replaced";
  EXPECT_TRUE(FailsWith(mossrt_chat_add_builtin_plugin(chat, "Solve"), MOSSRT_E_INVALID_ARGUMENT,
                        "option plugins"));
  EXPECT_TRUE(FailsWith(mossrt_chat_add_builtin_plugin(chat, "Search"), MOSSRT_E_NOT_FOUND,
                        "Calculate and Solve"));

  char* text = nullptr;
  std::size_t len = 0;
  ASSERT_TRUE(Succeeds(mossrt_chat_info(chat, &text, &len)));
  EXPECT_EQ(
      TakeJson(text, len)["attached"],
      Json::parse(R"([{"name": "Shout", "description": "says it louder", "timeout": 30.0}])"));

  EXPECT_TRUE(
      FailsWith(mossrt_chat_run_commands(chat, nullptr), MOSSRT_E_STATE, "no turn is open"));
  ASSERT_TRUE(Succeeds(mossrt_chat_send(chat, "go", 2)));
  const std::string written =
      " Well.<eot> Calculate(\"1+2\"), Shout(\"hi\"), Calculate(\"2^10\"), Shout(\"ho\")<eoc>";
  std::int32_t* ids = nullptr;
  std::size_t n = 0;
  ASSERT_TRUE(Succeeds(mossrt_tokenizer_encode(tokenizer, written.data(), written.size(),
                                               MOSSRT_ENCODE_PARSE_SPECIAL, &ids, &n)));
  for (std::size_t i = 0; i < n; ++i) {
    ASSERT_TRUE(Succeeds(mossrt_chat_push(chat, ids[i], nullptr)));
  }
  mossrt_free(ids);
  EXPECT_TRUE(FailsWith(mossrt_chat_run_commands(chat, nullptr), MOSSRT_E_NOT_FOUND,
                        "no plugin is attached for the command Calculate"));
  EXPECT_EQ(second.calls, 0);
  ASSERT_TRUE(Succeeds(mossrt_chat_add_builtin_plugin(chat, "Calculate")));
  ASSERT_TRUE(Succeeds(mossrt_chat_set_result(chat, 3, "by hand", 7)));
  ASSERT_TRUE(Succeeds(mossrt_chat_run_commands(chat, nullptr)));
  EXPECT_EQ(second.calls, 1) << "one result was there already";
  EXPECT_EQ(second.last, "hi");
  ASSERT_TRUE(Succeeds(mossrt_chat_turn(chat, &text, &len)));
  EXPECT_EQ(TakeJson(text, len)["results"],
            "Calculate(\"1+2\") => '3'\nShout(\"hi\") => hi!\nCalculate(\"2^10\") => "
            "'1024'\nShout(\"ho\") => by hand");
  EXPECT_EQ(second.destroyed, 0);
  mossrt_chat_free(chat);
  EXPECT_EQ(second.destroyed, 1);
  mossrt_tokenizer_free(tokenizer);
  mossrt_model_free(model);
}

std::mutex log_mutex;
std::string logged;
void Log(void*, std::int32_t, const char* text, std::size_t len) {
  const std::lock_guard lock(log_mutex);
  logged.append(text, len).append("\n");
}

TEST(ChatPlugins, FunctionsThatThrow) {
  ASSERT_TRUE(Succeeds(mossrt_set_log(Log, nullptr, MOSSRT_LOG_WARN)));
  mossrt::Session session = Trained().CreateSession();
  mossrt::Chat chat(Trained().Tokenizer(), {.plugins = {{"Calculate"}}});
  chat.AddPlugin("Calculate", [](std::string_view) -> std::optional<std::string> {
    throw std::out_of_range("mine");
  });
  Json turn = Json::parse(chat.Say(session, "What is 6 * 7?", {.do_sample = false}));
  EXPECT_EQ(turn["results"], "Calculate(\"6*7\") => No result.");
  EXPECT_EQ(turn["commands"][0]["ok"], false);
  EXPECT_EQ(turn["ended"], "answer");
  chat.AddPlugin("Calculate", [](std::string_view) { return std::optional<std::string>(); });
  turn = Json::parse(chat.Say(session, "What is 6 * 7?", {.do_sample = false}));
  EXPECT_EQ(turn["commands"][0]["ok"], false);
  ASSERT_TRUE(Succeeds(mossrt_set_log(nullptr, nullptr, MOSSRT_LOG_OFF)));
  const std::lock_guard lock(log_mutex);
  EXPECT_NE(logged.find("Calculate(\"6*7\") has no result: mine"), std::string::npos) << logged;
  EXPECT_NE(logged.find("it found none"), std::string::npos) << logged;
}

TEST(ChatPlugins, Searches) {
  mossrt::Chat chat(Trained().Tokenizer(), {.plugins = {{"Search"}}, .meta = ""});
  chat.AddSearch("Search", [](std::string_view query) {
    return std::vector<mossrt::ChatSnippet>{{"Box", "of " + std::string(query)}, {"", "plain"}};
  });
  Ask(&chat, " Search(\"cats\")");
  chat.RunCommands();
  EXPECT_EQ(Results(chat), "Search(\"cats\") =>\n<|1|>: 'Box': 'of cats'\n<|2|>: 'plain'");
  ASSERT_TRUE(chat.Undo());
  chat.AddPlugin("Search", [](std::string_view) { return std::string("one text"); });
  Ask(&chat, " Search(\"cats\")");
  chat.RunCommands();
  EXPECT_EQ(Results(chat), "Search(\"cats\") =>\n<|1|>: 'one text'");
}

TEST(ChatPlugins, ResultsThatDoNotFit) {
  mossrt::Chat chat(Trained().Tokenizer(),
                    {.plugins = {{"Shout"}}, .meta = "", .context = 200, .reserve = 20});
  chat.AddPlugin("Shout", [](std::string_view) { return std::string(1000, '7'); });
  Ask(&chat, " Shout(\"hi\")");
  try {
    chat.RunCommands();
    FAIL() << "1000 digits fit into 200 tokens";
  } catch (const mossrt::Error& e) {
    EXPECT_EQ(e.code(), mossrt::Code::kContextFull) << e.what();
  }
  chat.SetResult(0, "short");
  chat.EndCommands();
  EXPECT_EQ(Results(chat), "Shout(\"hi\") => short");
}

TEST(ChatPlugins, ACancelTakesTheTurnBack) {
  mossrt::Session session = Trained().CreateSession();
  mossrt::Chat chat(Trained().Tokenizer(), {.plugins = {{"Calculate"}}});
  mossrt::Monitor monitor;
  std::promise<void> go;
  auto state = std::make_shared<std::string>("42");
  const std::weak_ptr<std::string> watched = state;
  chat.AddPlugin(
      "Calculate",
      [&monitor, state = std::move(state), wait = go.get_future().share()](std::string_view) {
        monitor.Cancel();
        wait.wait();
        return *state;
      },
      {.description = "never ends", .timeout = 3600});
  const Json turn =
      Json::parse(chat.Say(session, "What is 6 * 7?", {.do_sample = false}, {}, &monitor));
  EXPECT_EQ(turn["ended"], "cancelled");
  EXPECT_EQ(turn["commands"][0]["name"], "Calculate");
  EXPECT_EQ(Json::parse(chat.Info())["turns"].size(), 0u);
  chat.AddBuiltinPlugin("Calculate");  // the old one lives on in its thread
  EXPECT_FALSE(watched.expired());
  EXPECT_EQ(Json::parse(chat.Say(session, "What is 6 * 7?", {.do_sample = false}))["answer"],
            "The result is 42.");
  go.set_value();
  while (!watched.expired()) std::this_thread::yield();
}

TEST(ChatPlugins, AMonitorThatThrows) {
  mossrt::Chat chat(Trained().Tokenizer(), {.plugins = {{"Shout"}}, .meta = ""});
  chat.AddPlugin("Shout", [](std::string_view) { return std::string("!"); });
  Ask(&chat, " Shout(\"hi\")");
  mossrt::Monitor monitor([](std::string_view stage, std::uint64_t, std::uint64_t) -> int {
    EXPECT_EQ(stage, "plugins");
    throw std::out_of_range("mine");
  });
  EXPECT_THROW(chat.RunCommands(&monitor), std::out_of_range);
  chat.RunCommands();
  EXPECT_EQ(Results(chat), "Shout(\"hi\") => !");
}

TEST(ChatPlugins, AreNotTheConversationsOwnThread) {
  mossrt::Chat chat(Trained().Tokenizer(), {.plugins = {{"Shout"}}, .meta = ""});
  mossrt::Code code{};
  chat.AddPlugin("Shout", [&](std::string_view) {
    try {
      chat.Undo();
    } catch (const mossrt::Error& e) {
      code = e.code();
    }
    return std::string("!");
  });
  Ask(&chat, " Shout(\"hi\")");
  chat.RunCommands();
  EXPECT_EQ(code, mossrt::Code::kBusy);
}

}  // namespace
}  // namespace mossrt_testing
