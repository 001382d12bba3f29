// Helpers of the tests of the C interface.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "gtest/gtest.h"
#include "mossrt/mossrt.h"
#include "nlohmann/json.hpp"

namespace mossrt_testing {

using Json = nlohmann::json;

inline std::string ModelPath() { return MOSSRT_SOURCE_DIR "/tests/data/models/moss"; }

struct Failure {
  std::int32_t code, callback_code;
  std::string text;
};
// Takes the error over.
inline Failure Take(mossrt_error* e) {
  Failure failure{mossrt_error_code(e), mossrt_error_callback_code(e), mossrt_error_message(e)};
  mossrt_error_free(e);
  return failure;
}

inline testing::AssertionResult Succeeds(mossrt_error* e) {
  const Failure f = Take(e);
  if (f.code == MOSSRT_OK) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "error " << f.code << ": " << f.text;
}
inline testing::AssertionResult FailsWith(mossrt_error* e, std::int32_t code,
                                          std::string_view part) {
  const Failure f = Take(e);
  if (f.code == code && f.text.find(part) != std::string::npos) return testing::AssertionSuccess();
  return testing::AssertionFailure() << "expected error " << code << " with \"" << part
                                     << "\", found " << f.code << ": " << f.text;
}

inline Json TakeJson(char* text, std::size_t len) {
  Json json = Json::parse(std::string_view(text, len));
  mossrt_free(text);
  return json;
}

inline mossrt_options* Options(std::int32_t kind, const std::string& json) {
  mossrt_options* o = nullptr;
  EXPECT_TRUE(Succeeds(mossrt_options_create(kind, &o)));
  EXPECT_TRUE(Succeeds(mossrt_options_merge_json(o, json.data(), json.size())));
  return o;
}

// One model for all tests of a program; loading it takes milliseconds.
inline mossrt_model* LoadModel(const std::string& options = "{}") {
  mossrt_options* o = Options(MOSSRT_OPTIONS_LOAD, options);
  mossrt_model* model = nullptr;
  EXPECT_TRUE(Succeeds(mossrt_model_load(ModelPath().c_str(), o, nullptr, &model)));
  mossrt_options_free(o);
  return model;
}
inline mossrt_session* NewSession(const mossrt_model* model) {
  mossrt_session* s = nullptr;
  EXPECT_TRUE(Succeeds(mossrt_session_create(model, nullptr, &s)));
  return s;
}

inline Json Reference() {
  std::FILE* file = std::fopen((ModelPath() + "/reference/reference.json").c_str(), "rb");
  EXPECT_NE(file, nullptr);
  std::string text;
  char buffer[4096];
  for (std::size_t n; file != nullptr && (n = std::fread(buffer, 1, sizeof buffer, file)) > 0;) {
    text.append(buffer, n);
  }
  if (file != nullptr) std::fclose(file);
  return Json::parse(text);
}

// All ids of a generation.
inline std::vector<std::int32_t> Generate(mossrt_session* s, const std::string& options,
                                          mossrt_monitor* monitor = nullptr,
                                          std::int32_t* finish_out = nullptr) {
  mossrt_options* o = Options(MOSSRT_OPTIONS_GENERATE, options);
  mossrt_generation* g = nullptr;
  EXPECT_TRUE(Succeeds(mossrt_generation_start(s, o, monitor, &g)));
  mossrt_options_free(o);
  std::vector<std::int32_t> ids;
  std::int32_t finish = MOSSRT_FINISH_NONE;
  while (g != nullptr && finish == MOSSRT_FINISH_NONE) {
    std::int32_t token = -1;
    const auto ok = Succeeds(mossrt_generation_next(g, &token, nullptr, nullptr, &finish));
    EXPECT_TRUE(ok);
    if (!ok) break;
    if (token >= 0) ids.push_back(token);
  }
  mossrt_generation_free(g);
  if (finish_out != nullptr) *finish_out = finish;
  return ids;
}

}  // namespace mossrt_testing
