// What the tests of the text room share.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "mossrt/runtime/tokenizer.h"

namespace mossrt::runtime {

using Ids = std::vector<std::int32_t>;
using Files = std::map<std::string, std::string>;

inline std::string DataPath(const std::string& name) {
  return std::string(MOSSRT_SOURCE_DIR) + "/tests/data/text/" + name;
}

inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::ostringstream bytes;
  bytes << file.rdbuf();
  return bytes.str();
}

inline Json ReadJson(const std::string& name) { return Json::parse(ReadFile(DataPath(name))); }
inline std::vector<std::string> ComparisonTexts() {
  return ReadJson("texts.json").get<std::vector<std::string>>();
}

inline std::unique_ptr<Tokenizer> LoadOrDie(const std::string& name,
                                            AddedTokens mode = AddedTokens::kLossless) {
  auto tokenizer = LoadTokenizer(DataPath(name), {.added_tokens = mode});
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

inline Ids Encode(const Tokenizer& tokenizer, std::string_view text, EncodeOptions options = {}) {
  Ids ids;
  const absl::Status status = tokenizer.Encode(text, options, &ids);
  EXPECT_TRUE(status.ok()) << status;
  return ids;
}

inline std::string Decode(const Tokenizer& tokenizer, const Ids& ids, DecodeOptions options = {}) {
  std::string text;
  const absl::Status status = tokenizer.Decode(ids, options, &text);
  EXPECT_TRUE(status.ok()) << status;
  return text;
}

inline absl::StatusOr<std::unique_ptr<Tokenizer>> LoadFiles(
    const Files& files, AddedTokens mode = AddedTokens::kLossless) {
  return LoadTokenizer(*OpenMemory("files", files), {.added_tokens = mode});
}

// The error must be of this kind and name every one of `parts`.
inline void ExpectError(const Files& files, absl::StatusCode code,
                        const std::vector<std::string>& parts) {
  const auto tokenizer = LoadFiles(files);
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_EQ(tokenizer.status().code(), code) << tokenizer.status();
  for (const std::string& part : parts) {
    EXPECT_NE(Message(tokenizer.status()).find(part), std::string_view::npos)
        << "\"" << part << "\" is not named in: " << tokenizer.status();
  }
}

}  // namespace mossrt::runtime
