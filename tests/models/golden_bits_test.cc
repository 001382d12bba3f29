// One hash of logits per model and format, the same from every compiler, sanitizer build and
// instruction set. CTest runs this program once per level (MOSSRT_ISA).
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/cat.h"
#include "mossrt/runtime/kernel_table.h"
#include "reference_model.h"

namespace mossrt::runtime {
namespace {

const std::string kGoldenFile = std::string(MOSSRT_SOURCE_DIR) + "/tests/data/golden_bits.json";

// FNV-1a over the bytes of float32 values, little-endian.
std::string Hash(const std::vector<float>& values) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const float value : values) {
    auto bits = std::bit_cast<std::uint32_t>(value);
    for (int i = 0; i < 4; ++i, bits >>= 8) {
      hash = (hash ^ (bits & 0xFF)) * 0x100000001B3u;
    }
  }
  char text[17];
  std::snprintf(text, sizeof(text), "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

// A fixed walk over the vocabulary in chunks. Small models walk beyond one block of the KV cache;
// the scalar level takes 25 ns a multiply-add, so larger ones walk 30 tokens.
std::vector<float> Logits(const Model& model, DType kv) {
  const bool small = model.plan().parameters < 1'000'000;
  const std::vector<std::size_t> chunks =
      small ? std::vector<std::size_t>{100, 1, 130, 69} : std::vector<std::size_t>{10, 1, 13, 6};
  const std::int64_t tokens = small ? 300 : 30;
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < tokens; ++i) {
    ids.push_back(static_cast<std::int32_t>((i * i * 31 + i * 17 + 5) % model.params().vocab));
  }
  Sequence sequence(model, 130, kv);
  std::size_t at = 0;
  for (const std::size_t n : chunks) {
    const absl::Status status =
        sequence.Feed(std::span(ids).subspan(at, n), SequenceInput::Rows::kAll);
    EXPECT_TRUE(status.ok()) << status;
    at += n;
  }
  EXPECT_EQ(at, ids.size());
  return sequence.logits;
}

// Adds a value to the file that MOSSRT_GOLDEN_BITS_OUT names; how golden_bits.json is made.
void Record(const std::string& model, const std::string& format, const std::string& hash) {
  const char* path = std::getenv("MOSSRT_GOLDEN_BITS_OUT");
  if (path == nullptr) return;
  Json out = Json::object();
  if (std::filesystem::exists(path)) out = Json::parse(ReadFileOrDie(path));
  out[model][format] = hash;
  std::ofstream(path) << out.dump(2) << "\n";
}

// The models are the keys of the file, folders of this repository.
TEST(GoldenBits, AreTheSameInEveryBuild) {
  if (cpu::Kernels() == nullptr) GTEST_SKIP() << cpu::KernelError();
  const Json golden = Json::parse(ReadFileOrDie(kGoldenFile));
  ASSERT_GE(golden.size(), 2u);
  for (const auto& [name, formats] : golden.items()) {
    const auto checkpoint = OpenCheckpoint(std::string(MOSSRT_SOURCE_DIR) + "/" + name);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    // The rest of the integer formats on small models only: the scalar level is slow with
    // sanitizers.
    std::vector<std::string> dtypes = {"float32", "float16", "bfloat16", "int8", "int4"};
    if (name.starts_with("tests/")) {
      dtypes.insert(dtypes.end(), {"int8-g256-asym", "int4-g32-asym", "int4-g128-search"});
    }
    for (const std::string& dtype : dtypes) {
      const auto model = Model::Load(**checkpoint, {.dtype = dtype, .threads = 2}, nullptr);
      ASSERT_TRUE(model.ok()) << model.status();
      std::vector<DType> caches = {DType::kF32};
      if (dtype == "float32") caches = {DType::kF32, DType::kBF16, DType::kI8};
      if (dtype == "int4" && name.starts_with("tests/")) caches.push_back(DType::kI8);
      for (const DType kv : caches) {
        // vdpbf16ps rounds inside: bfloat16 has one hash with it and one without.
        const std::string numerics = (*model)->numerics(kv);
        const auto at = numerics.find(" bf16=");
        const std::string format = Cat(
            dtype, kv == DType::kF32 ? "" : Cat(" kv=", DTypeName(kv)),
            at == std::string::npos ? "" : numerics.substr(at, numerics.find(' ', at + 1) - at));
        const std::string hash = Hash(Logits(**model, kv));
        Record(name, format, hash);
        EXPECT_EQ(hash, formats.value(format, "none: see tests/golden_bits.sh"))
            << name << ", " << format << ", kernels " << cpu::Kernels()->name;
      }
    }
  }
}

}  // namespace
}  // namespace mossrt::runtime
