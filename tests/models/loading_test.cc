// Strict loading, the traps of published configs, memory and cancelling.
#include <atomic>
#include <chrono>
#include <filesystem>
#include <thread>

#include "base/status.h"
#include "forwarding_source.h"
#include "made_checkpoint.h"
#include "reference_model.h"

namespace mossrt::runtime {
namespace {

using Files = std::map<std::string, std::string>;

Files ReadModel(const std::string& name) {
  Files files;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(MOSSRT_SOURCE_DIR) +
                                                               "/tests/data/models/" + name)) {
    if (entry.is_regular_file()) files[entry.path().filename()] = ReadFileOrDie(entry.path());
  }
  return files;
}

Files WithConfig(Files files, const std::function<void(Json&)>& change) {
  Json config = Json::parse(files.at("config.json"));
  change(config);
  files["config.json"] = config.dump();
  return files;
}

absl::StatusOr<ModelPlan> Plan(Files files, const LoadOptions& options = {}) {
  MOSSRT_ASSIGN_OR_RETURN(const auto checkpoint,
                          OpenCheckpoint(OpenMemory("memory", std::move(files))));
  return PlanModel(*checkpoint, options);
}

std::string ErrorOf(Files files, const LoadOptions& options = {}) {
  const auto plan = Plan(std::move(files), options);
  EXPECT_FALSE(plan.ok());
  return plan.ok() ? "" : std::string(plan.status().message());
}

void ExpectAll(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    EXPECT_NE(text.find(part), std::string::npos) << "no \"" << part << "\" in: " << text;
  }
}

TEST(StrictLoading, OneMessageListsAllThatIsWrong) {
  const std::string text = ErrorOf(WithConfig(ReadModel("moss"), [](Json& c) {
    c["n_layer"] = c["n_layer"].get<int>() + 1;
    c["vocab_size"] = 999;
  }));
  ExpectAll(text, {"missing", "transformer.h.2.ln_1.weight", "transformer.h.2.mlp.fc_out.bias",
                   "of another shape", "transformer.wte.weight: expected [999, ", "lm_head.bias"});
  ExpectAll(ErrorOf(WithConfig(ReadModel("moss"), [](Json& c) { c["n_layer"] = 1; })),
            {"unexpected", "transformer.h.1.attn.qkv_proj.weight"});
}

TEST(StrictLoading, BadNumbersAreNamedTogether) {
  const std::string text = ErrorOf(WithConfig(ReadModel("moss"), [](Json& c) {
    c["n_head"] = 7;
    c["rotary_dim"] = 5;
    c["layer_norm_epsilon"] = "small";
    c.erase("n_positions");
    c["activation_function"] = "swiglu";
  }));
  ExpectAll(text, {"\"n_head\" = 7", "rotary", "layer_norm_epsilon", "\"n_positions\" is missing",
                   "swiglu"});
}

TEST(Traps, TorchDtypeLies) {
  const auto plan = Plan(ReadModel("moss"));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(plan->format, Dense(DType::kF16));
  std::string notes;
  for (const std::string& note : plan->notes) notes += note + "\n";
  ExpectAll(notes, {"float32", "float16"});
}

TEST(Traps, WbitsAbsentMeansNotQuantised) {
  ASSERT_FALSE(Json::parse(ReadModel("moss").at("config.json")).contains("wbits"));
  EXPECT_TRUE(Plan(ReadModel("moss")).ok());
  EXPECT_TRUE(Plan(WithConfig(ReadModel("moss"), [](Json& c) { c["wbits"] = 32; })).ok());
  const auto claimed = Plan(WithConfig(ReadModel("moss"), [](Json& c) { c["wbits"] = 4; }));
  ASSERT_TRUE(claimed.ok()) << claimed.status();
  ExpectAll(claimed->notes.back(), {"\"wbits\" says 4", "no matrix is quantised"});
}

TEST(Traps, InnerMayBeNullOrStated) {
  const Json config = Json::parse(ReadModel("moss").at("config.json"));
  ASSERT_TRUE(config["n_inner"].is_null());
  const auto plan = Plan(ReadModel("moss"));
  ASSERT_TRUE(plan.ok());
  EXPECT_EQ(plan->params.inner, 4 * plan->params.hidden);
  const std::int64_t inner = plan->params.inner;
  EXPECT_TRUE(Plan(WithConfig(ReadModel("moss"), [inner](Json& c) { c["n_inner"] = inner; })).ok());
}

TEST(Traps, TwoArchitecturesCallThemselvesMoss) {
  const auto big = Plan(ReadModel("moss")), small = Plan(ReadModel("llama-untied"));
  ASSERT_TRUE(big.ok() && small.ok()) << big.status() << small.status();
  EXPECT_EQ(big->params.model_type, "moss");
  EXPECT_EQ(small->params.model_type, "moss");
  EXPECT_EQ(big->spec.name, "moss");
  EXPECT_EQ(small->spec.name, "llama");
  ExpectAll(ErrorOf(WithConfig(ReadModel("moss"), [](Json& c) { c["rms_norm_eps"] = 1e-5; })),
            {"moss", "llama", "architecture"});
}

TEST(Traps, NumberOfQkvGroupsIsStatedNeverGuessed) {
  const std::string text = ErrorOf(WithConfig(ReadModel("codegen"), [](Json& c) {
    c["auto_map"] = {{"AutoModel", "code.py"}};
  }));
  ExpectAll(text, {"auto_map", "codegen2", "architecture"});
  const auto four = Plan(ReadModel("codegen"));
  const auto eight = Plan(ReadModel("codegen2"), {.architecture = "codegen2"});
  const auto stated = Plan(WithConfig(ReadModel("codegen"), [](Json& c) { c["mp_num"] = 2; }));
  ASSERT_TRUE(four.ok() && eight.ok() && stated.ok())
      << four.status() << eight.status() << stated.status();
  EXPECT_EQ(four->params.qkv_groups, 4);
  EXPECT_EQ(eight->params.qkv_groups, 8);
  EXPECT_EQ(stated->params.qkv_groups, 2);
}

TEST(Traps, RotaryScalingAndWindowsAreRefused) {
  for (const char* key : {"rope_scaling", "sliding_window", "attention_bias"}) {
    ExpectAll(ErrorOf(WithConfig(ReadModel("llama"), [key](Json& c) { c[key] = 7; })), {key});
    EXPECT_TRUE(Plan(WithConfig(ReadModel("llama"), [key](Json& c) { c[key] = nullptr; })).ok())
        << key;
  }
}

TEST(Options, UnknownValuesNameTheKnownOnes) {
  ExpectAll(ErrorOf(ReadModel("moss"), {.dtype = "fp16"}), {"fp16", "float16", "bfloat16"});
  ExpectAll(ErrorOf(ReadModel("moss"), {.backend = "cuda"}), {"cuda", "native", "openblas"});
  ExpectAll(ErrorOf(ReadModel("moss"), {.architecture = "gpt5"}), {"gpt5", "moss", "llama"});
  ExpectAll(ErrorOf(WithConfig(ReadModel("moss"), [](Json& c) { c["model_type"] = "bert"; })),
            {"bert", "codegen"});
}

TEST(Memory, TooLittleIsAnErrorThatListsTheTerms) {
  const auto checkpoint = OpenCheckpoint(OpenMemory("memory", ReadModel("moss")));
  ASSERT_TRUE(checkpoint.ok());
  const auto model = Model::Load(**checkpoint, {.memory_limit = 100000}, nullptr);
  ASSERT_EQ(model.status().code(), absl::StatusCode::kResourceExhausted);
  ExpectAll(std::string(model.status().message()),
            {"weights", "embedding", "loading", "available", "option"});
}

TEST(Crc, AFlippedBitOfAWeightIsFound) {
  Files files = ReadModel("moss");
  const std::string shard = "pytorch_model-00001-of-00002.bin";
  std::string& bytes = files.at(shard);
  const auto clean = OpenCheckpoint(OpenMemory("memory", files));
  ASSERT_TRUE(clean.ok());
  const TensorInfo& wte = (*clean)->tensors().at("transformer.wte.weight");
  const StorageInfo& storage = (*clean)->storages()[wte.storage];
  ASSERT_EQ(storage.file, shard);
  bytes[storage.offset + 10] = static_cast<char>(bytes[storage.offset + 10] ^ 4);
  const auto broken = OpenCheckpoint(OpenMemory("memory", files));
  ASSERT_TRUE(broken.ok()) << broken.status();
  const auto model = Model::Load(**broken, {.threads = 2}, nullptr);
  ASSERT_EQ(model.status().code(), absl::StatusCode::kDataLoss) << model.status();
  ExpectAll(std::string(model.status().message()), {shard});
  EXPECT_TRUE(Model::Load(**broken, {.threads = 2, .verify_crc = false}, nullptr).ok());
}

// A slow disk, which counts the reads that begin after a cancel.
class SlowSource final : public ForwardingSource {
 public:
  SlowSource(std::unique_ptr<ByteSource> inner, const Monitor& monitor)
      : ForwardingSource(std::move(inner)), monitor_(monitor) {}
  absl::Status Read(std::string_view file, std::uint64_t offset,
                    std::span<std::uint8_t> out) const override {
    if (armed) {
      ++reads;
      if (monitor_.cancelled()) ++after_cancel;
      if (out.size() > std::size_t{1} << 20) ++large;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    return ForwardingSource::Read(file, offset, out);
  }

  mutable std::atomic<int> reads{0}, after_cancel{0}, large{0};
  bool armed = false;

 private:
  const Monitor& monitor_;
};

// 32 MiB of float16 zeros: matrices of several slabs a thread, fused and reordered rows.
Files LargeMoss() {
  Json config = TinyMoss();
  config.update({{"n_embd", 1024}, {"n_layer", 1}, {"rotary_dim", 64}, {"vocab_size", 2048}});
  const ArchSpec spec = SpecNamed("moss");
  const auto params = ReadHyperParams(spec, config.dump());
  EXPECT_TRUE(params.ok()) << params.status();
  if (!params.ok()) return {};
  Json header;
  std::uint64_t size = 0;
  for (const WeightRule& rule : WeightRules(spec, *params)) {
    if (header.contains(rule.tensor)) continue;
    std::uint64_t bytes = 2;
    for (const std::int64_t n : rule.shape) bytes *= static_cast<std::uint64_t>(n);
    header[rule.tensor] = {
        {"dtype", "F16"}, {"shape", rule.shape}, {"data_offsets", {size, size + bytes}}};
    size += bytes;
  }
  const std::string text = header.dump();
  std::string file(8 + text.size() + size, '\0');
  const std::uint64_t length = text.size();
  std::memcpy(file.data(), &length, 8);
  std::memcpy(file.data() + 8, text.data(), text.size());
  return {{"config.json", config.dump()}, {"model.safetensors", std::move(file)}};
}

// Seconds from a cancel at a read to the end of Load. Each thread looks before every read, so that
// it begins at most one after the cancel (which may come between the look and the read), and no
// read takes more than 1 MiB.
double SecondsToCancel(int threads, int cancel_at) {
  using Clock = std::chrono::steady_clock;
  Monitor monitor;
  auto slow = std::make_unique<SlowSource>(OpenMemory("memory", LargeMoss()), monitor);
  SlowSource* source = slow.get();
  const auto checkpoint = OpenCheckpoint(std::move(slow));
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  if (!checkpoint.ok()) return 0;
  source->armed = true;
  Clock::time_point cancelled;
  std::atomic<bool> ended{false};
  std::thread canceller([&] {
    while (source->reads < cancel_at && !ended) std::this_thread::yield();
    cancelled = Clock::now();
    monitor.Cancel();
  });
  const auto model = Model::Load(**checkpoint, {.threads = threads}, &monitor);
  const auto end = Clock::now();
  ended = true;
  canceller.join();
  EXPECT_EQ(model.status().code(), absl::StatusCode::kCancelled) << model.status();
  EXPECT_LE(source->after_cancel, threads) << "cancelled at read " << cancel_at;
  EXPECT_EQ(source->large, 0);
  return std::chrono::duration<double>(end - cancelled).count();
}

// 100 ms are promised, but not of a program that ThreadSanitizer watches, which packs slowly what
// was read. On a busy machine a thread may wait longer than that for a processor: one of ten must
// keep the promise.
TEST(Loading, ACancelIsSeenBeforeTheNextRead) {
#if defined(__SANITIZE_THREAD__)
  constexpr double kBound = 2;
#else
  constexpr double kBound = 0.1;
#endif
  for (const int threads : {1, 2, 3}) {
    for (const int cancel_at : {1, 9, 20, 33}) {
      double least = SecondsToCancel(threads, cancel_at);
      for (int more = 0; more < 9 && least >= kBound; ++more) {
        least = std::min(least, SecondsToCancel(threads, cancel_at));
      }
      EXPECT_LT(least, kBound) << threads << " threads, cancelled at read " << cancel_at;
    }
  }
}

TEST(Loading, ProgressRunsToTheEnd) {
  std::uint64_t last = 0, total = 0;
  bool ordered = true;
  Monitor monitor(
      [&](const char* stage, std::uint64_t done, std::uint64_t all) {
        EXPECT_STREQ(stage, "load");
        ordered = ordered && done >= last && done <= all;
        last = done;
        total = all;
        return 0;
      },
      std::chrono::milliseconds(0));
  const auto checkpoint = OpenCheckpoint(OpenMemory("memory", ReadModel("llama")));
  ASSERT_TRUE(checkpoint.ok());
  ASSERT_TRUE(Model::Load(**checkpoint, {.threads = 2}, &monitor).ok());
  EXPECT_TRUE(ordered);
  EXPECT_EQ(last, total);
  EXPECT_GT(total, 10000u);
}

}  // namespace
}  // namespace mossrt::runtime
