#include "checkpoint/checkpoint_testing.h"
#include "checkpoint/file_writers.h"

namespace mossrt::runtime::testing {
namespace {

using absl::StatusCode;

absl::StatusOr<std::unique_ptr<Checkpoint>> OpenSafetensors(const std::string& file) {
  return OpenFiles({{"model.safetensors", file}});
}

absl::Status HeaderError(std::string_view header, std::size_t data = 8) {
  return OpenSafetensors(Safetensors(header, Counting(data))).status();
}

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  std::size_t begin, std::size_t end) {
  return Cat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape, ",\"data_offsets\":[",
             begin, ",", end, "]}");
}

TEST(Safetensors, ReadsTensors) {
  const std::string header =
      "{\"__metadata__\":{\"format\":\"pt\",\"a\":\"b\"}," + Entry("b", "BF16", "[2,1]", 4, 8) +
      "," + Entry("a", "F32", "[]", 0, 4) + "," + Entry("e", "I64", "[0,7]", 8, 8) + "}  ";
  const auto checkpoint = OpenSafetensors(Safetensors(header, Counting(8)));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto& tensors = (*checkpoint)->tensors();
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors.at("a").dtype, DType::kF32);
  EXPECT_EQ(*ReadTensor(**checkpoint, tensors.at("a")), Counting(4));
  EXPECT_EQ(tensors.at("b").strides, (std::vector<std::int64_t>{1, 1}));
  EXPECT_EQ(*ReadTensor(**checkpoint, tensors.at("b")), Counting(8).substr(4));
  EXPECT_EQ(*ReadTensor(**checkpoint, tensors.at("e")), "");
  EXPECT_FALSE((*checkpoint)->storages()[0].has_crc);
  EXPECT_TRUE(OpenSafetensors(Safetensors("{}", "")).ok());
}

TEST(Safetensors, DTypes) {
  for (const auto& [name, dtype] :
       std::vector<std::pair<std::string, DType>>{{"F64", DType::kF64},
                                                  {"F32", DType::kF32},
                                                  {"F16", DType::kF16},
                                                  {"BF16", DType::kBF16},
                                                  {"I64", DType::kI64},
                                                  {"I32", DType::kI32},
                                                  {"I16", DType::kI16},
                                                  {"I8", DType::kI8},
                                                  {"U8", DType::kU8},
                                                  {"BOOL", DType::kBool}}) {
    const auto checkpoint = OpenSafetensors(Safetensors(
        "{" + Entry("t", name, Cat("[", 8 / DTypeSize(dtype), "]"), 0, 8) + "}", Counting(8)));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ((*checkpoint)->tensors().at("t").dtype, dtype);
  }
  for (const std::string name : {"F8_E4M3", "U16", "", "f32"}) {
    ExpectError(HeaderError("{" + Entry("t.q", name, "[8]", 0, 8) + "}"),
                StatusCode::kUnimplemented, {"model.safetensors", "\"t.q\"", "\"" + name + "\""});
  }
}

TEST(Safetensors, OffsetsMustTile) {
  const auto error = [](const std::string& a, const std::string& b) {
    return HeaderError("{" + a + "," + b + "}");
  };
  const std::string first = Entry("a", "U8", "[4]", 0, 4);
  ExpectError(error(first, Entry("b", "U8", "[5]", 3, 8)), StatusCode::kInvalidArgument,
              {"\"b\"", "overlap"});
  ExpectError(error(first, Entry("b", "U8", "[3]", 5, 8)), StatusCode::kInvalidArgument,
              {"\"b\"", "hole"});
  ExpectError(error(first, Entry("b", "U8", "[3]", 4, 7)), StatusCode::kInvalidArgument,
              {"goes on"});
  ExpectError(error(first, Entry("b", "U8", "[5]", 4, 9)), StatusCode::kDataLoss,
              {"\"b\"", "cut short"});
  ExpectError(error(first, Entry("b", "U8", "[5]", 4, 8)), StatusCode::kInvalidArgument,
              {"\"b\"", "last element is number 4", "holds 4"});
  ExpectError(error(first, Entry("b", "U8", "[3]", 4, 8)), StatusCode::kInvalidArgument,
              {"\"b\"", "needs 3 bytes", "give 4"});
  ExpectError(error(first, Entry("b", "U8", "[4]", 8, 4)), StatusCode::kInvalidArgument,
              {"\"b\"", "[begin, end]"});
  ExpectError(error(first, Entry("a", "U8", "[4]", 4, 8)), StatusCode::kInvalidArgument,
              {"\"a\" occurs twice"});
}

TEST(Safetensors, HeadersThatLie) {
  for (const std::string shape :
       {"[9223372036854775807,2]", "[4611686018427387904,4]", "[3037000500,3037000500]"}) {
    ExpectError(HeaderError("{" + Entry("t", "U8", shape, 0, 8) + "}"),
                StatusCode::kInvalidArgument, {"\"t\""});
  }
  std::string rank = "[1";
  for (int i = 0; i < 64; ++i) rank += ",1";
  for (const std::string& bad :
       {Entry("t", "U8", "[-8]", 0, 8),
        Entry("t", "U8", "[8.0]", 0, 8),
        Entry("t", "U8", "[18446744073709551616]", 0, 8),
        Entry("t", "U8", "[9223372036854775808]", 0, 8),
        Entry("t", "U8", "8", 0, 8),
        Entry("t", "U8", "[[8]]", 0, 8),
        Entry("t", "U8", "{}", 0, 8),
        Entry("t", "U8", "null", 0, 8),
        Entry("t", "U8", "[\"8\"]", 0, 8),
        Entry("t", "U8", rank + "]", 0, 1),
        std::string("\"t\":[]"),
        std::string("\"t\":1"),
        std::string("\"t\":{}"),
        std::string("\"t\":{\"dtype\":1}"),
        std::string("\"t\":{\"dtype\":\"U8\",\"dtype\":\"U8\"}"),
        std::string("\"t\":{\"extra\":1}"),
        std::string("\"t\":{\"dtype\":\"U8\",\"shape\":[8]}"),
        std::string("\"t\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0,8,8]}"),
        std::string("\"t\":{\"dtype\":\"U8\",\"shape\":[8],\"data_offsets\":[0]}"),
        std::string("\"__metadata__\":{\"a\":1}"),
        std::string("\"__metadata__\":{\"a\":{}}"),
        std::string("\"__metadata__\":[]"),
        std::string("\"__metadata__\":true")}) {
    ExpectError(HeaderError("{" + bad + "}"), StatusCode::kInvalidArgument, {"model.safetensors"});
  }
  for (const std::string bad :
       {"", "[", "[]", "1", "null", "\"x\"", "{", "{}}", "{\"a\"", "\xFF"}) {
    ExpectError(HeaderError(bad, 0), StatusCode::kInvalidArgument, {"the header"});
  }
}

TEST(Safetensors, LengthsThatLie) {
  const std::string file = Safetensors("{" + Entry("t", "U8", "[8]", 0, 8) + "}", Counting(8));
  ASSERT_TRUE(OpenSafetensors(file).ok());
  for (std::size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(OpenSafetensors(file.substr(0, size)).ok()) << size;
  }
  ExpectError(OpenSafetensors(U64(100'000'001) + "{}").status(), StatusCode::kInvalidArgument,
              {"100000001"});
  ExpectError(OpenSafetensors(U64(99'000'000) + "{}").status(), StatusCode::kDataLoss,
              {"99000000", "cut short"});
  ExpectError(OpenSafetensors(U64(~0ull) + "{}").status(), StatusCode::kInvalidArgument, {});
  ExpectError(OpenSafetensors("version https://git-lfs.github.com/spec/v1\n").status(),
              StatusCode::kUnimplemented, {"git lfs pull"});
}

TEST(Safetensors, DeepHeaders) {
  ExpectError(HeaderError("{\"a\":" + std::string(5'000'000, '[')), StatusCode::kInvalidArgument,
              {"an array"});
  ExpectError(HeaderError(std::string(5'000'000, '[')), StatusCode::kInvalidArgument, {});
}

}  // namespace
}  // namespace mossrt::runtime::testing
