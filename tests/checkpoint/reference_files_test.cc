// Files that torch 2.13 and safetensors wrote (make_data.py), against what torch sees in them.
#include "base/json.h"
#include "checkpoint/checkpoint_testing.h"

namespace mossrt::runtime::testing {
namespace {

using absl::StatusCode;

const std::string kData = MOSSRT_SOURCE_DIR "/tests/data/checkpoint/";

std::string Hex(std::string_view bytes) {
  std::string hex;
  for (const char c : bytes) {
    hex += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
    hex += "0123456789abcdef"[static_cast<unsigned char>(c) & 15];
  }
  return hex;
}

TEST(ReferenceFiles, EqualTorch) {
  const auto expected = ParseJsonObject(ReadWholeFile(kData + "expected.json"), "expected.json");
  ASSERT_TRUE(expected.ok()) << expected.status();
  ASSERT_EQ(expected->size(), 10u);
  for (const auto& [folder, tensors] : expected->items()) {
    SCOPED_TRACE(folder);
    const auto checkpoint = OpenCheckpoint(kData + folder);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ((*checkpoint)->tensors().size(), tensors.size());
    CrcLedger ledger(**checkpoint);
    for (const auto& [name, tensor] : tensors.items()) {
      SCOPED_TRACE(name);
      const auto it = (*checkpoint)->tensors().find(name);
      ASSERT_NE(it, (*checkpoint)->tensors().end());
      EXPECT_EQ(std::string(DTypeName(it->second.dtype)), tensor["dtype"].get<std::string>());
      EXPECT_EQ(it->second.shape, tensor["shape"].get<std::vector<std::int64_t>>());
      for (const std::int64_t step : {std::int64_t{1}, std::int64_t{2}, INT64_MAX}) {
        const auto bytes = ReadTensor(**checkpoint, it->second, step, &ledger);
        ASSERT_TRUE(bytes.ok()) << bytes.status();
        EXPECT_EQ(Hex(*bytes), tensor["bytes"].get<std::string>());
      }
    }
    EXPECT_TRUE(ledger.Check().ok()) << ledger.Check();
  }
}

TEST(ReferenceFiles, SharedTensorsShareAStorage) {
  const auto checkpoint = OpenCheckpoint(kData + "mixed");
  ASSERT_TRUE(checkpoint.ok());
  const auto& tensors = (*checkpoint)->tensors();
  for (const char* name : {"transposed", "columns", "rows", "every_second", "shared"}) {
    EXPECT_EQ(tensors.at(name).storage, tensors.at("f32").storage) << name;
  }
  EXPECT_TRUE(tensors.at("rows").contiguous());
  EXPECT_FALSE(tensors.at("transposed").contiguous());
  EXPECT_TRUE(HasNote(**checkpoint, "mostly float32"));
  EXPECT_TRUE(HasNote(**OpenCheckpoint(kData + "wrapped"), "\"state_dict\""));
}

TEST(ReferenceFiles, Refused) {
  const auto error = [](const std::string& folder) {
    return OpenCheckpoint(kData + folder).status();
  };
  ExpectError(error("refused_old_format"), StatusCode::kUnimplemented, {"non-zip", "Re-save"});
  ExpectError(error("refused_float8"), StatusCode::kInvalidArgument,
              {"_rebuild_tensor_v3", "Nothing was executed"});
  ExpectError(error("refused_module"), StatusCode::kInvalidArgument,
              {"torch.nn.modules.container.Sequential", "Nothing was executed", "state_dict"});
  ExpectError(error("refused_script"), StatusCode::kUnimplemented, {"TorchScript"});
  ExpectError(error("refused_safetensors_float8"), StatusCode::kUnimplemented,
              {"\"w8\"", "F8_E4M3"});
}

}  // namespace
}  // namespace mossrt::runtime::testing
