// Sessions that were saved and restored go on as if nothing had been.
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "generate/saved_session_bytes.h"
#include "gtest/gtest.h"
#include "models/made_checkpoint.h"
#include "models/reference_model.h"

namespace mossrt::runtime {
namespace {

namespace fs = std::filesystem;

const ReferenceModel& Reference() {
  static const auto* reference = new ReferenceModel("moss");
  return *reference;
}
const Model& TheModel() {
  static const Model* model = Reference().Load({}).release();
  return *model;
}

std::unique_ptr<Session> Make(const SessionOptions& options = {}, const Model& model = TheModel()) {
  auto session = Session::Create(model, options);
  EXPECT_TRUE(session.ok()) << session.status();
  return session.ok() ? *std::move(session) : nullptr;
}

std::span<const std::int32_t> Ids(std::size_t first, std::size_t count) {
  return std::span(Reference().ids).subspan(first, count);
}

void Eval(Session& session, std::span<const std::int32_t> ids, const EvalOptions& options = {}) {
  const absl::Status status = session.Eval(ids, options, nullptr);
  ASSERT_TRUE(status.ok()) << status;
}

Bytes Saved(const Session& session) {
  auto bytes = SaveBytes(session);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(bytes->size(), session.saved_bytes());
  return *std::move(bytes);
}

std::unique_ptr<Session> Restored(const Bytes& bytes, const Model& model = TheModel()) {
  auto session = Session::RestoreBytes(model, bytes);
  EXPECT_TRUE(session.ok()) << session.status();
  return session.ok() ? *std::move(session) : nullptr;
}

std::vector<float> Logits(const Session& session) {
  const auto logits = session.logits();
  EXPECT_TRUE(logits.ok()) << logits.status();
  if (!logits.ok()) return {};
  return {logits->data, logits->data + logits->rows * logits->cols};
}

bool Same(std::span<const float> a, std::span<const float> b) {
  return !a.empty() && a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

std::vector<std::int32_t> Generate(Session& session, std::int64_t count) {
  GenerateOptions options;
  options.sampling.do_sample = true;
  options.sampling.seed = 7;
  options.max_new_tokens = count;
  const auto generation = Generation::Start(session, nullptr, options, nullptr);
  EXPECT_TRUE(generation.ok()) << generation.status();
  GenerationStep step;
  while (step.finish == Finish::kNone) {
    const absl::Status status = (*generation)->Next(&step);
    EXPECT_TRUE(status.ok()) << status;
    if (!status.ok()) break;
  }
  const auto ids = (*generation)->new_ids();
  return {ids.begin(), ids.end()};
}

// What both do next must be equal: going on, after a rewind, in a fork, and when generating.
void ExpectEqualLives(Session& a, Session& b) {
  ASSERT_EQ(std::vector(a.tokens().begin(), a.tokens().end()),
            std::vector(b.tokens().begin(), b.tokens().end()));
  EXPECT_EQ(a.context(), b.context());
  EXPECT_EQ(a.numerics(), b.numerics());
  EXPECT_EQ(a.kv_bytes(), b.kv_bytes());
  EXPECT_EQ(a.last_logits().empty(), b.last_logits().empty());
  EXPECT_TRUE(a.last_logits().empty() || Same(a.last_logits(), b.last_logits()));
  const auto fork_a = a.Fork(), fork_b = b.Fork();
  ASSERT_TRUE(fork_a.ok() && fork_b.ok());
  EXPECT_EQ(Generate(**fork_a, 12), Generate(**fork_b, 12));
  for (Session* session : {&a, &b}) Eval(*session, Ids(700, 20), {.logits = WantLogits::kAll});
  EXPECT_TRUE(Same(Logits(a), Logits(b)));
  const auto keep = static_cast<std::int64_t>(a.tokens().size()) / 2;
  for (Session* session : {&a, &b}) {
    ASSERT_TRUE(session->Rewind(keep).ok());
    Eval(*session, Ids(800, 5), {.logits = WantLogits::kAll});
  }
  EXPECT_TRUE(Same(Logits(a), Logits(b)));
  EXPECT_EQ(Generate(a, 5), Generate(b, 5));
}

class SavedSession : public ::testing::TestWithParam<DType> {};

TEST_P(SavedSession, GoesOnToTheBit) {
  for (const std::size_t tokens : {1u, 15u, 255u, 256u, 257u, 300u, 530u}) {
    SCOPED_TRACE(tokens);
    const auto session = Make({.kv_dtype = GetParam(), .context = 1000});
    Eval(*session, Ids(0, tokens));
    const auto restored = Restored(Saved(*session));
    ASSERT_NE(restored, nullptr);
    EXPECT_EQ(restored->evaluated_tokens(), 0);  // of its own life
    ExpectEqualLives(*session, *restored);
  }
}

TEST_P(SavedSession, TokensThatWaitComeAlong) {
  for (const std::size_t waiting : {1u, 3u}) {
    const auto session = Make({.kv_dtype = GetParam()});
    Eval(*session, Ids(0, 40));
    for (std::size_t i = 0; i < waiting; ++i) {
      ASSERT_TRUE(session->Append(Reference().ids[40 + i]).ok());
    }
    const Bytes saved = Saved(*session);
    EXPECT_EQ(HeaderOf(saved).tokens, 40 + waiting);
    EXPECT_EQ(HeaderOf(saved).evaluated, 40u);
    const auto restored = Restored(saved);
    ASSERT_NE(restored, nullptr);
    EXPECT_FALSE(restored->logits().ok());
    ExpectEqualLives(*session, *restored);
  }
}

TEST_P(SavedSession, EqualSessionsGiveEqualBytes) {
  const auto plain = Make({.kv_dtype = GetParam()});
  Eval(*plain, Ids(0, 270));
  const Bytes wanted = Saved(*plain);
  EXPECT_EQ(Saved(*plain), wanted);
  EXPECT_EQ(Saved(*Restored(wanted)), wanted);

  // Others were in the cache before, the logits of all rows are there, hooks looked on.
  const auto other = Make({.kv_dtype = GetParam(), .prefill_chunk = 7});
  other->hooks().Add(HookPoint::kResid, 0, [](const HookCall&) { return absl::OkStatus(); });
  Eval(*other, Ids(300, 500));
  ASSERT_TRUE(other->Rewind(0).ok());
  Eval(*other, Ids(0, 100));
  Eval(*other, Ids(900, 300));
  ASSERT_TRUE(other->Rewind(100).ok());
  Eval(*other, Ids(100, 170), {.logits = WantLogits::kAll, .hidden = {1}});
  EXPECT_EQ(Saved(*other), wanted);
  const auto fork = other->Fork();
  ASSERT_TRUE(fork.ok());
  Eval(*other, Ids(400, 3));
  EXPECT_EQ(Saved(**fork), wanted);
}

TEST_P(SavedSession, HasTheSizeOfTheFormula) {
  const auto session = Make({.kv_dtype = GetParam()});
  const HyperParams& p = TheModel().params();
  const std::size_t row = static_cast<std::size_t>(p.head_dim) * DTypeSize(GetParam()) +
                          (GetParam() == DType::kI8 ? 4 : 0);
  const std::size_t fixed = 120 + static_cast<std::size_t>(4 * (p.hidden + 64)) +
                            TheModel().shape_text().size() + session->numerics().size();
  EXPECT_EQ(Saved(*session).size(), fixed);
  Eval(*session, Ids(0, 300));
  const auto cache = static_cast<std::size_t>(2 * p.layers * p.kv_heads) * 300 * row;
  EXPECT_EQ(Saved(*session).size(),
            fixed + 4 * 300 + static_cast<std::size_t>(4 * p.vocab) + cache);
  Eval(*session, Ids(300, 1), {.logits = WantLogits::kNone});
  EXPECT_EQ(Saved(*session).size(), fixed + 4 * 301 + cache / 300 * 301);
}

INSTANTIATE_TEST_SUITE_P(Caches, SavedSession,
                         ::testing::Values(DType::kF32, DType::kBF16, DType::kI8),
                         [](const auto& info) { return std::string(DTypeName(info.param)); });

TEST(SavedSessions, AnEmptyOneIsOneToo) {
  const auto session = Make({.context = 50});
  const auto restored = Restored(Saved(*session));
  ASSERT_NE(restored, nullptr);
  EXPECT_TRUE(restored->tokens().empty());
  EXPECT_EQ(restored->context(), 50);
  Eval(*restored, Ids(0, 30));
  Eval(*session, Ids(0, 30));
  EXPECT_TRUE(Same(restored->last_logits(), session->last_logits()));
}

TEST(SavedSessions, EveryFormatOfWeights) {
  for (const std::string dtype : {"float16", "bfloat16", "int8", "int4-asym"}) {
    SCOPED_TRACE(dtype);
    const auto model = Reference().Load({.dtype = dtype, .threads = 2});
    const auto again = Reference().Load({.dtype = dtype, .threads = 1});
    const auto session = Make({}, *model);
    Eval(*session, Ids(0, 70));
    const auto restored = Restored(Saved(*session), *again);
    ASSERT_NE(restored, nullptr);
    EXPECT_EQ(Saved(*restored), Saved(*session));
    ExpectEqualLives(*session, *restored);
  }
}

TEST(SavedSessions, OtherThreadsAndOtherCopiesAccept) {
  for (const std::string backend : {"native", "reference", "eigen"}) {
    SCOPED_TRACE(backend);
    const auto model = Reference().Load({.backend = backend, .threads = 1});
    const auto other = Reference().Load({.backend = backend, .threads = 4});
    const auto session = Make({}, *model);
    Eval(*session, Ids(0, 20));
    const auto restored = Restored(Saved(*session), *other);
    ASSERT_NE(restored, nullptr);
    EXPECT_TRUE(Same(restored->last_logits(), session->last_logits()));
    Eval(*restored, Ids(20, 5));
    Eval(*session, Ids(20, 5));
    if (model->backend().deterministic()) {
      EXPECT_TRUE(Same(restored->last_logits(), session->last_logits()));
    }
  }
}

TEST(SavedSessions, ThePackedModelAccepts) {
  std::string folder = (fs::temp_directory_path() / "mossrt-test-XXXXXX").string();
  ASSERT_NE(mkdtemp(folder.data()), nullptr);
  const auto model = Reference().Load({.dtype = "int8"});
  const auto files = OpenModelFiles(Reference().directory);
  ASSERT_TRUE(files.ok());
  const absl::Status status = SavePacked(*model, **files, folder + "/m", {}, nullptr);
  ASSERT_TRUE(status.ok()) << status;
  const auto checkpoint = OpenCheckpoint(folder + "/m");
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto packed = Model::Load(**checkpoint, {.threads = 2}, nullptr);
  ASSERT_TRUE(packed.ok()) << packed.status();
  const auto session = Make({}, *model);
  Eval(*session, Ids(0, 20));
  const auto restored = Restored(Saved(*session), **packed);
  fs::remove_all(folder);
  ASSERT_NE(restored, nullptr);
  ExpectEqualLives(*session, *restored);
}

// Written by another build, perhaps on another processor (tests/generate/make_session_seeds.py):
// version 1 stays readable, and gives the same bytes again.
TEST(SavedSessions, StoredOnesAreRead) {
  int found = 0;
  for (const auto& entry :
       fs::directory_iterator(std::string(MOSSRT_SOURCE_DIR) + "/tests/data/corpus/session_fuzz")) {
    SCOPED_TRACE(entry.path());
    const std::string text = ReadFileOrDie(entry.path());
    const Bytes stored(text.begin(), text.end());
    const auto restored = Restored(stored);
    ASSERT_NE(restored, nullptr);
    EXPECT_TRUE(Saved(*restored) == stored);
    const auto session =
        Make({.kv_dtype = restored->options().kv_dtype, .context = restored->context()});
    Eval(*session, restored->tokens().first(HeaderOf(stored).evaluated));
    EXPECT_TRUE(HeaderOf(stored).logits == 0 ||
                Same(session->last_logits(), restored->last_logits()));
    ++found;
  }
  EXPECT_EQ(found, 3);
}

class SavedFile : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = (fs::temp_directory_path() / "mossrt-test-XXXXXX").string();
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string File(const std::string& name) const { return folder_ + "/" + name; }

  std::string folder_;
};

TEST_F(SavedFile, HoldsTheSameBytesAndIsReplaced) {
  const auto session = Make();
  for (const std::size_t tokens : {5u, 1100u}) {  // 1.4 MiB: more than a piece
    Eval(*session, Ids(0, tokens));
    const absl::Status status = session->Save(File("s"));
    ASSERT_TRUE(status.ok()) << status;
    const std::string text = ReadFileOrDie(File("s"));
    EXPECT_TRUE(Bytes(text.begin(), text.end()) == Saved(*session));
    auto restored = Session::Restore(TheModel(), File("s"));
    ASSERT_TRUE(restored.ok()) << restored.status();
    EXPECT_TRUE(Same((*restored)->last_logits(), session->last_logits()));
  }
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), fs::directory_iterator()), 1);
}

TEST_F(SavedFile, LeavesOtherFilesAlone) {
  std::ofstream(File("notes")) << "mine";
  const auto session = Make();
  absl::Status status = session->Save(File("notes"));
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("no saved session"), absl::string_view::npos) << status;
  EXPECT_EQ(ReadFileOrDie(File("notes")), "mine");
  EXPECT_EQ(session->Save(File("none/s")).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(session->Save(folder_).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(session->Save("").code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(SavedFile, AnErrorOfTheSinkEndsTheWriting) {
  const auto session = Make();
  Eval(*session, Ids(0, 1100));
  int pieces = 0;
  const absl::Status status = session->SaveTo([&](std::span<const std::uint8_t>) {
    return ++pieces == 2 ? absl::UnavailableError("full") : absl::OkStatus();
  });
  EXPECT_EQ(status.message(), "full");
  EXPECT_EQ(pieces, 2);
}

TEST_F(SavedFile, WhatCannotBeReadSaysWhy) {
  const auto code = [](const std::string& path, const std::string& part) {
    const auto restored = Session::Restore(TheModel(), path);
    EXPECT_NE(restored.status().message().find(part), absl::string_view::npos) << restored.status();
    return restored.status().code();
  };
  EXPECT_EQ(code(File("absent"), File("absent")), absl::StatusCode::kNotFound);
  EXPECT_EQ(code(File("absent"), "no such file; correct the path"), absl::StatusCode::kNotFound);
  std::ofstream(File("empty")).flush();
  EXPECT_EQ(code(File("empty"), "0 bytes"), absl::StatusCode::kDataLoss);
  std::ofstream(File("text")) << std::string(500, 'x');
  EXPECT_EQ(code(File("text"), "no saved session"), absl::StatusCode::kDataLoss);
}

TEST_F(SavedFile, APathThatLeadsToNoFileIsExplained) {
  std::ofstream(File("text")) << "mine";
  fs::create_symlink(File("absent"), File("link"));
  fs::create_symlink(File("loop"), File("loop"));
  ASSERT_EQ(mkfifo(File("pipe").c_str(), 0600), 0);
  constexpr auto invalid = absl::StatusCode::kInvalidArgument;
  const struct {
    std::string path;
    absl::StatusCode code;
    std::string found, cure;
  } cases[] = {
      {"", invalid, "an empty text", "give the path"},
      {std::string("a\0b", 3), invalid, "a zero byte", "give the path"},
      {folder_, invalid, "a directory", "a file in it"},
      {folder_ + "/", invalid, "a directory", "a file in it"},
      {File("text/"), invalid, "ends in '/'", "without"},
      {File("absent/"), invalid, "ends in '/'", "without"},
      {File("text/s"), invalid, File("text") + " is a file and no directory", "correct the path"},
      {File("none/s"), absl::StatusCode::kNotFound, "no such file", "save the session again"},
      {File("link"), absl::StatusCode::kNotFound, "a symbolic link", "the file itself"},
      {File("pipe"), invalid, "a device, pipe or socket", "another path"},
      {File("loop"), invalid, "symbolic links", "correct the path"},
      {File(std::string(300, 'x')), invalid, "too long", "correct the path"},
  };
  for (const auto& [path, code, found, cure] : cases) {
    const absl::Status status = Session::Restore(TheModel(), path).status();
    EXPECT_EQ(status.code(), code) << status;
    const std::string text(status.message());
    const std::string named = path.find('\0') == std::string::npos ? path : "";
    for (const std::string& part :
         {named, std::string("expected a file that a session was saved to, found"), found, cure}) {
      EXPECT_NE(text.find(part), std::string::npos) << "no \"" << part << "\" in: " << text;
    }
    EXPECT_EQ(text.find("checkpoint"), std::string::npos) << text;
    EXPECT_EQ(text.find("config.json"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace mossrt::runtime
