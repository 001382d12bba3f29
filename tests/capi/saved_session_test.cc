// Saving and restoring sessions through the C interface and mossrt.hpp.
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>
#include <utility>

#include "capi/capi_testing.h"
#include "mossrt/mossrt.hpp"

namespace mossrt_testing {
namespace {

namespace fs = std::filesystem;

const std::vector<std::int32_t> kIds = {14, 139, 3, 77, 20};
const std::vector<std::int32_t> kMore = {5, 6, 7};

std::vector<float> LogitsOf(mossrt_session* s) {
  const float* data = nullptr;
  std::size_t rows = 0, cols = 0, stride = 0;
  EXPECT_TRUE(Succeeds(mossrt_session_logits(s, &data, &rows, &cols, &stride)));
  EXPECT_EQ(rows, 1u);
  return data == nullptr ? std::vector<float>() : std::vector<float>(data, data + cols);
}

class SavedSession : public testing::Test {
 protected:
  void SetUp() override {
    folder = (fs::temp_directory_path() / "mossrt-test-XXXXXX").string();
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    model = LoadModel(R"({"threads": 2})");
    session = NewSession(model);
    ASSERT_TRUE(Succeeds(mossrt_session_eval(session, kIds.data(), kIds.size(), nullptr, nullptr)));
  }
  void TearDown() override {
    mossrt_session_free(session);
    mossrt_model_free(model);
    fs::remove_all(folder);
  }
  // Both go on and must give equal bits.
  void ExpectEqualLives(mossrt_session* other) {
    EXPECT_EQ(LogitsOf(session), LogitsOf(other));
    for (mossrt_session* s : {session, other}) {
      ASSERT_TRUE(Succeeds(mossrt_session_eval(s, kMore.data(), kMore.size(), nullptr, nullptr)));
    }
    EXPECT_EQ(LogitsOf(session), LogitsOf(other));
    const std::string options =
        R"({"do_sample": true, "seed": 3, "max_new_tokens": 9, "eos_token_id": []})";
    EXPECT_EQ(Generate(session, options), Generate(other, options));
  }

  std::string folder;
  mossrt_model* model = nullptr;
  mossrt_session* session = nullptr;
};

TEST_F(SavedSession, AFileAndABufferHoldTheSame) {
  const std::string path = folder + "/s";
  ASSERT_TRUE(Succeeds(mossrt_session_save(session, path.c_str(), nullptr, nullptr)));
  void* buffer = nullptr;
  std::size_t len = 0;
  ASSERT_TRUE(Succeeds(mossrt_session_save(session, nullptr, &buffer, &len)));
  ASSERT_EQ(fs::file_size(path), len);
  std::string file(len, '\0');
  std::ifstream(path, std::ios::binary).read(file.data(), static_cast<std::streamsize>(len));
  EXPECT_EQ(std::memcmp(file.data(), buffer, len), 0);

  mossrt_session *from_file = nullptr, *from_buffer = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_session_restore(model, path.c_str(), nullptr, 0, &from_file)));
  ASSERT_TRUE(Succeeds(mossrt_session_restore(model, nullptr, buffer, len, &from_buffer)));
  std::memset(buffer, 0, len);  // the session has what it needs
  mossrt_free(buffer);
  fs::remove(path);
  ExpectEqualLives(from_file);
  ASSERT_TRUE(Succeeds(mossrt_session_rewind(session, kIds.size())));
  ASSERT_TRUE(Succeeds(mossrt_session_eval(session, kMore.data(), kMore.size(), nullptr, nullptr)));
  ASSERT_TRUE(
      Succeeds(mossrt_session_eval(from_buffer, kMore.data(), kMore.size(), nullptr, nullptr)));
  ExpectEqualLives(from_buffer);
  mossrt_session_free(from_file);
  mossrt_session_free(from_buffer);
}

TEST_F(SavedSession, TheModelMayBeLoadedAnewAndFreedFirst) {
  void* buffer = nullptr;
  std::size_t len = 0;
  ASSERT_TRUE(Succeeds(mossrt_session_save(session, nullptr, &buffer, &len)));
  mossrt_model* again = LoadModel(R"({"threads": 1})");
  mossrt_session* restored = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_session_restore(again, nullptr, buffer, len, &restored)));
  mossrt_free(buffer);
  mossrt_model_free(again);
  ExpectEqualLives(restored);
  char* json = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_session_info(restored, &json, &len)));
  EXPECT_EQ(TakeJson(json, len)["tokens"], kIds.size() + kMore.size() + 9);
  mossrt_session_free(restored);
}

TEST_F(SavedSession, ErrorsHaveCodes) {
  const std::string path = folder + "/s", notes = folder + "/notes";
  std::ofstream(notes) << "mine";
  EXPECT_TRUE(FailsWith(mossrt_session_save(session, notes.c_str(), nullptr, nullptr),
                        MOSSRT_E_INVALID_ARGUMENT, notes));
  EXPECT_TRUE(FailsWith(mossrt_session_save(session, (folder + "/no/s").c_str(), nullptr, nullptr),
                        MOSSRT_E_NOT_FOUND, "folder"));
  mossrt_session* restored = nullptr;
  EXPECT_TRUE(FailsWith(mossrt_session_restore(model, path.c_str(), nullptr, 0, &restored),
                        MOSSRT_E_NOT_FOUND, path));
  EXPECT_TRUE(FailsWith(mossrt_session_restore(model, notes.c_str(), nullptr, 0, &restored),
                        MOSSRT_E_FORMAT, notes));
  EXPECT_TRUE(FailsWith(mossrt_session_restore(model, nullptr, "", 0, &restored), MOSSRT_E_FORMAT,
                        "0 bytes"));
  ASSERT_TRUE(Succeeds(mossrt_session_save(session, path.c_str(), nullptr, nullptr)));
  mossrt_model* other = LoadModel(R"({"dtype": "int8"})");
  EXPECT_TRUE(FailsWith(mossrt_session_restore(other, path.c_str(), nullptr, 0, &restored),
                        MOSSRT_E_INVALID_ARGUMENT, "dtype=int8"));
  mossrt_model_free(other);
  std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
  file.seekp(8).put(2).flush();
  EXPECT_TRUE(FailsWith(mossrt_session_restore(model, path.c_str(), nullptr, 0, &restored),
                        MOSSRT_E_UNSUPPORTED, "version 2"));
  file.seekp(8).put(1);
  file.seekp(-1, std::ios::end).put('x').flush();
  EXPECT_TRUE(FailsWith(mossrt_session_restore(model, path.c_str(), nullptr, 0, &restored),
                        MOSSRT_E_FORMAT, "checksum"));
  EXPECT_EQ(restored, nullptr);
}

TEST_F(SavedSession, TheBufferComesFromTheAllocator) {
  void* buffer = nullptr;
  std::size_t len = 7;
  ASSERT_TRUE(Succeeds(
      mossrt_set_allocator([](void*, std::size_t, std::size_t) -> void* { return nullptr; },
                           [](void*, void*) {}, nullptr)));
  EXPECT_TRUE(FailsWith(mossrt_session_save(session, nullptr, &buffer, &len),
                        MOSSRT_E_OUT_OF_MEMORY, "allocator"));
  ASSERT_TRUE(Succeeds(mossrt_set_allocator(nullptr, nullptr, nullptr)));
  EXPECT_EQ(buffer, nullptr);
  EXPECT_EQ(len, 7u);
}

TEST_F(SavedSession, ASessionInUseIsBusy) {
  const mossrt_hook_fn save = [](void* user, const char*, std::int32_t, std::int64_t, float*,
                                 std::size_t, std::size_t, std::size_t) {
    void* buffer = nullptr;
    std::size_t len = 0;
    EXPECT_TRUE(
        FailsWith(mossrt_session_save(static_cast<mossrt_session*>(user), nullptr, &buffer, &len),
                  MOSSRT_E_BUSY, "in use"));
    return 0;
  };
  ASSERT_TRUE(Succeeds(mossrt_session_set_hook(session, "resid", 1, save, session)));
  ASSERT_TRUE(Succeeds(mossrt_session_eval(session, kMore.data(), kMore.size(), nullptr, nullptr)));
}

// What a monitor was told: the bytes of each stage. `end_at`: of a stage that is to end.
struct Watched {
  std::string end_at;
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> stages;
  mossrt_monitor* monitor = nullptr;

  Watched() {
    const mossrt_tick_fn tick = [](void* user, const char* stage, std::uint64_t done,
                                   std::uint64_t total) -> std::int32_t {
      auto* const self = static_cast<Watched*>(user);
      auto& seen = self->stages[stage];
      EXPECT_LE(seen.first, done) << stage;
      EXPECT_LE(done, total) << stage;
      seen = {done, total};
      return stage == self->end_at ? -42 : 0;
    };
    EXPECT_TRUE(Succeeds(mossrt_monitor_create(tick, this, 0, &monitor)));
  }
  ~Watched() { mossrt_monitor_free(monitor); }
};

TEST_F(SavedSession, AMonitorSeesEveryByte) {
  const std::string path = folder + "/s";
  Watched watched;
  mossrt_monitor* const m = watched.monitor;
  ASSERT_TRUE(Succeeds(mossrt_session_save_monitored(session, path.c_str(), nullptr, nullptr, m)));
  const std::uint64_t size = fs::file_size(path);
  const std::pair<std::uint64_t, std::uint64_t> all(size, size);
  EXPECT_EQ(watched.stages["save"], all);
  EXPECT_EQ(watched.stages.count("eval"), 1u);  // the first save of a model looks at its weights
  watched.stages.clear();
  void* buffer = nullptr;
  std::size_t len = 0;
  ASSERT_TRUE(Succeeds(mossrt_session_save_monitored(session, nullptr, &buffer, &len, m)));
  EXPECT_EQ(len, size);
  EXPECT_EQ(watched.stages.size(), 1u);
  EXPECT_EQ(watched.stages["save"], all);
  for (const bool from_file : {true, false}) {
    watched.stages.clear();
    mossrt_session* other = nullptr;
    ASSERT_TRUE(Succeeds(mossrt_session_restore_monitored(model, from_file ? path.c_str() : nullptr,
                                                          from_file ? nullptr : buffer,
                                                          from_file ? 0 : len, m, &other)));
    EXPECT_EQ(watched.stages.size(), 1u);
    EXPECT_EQ(watched.stages["restore"], all);
    EXPECT_EQ(LogitsOf(other), LogitsOf(session));
    mossrt_session_free(other);
  }
  mossrt_free(buffer);
}

TEST_F(SavedSession, AMonitorEndsIt) {
  const std::string path = folder + "/s";
  for (const char* stage : {"eval", "save"}) {
    Watched watched;
    watched.end_at = stage;
    mossrt_error* error =
        mossrt_session_save_monitored(session, path.c_str(), nullptr, nullptr, watched.monitor);
    ASSERT_NE(error, nullptr) << stage;
    EXPECT_EQ(mossrt_error_code(error), MOSSRT_E_CALLBACK);
    EXPECT_EQ(mossrt_error_callback_code(error), -42);
    mossrt_error_free(error);
    EXPECT_TRUE(fs::is_empty(folder)) << stage;
  }
  void* buffer = nullptr;
  std::size_t len = 0;
  ASSERT_TRUE(Succeeds(mossrt_session_save(session, nullptr, &buffer, &len)));
  Watched cancelled;
  mossrt_monitor_cancel(cancelled.monitor);
  void* none = nullptr;
  std::size_t n = 7;
  EXPECT_TRUE(
      FailsWith(mossrt_session_save_monitored(session, nullptr, &none, &n, cancelled.monitor),
                MOSSRT_E_CANCELLED, "cancelled"));
  EXPECT_EQ(none, nullptr);
  EXPECT_EQ(n, 7u);
  mossrt_session* other = nullptr;
  EXPECT_TRUE(FailsWith(
      mossrt_session_restore_monitored(model, nullptr, buffer, len, cancelled.monitor, &other),
      MOSSRT_E_CANCELLED, "cancelled"));
  EXPECT_EQ(other, nullptr);
  mossrt_free(buffer);
}

TEST_F(SavedSession, TheWrapperDoesTheSame) {
  const auto held = mossrt::Model::Load(ModelPath());
  auto one = held.CreateSession({.kv_dtype = "int8", .context = 100});
  one.Eval(kIds);
  one.Save(folder + "/s");
  const std::vector<std::byte> bytes = one.SaveBytes();
  EXPECT_EQ(bytes.size(), fs::file_size(folder + "/s"));
  for (auto& other : {held.RestoreSession(folder + "/s"), held.RestoreSession(bytes)}) {
    const auto a = one.Logits().Row(0), b = other.Logits().Row(0);
    EXPECT_TRUE(std::equal(a.begin(), a.end(), b.begin(), b.end()));
    EXPECT_EQ(Json::parse(other.Info())["context"], 100);
    EXPECT_EQ(other.SaveBytes(), bytes);
  }
  try {
    held.RestoreSession(std::span<const std::byte>());
    ADD_FAILURE() << "nothing was thrown";
  } catch (const mossrt::Error& e) {
    EXPECT_EQ(e.code(), mossrt::Code::kFormat);
  }
}

}  // namespace
}  // namespace mossrt_testing
