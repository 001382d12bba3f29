// Packed files: equal bits, the memory they take, what may be asked of them, kills and full disks.
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>

#include "checkpoint/packed_file.h"
#include "reference_model.h"

namespace mossrt::runtime {
namespace {

namespace fs = std::filesystem;

class PackedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string path = (fs::temp_directory_path() / "mossrt-test-XXXXXX").string();
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    folder_ = path;
  }
  void TearDown() override { fs::remove_all(folder_); }
  std::string File() const { return folder_ + "/model.mossrt"; }
  std::size_t Count() const {
    return static_cast<std::size_t>(
        std::distance(fs::directory_iterator(folder_), fs::directory_iterator()));
  }

  absl::Status Save(const ReferenceModel& reference, const Model& model,
                    Monitor* monitor = nullptr) const {
    const auto files = OpenModelFiles(reference.directory);
    if (!files.ok()) return files.status();
    return SavePacked(model, **files, File(), {.made_by = "a test"}, monitor);
  }
  absl::StatusOr<std::unique_ptr<Model>> Load(LoadOptions options) const {
    if (options.threads == 0) options.threads = 2;
    auto checkpoint = OpenCheckpoint(File());
    if (!checkpoint.ok()) return checkpoint.status();
    return Model::Load(**checkpoint, options, nullptr);
  }

  std::string folder_;
};

std::vector<float> Logits(const Model& model, const ReferenceModel& reference) {
  Sequence sequence(model, 32);
  const absl::Status status =
      sequence.Feed(std::span(reference.ids).first(24), SequenceInput::Rows::kAll);
  EXPECT_TRUE(status.ok()) << status;
  return sequence.logits;
}

struct Case {
  std::string model, dtype;
  std::vector<std::string> overrides{};
};

void PrintTo(const Case& c, std::ostream* out) { *out << c.model << " as " << c.dtype; }

class PackedFormats : public PackedTest, public ::testing::WithParamInterface<Case> {};

TEST_P(PackedFormats, GiveTheBitsOfTheCheckpoint) {
  const Case& c = GetParam();
  const ReferenceModel reference(c.model);
  const auto source = reference.Load({.dtype = c.dtype, .overrides = c.overrides});
  ASSERT_NE(source, nullptr);
  const absl::Status saved = Save(reference, *source);
  ASSERT_TRUE(saved.ok()) << saved;
  const std::vector<float> want = Logits(*source, reference);
  for (const bool mmap : {false, true}) {
    const auto model = Load({.mmap = mmap});
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ((*model)->numerics(), source->numerics());
    EXPECT_EQ((*model)->weight_bytes(), source->weight_bytes());
    EXPECT_EQ((*model)->plan().parameters, source->plan().parameters);
    EXPECT_EQ((*model)->plan().packed->dtype, c.dtype);
    const std::vector<float> got = Logits(**model, reference);
    ASSERT_EQ(got.size(), want.size());
    EXPECT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0);
    for (const TensorPlan& tensor : source->plan().tensors) {
      std::vector<std::int64_t> shape, shape2;
      const auto a = source->ReadTensor(tensor.name, &shape);
      const auto b = (*model)->ReadTensor(tensor.name, &shape2);
      ASSERT_EQ(a.ok(), b.ok()) << tensor.name;
      if (!a.ok()) continue;
      EXPECT_EQ(shape, shape2) << tensor.name;
      EXPECT_TRUE(*a == *b) << tensor.name;
    }
  }
  // The same options once more are no other wish.
  EXPECT_TRUE(Load({.dtype = c.dtype, .overrides = c.overrides}).ok());
}

INSTANTIATE_TEST_SUITE_P(
    Models, PackedFormats,
    ::testing::Values(Case{"moss", "auto"}, Case{"moss", "float32"}, Case{"moss", "bfloat16"},
                      Case{"moss", "int8"}, Case{"moss", "int4"}, Case{"moss", "int4-g32-asym"},
                      Case{"moss", "int4-g64-search", {"lm_head.*=float16", "*wte*=float32"}},
                      Case{"codegen", "float16"}, Case{"llama", "auto"}, Case{"llama", "int8-g256"},
                      Case{"llama-untied", "int4-g128-asym"}, Case{"moss-gptq-int4", "auto"},
                      Case{"moss-gptq-int8", "auto"}, Case{"moss-gptq-int2", "int4"},
                      Case{"llama-gptq", "auto"}, Case{"llama-gptq", "float32"}),
    [](const auto& info) {
      std::string name = info.param.model + "_" + info.param.dtype;
      for (char& c : name) c = c == '-' ? '_' : c;
      return name;
    });

TEST_F(PackedTest, MemoryIsTheWeightsAndNoneIfMapped) {
  const ReferenceModel reference("moss");
  const auto source = reference.Load({});
  ASSERT_TRUE(Save(reference, *source).ok());
  const auto checkpoint = OpenCheckpoint(File());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto read = PlanModel(**checkpoint, {});
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->need.weights, source->plan().need.weights);
  EXPECT_EQ(read->need.embedding, source->plan().need.embedding);
  EXPECT_EQ(read->need.vectors, source->plan().need.vectors);
  EXPECT_EQ(read->need.mapped, 0u);
  const auto mapped = PlanModel(**checkpoint, {.mmap = true});
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  EXPECT_EQ(mapped->need.mapped, read->need.weights + read->need.embedding);
  EXPECT_EQ(mapped->need.weights + mapped->need.embedding, 0u);
  const absl::Status refused = Load({.memory_limit = 100'000}).status();
  EXPECT_TRUE(absl::IsResourceExhausted(refused)) << refused;
}

// Bytes of a file that this process has mapped.
std::uint64_t BytesMapped(const std::string& path) {
  std::ifstream maps("/proc/self/maps");
  EXPECT_TRUE(maps.good());
  const std::string end = " " + fs::canonical(path).string();
  std::uint64_t bytes = 0;
  for (std::string line; std::getline(maps, line);) {
    unsigned long long from = 0, to = 0;
    if (!line.ends_with(end)) continue;
    EXPECT_EQ(std::sscanf(line.c_str(), "%llx-%llx ", &from, &to), 2) << line;
    bytes += to - from;
  }
  return bytes;
}

TEST_F(PackedTest, TheFileIsMappedWhileTheModelLivesIfAsked) {
  const ReferenceModel reference("moss");
  ASSERT_TRUE(Save(reference, *reference.Load({})).ok());
  EXPECT_EQ(BytesMapped(File()), 0u);
  {
    const auto read = Load({});
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(BytesMapped(File()), 0u);
  }
  for (const bool verify : {true, false}) {
    const auto mapped = Load({.verify_crc = verify, .mmap = true});
    ASSERT_TRUE(mapped.ok()) << mapped.status();
    ASSERT_GT((*mapped)->plan().need.mapped, 0u);
    EXPECT_GE(BytesMapped(File()), (*mapped)->plan().need.mapped);
  }
  EXPECT_EQ(BytesMapped(File()), 0u);
}

TEST_F(PackedTest, AFlippedWeightIsFoundBeforeTheMappingIsUsed) {
  const ReferenceModel reference("moss");
  ASSERT_TRUE(Save(reference, *reference.Load({})).ok());
  const auto checkpoint = OpenCheckpoint(File());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  std::fstream file(File(), std::ios::in | std::ios::out | std::ios::binary);
  const auto flip = [&](std::uint64_t at) {
    char byte = 0;
    file.seekg(static_cast<std::streamoff>(at)).get(byte);
    file.seekp(static_cast<std::streamoff>(at)).put(static_cast<char>(byte ^ 0x10)).flush();
    ASSERT_TRUE(file.good());
  };
  for (const PackedPart part : {PackedPart::kWeights, PackedPart::kEmbedding}) {
    const PackedSection& section = (*checkpoint)->packed()->section(part);
    ASSERT_GT(section.bytes, 0u);
    for (const std::uint64_t at : {std::uint64_t{0}, section.bytes / 2, section.bytes - 1}) {
      flip(section.offset + at);
      const absl::Status refused = Load({.mmap = true}).status();
      EXPECT_TRUE(absl::IsDataLoss(refused)) << refused;
      for (const std::string& want : {File(), std::string("checksum")}) {
        EXPECT_NE(refused.message().find(want), absl::string_view::npos) << refused;
      }
      // Without the sums the caller takes what there is.
      EXPECT_TRUE(Load({.verify_crc = false, .mmap = true}).ok());
      flip(section.offset + at);
    }
  }
  EXPECT_TRUE(Load({.mmap = true}).ok());
}

TEST_F(PackedTest, AnotherWishIsAnError) {
  const ReferenceModel reference("moss");
  const auto source = reference.Load({.dtype = "int8"});
  ASSERT_TRUE(Save(reference, *source).ok());
  const auto expect = [&](const LoadOptions& options, const std::string& part) {
    const absl::Status status = Load(options).status();
    EXPECT_TRUE(absl::IsInvalidArgument(status)) << status;
    EXPECT_NE(status.message().find(part), absl::string_view::npos) << part << " in " << status;
  };
  expect({.dtype = "float16"}, "option dtype");
  expect({.dtype = "int4"}, "dtype auto");
  expect({.dtype = "int8-search"}, "int8-g128-search");
  expect({.dtype = "int9"}, "int9");
  expect({.overrides = {"lm_head.*=float16"}}, "option overrides");
  expect({.overrides = {"nothing=float16"}}, "nothing");
  expect({.backend = "reference"}, "option backend");
  expect({.architecture = "llama"}, "option architecture");
  EXPECT_TRUE(Load({.overrides = {"lm_head.*=int8"}}).ok());
  EXPECT_TRUE(Load({.dtype = "int8-g128", .architecture = "moss"}).ok());
}

TEST_F(PackedTest, CheckpointsAreNotMapped) {
  const ReferenceModel reference("moss");
  const auto checkpoint = OpenCheckpoint(reference.directory);
  const absl::Status status = PlanModel(**checkpoint, {.mmap = true}).status();
  EXPECT_NE(status.message().find("option mmap"), absl::string_view::npos) << status;
}

TEST_F(PackedTest, PackedAgainIsTheSameFile) {
  const ReferenceModel reference("moss-gptq-int4");
  ASSERT_TRUE(Save(reference, *reference.Load({})).ok());
  const std::string first = ReadFileOrDie(File());
  const auto model = Load({});
  ASSERT_TRUE(model.ok()) << model.status();
  const auto files = OpenModelFiles(File());
  ASSERT_TRUE(files.ok()) << files.status();
  const absl::Status status = SavePacked(**model, **files, File(), {.made_by = "a test"}, nullptr);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_TRUE(ReadFileOrDie(File()) == first);
}

// A folder of a model's own config and weights, and small files that nothing but a copy explains.
TEST_F(PackedTest, SmallFilesTravel) {
  const ReferenceModel reference("llama-gptq");
  const std::string folder = folder_ + "/source";
  fs::create_directory(folder);
  std::map<std::string, std::string> expected;
  for (const std::string name : {"config.json", "quantize_config.json"}) {
    expected[name] = ReadFileOrDie(reference.directory + "/" + name);
  }
  std::string bytes;  // every one, in a turn of its own for each file
  for (int i = 0; i < 256; ++i) bytes.push_back(static_cast<char>(i));
  for (const std::string name :
       {"generation_config.json", "vocab.json", "merges.txt", "added_tokens.json",
        "tokenizer.model", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
        "chat_template.json", "special_tokens_map.json", "meta_instruction.txt", "LICENSE",
        "LICENSE.txt", "LICENSE.md", "NOTICE"}) {
    std::rotate(bytes.begin(), bytes.begin() + 1, bytes.end());
    expected[name] = name + bytes;
  }
  expected["README.md"] = "";
  for (const auto& [name, text] : expected) {
    std::ofstream(folder + "/" + name, std::ios::binary) << text;
  }
  std::ofstream(folder + "/notes.txt") << "no such file is asked for";
  const std::string weights = "gptq_model-4bit-64g.safetensors";
  fs::copy_file(reference.directory + "/" + weights, folder + "/" + weights);

  const auto checkpoint = OpenCheckpoint(folder);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto model = Model::Load(**checkpoint, {.threads = 2}, nullptr);
  ASSERT_TRUE(model.ok()) << model.status();
  const absl::Status saved = SavePacked(**model, (*checkpoint)->source(), File(), {}, nullptr);
  ASSERT_TRUE(saved.ok()) << saved;
  const auto files = OpenModelFiles(File());
  ASSERT_TRUE(files.ok()) << files.status();
  const auto names = (*files)->List();
  ASSERT_TRUE(names.ok()) << names.status();
  std::map<std::string, std::string> travelled;
  for (const std::string& name : *names) {
    const auto text = ReadAll(**files, name, UINT64_MAX);
    ASSERT_TRUE(text.ok()) << text.status();
    travelled[name] = *text;
  }
  EXPECT_TRUE(travelled == expected) << ::testing::PrintToString(*names);
}

// No larger than conversations read it.
TEST_F(PackedTest, AMetaInstructionThatIsTooLargeIsRefused) {
  const ReferenceModel reference("moss");
  const auto model = reference.Load({});
  const std::string config = ReadFileOrDie(reference.directory + "/config.json");
  const auto save = [&](std::size_t size) {
    const auto files = OpenMemory(
        "source", {{"config.json", config}, {"meta_instruction.txt", std::string(size, 'x')}});
    return SavePacked(*model, *files, File(), {}, nullptr);
  };
  const absl::Status status = save(65537);
  EXPECT_TRUE(absl::IsDataLoss(status)) << status;
  for (const char* part : {"source/meta_instruction.txt", "65537 bytes", "65536"}) {
    EXPECT_NE(status.message().find(part), absl::string_view::npos) << part << " in " << status;
  }
  EXPECT_EQ(Count(), 0u);
  EXPECT_TRUE(save(65536).ok());
}

TEST_F(PackedTest, RefusesWhatItCannotWrite) {
  const ReferenceModel reference("moss");
  const auto model = reference.Load({});
  const auto dense = reference.Load({.backend = "reference"});
  EXPECT_TRUE(absl::IsInvalidArgument(Save(reference, *dense)));
  EXPECT_TRUE(absl::IsInvalidArgument(Save(ReferenceModel("llama"), *model)));  // its config.json
  std::ofstream(File()) << "precious";
  EXPECT_TRUE(absl::IsInvalidArgument(Save(reference, *model)));
  EXPECT_EQ(ReadFileOrDie(File()), "precious");
  fs::remove(File());
  Monitor cancelled;
  cancelled.Cancel();
  EXPECT_TRUE(absl::IsCancelled(Save(reference, *model, &cancelled)));
  EXPECT_EQ(Count(), 0u);
}

// Killed at each of the points where progress is told: between slabs, and before the file gets its
// name; and at times of the clock's choice.
TEST_F(PackedTest, AKillLeavesNothingOrAWholeFile) {
  const ReferenceModel reference("moss");
  bool finished = false;
  int killed = 0;
  for (int point = 1; !finished && point < 1000; ++point) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      int ticks = 0;
      Monitor monitor(
          [&](const char*, std::uint64_t, std::uint64_t) {
            if (++ticks == point) raise(SIGKILL);
            return 0;
          },
          std::chrono::milliseconds(0));
      const auto model = reference.Load({.threads = 1});
      _exit(model != nullptr && Save(reference, *model, &monitor).ok() ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    finished = WIFEXITED(status);
    if (finished) {
      EXPECT_EQ(WEXITSTATUS(status), 0);
      EXPECT_TRUE(Load({}).ok());
    } else {
      ++killed;
      EXPECT_EQ(Count(), 0u) << "point " << point;
    }
  }
  EXPECT_TRUE(finished);
  EXPECT_GE(killed, 4);
  // Over a file that is there.
  for (int delay = 0; delay < 12; ++delay) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const auto model = reference.Load({.threads = 1});
      for (;;) (void)Save(reference, *model);
    }
    usleep(static_cast<useconds_t>(3000 * delay + 777 * (delay % 5)));
    kill(child, SIGKILL);
    ASSERT_EQ(waitpid(child, nullptr, 0), child);
    EXPECT_TRUE(Load({}).ok()) << "delay " << delay;
  }
}

}  // namespace
}  // namespace mossrt::runtime
