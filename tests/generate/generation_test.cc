// Generation on a tiny checkpoint: ends, text, and what the session holds afterwards.
#include <string>
#include <thread>
#include <vector>

#include "generate/counting_allocator.h"
#include "gtest/gtest.h"
#include "models/reference_model.h"
#include "mossrt/runtime/session.h"

namespace mossrt::runtime {
namespace {

const ReferenceModel& Reference() {
  static const auto* reference = new ReferenceModel("moss");
  return *reference;
}

const Model& TheModel() {
  static const Model* model = Reference().Load({}).release();
  return *model;
}

const Tokenizer& TheTokenizer() {
  static const Tokenizer* tokenizer = [] {
    auto loaded = LoadTokenizer(Reference().directory, TokenizerOptions{});
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded->release();
  }();
  return *tokenizer;
}

std::vector<std::int32_t> List(const char* key) {
  return Reference().json[key].get<std::vector<std::int32_t>>();
}

struct Answer {
  std::unique_ptr<Session> session = nullptr;
  std::vector<std::int32_t> ids = {};
  std::vector<std::string> pieces = {};
  std::string text = {};
  Finish finish = Finish::kNone;
};

std::unique_ptr<Session> Prompted(const SessionOptions& options = {}) {
  auto session = Session::Create(TheModel(), options);
  EXPECT_TRUE(session.ok()) << session.status();
  EXPECT_TRUE((*session)->Eval(List("greedy_prompt"), {}, nullptr).ok());
  return *std::move(session);
}

Answer Generate(const GenerateOptions& options, std::unique_ptr<Session> session = Prompted(),
                Monitor* monitor = nullptr) {
  Answer run{.session = std::move(session)};
  const std::size_t before = run.session->tokens().size();
  auto generation = Generation::Start(*run.session, &TheTokenizer(), options, monitor);
  EXPECT_TRUE(generation.ok()) << generation.status();
  if (!generation.ok()) return run;
  GenerationStep step;
  for (int i = 0; i < 3000 && run.finish == Finish::kNone; ++i) {
    const absl::Status status = (*generation)->Next(&step);
    EXPECT_TRUE(status.ok()) << status;
    if (!status.ok()) break;
    run.pieces.push_back(step.text);
    run.text += step.text;
    run.finish = step.finish;
  }
  const auto ids = (*generation)->new_ids();
  run.ids.assign(ids.begin(), ids.end());
  // After the end: the same again, with nothing new.
  EXPECT_TRUE((*generation)->Next(&step).ok());
  EXPECT_EQ(step.finish, run.finish);
  EXPECT_EQ(step.choice.token, -1);
  EXPECT_TRUE(step.text.empty());
  // The session is prompt and answer.
  const auto tokens = run.session->tokens();
  EXPECT_EQ(tokens.size(), before + run.ids.size());
  EXPECT_TRUE(std::equal(run.ids.begin(), run.ids.end(),
                         tokens.begin() + static_cast<std::ptrdiff_t>(before)));
  return run;
}

std::string Decoded(std::span<const std::int32_t> ids) {
  std::string text;
  const absl::Status status = TheTokenizer().Decode(ids, {.skip_special_tokens = true}, &text);
  EXPECT_TRUE(status.ok()) << status;
  return text;
}

TEST(Generation, GreedyEqualsTransformers) {
  const Answer run = Generate({.max_new_tokens = 64});
  EXPECT_EQ(run.ids, List("greedy_ids"));
  EXPECT_EQ(run.finish, Finish::kLength);
  EXPECT_EQ(run.text, Decoded(run.ids));
  EXPECT_EQ(run.session->evaluated_tokens(), 12 + 63);  // the last token costs no pass
}

TEST(Generation, ContinuesWhereItEnded) {
  Answer first = Generate({.max_new_tokens = 20});
  const Answer second = Generate({.max_new_tokens = 44}, std::move(first.session));
  first.ids.insert(first.ids.end(), second.ids.begin(), second.ids.end());
  EXPECT_EQ(first.ids, List("greedy_ids"));
}

TEST(Generation, MakesLogitsThatAreNotAtHand) {
  auto session = Prompted();
  ASSERT_TRUE(session->Eval(List("greedy_ids"), {.logits = WantLogits::kNone}, nullptr).ok());
  ASSERT_TRUE(session->Rewind(12).ok());
  EXPECT_EQ(Generate({.max_new_tokens = 64}, std::move(session)).ids, List("greedy_ids"));
}

TEST(Generation, EqualSeedsGiveEqualTokens) {
  GenerateOptions options{.sampling = {.do_sample = true, .temperature = 1.5, .seed = 11},
                          .max_new_tokens = 40};
  const Answer a = Generate(options), b = Generate(options);
  EXPECT_EQ(a.ids, b.ids);
  EXPECT_EQ(a.text, Decoded(a.ids));
  options.sampling.sample_index = 1;
  EXPECT_NE(Generate(options).ids, a.ids);
  options.sampling = {.do_sample = true, .temperature = 1.5, .seed = 12};
  EXPECT_NE(Generate(options).ids, a.ids);
}

TEST(Generation, ForksShareARequest) {
  const auto trunk = Prompted();
  const GenerateOptions options{.sampling = {.do_sample = true, .temperature = 1.5, .seed = 3},
                                .max_new_tokens = 20};
  auto fork = trunk->Fork();
  ASSERT_TRUE(fork.ok());
  EXPECT_EQ(Generate(options, *std::move(fork)).ids, Generate(options).ids);
}

TEST(Generation, EndsAtAnyOfTheStopTokens) {
  const std::vector<std::int32_t> greedy = List("greedy_ids");
  const Answer run = Generate({.max_new_tokens = 64, .eos_token_id = {greedy[9], greedy[5]}});
  EXPECT_EQ(run.finish, Finish::kStopToken);
  ASSERT_EQ(run.ids.size(), 2u);  // greedy[9] is greedy[1]
  EXPECT_EQ(run.ids[1], greedy[1]);
  EXPECT_EQ(run.text, Decoded(std::span(run.ids).first(1)));
  const Answer shown =
      Generate({.max_new_tokens = 64, .eos_token_id = {greedy[5]}, .skip_special_tokens = false});
  EXPECT_EQ(shown.text, Decoded(shown.ids));
}

TEST(Generation, NoEndBeforeMinNewTokens) {
  const std::vector<std::int32_t> greedy = List("greedy_ids");
  const Answer run =
      Generate({.max_new_tokens = 30, .min_new_tokens = 8, .eos_token_id = {greedy[0]}});
  ASSERT_GE(run.ids.size(), 8u);
  for (std::size_t i = 0; i < 8; ++i) EXPECT_NE(run.ids[i], greedy[0]);
}

TEST(Generation, StopStringsEndTheTextWhereverTokensMeet) {
  const std::string whole = Generate({.max_new_tokens = 64}).text;
  ASSERT_GT(whole.size(), 40u);
  // Every substring of whole code points from the middle, some of them across tokens.
  for (std::size_t at = 12; at < 30; ++at) {
    for (const std::size_t length : {1u, 2u, 3u, 6u, 9u}) {
      const auto continues = [&](std::size_t i) {
        return i < whole.size() && (static_cast<unsigned char>(whole[i]) & 0xC0) == 0x80;
      };
      if (continues(at) || continues(at + length)) continue;
      const std::string stop = whole.substr(at, length);
      const Answer run = Generate({.max_new_tokens = 64, .stop = {"never there", stop}});
      EXPECT_EQ(run.finish, Finish::kStopString) << stop;
      EXPECT_EQ(run.text, whole.substr(0, whole.find(stop))) << stop;
    }
  }
}

TEST(Generation, HeldTextComesOutAtTheEnd) {
  const Answer plain = Generate({.max_new_tokens = 10});
  std::string stop = plain.text.substr(plain.text.size() / 2);
  while ((static_cast<unsigned char>(stop[0]) & 0xC0) == 0x80) stop.erase(0, 1);
  const Answer run = Generate({.max_new_tokens = 10, .stop = {stop + "x"}});
  EXPECT_EQ(run.text, plain.text);
  EXPECT_EQ(run.finish, Finish::kLength);
}

TEST(Generation, PiecesAreWholeCodePoints) {
  const GenerateOptions options{.sampling = {.do_sample = true, .temperature = 3, .seed = 5},
                                .max_new_tokens = 200};
  const Answer run = Generate(options);
  for (const std::string& piece : run.pieces) {
    ASSERT_TRUE(piece.empty() || (static_cast<unsigned char>(piece[0]) & 0xC0) != 0x80);
  }
  EXPECT_EQ(run.text, Decoded(run.ids));  // incomplete bytes at the end are U+FFFD in both
}

TEST(Generation, AFullContextIsAnEnd) {
  const Answer run = Generate({.max_new_tokens = 64}, Prompted({.context = 20}));
  EXPECT_EQ(run.finish, Finish::kContextFull);
  EXPECT_EQ(run.ids.size(), 8u);
  EXPECT_EQ(run.session->tokens().size(), 20u);
  const Answer full = Generate({.max_new_tokens = -1}, Prompted({.context = 12}));
  EXPECT_EQ(full.finish, Finish::kContextFull);
  EXPECT_TRUE(full.ids.empty());
  EXPECT_EQ(Generate({.max_new_tokens = -1}, Prompted({.context = 30})).ids.size(), 18u);
}

TEST(Generation, NoTokensWanted) {
  const Answer run = Generate({.max_new_tokens = 0});
  EXPECT_EQ(run.finish, Finish::kLength);
  EXPECT_TRUE(run.ids.empty());
}

TEST(Generation, ACancelIsAnEnd) {
  auto session = Prompted();
  Monitor monitor;
  auto generation = Generation::Start(*session, &TheTokenizer(), {}, &monitor);
  ASSERT_TRUE(generation.ok());
  GenerationStep step;
  std::string text;
  std::thread other;
  int steps = 0;
  while (step.finish == Finish::kNone && steps < 3000) {
    if (++steps == 5) other = std::thread([&] { monitor.Cancel(); });
    ASSERT_TRUE((*generation)->Next(&step).ok());
    text += step.text;
  }
  other.join();
  EXPECT_EQ(step.finish, Finish::kCancelled);
  const auto ids = (*generation)->new_ids();
  EXPECT_EQ(text, Decoded(ids));
  EXPECT_EQ(session->tokens().size(), 12 + ids.size());
  // Another monitor, and it goes on as if nothing had happened.
  std::vector<std::int32_t> all(ids.begin(), ids.end());
  const auto rest = static_cast<std::int64_t>(64 - std::min<std::size_t>(64, all.size()));
  const Answer run = Generate({.max_new_tokens = rest}, std::move(session));
  all.insert(all.end(), run.ids.begin(), run.ids.end());
  all.resize(64);
  EXPECT_EQ(all, List("greedy_ids"));
}

TEST(Generation, ATickFunctionMayEndIt) {
  int ticks = 0;
  Monitor monitor([&](const char*, std::uint64_t, std::uint64_t) { return ++ticks > 30 ? -7 : 0; },
                  std::chrono::milliseconds(0));
  const Answer run = Generate({.max_new_tokens = 64}, Prompted(), &monitor);
  EXPECT_EQ(run.finish, Finish::kCancelled);
  EXPECT_EQ(monitor.tick_code(), -7);
  EXPECT_LT(run.ids.size(), 64u);
}

TEST(Generation, UndefinedIdsAreMasked) {
  // Hot enough that of 352 rows the 32 without a token would come up.
  const GenerateOptions options{.sampling = {.do_sample = true, .temperature = 50, .seed = 1},
                                .max_new_tokens = 400};
  const auto size = TheTokenizer().size();
  ASSERT_LT(size, 352);
  for (const std::int32_t id : Generate(options).ids) ASSERT_LT(id, size);
  GenerateOptions open = options;
  open.mask_undefined = false;
  const Answer run = Generate(open);
  EXPECT_TRUE(std::any_of(run.ids.begin(), run.ids.end(), [&](int id) { return id >= size; }));
}

TEST(Generation, ProcessorsSteer) {
  auto session = Prompted();
  auto generation = Generation::Start(*session, nullptr, {.max_new_tokens = 3}, nullptr);
  ASSERT_TRUE(generation.ok());
  (*generation)->AddProcessor([](std::span<const std::int32_t> ids, std::span<float> logits) {
    logits[ids.size()] = 1000;  // the id that equals the position
    return absl::OkStatus();
  });
  GenerationStep step;
  for (std::int32_t i = 12; i < 15; ++i) {
    ASSERT_TRUE((*generation)->Next(&step).ok());
    EXPECT_EQ(step.choice.token, i);
    EXPECT_TRUE(step.text.empty());  // no tokenizer
  }
  EXPECT_EQ(step.finish, Finish::kLength);
}

TEST(Generation, MistakesAreErrors) {
  auto empty = Session::Create(TheModel(), {});
  const auto code = [](Session& session, const Tokenizer* tokenizer, const GenerateOptions& o) {
    return Generation::Start(session, tokenizer, o, nullptr).status().code();
  };
  EXPECT_EQ(code(**empty, nullptr, {}), absl::StatusCode::kFailedPrecondition);
  const auto session = Prompted();
  EXPECT_EQ(code(*session, nullptr, {.stop = {"x"}}), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(code(*session, &TheTokenizer(), {.stop = {""}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(*session, nullptr, {.eos_token_id = {352}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(*session, nullptr, {.max_new_tokens = -2}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(*session, nullptr, {.max_new_tokens = 4, .min_new_tokens = 5}),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(*session, nullptr, {.sampling = {.do_sample = true, .temperature = 0}}),
            absl::StatusCode::kInvalidArgument);
}

TEST(Generation, TokenLoopAllocatesNothing) {
  const auto session = Prompted();
  auto generation = Generation::Start(*session, &TheTokenizer(),
                                      {.sampling = {.do_sample = true,
                                                    .temperature = 0.7,
                                                    .top_k = 40,
                                                    .top_p = 0.8,
                                                    .repetition_penalty = 1.02,
                                                    .top_logprobs = 4},
                                       .max_new_tokens = 100,
                                       .stop = {"not there"}},
                                      nullptr);
  ASSERT_TRUE(generation.ok());
  GenerationStep step;
  step.text.reserve(256);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE((*generation)->Next(&step).ok());
  const long long before = AllocationCount();
  for (int i = 0; i < 60; ++i) ASSERT_TRUE((*generation)->Next(&step).ok());
  EXPECT_EQ(AllocationCount(), before);
}

}  // namespace
}  // namespace mossrt::runtime
