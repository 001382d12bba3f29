#include "checkpoint/shard_index.h"

#include "checkpoint/checkpoint_testing.h"
#include "checkpoint/file_writers.h"

namespace mossrt::runtime::testing {
namespace {

using absl::StatusCode;

// A shard with one tensor.
std::string Torch(const std::string& name) {
  return TorchFile({{.name = name, .numel = 1, .shape = {1}, .strides = {1}}}, {{"0", "1234"}});
}
std::string Safe(const std::string& name) {
  return Safetensors(
      Cat("{\"", name, "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}"), "1234");
}
std::string Index(const std::vector<std::pair<std::string, std::string>>& map) {
  std::string out = "{\"metadata\":{\"total_size\":8},\"weight_map\":{";
  for (std::size_t i = 0; i < map.size(); ++i) {
    out += Cat(i > 0 ? "," : "", "\"", map[i].first, "\":\"", map[i].second, "\"");
  }
  return out + "}}";
}
std::vector<std::string> Names(const Checkpoint& checkpoint) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : checkpoint.tensors()) names.push_back(name);
  return names;
}
const std::vector<std::string> kAB = {"a", "b"};

constexpr char kShard1[] = "pytorch_model-00001-of-00002.bin";
constexpr char kShard2[] = "pytorch_model-00002-of-00002.bin";
constexpr char kIndex[] = "pytorch_model.bin.index.json";

TEST(ShardIndex, FollowsTheIndex) {
  const auto checkpoint = OpenFiles({{kShard1, Torch("a")},
                                     {kShard2, Torch("b")},
                                     {kIndex, Index({{"a", kShard1}, {"b", kShard2}})}});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(Names(**checkpoint), kAB);
  EXPECT_TRUE((*checkpoint)->notes().empty());
  const auto safe = OpenFiles(
      {{"x.safetensors", Safe("a")},
       {"y.safetensors", Safe("b")},
       {"model.safetensors.index.json", Index({{"a", "x.safetensors"}, {"b", "y.safetensors"}})}});
  ASSERT_TRUE(safe.ok()) << safe.status();
  EXPECT_EQ(Names(**safe), kAB);
}

TEST(ShardIndex, NamesThatLeaveTheDirectory) {
  for (const std::string name :
       {"../x.bin", "/etc/passwd", "a/b.bin", "..", ".", "", "a\\\\b", "x\\u0000.bin"}) {
    ExpectError(OpenFiles({{kIndex, Index({{"t", name}})}}).status(), StatusCode::kInvalidArgument,
                {kIndex, "\"t\"", "plain name"});
  }
}

TEST(ShardIndex, MalformedIndices) {
  for (const std::string json :
       {"", "[]", "{}", "{\"weight_map\":[]}", "{\"weight_map\":{}}", "{\"weight_map\":{\"a\":1}}",
        "{\"weight_map\":{\"a\":{}}}", "{\"weight_map\":{\"a\":\"x\"}", "\xFF"}) {
    ExpectError(OpenFiles({{kIndex, json}, {"x", "y"}}).status(), StatusCode::kInvalidArgument,
                {Cat("mem/", kIndex), "expected ", "correct the file or download it again"});
  }
  ExpectError(OpenFiles({{kIndex, "{\n oops"}}).status(), StatusCode::kInvalidArgument,
              {"line 2, column 2", "expected a key", "found \"oops\""});
}

TEST(ShardIndex, MissingShardsAreListedTogether) {
  ExpectError(OpenFiles({{kShard1, Torch("a")},
                         {kIndex, Index({{"a", kShard1}, {"b", kShard2}, {"c", "c.bin"}})}})
                  .status(),
              StatusCode::kNotFound, {kIndex, "2 of 3", kShard2, "\"c.bin\""});
}

TEST(ShardIndex, DisagreementsAreListedTogether) {
  ExpectError(OpenFiles({{kShard1, Torch("a")},
                         {kShard2, Torch("a")},
                         {kIndex, Index({{"b", kShard1}, {"c", kShard2}})}})
                  .status(),
              StatusCode::kInvalidArgument,
              {"\"a\" is in pytorch_model-00001-of-00002.bin and in pytorch_model-00002",
               "\"b\" is in no file", "\"c\" is in no file"});
  ExpectError(OpenFiles({{kShard1, Torch("a")},
                         {kShard2, Torch("b")},
                         {kIndex, Index({{"b", kShard1}, {"a", kShard2}})}})
                  .status(),
              StatusCode::kInvalidArgument,
              {"\"a\" is in pytorch_model-00001-of-00002.bin, although the index says "
               "pytorch_model-00002-of-00002.bin"});
}

TEST(ShardIndex, UnlistedTensorsAreNoted) {
  const auto checkpoint = OpenFiles(
      {{kShard1, TorchFile({{.name = "a", .numel = 1, .shape = {1}, .strides = {1}},
                            {.name = "mask", .key = "1", .numel = 1, .shape = {1}, .strides = {1}}},
                           {{"0", "1234"}, {"1", "1234"}})},
       {kIndex, Index({{"a", kShard1}})}});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->tensors().size(), 2u);
  EXPECT_TRUE(HasNote(**checkpoint, "not listed"));
  EXPECT_TRUE(HasNote(**checkpoint, "\"mask\""));
}

TEST(ShardIndex, MisnamedShardOfTheIndexIsFoundByItsNumbers) {
  const auto checkpoint = OpenFiles({{"pytorch_model-000001-of-000002.bin", Torch("a")},
                                     {kShard2, Torch("b")},
                                     {kIndex, Index({{"a", kShard1}, {"b", kShard2}})}});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(Names(**checkpoint), kAB);
  EXPECT_TRUE(HasNote(**checkpoint, "pytorch_model-000001-of-000002.bin"));
  ExpectError(OpenFiles({{"pytorch_model-1-of-2.bin", Torch("a")},
                         {kIndex, Index({{"a", kShard1}, {"b", "pytorch_model-1-of-00002.bin"}})}})
                  .status(),
              StatusCode::kInvalidArgument, {"in two ways"});
}

TEST(ShardIndex, WithoutAnIndex) {
  const auto checkpoint = OpenFiles({{kShard1, Torch("a")}, {kShard2, Torch("b")}});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(Names(**checkpoint), kAB);
  EXPECT_TRUE((*checkpoint)->notes().empty());
  const auto misnamed =
      OpenFiles({{"pytorch_model-000001-of-000002.bin", Torch("a")}, {kShard2, Torch("b")}});
  ASSERT_TRUE(misnamed.ok()) << misnamed.status();
  EXPECT_EQ(Names(**misnamed), kAB);
  EXPECT_TRUE(HasNote(**misnamed, "pytorch_model-000001-of-000002.bin"));
  const auto safe = OpenFiles({{"model-00001-of-00002.safetensors", Safe("a")},
                               {"model-00002-of-00002.safetensors", Safe("b")}});
  ASSERT_TRUE(safe.ok()) << safe.status();
  EXPECT_EQ(Names(**safe), kAB);
}

TEST(ShardIndex, NumberingThatDoesNotAddUp) {
  ExpectError(OpenFiles({{"pytorch_model-00002-of-00004.bin", Torch("a")},
                         {"pytorch_model-00004-of-00004.bin", Torch("b")}})
                  .status(),
              StatusCode::kNotFound, {"of 4 shards only 2", "\"1\", \"3\""});
  for (const std::map<std::string, std::string>& files :
       std::vector<std::map<std::string, std::string>>{
           {{kShard1, Torch("a")}, {"pytorch_model-00003-of-00003.bin", Torch("b")}},
           {{kShard1, Torch("a")}, {"pytorch_model-1-of-2.bin", Torch("b")}},
           {{"pytorch_model-00000-of-00002.bin", Torch("a")}},
           {{"pytorch_model-00003-of-00002.bin", Torch("a")}},
           {{"pytorch_model-00000-of-00000.bin", Torch("a")}},
           {{"pytorch_model-1-of-999999999.bin", Torch("a")}}}) {
    ExpectError(OpenFiles(files).status(), StatusCode::kInvalidArgument, {"1 to N once each"});
  }
  ExpectError(OpenFiles({{kShard1, Torch("a")}, {kShard2, Torch("a")}}).status(),
              StatusCode::kInvalidArgument, {"\"a\" is in"});
}

TEST(ShardIndex, WhatIsPreferredIsNoted) {
  const auto both =
      OpenFiles({{"model.safetensors", Safe("a")}, {"pytorch_model.bin", Torch("b")}});
  ASSERT_TRUE(both.ok()) << both.status();
  EXPECT_EQ(Names(**both), std::vector<std::string>{"a"});
  EXPECT_TRUE(HasNote(**both, "model.safetensors is read"));
  const auto single = OpenFiles({{"pytorch_model.bin", Torch("b")}, {kShard1, Torch("a")}});
  ASSERT_TRUE(single.ok()) << single.status();
  EXPECT_EQ(Names(**single), std::vector<std::string>{"b"});
  EXPECT_TRUE(HasNote(**single, "pytorch_model.bin is read"));
}

TEST(ShardIndex, NoWeights) {
  ExpectError(OpenFiles({{"README.md", "x"},
                         {"pytorch_model-a-of-b.bin", "x"},
                         {"model-00001-of-00002.bin", "x"}})
                  .status(),
              StatusCode::kNotFound, {"holds no weights", "\"README.md\""});
}

}  // namespace
}  // namespace mossrt::runtime::testing
