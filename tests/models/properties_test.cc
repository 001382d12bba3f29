// Contract 1 on models drawn from seeds: the bits of one sequence are equal for every number of
// threads, cut into chunks, company and instruction set; and its logits are near float64 passes of
// the matrices as they are held.
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>

#include "base/cat.h"
#include "drawn_model.h"
#include "mossrt/runtime/kernel_table.h"
#include "reference_model.h"

namespace mossrt::runtime {
namespace {

struct Case {
  std::string dtype;  // "auto" with `gptq`
  Gptq gptq = {};
  bool moss;
  DType kv;
  std::int64_t tokens;
};

// Every format with both families, integers with two caches; some walk beyond a block of the cache.
std::vector<Case> Cases() {
  std::vector<Case> cases;
  const auto add = [&](const std::string& dtype, Gptq gptq) {
    const bool moss = cases.size() / 2 % 2 == 0;
    const DType kv = cases.size() % 2 == 0 ? DType::kI8 : DType::kF32;
    cases.push_back({dtype, gptq, moss, kv, 37});
  };
  for (const char* dtype : {"float32", "int8", "int8-g32", "int8-g256-asym", "int4", "int4-g32",
                            "int4-g32-asym", "int4-g128-asym"}) {
    add(dtype, {});
    add(dtype, {});
  }
  for (const Gptq gptq : {Gptq{4, 32}, Gptq{4, 64}, Gptq{8, 128}, Gptq{2, 32}}) {
    for (int i = 0; i < 2; ++i) add("auto", gptq);
  }
  for (const auto& [dtype, kv] : {std::pair{"float16", DType::kF32},
                                  {"bfloat16", DType::kBF16},
                                  {"bfloat16", DType::kF32},
                                  {"int8-g64", DType::kI8},
                                  {"int8-asym", DType::kF32},
                                  {"int4-g128", DType::kI8},
                                  {"int4-asym", DType::kBF16},
                                  {"int4-search", DType::kI8}}) {
    add(dtype, {});
    cases.back().kv = kv;
  }
  cases[9].tokens = 261;
  cases[16].tokens = 261;
  // What is left out above: the other family of each.
  const std::size_t n = cases.size();
  for (std::size_t i = 0; i < n; ++i) {
    cases.push_back(cases[i]);
    cases.back().moss = !cases[i].moss;
    cases.back().tokens = 37;
  }
#ifdef MOSSRT_SANITIZED  // some thirty times slower
  for (std::size_t i = 0; i < cases.size(); ++i) cases[i].tokens = 19;
  std::vector<Case> some;
  for (std::size_t i = 0; i < cases.size(); i += 3) some.push_back(cases[i]);
  return some;
#else
  return cases;
#endif
}

std::string Label(const Case& c, std::size_t index) {
  return Cat("case ", index, ": ", c.moss ? "moss " : "llama ", c.dtype,
             c.gptq.bits > 0 ? Cat(" gptq ", c.gptq.bits, " bits, groups of ", c.gptq.group) : "",
             " kv=", DTypeName(c.kv));
}

DrawnModel Draw(const Case& c, std::size_t index) {
  return DrawnModel(c.moss, c.gptq, static_cast<std::uint32_t>(1000 + index), 300);
}

std::unique_ptr<Model> Load(const DrawnModel& drawn, const Case& c, int threads) {
  const auto checkpoint = OpenCheckpoint(OpenMemory("drawn", drawn.Files()));
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  if (!checkpoint.ok()) return nullptr;
  auto model = Model::Load(**checkpoint,
                           {.dtype = c.dtype, .threads = threads, .huge_pages = false}, nullptr);
  EXPECT_TRUE(model.ok()) << model.status();
  return model.ok() ? *std::move(model) : nullptr;
}

std::vector<std::int32_t> Ids(const DrawnModel& drawn, std::int64_t n, std::int64_t step) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < n; ++i)
    ids.push_back(static_cast<std::int32_t>((i * i * 31 + i * step + 5) % drawn.vocab));
  return ids;
}

std::vector<float> InOnePiece(const Model& model, const Case& c,
                              std::span<const std::int32_t> ids) {
  Sequence sequence(model, 300, c.kv);
  const absl::Status status = sequence.Feed(ids, SequenceInput::Rows::kAll);
  EXPECT_TRUE(status.ok()) << status;
  return sequence.logits;
}

// In chunks of drawn sizes, each with up to two other sequences before or behind it in the same
// call.
std::vector<float> InCompany(const Model& model, const Case& c, std::span<const std::int32_t> ids,
                             std::mt19937* random) {
  const auto below = [&](std::size_t n) { return static_cast<std::size_t>((*random)() % n); };
  Sequence sequence(model, 512, c.kv), before(model, 1, c.kv), behind(model, 1, c.kv);
  std::vector<float> logits;
  const auto vocab = static_cast<std::size_t>(model.params().vocab);
  for (std::size_t at = 0; at < ids.size();) {
    const std::size_t largest =
        std::initializer_list<std::size_t>{1, 5, 13, 40, 300}.begin()[below(5)];
    const std::size_t n = std::min(1 + below(largest), ids.size() - at);
    std::vector<SequenceInput> inputs;
    std::size_t rows_before = 0;
    if (below(2) == 0) {
      inputs.push_back({.kv = &before.kv(), .tokens = ids.first(1 + below(4))});
      rows_before = 1;
    }
    inputs.push_back(
        {.kv = &sequence.kv(), .tokens = ids.subspan(at, n), .want = SequenceInput::Rows::kAll});
    if (below(2) == 0) {
      inputs.push_back({.kv = &behind.kv(),
                        .tokens = ids.first(1 + below(3)),
                        .want = SequenceInput::Rows::kNone});
    }
    for (Sequence* other : {&before, &behind}) {
      if (other->kv().length() > 200) other->kv().Rewind(3);
    }
    const auto result = model.Forward(inputs, {}, sequence.workspace());
    EXPECT_TRUE(result.ok()) << result.status();
    if (!result.ok()) return {};
    for (std::size_t row = rows_before; row < rows_before + n; ++row) {
      const auto values = result->RowSpan(static_cast<std::int64_t>(row));
      logits.insert(logits.end(), values.begin(),
                    values.begin() + static_cast<std::ptrdiff_t>(vocab));
    }
    at += n;
  }
  return logits;
}

TEST(Properties, ThreadsChunksAndCompanyChangeNoBit) {
  const std::vector<Case> cases = Cases();
  std::mt19937 random(77);
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    const DrawnModel drawn = Draw(c, i);
    const std::vector<std::int32_t> ids = Ids(drawn, c.tokens, 17);
    std::vector<float> want;
    for (const int threads : {1, 2, 3}) {
      const auto model = Load(drawn, c, threads);
      ASSERT_NE(model, nullptr) << Label(c, i);
      if (threads == 1) want = InOnePiece(*model, c, ids);
      ASSERT_EQ(want.size(), ids.size() * static_cast<std::size_t>(drawn.vocab));
      for (int round = 0; round < 2; ++round) {
        const std::vector<float> got = InCompany(*model, c, ids, &random);
        ASSERT_EQ(got.size(), want.size());
        EXPECT_EQ(std::memcmp(got.data(), want.data(), want.size() * 4), 0)
            << Label(c, i) << ", " << threads << " threads";
      }
    }
  }
}

// The nearest number of a dense format.
double Nearest(DType dtype, double value) {
  if (dtype == DType::kBF16) return NearestBf16(value);
  if (dtype != DType::kF16 || value == 0) return value;
  const double step = std::ldexp(1.0, std::max(std::ilogb(value), -14) - 10);
  return std::nearbyint(value / step) * step;
}

// The matrices as the model holds them: GPTQ's to the bit what the file stands for, dense ones the
// nearest numbers (float16's embedding those of the file), those rounded to integers within some
// steps.
void TakeHeld(const Model& model, const Case& c, const std::string& label, Tables64* tables) {
  for (auto& [name, table] : *tables) {
    if (table.rows == 1) continue;  // norms and biases stay as they are
    const auto held = model.ReadTensor(name, nullptr);
    ASSERT_TRUE(held.ok()) << held.status();
    ASSERT_EQ(held->size(), table.values.size()) << name;
    const bool embedding =
        name.find("wte") != std::string::npos || name.find("embed") != std::string::npos;
    const bool outer = embedding || name.starts_with("lm_head");
    if (c.gptq.bits > 0 && !outer) {
      for (std::size_t i = 0; i < held->size(); ++i) {
        ASSERT_EQ(static_cast<double>((*held)[i]), table.values[i])
            << label << ", " << name << "[" << i << "]";
      }
      continue;
    }
    const bool dense = c.gptq.bits == 0 && !ParseWeightFormat(c.dtype)->integers();
    const WeightFormat format = outer && !dense ? Integers(8, 128) : *ParseWeightFormat(c.dtype);
    if (dense) {
      for (std::size_t i = 0; i < held->size(); ++i) {
        if (!embedding || format.dtype == DType::kBF16)
          table.values[i] = Nearest(format.dtype, table.values[i]);
        ASSERT_EQ(static_cast<double>((*held)[i]), table.values[i])
            << label << ", " << name << "[" << i << "]";
      }
      table.bf16 = format.dtype == DType::kBF16;
      continue;
    }
    table.groups.resize(static_cast<std::size_t>(table.cols));
    for (std::size_t i = 0; i < table.groups.size(); ++i)
      table.groups[i] = static_cast<std::int32_t>(i) / format.group;
    for (std::int64_t first = 0; first < table.rows * table.cols;) {
      const std::int64_t left = table.cols - first % table.cols;
      const std::int64_t end = first + std::min<std::int64_t>(left, format.group);
      double high = 0, low = 0;
      for (std::int64_t i = first; i < end; ++i) {
        high = std::max(high, table.values[static_cast<std::size_t>(i)]);
        low = std::min(low, table.values[static_cast<std::size_t>(i)]);
      }
      const double step = format.zeros       ? (high - low) / ((1 << format.bits) - 1)
                          : format.bits == 8 ? std::max(high, -low) / 127
                                             : std::max(high, -low) / 8;
      // Half a step, or a whole one where the range ends; the scale is a float16. A search may go
      // down to 0.66 of it, where the range ends at 7 x 0.66 of 8 steps.
      for (std::int64_t i = first; i < end; ++i) {
        double& value = table.values[static_cast<std::size_t>(i)];
        const auto as_held = static_cast<double>((*held)[static_cast<std::size_t>(i)]);
        ASSERT_LE(std::abs(as_held - value), (format.search ? 3.4 : 1.1) * step)
            << label << ", " << name << "[" << i << "]";
        value = as_held;
      }
      first = end;
    }
  }
}

TEST(Properties, LogitsAreNearFloat64PassesOfTheDequantisedMatrices) {
  const std::vector<Case> cases = Cases();
  std::size_t equal = 0;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    DrawnModel drawn = Draw(c, i);
    const std::string label = Label(c, i);
    const auto model = Load(drawn, c, 2);
    ASSERT_NE(model, nullptr) << label;
    const std::vector<std::int32_t> ids = Ids(drawn, c.tokens, 17);
    const std::vector<float> ours = InOnePiece(*model, c, ids);
    TakeHeld(*model, c, label, &drawn.tables);
    if (HasFatalFailure()) return;
    const std::vector<double> exact = Forward64(drawn.shape, drawn.tables, false, c.kv).Logits(ids);
    const std::vector<double> rounded =
        Forward64(drawn.shape, drawn.tables, true, c.kv).Logits(ids);
    ASSERT_EQ(ours.size(), exact.size());
    double difference = 0, rounding = 0, size = 0;
    const auto square = [](double x) { return x * x; };
    for (std::size_t at = 0; at < ours.size(); ++at) {
      difference += square(static_cast<double>(ours[at]) - rounded[at]);
      rounding += square(rounded[at] - exact[at]);
      size += square(exact[at]);
    }
    if (std::getenv("MOSSRT_PROPERTIES_PRINT") != nullptr)
      std::printf("%s: difference %.2e rounding %.2e of the size\n", label.c_str(),
                  difference / size, rounding / size);
    if ((c.dtype == "float32" || c.dtype == "float16") && c.kv == DType::kF32) {
      EXPECT_LT(difference, 1e-11 * size) << label;
      ++equal;
      continue;
    }
    // Where no value fell on a tie, all is equal but for float32's own rounding; one that did and
    // went the other way pulls others after it.
    equal += difference < 1e-11 * size ? 1 : 0;
    EXPECT_LT(difference, 0.7 * rounding) << label;
    EXPECT_GT(rounding, 0) << label;
    EXPECT_LT(rounding, 4e-3 * size) << label;
  }
  EXPECT_GT(equal, cases.size() / 2);
}

// FNV-1a over the bytes.
std::uint64_t Hash(const std::vector<float>& values) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  const auto* bytes = reinterpret_cast<const unsigned char*>(values.data());
  for (std::size_t i = 0; i < values.size() * 4; ++i) hash = (hash ^ bytes[i]) * 0x100000001B3u;
  return hash;
}

// The same bits are asked for in many rows at once, one by one, and in company; from 25 rows on
// products of integers go another way on some levels.
std::string Hashes() {
  std::string hashes;
  const std::vector<Case> cases = Cases();
  for (std::size_t i = 0; i < cases.size(); ++i) {
    const Case& c = cases[i];
    const DrawnModel drawn = Draw(c, i);
    const auto model = Load(drawn, c, static_cast<int>(1 + i % 3));
    if (model == nullptr) return "";
    const std::vector<std::int32_t> ids = Ids(drawn, 31, 19);
    Sequence sequence(*model, 300, c.kv);
    for (std::size_t at = 0; at < ids.size(); at += at == 0 ? 27 : 1) {
      const auto piece = std::span(ids).subspan(at, at == 0 ? 27 : 1);
      const absl::Status status = sequence.Feed(piece, SequenceInput::Rows::kAll);
      EXPECT_TRUE(status.ok()) << status;
    }
    std::mt19937 random(static_cast<std::uint32_t>(i));
    const bool pairs = cpu::Kernels()->gemm_bf16_pairs != nullptr &&
                       (c.dtype == "bfloat16" || c.kv == DType::kBF16);
    EXPECT_TRUE(sequence.logits == InCompany(*model, c, ids, &random))
        << Label(c, i) << " in other pieces and beside others on " << cpu::Kernels()->name;
    hashes += Cat(Label(c, i), pairs ? " vdpbf16ps" : "", ": ", Hash(sequence.logits), "\n");
  }
  return hashes;
}

std::vector<std::string> Lines(const std::string& text) {
  std::vector<std::string> lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

constexpr const char* kHashesOut = "MOSSRT_PROPERTIES_OUT";

// Run by the test below, in a process of its own for each instruction set.
TEST(Properties, WriteHashes) {
  if (const char* path = std::getenv(kHashesOut)) std::ofstream(path) << Hashes();
}

TEST(Properties, InstructionSetsChangeNoBit) {
  if (std::getenv(kHashesOut) != nullptr) return;
  const std::string program = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string path = ::testing::TempDir() + "/mossrt_properties_" + std::to_string(getpid());
  std::map<std::string, std::string> hashes;
  int count = 0;
  const cpu::KernelTable* const* tables = cpu::KernelTables(&count);
  for (int i = 0; i < count; ++i) {
    if (!tables[i]->available()) continue;
    const pid_t child = fork();
    if (child == 0) {
      setenv("MOSSRT_ISA", tables[i]->name, 1);
      setenv(kHashesOut, path.c_str(), 1);
      execl(program.c_str(), program.c_str(), "--gtest_filter=Properties.WriteHashes",
            "--gtest_brief=1", nullptr);
      _exit(127);
    }
    ASSERT_GT(child, 0);
    int status = -1;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0) << tables[i]->name;
    hashes[tables[i]->name] = ReadFileOrDie(path);
    std::filesystem::remove(path);
  }
  ASSERT_TRUE(hashes.contains("scalar"));
  ASSERT_FALSE(hashes["scalar"].empty());
  const std::vector<std::string> want = Lines(hashes["scalar"]);
  ASSERT_EQ(want.size(), Cases().size());
  for (const auto& [level, found] : hashes) {
    const std::vector<std::string> lines = Lines(found);
    ASSERT_EQ(lines.size(), want.size()) << level;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      // That instruction's bits are a set of their own.
      if (lines[i].find(" vdpbf16ps") != std::string::npos) continue;
      EXPECT_EQ(lines[i], want[i]) << level;
    }
  }
}

}  // namespace
}  // namespace mossrt::runtime
