// The C interface at work on a tiny MOSS checkpoint.
#include <signal.h>
#include <sys/time.h>

#include <atomic>
#include <cmath>
#include <csignal>
#include <latch>
#include <thread>

#include "capi/capi_testing.h"

namespace mossrt_testing {
namespace {

std::vector<std::int32_t> Ids(const Json& list) { return list.get<std::vector<std::int32_t>>(); }

class ModelTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    model = LoadModel(R"({"threads": 2})");
    reference = new Json(Reference());
  }
  static void TearDownTestSuite() {
    mossrt_model_free(model);
    delete reference;
  }
  void SetUp() override { session = NewSession(model); }
  void TearDown() override { mossrt_session_free(session); }

  void Eval(const std::vector<std::int32_t>& ids, const std::string& options = "{}") {
    mossrt_options* o = Options(MOSSRT_OPTIONS_EVAL, options);
    ASSERT_TRUE(Succeeds(mossrt_session_eval(session, ids.data(), ids.size(), o, nullptr)));
    mossrt_options_free(o);
  }

  static mossrt_model* model;
  static Json* reference;
  mossrt_session* session = nullptr;
};
mossrt_model* ModelTest::model = nullptr;
Json* ModelTest::reference = nullptr;

TEST_F(ModelTest, GreedyTokensAreTheReferences) {
  Eval(Ids((*reference)["greedy_prompt"]));
  const auto expected = Ids((*reference)["greedy_ids"]);
  std::int32_t finish = 0;
  const std::string options = Json{
      {"do_sample", false},
      {"repetition_penalty", 1.0},
      {"mask_undefined", false},
      {"eos_token_id", Json::array()},
      {"max_new_tokens",
       expected.size()}}.dump();
  EXPECT_EQ(Generate(session, options, nullptr, &finish), expected);
  EXPECT_EQ(finish, MOSSRT_FINISH_LENGTH);
}

TEST_F(ModelTest, InfoNamesWhatRuns) {
  const char* text = nullptr;
  std::size_t len = 0;
  ASSERT_TRUE(Succeeds(mossrt_model_info(model, &text, &len)));
  EXPECT_EQ(text[len], '\0');
  const Json info = Json::parse(std::string_view(text, len));
  EXPECT_EQ(info["architecture"], "moss");
  EXPECT_EQ(info["hyper_params"]["hidden"], 80);
  EXPECT_EQ(info["backend"], "native");
  EXPECT_EQ(info["threads"], 2);
  EXPECT_EQ(info["outside_kernels"], false);
  EXPECT_EQ(info["file"], ModelPath());
  EXPECT_EQ(info["version"], mossrt_version());
  EXPECT_EQ(info["config"]["n_embd"], 80);
  EXPECT_EQ(info["numerics_hash"].get<std::string>().size(), 16u);
  EXPECT_GT(info["memory"]["weights"], 0);
  EXPECT_EQ(info["tokenizer"]["kind"], "byte-level-bpe");
  for (const char* key : {"dtype", "isa", "numerics", "notes"}) EXPECT_TRUE(info.contains(key));
  std::int64_t vocab = 0;
  ASSERT_TRUE(Succeeds(mossrt_model_get_int(model, "vocab", &vocab)));
  EXPECT_EQ(vocab, 352);

  char* json = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_system_info(&json, &len)));
  const Json system = TakeJson(json, len);
  EXPECT_EQ(system["isa"], info["isa"]);
  EXPECT_EQ(system["backends"][0], "native");
}

TEST_F(ModelTest, InspectListsTensorsWithoutLoading) {
  char* text = nullptr;
  std::size_t len = 0;
  ASSERT_TRUE(Succeeds(mossrt_model_inspect(ModelPath().c_str(), nullptr, &text, &len)));
  const Json info = TakeJson(text, len);
  EXPECT_EQ(info["architecture"], "moss");
  EXPECT_GT(info["memory"]["available"], 0);
  std::int64_t values = 0;
  for (const Json& tensor : info["tensors"]) {
    std::size_t rank = 0;
    EXPECT_FALSE(tensor["use"].get<std::string>().empty());
    if (tensor["use"] == "ignored") continue;
    std::int64_t dims[4] = {1, 1, 1, 1};
    ASSERT_TRUE(Succeeds(mossrt_model_tensor_shape(model, tensor["name"].get<std::string>().c_str(),
                                                   dims, 4, &rank)));
    EXPECT_EQ(Json(std::vector<std::int64_t>(dims, dims + rank)), tensor["shape"]);
    values += dims[0] * dims[1];
  }
  EXPECT_EQ(info["parameters"], values);
}

TEST_F(ModelTest, TensorsAreReadBack) {
  const char* name = "transformer.wte.weight";
  std::size_t count = 0;
  ASSERT_TRUE(Succeeds(mossrt_model_tensor_read(model, name, nullptr, 0, &count)));
  ASSERT_EQ(count, 352u * 80u);
  std::vector<float> values(count);
  EXPECT_TRUE(FailsWith(mossrt_model_tensor_read(model, name, values.data(), count - 1, &count),
                        MOSSRT_E_INVALID_ARGUMENT, "28160"));
  ASSERT_TRUE(Succeeds(mossrt_model_tensor_read(model, name, values.data(), count, &count)));
  // The embedding hook shows the same rows.
  struct Seen {
    std::vector<float> row;
  } seen;
  ASSERT_TRUE(Succeeds(mossrt_session_set_hook(
      session, "embed", -1,
      [](void* user, const char*, std::int32_t, std::int64_t, float* v, std::size_t,
         std::size_t cols, std::size_t) {
        static_cast<Seen*>(user)->row.assign(v, v + cols);
        return 0;
      },
      &seen)));
  Eval({7});
  EXPECT_EQ(seen.row, std::vector<float>(values.begin() + 7 * 80, values.begin() + 8 * 80));
}

TEST_F(ModelTest, EvalKeepsWhatWasAskedFor) {
  const std::vector<std::int32_t> ids = {14, 139, 271, 19};
  const float* data = nullptr;
  std::size_t rows = 0, cols = 0, stride = 0;
  Eval(ids, R"({"logits": "none"})");
  EXPECT_TRUE(FailsWith(mossrt_session_logits(session, &data, &rows, &cols, &stride),
                        MOSSRT_E_STATE, "logits"));
  EXPECT_TRUE(FailsWith(mossrt_session_hidden(session, 1, &data, &rows, &cols, &stride),
                        MOSSRT_E_STATE, "hidden"));
  EXPECT_EQ(data, nullptr);
  ASSERT_TRUE(Succeeds(mossrt_session_rewind(session, 0)));
  Eval(ids, R"({"logits": "all", "hidden": 1})");
  ASSERT_TRUE(Succeeds(mossrt_session_hidden(session, 1, &data, &rows, &cols, &stride)));
  EXPECT_EQ(rows, 4u);
  EXPECT_EQ(cols, 80u);
  ASSERT_TRUE(Succeeds(mossrt_session_logits(session, &data, &rows, &cols, &stride)));
  EXPECT_EQ(rows, 4u);
  EXPECT_EQ(cols, 352u);
  const std::vector<float> last(data + 3 * stride, data + 3 * stride + cols);
  // Step by step, the last row has the same bits.
  ASSERT_TRUE(Succeeds(mossrt_session_rewind(session, 1)));
  Eval({139, 271});
  Eval({19});
  ASSERT_TRUE(Succeeds(mossrt_session_logits(session, &data, &rows, &cols, &stride)));
  EXPECT_EQ(rows, 1u);
  EXPECT_EQ(std::vector<float>(data, data + cols), last);
  EXPECT_TRUE(FailsWith(mossrt_session_rewind(session, 5), MOSSRT_E_INVALID_ARGUMENT, "5"));
}

TEST_F(ModelTest, ForkGoesItsOwnWay) {
  Eval({14, 139, 271});
  mossrt_session* fork = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_session_fork(session, &fork)));
  Eval({19});
  const std::int32_t* ids = nullptr;
  std::size_t n = 0;
  ASSERT_TRUE(Succeeds(mossrt_session_tokens(fork, &ids, &n)));
  EXPECT_EQ(std::vector<std::int32_t>(ids, ids + n), (std::vector<std::int32_t>{14, 139, 271}));
  mossrt_session_free(session);
  session = fork;
  char* json = nullptr;
  std::size_t len = 0;
  ASSERT_TRUE(Succeeds(mossrt_session_info(fork, &json, &len)));
  const Json info = TakeJson(json, len);
  EXPECT_EQ(info["tokens"], 3);
  EXPECT_EQ(info["context"], 2048);
  EXPECT_EQ(info["kv_dtype"], "float32");
}

TEST_F(ModelTest, ContextFullIsACode) {
  mossrt_options* o = Options(MOSSRT_OPTIONS_SESSION, R"({"context": 4})");
  mossrt_session* small = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_session_create(model, o, &small)));
  mossrt_options_free(o);
  const std::vector<std::int32_t> ids = {1, 2, 3, 4, 5};
  EXPECT_TRUE(FailsWith(mossrt_session_eval(small, ids.data(), 5, nullptr, nullptr),
                        MOSSRT_E_CONTEXT_FULL, "4"));
  ASSERT_TRUE(Succeeds(mossrt_session_eval(small, ids.data(), 3, nullptr, nullptr)));
  std::int32_t finish = 0;
  Generate(small, R"({"eos_token_id": []})", nullptr, &finish);
  EXPECT_EQ(finish, MOSSRT_FINISH_CONTEXT_FULL);
  mossrt_session_free(small);
}

TEST_F(ModelTest, HandlesMayBeFreedInAnyOrder) {
  mossrt_model* m = LoadModel();
  mossrt_session* s = NewSession(m);
  mossrt_tokenizer* t = nullptr;
  mossrt_detok* d = nullptr;
  mossrt_monitor* monitor = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_model_tokenizer(m, &t)));
  ASSERT_TRUE(Succeeds(mossrt_detok_create(t, 0, &d)));
  ASSERT_TRUE(Succeeds(mossrt_monitor_create(nullptr, nullptr, 0, &monitor)));
  mossrt_model_free(m);
  const std::int32_t id = 14;
  ASSERT_TRUE(Succeeds(mossrt_session_eval(s, &id, 1, nullptr, monitor)));
  mossrt_generation* g = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_generation_start(s, nullptr, monitor, &g)));
  mossrt_monitor_free(monitor);
  mossrt_tokenizer_free(t);
  mossrt_session_free(s);
  std::int32_t token = -1, finish = -1;
  ASSERT_TRUE(Succeeds(mossrt_generation_next(g, &token, nullptr, nullptr, &finish)));
  EXPECT_GE(token, 0);
  const char* text = nullptr;
  std::size_t len = 0;
  ASSERT_TRUE(Succeeds(mossrt_detok_push(d, &id, 1, &text, &len)));
  mossrt_generation_free(g);
  mossrt_detok_free(d);
}

// A hook that waits holds the session: every other call on it is refused.
TEST_F(ModelTest, ASecondCallIsBusy) {
  struct Gate {
    std::latch inside{1}, leave{1};
    std::atomic<bool> open{false};
  } gate;
  const mossrt_hook_fn wait = [](void* user, const char*, std::int32_t, std::int64_t, float*,
                                 std::size_t, std::size_t, std::size_t) {
    auto* g = static_cast<Gate*>(user);
    if (!g->open.exchange(true)) {
      g->inside.count_down();
      g->leave.wait();
    }
    return 0;
  };
  ASSERT_TRUE(Succeeds(mossrt_session_set_hook(session, "resid", 0, wait, &gate)));
  std::thread other([&] { Eval({14, 139}); });
  gate.inside.wait();
  const std::int32_t id = 3;
  const std::int32_t* ids = nullptr;
  std::size_t n = 0;
  mossrt_session* fork = nullptr;
  EXPECT_TRUE(
      FailsWith(mossrt_session_eval(session, &id, 1, nullptr, nullptr), MOSSRT_E_BUSY, "in use"));
  EXPECT_TRUE(FailsWith(mossrt_session_rewind(session, 0), MOSSRT_E_BUSY, "in use"));
  EXPECT_TRUE(FailsWith(mossrt_session_tokens(session, &ids, &n), MOSSRT_E_BUSY, "in use"));
  EXPECT_TRUE(FailsWith(mossrt_session_fork(session, &fork), MOSSRT_E_BUSY, "in use"));
  EXPECT_TRUE(FailsWith(mossrt_session_set_hook(session, "resid", 0, nullptr, nullptr),
                        MOSSRT_E_BUSY, "in use"));
  gate.leave.count_down();
  other.join();
  EXPECT_TRUE(Succeeds(mossrt_session_tokens(session, &ids, &n)));
  EXPECT_EQ(n, 2u);
}

TEST_F(ModelTest, OneModelServesManyThreads) {
  std::vector<std::vector<std::int32_t>> results(3);
  std::vector<std::thread> threads;
  for (auto& result : results) {
    threads.emplace_back([&result] {
      mossrt_session* s = NewSession(model);
      const std::int32_t ids[] = {14, 139, 271};
      EXPECT_TRUE(Succeeds(mossrt_session_eval(s, ids, 3, nullptr, nullptr)));
      result = Generate(
          s, R"({"do_sample": true, "seed": 5, "max_new_tokens": 12, "eos_token_id": []})");
      mossrt_session_free(s);
    });
  }
  for (std::thread& t : threads) t.join();
  EXPECT_EQ(results[0].size(), 12u);
  EXPECT_EQ(results[0], results[1]);
  EXPECT_EQ(results[0], results[2]);
}

TEST_F(ModelTest, HooksReadAndWrite) {
  struct Log {
    std::vector<std::pair<std::int32_t, std::int64_t>> calls;
  } log;
  const mossrt_hook_fn zero = [](void* user, const char* name, std::int32_t layer,
                                 std::int64_t first, float* values, std::size_t rows,
                                 std::size_t cols, std::size_t stride) {
    EXPECT_STREQ(name, "mlp_out");
    EXPECT_EQ(cols, 80u);
    static_cast<Log*>(user)->calls.emplace_back(layer, first);
    for (std::size_t i = 0; i < rows; ++i) std::fill_n(values + i * stride, cols, 0.0f);
    return 0;
  };
  const auto logits = [&] {
    const float* data = nullptr;
    std::size_t rows = 0, cols = 0, stride = 0;
    EXPECT_TRUE(Succeeds(mossrt_session_logits(session, &data, &rows, &cols, &stride)));
    return std::vector<float>(data, data + cols);
  };
  Eval({14, 139, 271});
  const auto plain = logits();
  ASSERT_TRUE(Succeeds(mossrt_session_set_hook(session, "mlp_out", -1, zero, &log)));
  ASSERT_TRUE(Succeeds(mossrt_session_rewind(session, 1)));
  Eval({139, 271});
  EXPECT_EQ(log.calls, (std::vector<std::pair<std::int32_t, std::int64_t>>{{0, 1}, {1, 1}}));
  EXPECT_NE(logits(), plain);
  // Removed, everything is as before.
  ASSERT_TRUE(Succeeds(mossrt_session_set_hook(session, "mlp_out", -1, nullptr, nullptr)));
  ASSERT_TRUE(Succeeds(mossrt_session_rewind(session, 0)));
  Eval({14, 139, 271});
  EXPECT_EQ(logits(), plain);
  EXPECT_EQ(log.calls.size(), 2u);
}

TEST_F(ModelTest, NegativeReturnsComeBack) {
  const std::int32_t ids[] = {14, 139};
  ASSERT_TRUE(Succeeds(mossrt_session_set_hook(
      session, "v", 1,
      [](void*, const char*, std::int32_t, std::int64_t, float*, std::size_t, std::size_t,
         std::size_t) { return -4711; },
      nullptr)));
  Failure f = Take(mossrt_session_eval(session, ids, 2, nullptr, nullptr));
  EXPECT_EQ(f.code, MOSSRT_E_CALLBACK);
  EXPECT_EQ(f.callback_code, -4711);
  EXPECT_NE(f.text.find("\"v\""), std::string::npos) << f.text;
  ASSERT_TRUE(Succeeds(mossrt_session_set_hook(session, "v", 1, nullptr, nullptr)));

  const mossrt_tick_fn stop = [](void*, const char*, std::uint64_t, std::uint64_t) { return -99; };
  mossrt_monitor* monitor = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_monitor_create(stop, nullptr, 0, &monitor)));
  f = Take(mossrt_session_eval(session, ids, 2, nullptr, monitor));
  EXPECT_EQ(f.code, MOSSRT_E_CALLBACK);
  EXPECT_EQ(f.callback_code, -99);
  mossrt_monitor_free(monitor);
  mossrt_model* m = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_monitor_create(stop, nullptr, 0, &monitor)));
  f = Take(mossrt_model_load(ModelPath().c_str(), nullptr, monitor, &m));
  EXPECT_EQ(f.code, MOSSRT_E_CALLBACK);
  EXPECT_EQ(f.callback_code, -99);
  EXPECT_EQ(m, nullptr);
  mossrt_monitor_free(monitor);

  ASSERT_TRUE(Succeeds(mossrt_session_eval(session, ids, 2, nullptr, nullptr)));
  mossrt_generation* g = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_generation_start(session, nullptr, nullptr, &g)));
  ASSERT_TRUE(Succeeds(mossrt_generation_add_processor(
      g, [](void*, const std::int32_t*, std::size_t, float*, std::size_t) { return -8; },
      nullptr)));
  f = Take(mossrt_generation_next(g, nullptr, nullptr, nullptr, nullptr));
  EXPECT_EQ(f.code, MOSSRT_E_CALLBACK);
  EXPECT_EQ(f.callback_code, -8);
  mossrt_generation_free(g);

  f = Take(mossrt_generate(
      session, "a", 1, 0, nullptr, nullptr,
      [](void*, const char*, std::size_t, std::int32_t) { return -12; }, nullptr, nullptr));
  EXPECT_EQ(f.code, MOSSRT_E_CALLBACK);
  EXPECT_EQ(f.callback_code, -12);

  ASSERT_TRUE(Succeeds(mossrt_session_set_hook(
      session, "q", -1,
      [](void*, const char*, std::int32_t, std::int64_t, float*, std::size_t, std::size_t,
         std::size_t) -> std::int32_t { throw 5; },
      nullptr)));
  f = Take(mossrt_session_eval(session, ids, 2, nullptr, nullptr));
  EXPECT_EQ(f.code, MOSSRT_E_CALLBACK);
  EXPECT_NE(f.text.find("exception"), std::string::npos) << f.text;
}

TEST_F(ModelTest, CancelIsAnErrorOfEvalAndAnEndOfGeneration) {
  mossrt_monitor* monitor = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_monitor_create(nullptr, nullptr, 0, &monitor)));
  Eval({14, 139});
  mossrt_options* o = Options(MOSSRT_OPTIONS_GENERATE, R"({"eos_token_id": []})");
  mossrt_generation* g = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_generation_start(session, o, monitor, &g)));
  mossrt_options_free(o);
  std::int32_t finish = -1, token = -1;
  ASSERT_TRUE(Succeeds(mossrt_generation_next(g, &token, nullptr, nullptr, &finish)));
  EXPECT_EQ(finish, MOSSRT_FINISH_NONE);
  mossrt_monitor_cancel(monitor);
  for (int again = 0; again < 2; ++again) {
    ASSERT_TRUE(Succeeds(mossrt_generation_next(g, &token, nullptr, nullptr, &finish)));
    EXPECT_EQ(finish, MOSSRT_FINISH_CANCELLED);
    EXPECT_EQ(token, -1);
  }
  mossrt_generation_free(g);
  const std::int32_t id = 3;
  EXPECT_TRUE(FailsWith(mossrt_session_eval(session, &id, 1, nullptr, monitor), MOSSRT_E_CANCELLED,
                        "cancel"));
  mossrt_monitor_free(monitor);
}

mossrt_monitor* alarmed_monitor = nullptr;
volatile std::sig_atomic_t alarms = 0;

TEST_F(ModelTest, ASignalHandlerCancelsAGeneration) {
  ASSERT_TRUE(Succeeds(mossrt_monitor_create(nullptr, nullptr, 0, &alarmed_monitor)));
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) {
    alarms = alarms + 1;
    mossrt_monitor_cancel(alarmed_monitor);
  };
  ASSERT_EQ(sigaction(SIGALRM, &action, &before), 0);
  Eval({14, 139});
  std::int32_t finish = MOSSRT_FINISH_NONE;
  EXPECT_EQ(
      Generate(session, R"({"eos_token_id": [], "max_new_tokens": 3})", alarmed_monitor, &finish)
          .size(),
      3u);
  EXPECT_EQ(finish, MOSSRT_FINISH_LENGTH);
  // Whenever the signal comes, nothing else ends this loop.
  alarms = 0;
  const itimerval soon{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_usec = 20'000}};
  ASSERT_EQ(setitimer(ITIMER_REAL, &soon, nullptr), 0);
  while (finish != MOSSRT_FINISH_CANCELLED && !HasFailure()) {
    ASSERT_TRUE(Succeeds(mossrt_session_rewind(session, 0)));
    Eval({14, 139});
    Generate(session, R"({"eos_token_id": [], "max_new_tokens": 500})", alarmed_monitor, &finish);
  }
  EXPECT_EQ(alarms, 1);
  ASSERT_EQ(sigaction(SIGALRM, &before, nullptr), 0);
  mossrt_monitor_free(alarmed_monitor);
  // The session is as usable as before.
  ASSERT_TRUE(Succeeds(mossrt_session_rewind(session, 0)));
  Eval({14, 139});
  EXPECT_EQ(Generate(session, R"({"eos_token_id": [], "max_new_tokens": 3})").size(), 3u);
}

TEST_F(ModelTest, ProgressOfLoadingReachesItsTotal) {
  struct Progress {
    std::uint64_t done = 0, total = 1;
    bool monotonic = true;
  } progress;
  mossrt_monitor* monitor = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_monitor_create(
      [](void* user, const char*, std::uint64_t done, std::uint64_t total) {
        auto* p = static_cast<Progress*>(user);
        p->monotonic &= done >= p->done && done <= total;
        p->done = done;
        p->total = total;
        return 0;
      },
      &progress, 0, &monitor)));
  mossrt_model* m = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_model_load(ModelPath().c_str(), nullptr, monitor, &m)));
  mossrt_model_free(m);
  mossrt_monitor_free(monitor);
  EXPECT_TRUE(progress.monotonic);
  EXPECT_EQ(progress.done, progress.total);
  EXPECT_GT(progress.total, 100000u);
}

TEST_F(ModelTest, ProcessorsAndLogprobs) {
  Eval({14, 139, 271});
  mossrt_options* o =
      Options(MOSSRT_OPTIONS_GENERATE, R"({"top_logprobs": 3, "eos_token_id": []})");
  mossrt_generation* g = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_generation_start(session, o, nullptr, &g)));
  mossrt_options_free(o);
  ASSERT_TRUE(Succeeds(mossrt_generation_add_processor(
      g,
      [](void* user, const std::int32_t* ids, std::size_t n_ids, float* logits, std::size_t n) {
        EXPECT_EQ(ids[0], 14);
        EXPECT_EQ(n, 352u);
        *static_cast<std::size_t*>(user) = n_ids;
        logits[42] = 1e6f;
        return 0;
      },
      [] {
        static std::size_t seen;
        return &seen;
      }())));
  float logprob = 1;
  const std::int32_t* top_ids = nullptr;
  const float* top = nullptr;
  std::size_t n = 9;
  EXPECT_TRUE(FailsWith(mossrt_generation_logprobs(g, &logprob, &top_ids, &top, &n), MOSSRT_E_STATE,
                        "no token"));
  std::int32_t token = -1;
  ASSERT_TRUE(Succeeds(mossrt_generation_next(g, &token, nullptr, nullptr, nullptr)));
  EXPECT_EQ(token, 42);
  ASSERT_TRUE(Succeeds(mossrt_generation_logprobs(g, &logprob, &top_ids, &top, &n)));
  ASSERT_EQ(n, 3u);
  EXPECT_LT(logprob, 0);
  EXPECT_GE(top[0], top[1]);
  EXPECT_GE(top[1], top[2]);
  EXPECT_TRUE(FailsWith(
      mossrt_generation_add_processor(
          g, [](void*, const std::int32_t*, std::size_t, float*, std::size_t) { return 0; },
          nullptr),
      MOSSRT_E_STATE, "before"));
  char* json = nullptr;
  std::size_t len = 0;
  ASSERT_TRUE(Succeeds(mossrt_generation_info(g, &json, &len)));
  const Json info = TakeJson(json, len);
  EXPECT_EQ(info["prompt_tokens"], 3);
  EXPECT_EQ(info["new_tokens"], 1);
  std::map<std::string, std::string> origins;
  for (const Json& option : info["options"]) origins[option["key"]] = option["origin"];
  EXPECT_EQ(origins["top_logprobs"], "argument");
  EXPECT_EQ(origins["temperature"], "recipe:moss");
  EXPECT_EQ(origins["seed"], "default");
  mossrt_generation_free(g);
  mossrt_options* same = Options(MOSSRT_OPTIONS_GENERATE, R"({"top_logprobs": 3})");
  ASSERT_TRUE(Succeeds(mossrt_model_generation_options(model, same, &json, &len)));
  EXPECT_EQ(TakeJson(json, len)[0].size(), 3u);  // key, value, origin
  mossrt_options_free(same);
}

TEST_F(ModelTest, PushAndPullGiveTheSameText) {
  const std::string prompt = "hello";
  const std::string options =
      R"({"do_sample": true, "seed": 11, "max_new_tokens": 20, "eos_token_id": []})";
  mossrt_options* o = Options(MOSSRT_OPTIONS_GENERATE, options);
  std::string pushed;
  std::int32_t finish = -1;
  ASSERT_TRUE(Succeeds(mossrt_generate(
      session, prompt.data(), prompt.size(), MOSSRT_ENCODE_ADD_SPECIAL, o, nullptr,
      [](void* user, const char* text, std::size_t len, std::int32_t) {
        static_cast<std::string*>(user)->append(text, len);
        return 0;
      },
      &pushed, &finish)));
  EXPECT_EQ(finish, MOSSRT_FINISH_LENGTH);
  mossrt_tokenizer* t = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_model_tokenizer(model, &t)));
  std::int32_t* ids = nullptr;
  std::size_t n = 0;
  ASSERT_TRUE(Succeeds(mossrt_tokenizer_encode(t, prompt.data(), prompt.size(),
                                               MOSSRT_ENCODE_ADD_SPECIAL, &ids, &n)));
  ASSERT_TRUE(Succeeds(mossrt_session_rewind(session, 0)));
  ASSERT_TRUE(Succeeds(mossrt_session_eval(session, ids, n, nullptr, nullptr)));
  mossrt_free(ids);
  mossrt_generation* g = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_generation_start(session, o, nullptr, &g)));
  std::string pulled;
  for (finish = 0; finish == MOSSRT_FINISH_NONE;) {
    const char* text = nullptr;
    std::size_t len = 0;
    ASSERT_TRUE(Succeeds(mossrt_generation_next(g, nullptr, &text, &len, &finish)));
    pulled.append(text, len);
  }
  EXPECT_EQ(pushed, pulled);
  EXPECT_FALSE(pulled.empty());
  mossrt_generation_free(g);
  mossrt_options_free(o);
  mossrt_tokenizer_free(t);
}

TEST_F(ModelTest, SamplerOfItsOwn) {
  mossrt_options* o =
      Options(MOSSRT_OPTIONS_GENERATE, R"({"do_sample": true, "seed": 3, "top_logprobs": 2})");
  mossrt_sampler* p = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_sampler_create(o, &p)));
  mossrt_options_free(o);
  const std::vector<float> logits = {0, 1, 2, 3};
  float logprob = 0;
  EXPECT_TRUE(FailsWith(mossrt_sampler_logprobs(p, &logprob, nullptr, nullptr, nullptr),
                        MOSSRT_E_STATE, "no token"));
  std::int32_t first = -1, second = -1;
  ASSERT_TRUE(Succeeds(mossrt_sampler_sample(p, nullptr, 0, logits.data(), 4, &first)));
  ASSERT_TRUE(Succeeds(mossrt_sampler_sample(p, nullptr, 0, logits.data(), 4, &second)));
  EXPECT_EQ(first, second);  // the position keys the random numbers
  const std::int32_t* ids = nullptr;
  const float* top = nullptr;
  std::size_t n = 0;
  ASSERT_TRUE(Succeeds(mossrt_sampler_logprobs(p, &logprob, &ids, &top, &n)));
  ASSERT_EQ(n, 2u);
  EXPECT_EQ(ids[0], 3);
  EXPECT_NEAR(top[0], 3 - std::log(std::exp(0.) + std::exp(1.) + std::exp(2.) + std::exp(3.)),
              1e-6);
  EXPECT_EQ(logits[3], 3);  // the caller's logits are not touched
  const std::vector<float> nothing(4, -INFINITY);
  EXPECT_TRUE(FailsWith(mossrt_sampler_sample(p, nullptr, 0, nothing.data(), 4, &first),
                        MOSSRT_E_STATE, ""));
  mossrt_sampler_free(p);
}

TEST_F(ModelTest, TokenizerAndDetok) {
  mossrt_tokenizer* t = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_model_tokenizer(model, &t)));
  EXPECT_STREQ(mossrt_tokenizer_kind(t), "byte-level-bpe");
  const std::string text = "Hello, \xE4\xB8\x96\xE7\x95\x8C!";
  std::int32_t* ids = nullptr;
  std::size_t n = 0, len = 0;
  ASSERT_TRUE(Succeeds(mossrt_tokenizer_encode(t, text.data(), text.size(), 0, &ids, &n)));
  char* back = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_tokenizer_decode(t, ids, n, 0, &back, &len)));
  EXPECT_EQ(std::string(back, len), text);
  EXPECT_EQ(back[len], '\0');
  mossrt_free(back);
  mossrt_detok* d = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_detok_create(t, 0, &d)));
  std::string pieces, bytes;
  for (std::size_t i = 0; i < n; ++i) {
    const char* piece = nullptr;
    ASSERT_TRUE(Succeeds(mossrt_detok_push(d, &ids[i], 1, &piece, &len)));
    pieces.append(piece, len);
    ASSERT_TRUE(Succeeds(mossrt_tokenizer_token_bytes(t, ids[i], &piece, &len)));
    bytes.append(piece, len);
  }
  EXPECT_EQ(pieces, text);
  EXPECT_EQ(bytes, text);
  mossrt_free(ids);
  // An incomplete code point waits, and becomes U+FFFD when it is given up.
  ASSERT_TRUE(Succeeds(mossrt_tokenizer_encode(t, "\xE4\xB8\x96", 3, 0, &ids, &n)));
  const char* piece = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_detok_push(d, ids, 1, &piece, &len)));
  EXPECT_EQ(len, 0u);
  ASSERT_TRUE(Succeeds(mossrt_detok_flush(d, &piece, &len)));
  EXPECT_EQ(std::string(piece, len), "\xEF\xBF\xBD");
  mossrt_free(ids);
  mossrt_detok_free(d);
  std::int32_t eom = -1, none = 0;
  ASSERT_TRUE(Succeeds(mossrt_tokenizer_token_id(t, "<eom>", 5, &eom)));
  ASSERT_TRUE(Succeeds(mossrt_tokenizer_token_id(t, "<no such>", 9, &none)));
  EXPECT_GE(eom, 0);
  EXPECT_EQ(none, -1);
  const std::int32_t* special = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_tokenizer_special_ids(t, "eos", &special, &n)));
  EXPECT_EQ(n, 1u);
  mossrt_tokenizer_free(t);
}

// Results remember where their memory came from.
TEST_F(ModelTest, AllocatorOfResults) {
  static std::atomic<int> live{0};
  char* before = nullptr;
  std::size_t len = 0;
  ASSERT_TRUE(Succeeds(mossrt_system_info(&before, &len)));
  ASSERT_TRUE(Succeeds(mossrt_set_allocator(
      [](void*, std::size_t size, std::size_t alignment) {
        ++live;
        return std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
      },
      [](void*, void* p) {
        --live;
        std::free(p);
      },
      nullptr)));
  char* inside = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_system_info(&inside, &len)));
  EXPECT_EQ(live, 1);
  mossrt_free(before);
  EXPECT_EQ(live, 1);
  ASSERT_TRUE(Succeeds(
      mossrt_set_allocator([](void*, std::size_t, std::size_t) -> void* { return nullptr; },
                           [](void*, void*) {}, nullptr)));
  char* none = nullptr;
  EXPECT_TRUE(FailsWith(mossrt_system_info(&none, &len), MOSSRT_E_OUT_OF_MEMORY, "allocator"));
  EXPECT_EQ(none, nullptr);
  ASSERT_TRUE(Succeeds(mossrt_set_allocator(nullptr, nullptr, nullptr)));
  mossrt_free(inside);
  EXPECT_EQ(live, 0);
}

TEST_F(ModelTest, TheLogSinkGetsWhatLoadingNotes) {
  static std::atomic<int> lines{0};
  const mossrt_log_fn sink = [](void*, std::int32_t level, const char* text, std::size_t len) {
    EXPECT_LE(level, MOSSRT_LOG_DEBUG);
    EXPECT_EQ(text[len], '\0');
    ++lines;
  };
  ASSERT_TRUE(Succeeds(mossrt_set_log(sink, nullptr, MOSSRT_LOG_DEBUG)));
  mossrt_model_free(LoadModel());
  ASSERT_TRUE(Succeeds(mossrt_set_log(nullptr, nullptr, MOSSRT_LOG_OFF)));
  const int heard = lines;
  EXPECT_GT(heard, 0);
  mossrt_model_free(LoadModel());
  EXPECT_EQ(lines, heard);
}

}  // namespace
}  // namespace mossrt_testing
