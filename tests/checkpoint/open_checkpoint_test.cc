#include "checkpoint/checkpoint_testing.h"
#include "checkpoint/file_writers.h"

namespace mossrt::runtime::testing {
namespace {

using absl::StatusCode;

std::string TorchOf(const std::string& storage_class, std::size_t width) {
  return TorchFile(
      {{.name = "w", .storage_class = storage_class, .numel = 4, .shape = {4}, .strides = {1}}},
      {{"0", Counting(4 * width)}});
}

TEST(OpenCheckpoint, ConfigIsGivenAsItStands) {
  const std::string config = "{ \"n_embd\" : 16,\n\t\"x\": null }\n";
  const auto checkpoint =
      OpenFiles({{"config.json", config}, {"pytorch_model.bin", TorchOf("HalfStorage", 2)}});
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ((*checkpoint)->config_json(), config);
  EXPECT_EQ((*checkpoint)->source().name(), "mem");
  EXPECT_TRUE((*checkpoint)->notes().empty());
}

TEST(OpenCheckpoint, MissingConfigListsWhatIsThere) {
  const auto error = [](std::map<std::string, std::string> files) {
    return OpenCheckpoint(OpenMemory("mem", std::move(files))).status();
  };
  ExpectError(error({{"modeling_moss.py", ""}, {"vocab.json", ""}}), StatusCode::kNotFound,
              {"mem: config.json is missing", "looks like a MOSS repository", "\"vocab.json\""});
  ExpectError(error({{"pytorch_model.bin", ""}}), StatusCode::kNotFound,
              {"There are weights", "\"pytorch_model.bin\""});
  ExpectError(error({{"thesis.tex", ""}}), StatusCode::kNotFound,
              {"does not look like a MOSS checkpoint", "\"thesis.tex\""});
  ExpectError(error({}), StatusCode::kNotFound, {"Found no files"});
}

TEST(OpenCheckpoint, BadConfigs) {
  for (const std::string config : {"", "[]", "{", "{\"a\":\xFF}", "null"}) {
    ExpectError(
        OpenFiles({{"config.json", config}}).status(), StatusCode::kInvalidArgument,
        {"mem/config.json", "expected ", "found ", "correct the file or download it again"});
    ExpectError(OpenFiles({{"config.json", "{}"}, {"quantize_config.json", config}}).status(),
                StatusCode::kInvalidArgument,
                {"mem/quantize_config.json", "expected ", "found ",
                 "correct the file or download it again"});
  }
  ExpectError(OpenFiles({{"config.json", std::string((16u << 20) + 1, ' ')}}).status(),
              StatusCode::kInvalidArgument, {"config.json", "more than the 16777216"});
}

TEST(OpenCheckpoint, DTypeThatDisagreesIsNoted) {
  const auto notes = [](const std::string& config, const std::string& cls, std::size_t width) {
    const auto checkpoint =
        OpenFiles({{"config.json", config}, {"pytorch_model.bin", TorchOf(cls, width)}});
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    return checkpoint.ok() ? Join((*checkpoint)->notes(), "\n") : "";
  };
  const std::string lie = notes("{\"torch_dtype\":\"float32\"}", "HalfStorage", 2);
  EXPECT_NE(lie.find("\"torch_dtype\" says \"float32\""), std::string::npos) << lie;
  EXPECT_NE(lie.find("mostly float16"), std::string::npos) << lie;
  EXPECT_NE(notes("{\"dtype\":\"float32\"}", "BFloat16Storage", 2).find("bfloat16"),
            std::string::npos);
  EXPECT_EQ(notes("{\"torch_dtype\":\"float16\"}", "HalfStorage", 2), "");
  EXPECT_EQ(notes("{\"dtype\":\"torch.float16\"}", "HalfStorage", 2), "");
  EXPECT_EQ(notes("{\"torch_dtype\":\"float16\"}", "IntStorage", 4), "");
  EXPECT_EQ(notes("{\"torch_dtype\":7}", "HalfStorage", 2), "");
}

TEST(OpenCheckpoint, TensorsOfAnotherCheckpoint) {
  const auto checkpoint = OpenFiles({{"pytorch_model.bin", TorchOf("HalfStorage", 2)}});
  ASSERT_TRUE(checkpoint.ok());
  TensorInfo tensor = (*checkpoint)->tensors().at("w");
  tensor.storage = 1;
  std::vector<std::uint8_t> out(8);
  ExpectError((*checkpoint)->ReadRows(tensor, 0, 4, out), StatusCode::kInvalidArgument,
              {"storage 1 of 1"});
  EXPECT_FALSE(OpenCheckpoint(std::unique_ptr<ByteSource>()).ok());
}

TEST(OpenCheckpoint, HubCacheOfLinks) {
  const TempDir blobs;
  const TempDir snapshot;
  blobs.Write("1", "{}");
  blobs.Write("2", TorchOf("HalfStorage", 2));
  std::filesystem::create_symlink(blobs.File("1"), snapshot.File("config.json"));
  std::filesystem::create_symlink(blobs.File("2"), snapshot.File("pytorch_model.bin"));
  const auto checkpoint = OpenCheckpoint(snapshot.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(*ReadTensor(**checkpoint, (*checkpoint)->tensors().at("w")), Counting(8));
  std::filesystem::remove(blobs.File("1"));
  ExpectError(OpenCheckpoint(snapshot.path()).status(), StatusCode::kNotFound,
              {snapshot.File("config.json"), "symbolic link"});
}

TEST(OpenCheckpoint, FileThatShrinksAfterOpening) {
  const TempDir dir;
  dir.Write("config.json", "{}");
  dir.Write("pytorch_model.bin", TorchOf("FloatStorage", 4));
  const auto checkpoint = OpenCheckpoint(dir.path());
  ASSERT_TRUE(checkpoint.ok());
  std::filesystem::resize_file(dir.File("pytorch_model.bin"), 10);
  ExpectError(ReadTensor(**checkpoint, (*checkpoint)->tensors().at("w")).status(),
              StatusCode::kDataLoss, {"pytorch_model.bin", "\"w\"", "cut short"});
}

}  // namespace
}  // namespace mossrt::runtime::testing
