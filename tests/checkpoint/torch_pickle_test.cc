#include "checkpoint/checkpoint_testing.h"
#include "checkpoint/file_writers.h"
#include "checkpoint/shard_contents.h"

namespace mossrt::runtime::testing {
namespace {

using absl::StatusCode;

const PickledTensor kTensor = {
    .name = "w", .key = "0", .numel = 6, .offset = 0, .shape = {2, 3}, .strides = {3, 1}};
const std::map<std::string, std::string> kStorage = {{"0", Counting(24)}};

std::string FileOf(std::string_view body, const std::string& prefix = "archive",
                   const std::string& byteorder = "little") {
  return WriteZip(TorchItems(Pickle(body), kStorage, prefix, byteorder)).file;
}

TEST(TorchPickle, AnyPrefix) {
  for (const std::string prefix :
       {"archive", "pytorch_model-00001-of-00004", "x", "\xE6\xA8\xA1"}) {
    const auto checkpoint =
        OpenFiles({{"pytorch_model.bin", FileOf(StateDictOf({kTensor}), prefix)}});
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    const TensorInfo& tensor = (*checkpoint)->tensors().at("w");
    EXPECT_EQ(tensor.shape, (std::vector<std::int64_t>{2, 3}));
    EXPECT_EQ(*ReadTensor(**checkpoint, tensor), Counting(24));
  }
  ExpectError(TorchError(WriteZip({{"data.pkl", Pickle("}")}}).file), StatusCode::kInvalidArgument,
              {"<folder>/data.pkl", "found 0"});
  ExpectError(TorchError(WriteZip({{"a/data.pkl", Pickle("}")}, {"b/data.pkl", "N"}}).file),
              StatusCode::kInvalidArgument, {"found 2"});
}

TEST(TorchPickle, ByteOrder) {
  for (const std::string order : {"little", ""}) {
    const auto checkpoint =
        OpenFiles({{"pytorch_model.bin", FileOf(StateDictOf({kTensor}), "a", order)}});
    ASSERT_TRUE(checkpoint.ok());
    EXPECT_FALSE((*checkpoint)->storages()[0].swap_bytes);
  }
  const auto big = OpenFiles({{"pytorch_model.bin", FileOf(StateDictOf({kTensor}), "a", "big")}});
  ASSERT_TRUE(big.ok());
  EXPECT_TRUE((*big)->storages()[0].swap_bytes);
  EXPECT_EQ((*ReadTensor(**big, (*big)->tensors().at("w"))).substr(0, 4),
            std::string("\x03\x02\x01\x00", 4));
  ExpectError(TorchError(FileOf(StateDictOf({kTensor}), "a", "middle")),
              StatusCode::kInvalidArgument, {"byteorder", "\"middle\""});
}

TEST(TorchPickle, StorageClasses) {
  const std::vector<std::pair<std::string, DType>> classes = {
      {"DoubleStorage", DType::kF64}, {"FloatStorage", DType::kF32},
      {"HalfStorage", DType::kF16},   {"BFloat16Storage", DType::kBF16},
      {"LongStorage", DType::kI64},   {"IntStorage", DType::kI32},
      {"ShortStorage", DType::kI16},  {"CharStorage", DType::kI8},
      {"ByteStorage", DType::kU8},    {"BoolStorage", DType::kBool}};
  for (const auto& [name, dtype] : classes) {
    PickledTensor tensor = kTensor;
    tensor.storage_class = name;
    tensor.numel = static_cast<std::int64_t>(24 / DTypeSize(dtype));
    tensor.shape = {tensor.numel};
    tensor.strides = {1};
    const auto checkpoint = OpenFiles({{"pytorch_model.bin", FileOf(StateDictOf({tensor}))}});
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ((*checkpoint)->tensors().at("w").dtype, dtype);
    EXPECT_EQ(*ReadTensor(**checkpoint, (*checkpoint)->tensors().at("w")), Counting(24));
  }
  PickledTensor complex = kTensor;
  complex.storage_class = "ComplexFloatStorage";
  ExpectError(TorchError(FileOf(StateDictOf({complex}))), StatusCode::kInvalidArgument,
              {"torch.ComplexFloatStorage"});
}

TEST(TorchPickle, SharedStoragesAreOne) {
  PickledTensor view = kTensor;
  view.name = "v";
  view.offset = 1;
  view.shape = {2};
  view.strides = {3};
  const auto checkpoint = OpenFiles({{"pytorch_model.bin", FileOf(StateDictOf({kTensor, view}))}});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->storages().size(), 1u);
  EXPECT_FALSE((*checkpoint)->tensors().at("v").contiguous());
  EXPECT_EQ(*ReadTensor(**checkpoint, (*checkpoint)->tensors().at("v")),
            Counting(24).substr(4, 4) + Counting(24).substr(16, 4));
  view.storage_class = "IntStorage";
  ExpectError(TorchError(FileOf(StateDictOf({kTensor, view}))), StatusCode::kInvalidArgument,
              {"\"v\"", "float32", "int32"});
}

TEST(TorchPickle, LayoutsThatDoNotFit) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  struct Case {
    std::int64_t offset;
    std::vector<std::int64_t> shape;
    std::vector<std::int64_t> strides;
    const char* message;
  };
  for (const Case& c : std::vector<Case>{{1, {2, 3}, {3, 1}, "last element is number 6"},
                                         {0, {2, 3}, {4, 1}, "last element is number 6"},
                                         {7, {0}, {1}, "starts at element 7"},
                                         {0, {kHuge, 2}, {0, 0}, "64 bits"},
                                         {0, {kHuge, kHuge}, {1, 1}, "64 bits"},
                                         {0, {3}, {kHuge}, "64 bits"},
                                         {INT64_MAX, {1}, {1}, "starts at element"},
                                         {0, {2, 3}, {1}, "2 dimensions and 1 strides"},
                                         {0, {-1}, {1}, "the size should be"},
                                         {0, {1}, {-1}, "the stride should be"},
                                         {-1, {1}, {1}, "the storage offset should be"}}) {
    PickledTensor tensor = kTensor;
    tensor.offset = c.offset;
    tensor.shape = c.shape;
    tensor.strides = c.strides;
    ExpectError(TorchError(FileOf(StateDictOf({tensor}))), StatusCode::kInvalidArgument,
                {"pytorch_model.bin", "\"w\"", "offset", c.message});
  }
  PickledTensor many = kTensor;
  many.shape.assign(65, 1);
  many.strides.assign(65, 1);
  ExpectError(TorchError(FileOf(StateDictOf({many}))), StatusCode::kInvalidArgument,
              {"65 dimensions"});
}

TEST(TorchPickle, ZeroSizedAndScalar) {
  PickledTensor empty = kTensor;
  empty.shape = {0, std::int64_t{1} << 62, std::int64_t{1} << 62};
  empty.strides = {1, 1, 1};
  PickledTensor scalar = kTensor;
  scalar.name = "s";
  scalar.offset = 5;
  scalar.shape = {};
  scalar.strides = {};
  const auto checkpoint = OpenFiles({{"pytorch_model.bin", FileOf(StateDictOf({empty, scalar}))}});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->tensors().at("w").elements(), 0);
  EXPECT_EQ(*ReadTensor(**checkpoint, (*checkpoint)->tensors().at("w")), "");
  EXPECT_EQ((*checkpoint)->tensors().at("s").elements(), 1);
  EXPECT_EQ(*ReadTensor(**checkpoint, (*checkpoint)->tensors().at("s")), Counting(24).substr(20));
}

TEST(TorchPickle, StorageLies) {
  PickledTensor tensor = kTensor;
  for (const std::int64_t numel : {std::int64_t{5}, std::int64_t{7}, INT64_MAX}) {
    tensor.numel = numel;
    ExpectError(TorchError(FileOf(StateDictOf({tensor}))), StatusCode::kInvalidArgument,
                {"storage \"0\"", std::to_string(numel), "24 bytes"});
  }
  tensor = kTensor;
  tensor.key = "../../secret";
  ExpectError(TorchError(FileOf(StateDictOf({tensor}))), StatusCode::kDataLoss,
              {"archive/data/../../secret", "does not hold"});
}

TEST(TorchPickle, WrongArguments) {
  const std::string call = Name("torch._utils", "_rebuild_tensor_v2");
  for (const std::string& value :
       {call + ")R", call + "(NNNNNNtR", call + "(" + StorageOf(kTensor) + "NNNNNtR",
        call + "(" + StorageOf(kTensor) + "K" + std::string(1, '\0') + "NNNNtR",
        call + "(" + StorageOf(kTensor) + "K" + std::string(1, '\0') + "(Nt)NNtR",
        call + "((NNNNNtQ" + Int(0) + ")))NtR", call + "(NQ" + Int(0) + ")))NtR"}) {
    ExpectError(TorchError(FileOf("}" + Text("w") + value + "s")), StatusCode::kInvalidArgument,
                {"\"w\"", "offset"});
  }
  ExpectError(TorchError(FileOf("}K\x01" + TensorOf(kTensor) + "s")), StatusCode::kInvalidArgument,
              {"name is not a text"});
  ExpectError(TorchError(FileOf("}(" + Text("w") + TensorOf(kTensor) + Text("w") +
                                TensorOf(kTensor) + "u")),
              StatusCode::kInvalidArgument, {"\"w\" occurs twice"});
}

TEST(TorchPickle, ParametersSizesAndMetadata) {
  const std::string parameter = Name("torch._utils", "_rebuild_parameter") + TensorOf(kTensor) +
                                "\x88" + EmptyOrderedDict() + "\x87R";
  const std::string sized = Name("torch._utils", "_rebuild_tensor_v2") + "(" + StorageOf(kTensor) +
                            Int(0) + Name("torch", "Size") + Ints({6}) + "\x85R" + Ints({1}) +
                            "\x89" + EmptyOrderedDict() + "NtR";
  const auto checkpoint =
      OpenFiles({{"pytorch_model.bin",
                  FileOf(EmptyOrderedDict() + "(" + Text("p") + parameter + Text("s") + sized +
                         "u}" + Text("_metadata") + EmptyOrderedDict() + "sb")}});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->tensors().size(), 2u);
  EXPECT_EQ(*ReadTensor(**checkpoint, (*checkpoint)->tensors().at("p")), Counting(24));
  EXPECT_EQ((*checkpoint)->tensors().at("s").shape, std::vector<std::int64_t>{6});
}

TEST(TorchPickle, WhatIsNoTensorIsNoted) {
  const auto mixed = OpenFiles({{"pytorch_model.bin", FileOf("}(" + Text("w") + TensorOf(kTensor) +
                                                             Text("epoch") + "K\x03K\x04Nu")}});
  ASSERT_TRUE(mixed.ok()) << mixed.status();
  EXPECT_EQ((*mixed)->tensors().size(), 1u);
  EXPECT_TRUE(HasNote(**mixed, "2 entries that are no tensors are ignored: \"epoch\""));
  for (const std::string wrapper : {"state_dict", "model"}) {
    const auto wrapped =
        OpenFiles({{"pytorch_model.bin", FileOf("}(" + Text("lr") + "N" + Text(wrapper) +
                                                StateDictOf({kTensor}) + "u")}});
    ASSERT_TRUE(wrapped.ok()) << wrapped.status();
    EXPECT_EQ((*wrapped)->tensors().count("w"), 1u);
    EXPECT_TRUE(HasNote(**wrapped, Cat("inner dict \"", wrapper, "\"")));
  }
  ExpectError(TorchError(FileOf("}" + Text("net") + StateDictOf({kTensor}) + "s")),
              StatusCode::kInvalidArgument, {"holds no tensors", "\"net\""});
  ExpectError(TorchError(FileOf("]")), StatusCode::kInvalidArgument, {"dict of tensors"});
  const auto empty = OpenFiles({{"pytorch_model.bin", FileOf("}")}});
  ASSERT_TRUE(empty.ok());
  EXPECT_TRUE((*empty)->tensors().empty());
}

TEST(TorchPickle, OtherFormatsSayWhatTheyAre) {
  ExpectError(
      TorchError(std::string("\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19.", 15)),
      StatusCode::kUnimplemented, {"pytorch_model.bin", "non-zip", "Re-save"});
  std::string tar(512, '\0');
  Overwrite(&tar, 257, "ustar");
  ExpectError(TorchError(tar), StatusCode::kUnimplemented, {"tar", "Re-save"});
  ExpectError(TorchError("version https://git-lfs.github.com/spec/v1\noid sha256:1\n"),
              StatusCode::kUnimplemented, {"git lfs pull"});
  ExpectError(TorchError("<!DOCTYPE html><html>"), StatusCode::kUnimplemented, {"web page"});
  ExpectError(TorchError("GGUF...."), StatusCode::kInvalidArgument, {"\"GGUF....\""});
  ExpectError(TorchError(""), StatusCode::kInvalidArgument, {"0 bytes"});
  ExpectError(TorchError(WriteZip({{"a/data.pkl", Pickle("}")}, {"a/constants.pkl", "N"}}).file),
              StatusCode::kUnimplemented, {"TorchScript"});
}

TEST(TorchPickle, CrcOfThePickleIsChecked) {
  ZipLayout zip = WriteZip(TorchItems(Pickle(StateDictOf({kTensor})), kStorage));
  zip.file[zip.data[0] + 40] ^= 4;
  ExpectError(TorchError(zip.file), StatusCode::kDataLoss, {"archive/data.pkl", "CRC-32"});
}

}  // namespace
}  // namespace mossrt::runtime::testing
