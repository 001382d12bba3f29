#include "text/text_testing.h"

namespace mossrt::runtime {
namespace {

const std::string kVocab = R"({"a":0,"b":1,"ab":2})";
const std::string kMerges = "#version: 0.2\na b\n";

Files With(const std::string& name, const std::string& text) {
  Files files = {{"vocab.json", kVocab}, {"merges.txt", kMerges}};
  files[name] = text;
  return files;
}

TEST(TokenizerFiles, WhatIsMissingIsListed) {
  ExpectError(
      {}, absl::StatusCode::kNotFound,
      {"files", "vocab.json", "merges.txt", "tokenizer.model", "put the tokenizer's files beside"});
  ExpectError({{"vocab.json", kVocab}}, absl::StatusCode::kNotFound, {"merges.txt (missing)"});
  ExpectError({{"tokenizer.json", "{}"}}, absl::StatusCode::kNotFound, {"tokenizer.json alone"});
  EXPECT_EQ(LoadTokenizer("/no/such/directory", {}).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(LoadFiles(With("vocab.json", kVocab)).ok());
}

TEST(TokenizerFiles, BadVocabulariesAreNamed) {
  const auto expect = [](const std::string& text, const std::string& part) {
    ExpectError(With("vocab.json", text), absl::StatusCode::kInvalidArgument,
                {part, "; correct the file, or take all of the tokenizer's files"});
  };
  expect("", "files/vocab.json, line 1, column 1: not JSON: expected a value, found the end");
  expect("[]", "vocab.json: expected a JSON object");
  expect("{}", "no token");
  expect(R"({"a":0,"b":"1"})", "\"b\" must be the token's id");
  expect(R"({"a":0,"b":-1})", "id from 0");
  expect(R"({"a":0,"b":1.5})", "\"b\"");
  expect(R"({"a":0,"b":10000000})", "id from 0");
  expect(R"({"a":0,"b":18446744073709551615})", "id from 0");
  expect(R"({"a":0,"b":9999999,"ab":1})", "holes");
  expect(R"({"a":0,"b":1,"ab":1})", "same id 1");
  expect(R"({"a":0,"b":1})", "line 2");
  expect(std::string(100000, '['), "deeper");
}

TEST(TokenizerFiles, BadMergesNameTheirLine) {
  const auto expect = [](const std::string& text, const std::string& part) {
    ExpectError(With("merges.txt", text), absl::StatusCode::kInvalidArgument, {"merges.txt", part});
  };
  expect("#\na b\na\n", "line 3");
  expect("#\na b\na b ab\n", "has 3 parts");
  expect("#\na b\n\nb q\n", "line 4");
  expect("#\na b\nb a\n", "\"ba\"");
  expect("#\na \xFF\n", "UTF-8");
}

TEST(TokenizerFiles, MergesAreSplitAsPublishedCodeSplitsThem) {
  const auto ids = [](const std::string& merges) {
    const auto tokenizer = LoadFiles(With("merges.txt", merges));
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return tokenizer.ok() ? Encode(**tokenizer, "ab") : Ids{};
  };
  EXPECT_EQ(ids("#\na b\n"), Ids{2});
  EXPECT_EQ(ids("#\r\na b\r\n"), Ids{2});
  EXPECT_EQ(ids("#\n\na\tb\n"), Ids{2});
  EXPECT_EQ(ids("a b\n"), (Ids{0, 1}));   // the first line is never a merge
  EXPECT_EQ(ids("#\na b"), (Ids{0, 1}));  // nor is what no newline ends
  EXPECT_EQ(ids(""), (Ids{0, 1}));
}

TEST(TokenizerFiles, BadAddedTokensAreNamed) {
  const auto expect = [](const std::string& file, const std::string& text,
                         const std::string& part) {
    ExpectError(With(file, text), absl::StatusCode::kInvalidArgument, {part});
  };
  expect("added_tokens.json", R"({"x":-1})", "added_tokens.json: \"x\"");
  expect("added_tokens.json", R"({"x":null})", "added_tokens.json: \"x\"");
  expect("added_tokens.json", R"({"":3})", "0 bytes");
  expect("added_tokens.json", R"({"x":1})", "same id 1");
  expect("added_tokens.json", R"({"x":3,"y":3})", "same id 3");
  expect("added_tokens.json", R"({"a":3})", "ids 0 and 3");
  expect("added_tokens.json", R"({"x":9000000})", "holes");
  expect("added_tokens.json", "{\"" + std::string(2000, 'x') + "\":3}", "2000 bytes");
  expect("tokenizer_config.json", R"({"added_tokens_decoder":[]})", "expected an object");
  expect("tokenizer_config.json", R"({"added_tokens_decoder":{"x":{}}})", "\"x\" is no id");
  expect("tokenizer_config.json", R"({"added_tokens_decoder":{"3":{}}})", "[3]");
  expect("tokenizer_config.json", R"({"add_bos_token":1})", "add_bos_token");
  expect("tokenizer_config.json", R"({"add_bos_token":true})", "add_bos_token");
  expect("special_tokens_map.json", R"({"eos_token":5})", "eos_token");
  ExpectError(With("tokenizer_config.json", R"({"tokenizer_class":"Qwen2TokenizerFast"})"),
              absl::StatusCode::kUnimplemented, {"Qwen2Tokenizer", "GPT2Tokenizer"});
}

TEST(TokenizerFiles, FlagsOfTheDecoderDecideWhatIsSpecial) {
  const auto tokenizer = LoadFiles(With(
      "tokenizer_config.json",
      R"({"added_tokens_decoder":{"3":{"content":"<x>","special":false},"4":{"content":"  ","special":true}}})"));
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_FALSE((*tokenizer)->IsSpecial(3));
  EXPECT_TRUE((*tokenizer)->IsSpecial(4));
  EXPECT_EQ(Encode(**tokenizer, "a<x>b"), (Ids{0, 3, 1}));
}

}  // namespace
}  // namespace mossrt::runtime
