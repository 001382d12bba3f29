// mossrt.hpp: ownership, exceptions, ranges, callbacks that throw.
#include <unistd.h>

#include <filesystem>
#include <ranges>
#include <type_traits>

#include "gtest/gtest.h"
#include "mossrt/mossrt.hpp"
#include "nlohmann/json.hpp"

namespace {

using Json = nlohmann::json;
using mossrt::Code;

static_assert(std::ranges::input_range<mossrt::Generation>);
static_assert(!std::is_copy_constructible_v<mossrt::Model>);
static_assert(!std::is_copy_constructible_v<mossrt::Session>);
static_assert(std::is_nothrow_move_constructible_v<mossrt::Model>);
static_assert(std::is_nothrow_move_constructible_v<mossrt::Session>);

const std::string kPath = MOSSRT_SOURCE_DIR "/tests/data/models/moss";

template <typename F>
Code CodeOf(F&& f) {
  try {
    f();
  } catch (const mossrt::Error& e) {
    EXPECT_STRNE(e.what(), "");
    return e.code();
  }
  ADD_FAILURE() << "nothing was thrown";
  return Code::kInternal;
}

// Every key that the library describes has a member, and every member a key.
template <typename Options>
std::size_t KeysTaken(const Options& options) {
  const mossrt::detail::Options set(options);
  return set.get() != nullptr ? 1u : 0u;
}

std::size_t Described(mossrt::OptionKind kind) {
  return Json::parse(mossrt::DescribeOptions(kind))["options"].size();
}

TEST(Wrapper, OptionStructsMatchTheTables) {
  EXPECT_EQ(KeysTaken(mossrt::LoadOptions{.dtype = "auto",
                                          .backend = "native",
                                          .architecture = "moss",
                                          .threads = 1,
                                          .verify_crc = true,
                                          .huge_pages = false,
                                          .mmap = false,
                                          .memory_limit = 0,
                                          .overrides = {{"lm_head.*=float32"}}}),
            1u);
  EXPECT_EQ(Described(mossrt::OptionKind::kLoad), 9u);
  EXPECT_EQ(KeysTaken(mossrt::TokenizerOptions{.added_tokens = "hf-4.25"}), 1u);
  EXPECT_EQ(Described(mossrt::OptionKind::kTokenizer), 1u);
  EXPECT_EQ(
      KeysTaken(mossrt::SessionOptions{.kv_dtype = "bfloat16", .context = 9, .prefill_chunk = 4}),
      1u);
  EXPECT_EQ(Described(mossrt::OptionKind::kSession), 3u);
  EXPECT_EQ(KeysTaken(mossrt::ChatOptions{.profile = "moss",
                                          .profile_json = "",
                                          .plugins = {{"Search"}},
                                          .meta = "a",
                                          .meta_instruction = "b",
                                          .date = "2023-04-21",
                                          .context = 100,
                                          .reserve = 10,
                                          .on_full = "error",
                                          .commands = "strict",
                                          .max_commands = 2}),
            1u);
  EXPECT_EQ(Described(mossrt::OptionKind::kChat), 11u);
  EXPECT_EQ(KeysTaken(mossrt::EvalOptions{.logits = "all", .hidden = {{0, 1}}}), 1u);
  EXPECT_EQ(Described(mossrt::OptionKind::kEval), 2u);
  EXPECT_EQ(KeysTaken(mossrt::GenerateOptions{.max_new_tokens = 1,
                                              .min_new_tokens = 0,
                                              .do_sample = true,
                                              .temperature = 0.5,
                                              .top_k = 3,
                                              .top_p = 0.5,
                                              .min_p = 0.1,
                                              .repetition_penalty = 1.1,
                                              .seed = ~std::uint64_t{0},
                                              .sample_index = 1,
                                              .top_logprobs = 2,
                                              .eos_token_id = {{1, 2}},
                                              .stop = {{"a\"\n", "b"}},
                                              .mask_undefined = false,
                                              .skip_special_tokens = false}),
            1u);
  EXPECT_EQ(Described(mossrt::OptionKind::kGenerate), 15u);
}

TEST(Wrapper, GeneratesThroughARange) {
  auto model = mossrt::Model::Load(kPath, {.threads = 1});
  std::string text;
  std::vector<std::int32_t> ids;
  mossrt::Finish finish = mossrt::Finish::kNone;
  for (const mossrt::Chunk& chunk :
       model.Generate("hello", {.max_new_tokens = 12,
                               .do_sample = false,
                               .top_logprobs = 1,
                               .eos_token_id = std::vector<std::int32_t>{}})) {
    text += chunk.text;
    if (chunk.token >= 0) {
      ids.push_back(chunk.token);
      EXPECT_EQ(chunk.logprobs.top_ids.size(), 1u);
    }
    finish = chunk.finish;
  }
  EXPECT_EQ(finish, mossrt::Finish::kLength);
  EXPECT_EQ(ids.size(), 12u);
  EXPECT_EQ(model.Tokenizer().Decode(ids, true), text);
}

TEST(Wrapper, ObjectsOutliveTheirModel) {
  auto session = [] {
    const auto model = mossrt::Model::Load(kPath);
    return model.CreateSession();
  }();
  const std::int32_t ids[] = {14, 139, 271};
  session.Eval(ids, {.logits = "all", .hidden = {{1}}});
  EXPECT_EQ(session.Logits().rows, 3u);
  EXPECT_EQ(session.Hidden(1).cols, 80u);
  EXPECT_EQ(session.Tokens().size(), 3u);
  auto fork = session.Fork();
  fork.Rewind(1);
  EXPECT_EQ(session.Tokens().size(), 3u);
  auto generation = [&] {
    auto moved = std::move(session);
    return moved.Generate({.max_new_tokens = 2});
  }();
  EXPECT_TRUE(generation.Next().has_value());
  EXPECT_EQ(Json::parse(generation.Info())["new_tokens"], 1);
}

TEST(Wrapper, ErrorsCarryCodes) {
  EXPECT_EQ(CodeOf([] { mossrt::Model::Load("/does/not/exist"); }), Code::kNotFound);
  EXPECT_EQ(CodeOf([] { mossrt::Model::Load(kPath, {.more_json = R"({"thread": 1})"}); }),
            Code::kInvalidArgument);
  auto model = mossrt::Model::Load(kPath);
  auto session = model.CreateSession({.context = 3});
  EXPECT_EQ(CodeOf([&] { session.Logits(); }), Code::kState);
  const std::vector<std::int32_t> ids(4, 1);
  EXPECT_EQ(CodeOf([&] { session.Eval(ids); }), Code::kContextFull);
  const auto gone = std::move(session);
  EXPECT_EQ(CodeOf([&] { session.Tokens(); }), Code::kInvalidArgument);  // NOLINT: moved from
  EXPECT_EQ(CodeOf([&] { mossrt::RegisterBackend("x", nullptr); }), Code::kInvalidArgument);
}

struct Own {
  int value;
};

TEST(Wrapper, WhatCallbacksThrowComesOutOfTheCall) {
  auto model = mossrt::Model::Load(kPath);
  auto session = model.CreateSession();
  const std::int32_t ids[] = {14, 139, 271};
  session.SetHook("resid", 0, [](const mossrt::HookCall&) { throw Own{7}; });
  try {
    session.Eval(ids);
    ADD_FAILURE();
  } catch (const Own& own) {
    EXPECT_EQ(own.value, 7);
  }
  session.RemoveHook("resid", 0);
  session.Rewind(0);
  session.Eval(ids);

  mossrt::Monitor thrower(
      [](std::string_view, std::uint64_t, std::uint64_t) -> int { throw Own{8}; }, 0);
  EXPECT_THROW(mossrt::Model::Load(kPath, {}, &thrower), Own);
  mossrt::Monitor coded([](std::string_view, std::uint64_t, std::uint64_t) { return -5; }, 0);
  try {
    mossrt::Model::Load(kPath, {}, &coded);
    ADD_FAILURE();
  } catch (const mossrt::Error& e) {
    EXPECT_EQ(e.code(), Code::kCallback);
    EXPECT_EQ(e.callback_code(), -5);
  }
  auto generation = session.Generate();
  generation.AddProcessor([](std::span<const std::int32_t>, std::span<float>) { throw Own{9}; });
  EXPECT_THROW(generation.Next(), Own);
  mossrt::Monitor cancelled;
  cancelled.Cancel();
  EXPECT_EQ(CodeOf([&] { session.Eval(ids, {}, &cancelled); }), Code::kCancelled);
  auto ended = session.Generate({}, &cancelled);
  EXPECT_EQ(ended.Next()->finish, mossrt::Finish::kCancelled);
  EXPECT_FALSE(ended.Next().has_value());
}

TEST(Wrapper, HooksSeeAndChangeRows) {
  auto model = mossrt::Model::Load(kPath);
  auto session = model.CreateSession();
  const std::int32_t ids[] = {14, 139, 271};
  session.Eval(ids);
  const auto before = session.Logits().Row(0)[5];
  std::size_t rows = 0;
  session.SetHook("attn_out", -1, [&](const mossrt::HookCall& call) {
    rows += call.values.rows;
    for (std::size_t i = 0; i < call.values.rows; ++i) {
      for (float& v : call.values.Row(i).first(10)) v = 0;  // head 0 of 8
    }
  });
  session.Rewind(0);
  session.Eval(ids);
  EXPECT_EQ(rows, 2u * 3u);
  EXPECT_NE(session.Logits().Row(0)[5], before);
}

TEST(Wrapper, TokenizerSamplerAndTensors) {
  const auto tokenizer = mossrt::Tokenizer::Load(kPath);
  const auto ids = tokenizer.Encode("ab <eom>", {.parse_special = true});
  EXPECT_EQ(ids.back(), tokenizer.TokenId("<eom>"));
  EXPECT_EQ(tokenizer.Decode(ids), "ab <eom>");
  EXPECT_EQ(tokenizer.DecodeBytes(tokenizer.Encode("\xE4\xB8\x96")), "\xE4\xB8\x96");
  EXPECT_EQ(tokenizer.SpecialIds("eos").size(), 1u);
  auto detok = tokenizer.Decoder();
  std::string text;
  for (const std::int32_t id : ids) text += detok.Push(id);
  EXPECT_EQ(text + std::string(detok.Flush()), "ab <eom>");

  mossrt::Sampler sampler({.do_sample = false});
  sampler.AddProcessor([](std::span<const std::int32_t>, std::span<float> l) { l[1] += 10; });
  const float logits[] = {3, 1, 2};
  EXPECT_EQ(sampler.Sample({}, logits), 1);
  EXPECT_LT(sampler.LastLogprobs().logprob, 0);

  const auto model = mossrt::Model::Load(kPath);
  const auto tensor = model.ReadTensor("transformer.h.0.ln_1.weight");
  EXPECT_EQ(tensor.shape, std::vector<std::int64_t>{80});
  EXPECT_EQ(tensor.values.size(), 80u);
  EXPECT_EQ(model.GetInt("layers"), 2);
  EXPECT_EQ(Json::parse(mossrt::Model::Inspect(kPath))["architecture"], "moss");
  EXPECT_EQ(Json::parse(model.Info())["version"], mossrt::Version());
  EXPECT_TRUE(Json::parse(mossrt::SystemInfo()).contains("isa"));
}

TEST(Wrapper, PackedFilesStandInForTheDirectory) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("mossrt-test-" + std::to_string(::getpid()) + ".mossrt");
  const auto model = mossrt::Model::Load(kPath, {.dtype = "int8"});
  model.SavePacked(path);
  const auto packed = mossrt::Model::Load(path, {.mmap = true});
  EXPECT_EQ(packed.ReadTensor("lm_head.weight").values, model.ReadTensor("lm_head.weight").values);
  EXPECT_EQ(packed.Tokenizer().Encode("ab <eom>"), model.Tokenizer().Encode("ab <eom>"));
  EXPECT_EQ(Json::parse(packed.Info())["numerics"], Json::parse(model.Info())["numerics"]);
  EXPECT_EQ(Json::parse(mossrt::Model::Inspect(path))["packed"]["dtype"], "int8");
  const auto code_of = [&](const mossrt::LoadOptions& options) {
    try {
      (void)mossrt::Model::Load(path, options);
    } catch (const mossrt::Error& error) {
      return error.code();
    }
    return mossrt::Code::kInternal;
  };
  EXPECT_EQ(code_of({.dtype = "float32"}), mossrt::Code::kInvalidArgument);
  EXPECT_EQ(code_of({.backend = "reference"}), mossrt::Code::kInvalidArgument);
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  EXPECT_EQ(code_of({}), mossrt::Code::kFormat);
  std::filesystem::remove(path);
}

// Plain dot products; counts its calls.
class Plain final : public mossrt::Backend {
 public:
  explicit Plain(int* runs) : runs_(runs) {}
  struct Rows final : Data {
    std::vector<float> values;
  };
  std::unique_ptr<Data> Pack(const mossrt::Weight& weight) override {
    auto rows = std::make_unique<Rows>();
    rows->values.resize(weight.rows * weight.cols);
    weight.Read(0, weight.rows, rows->values);
    return rows;
  }
  bool Prepares() const override { return true; }
  void Prepare(mossrt::ConstMatrix x, std::unique_ptr<Data>& prepared) override {
    if (prepared == nullptr) prepared = std::make_unique<Rows>();
    static_cast<Rows&>(*prepared).values.assign(x.data, x.data + x.rows * x.cols);
  }
  bool ReadsRows() const override { return false; }
  void Run(const Data& packed, const Data* prepared, mossrt::ConstMatrix x,
           mossrt::Matrix y) override {
    ++*runs_;
    if (*runs_ == 100) throw Own{100};
    const auto& w = static_cast<const Rows&>(packed).values;
    const auto& in = static_cast<const Rows&>(*prepared).values;
    for (std::size_t i = 0; i < y.rows; ++i) {
      for (std::size_t j = 0; j < y.cols; ++j) {
        double sum = 0;
        for (std::size_t k = 0; k < x.cols; ++k) {
          sum += double{in[i * x.cols + k]} * double{w[j * x.cols + k]};
        }
        y.Row(i)[j] = static_cast<float>(sum);
      }
    }
  }

 private:
  int* runs_;
};

TEST(Wrapper, BackendOfTheProgram) {
  static int runs = 0;
  mossrt::RegisterBackend("plain", std::make_unique<Plain>(&runs));
  const auto ours = mossrt::Model::Load(kPath, {.dtype = "float32", .backend = "plain"});
  const auto native = mossrt::Model::Load(kPath, {.dtype = "float32"});
  const std::int32_t ids[] = {14, 139, 271};
  auto a = ours.CreateSession(), b = native.CreateSession();
  a.Eval(ids);
  b.Eval(ids);
  EXPECT_EQ(runs, 2 * 6 + 1);
  for (std::size_t i = 0; i < 352; ++i) {
    EXPECT_NEAR(a.Logits().Row(0)[i], b.Logits().Row(0)[i], 1e-4f);
  }
  runs = 99;
  EXPECT_THROW(a.Eval(ids), Own);
}

TEST(Wrapper, Plugins) {
  EXPECT_EQ(mossrt::Calculate("0.1 + 0.2"), "0.30000000000000004");
  EXPECT_EQ(mossrt::Solve("x + y = 10; x - y = 4"), "x = 7\ny = 3");
  const auto code = [](auto call) {
    try {
      call();
    } catch (const mossrt::Error& e) {
      return e.code();
    }
    return mossrt::Code{};
  };
  EXPECT_EQ(code([] { mossrt::Calculate("1 +"); }), mossrt::Code::kInvalidArgument);
  EXPECT_EQ(code([] { mossrt::Solve(""); }), mossrt::Code::kInvalidArgument);
  EXPECT_EQ(code([] { mossrt::Solve("2^x = 8"); }), mossrt::Code::kUnsupported);
}

TEST(Wrapper, LogSink) {
  int lines = 0;
  mossrt::SetLog([&](mossrt::LogLevel, std::string_view) { ++lines; }, mossrt::LogLevel::kDebug);
  mossrt::Model::Load(kPath);
  mossrt::SetLog(nullptr);
  const int heard = lines;
  mossrt::Model::Load(kPath);
  EXPECT_EQ(lines, heard);
}

}  // namespace
