// A model on threads of the application's.
#include <atomic>
#include <cfenv>
#include <filesystem>
#include <thread>

#include "drawn_model.h"
#include "made_checkpoint.h"
#include "reference_model.h"

namespace mossrt::runtime {
namespace {

// A pool as an application might have one: its threads round toward zero, and where `serial`, one
// thread runs all shares, in descending order.
class Pool final : public ThreadTeam {
 public:
  Pool(int size, bool serial) : size_(size), serial_(serial) {}
  int size() const override { return size_; }
  void Run(Body body, void* context) override {
    ++regions;
    std::vector<std::thread> threads;
    for (int t = size_ - 1; t > 0; --t) {
      const auto share = [this, body, context, t] {
        ++shares;
        body(context, t, size_);
      };
      if (serial_) {
        share();
      } else {
        threads.emplace_back([share] {
          std::fesetround(FE_TOWARDZERO);
          share();
        });
      }
    }
    body(context, 0, size_);
    for (std::thread& thread : threads) thread.join();
  }

  std::atomic<int> regions{0}, shares{0};

 private:
  const int size_;
  const bool serial_;
};

std::unique_ptr<Checkpoint> Open(const ReferenceModel& reference) {
  auto checkpoint = OpenCheckpoint(reference.directory);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  return checkpoint.ok() ? *std::move(checkpoint) : nullptr;
}

std::vector<float> Logits(const Model& model, const ReferenceModel& reference) {
  Sequence sequence(model, 64);
  for (const std::size_t first : {0u, 64u, 128u}) {
    const auto ids = std::span(reference.ids).subspan(first, first == 128 ? 1 : 64);
    EXPECT_TRUE(sequence.Feed(ids, SequenceInput::Rows::kAll).ok());
  }
  return sequence.logits;
}

int ThreadsOfThisProcess() {
  int count = 0;
  for ([[maybe_unused]] const auto& task : std::filesystem::directory_iterator("/proc/self/task")) {
    ++count;
  }
  return count;
}

TEST(LentTeam, CarriesEverythingAndChangesNoBit) {
  for (const std::string name : {"moss", "llama"}) {
    const ReferenceModel reference(name);
    const std::vector<float> want =
        Logits(*reference.Load({.dtype = "float32", .threads = 2}), reference);
    const auto checkpoint = Open(reference);
    ASSERT_NE(checkpoint, nullptr);
    for (const int size : {1, 2, 3}) {
      for (const bool serial : {false, true}) {
        Pool pool(size, serial);
        const int threads_before = ThreadsOfThisProcess();
        const auto model = Model::Load(*checkpoint, {.dtype = "float32"}, pool, nullptr);
        ASSERT_TRUE(model.ok()) << model.status();
        EXPECT_EQ(ThreadsOfThisProcess(), threads_before) << "the model has threads of its own";
        EXPECT_EQ((*model)->team().size(), size);
        const int loading = pool.regions;
        EXPECT_GT(loading, 0) << "loading did not use the pool";
        const std::vector<float> got = Logits(**model, reference);
        ASSERT_EQ(got.size(), want.size());
        EXPECT_EQ(std::memcmp(got.data(), want.data(), got.size() * sizeof(float)), 0)
            << name << " on a pool of " << size << (serial ? ", serial" : "");
        // More than one region a layer and pass.
        EXPECT_GT(pool.regions - loading, 3 * (*model)->params().layers);
        EXPECT_EQ(pool.shares, pool.regions * (size - 1));
      }
    }
  }
}

// The regions of a step in which so many sequences decode a token after a few others.
int RegionsOfAStep(const Checkpoint& checkpoint, const std::string& dtype, int sequences) {
  Pool pool(2, true);
  const auto model = Model::Load(checkpoint, {.dtype = dtype}, pool, nullptr);
  EXPECT_TRUE(model.ok()) << model.status();
  if (!model.ok()) return 0;
  const std::vector<std::int32_t> ids = {3, 1, 4, 1, 5};
  std::vector<std::unique_ptr<Sequence>> all;
  std::vector<SequenceInput> inputs;
  for (int i = 0; i < sequences; ++i) {
    all.push_back(std::make_unique<Sequence>(**model, 8));
    EXPECT_TRUE(all.back()->Feed(std::span(ids).first(4), SequenceInput::Rows::kNone).ok());
    inputs.push_back({.kv = &all.back()->kv(),
                      .tokens = std::span(ids).last(1),
                      .embeddings = {},
                      .want = SequenceInput::Rows::kLast,
                      .listed = {}});
  }
  const int before = pool.regions;
  EXPECT_TRUE((*model)->Forward(inputs, {}, all.front()->workspace()).ok());
  return pool.regions - before;
}

// Threads meet at the end of every region. What reads the norm, attention and what writes the
// residual stream are one each; where the MLP follows attention it has two of its own. The head is
// one more. Short rows of a few sequences need no others.
TEST(LentTeam, MeetsThreeTimesALayerOfMossAndFiveOfLlama) {
  for (const bool moss : {true, false}) {
    const int of_a_layer = moss ? 3 : 5;
    const ArchSpec spec = SpecNamed(moss ? "moss" : "llama");
    for (const std::string dtype : {"float32", "bfloat16", "int8", "int4-g32-asym"}) {
      for (const int layers : {1, 2, 5}) {
        Json config = moss ? TinyMoss() : TinyLlama();
        config[moss ? "n_layer" : "num_hidden_layers"] = layers;
        for (const int sequences : {1, 3}) {
          EXPECT_EQ(RegionsOfAStep(MadeCheckpoint(config, &spec), dtype, sequences),
                    of_a_layer * layers + 1)
              << spec.name << ", " << dtype << ", " << layers << " layers, " << sequences
              << " sequences";
        }
      }
    }
    // Matrices that take their inputs in orders of their own share no prepared input.
    const DrawnModel gptq(moss, {.bits = 4, .group = 32}, 5, 64);
    const auto checkpoint = OpenCheckpoint(OpenMemory("drawn", gptq.Files()));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    EXPECT_EQ(RegionsOfAStep(**checkpoint, "auto", 1), of_a_layer * gptq.shape.layers + 1)
        << spec.name;
  }
}

TEST(LentTeam, ItsSizeIsTheNumberOfThreads) {
  const ReferenceModel reference("moss");
  const auto checkpoint = Open(reference);
  ASSERT_NE(checkpoint, nullptr);
  Pool two(2, true), none(0, true);
  const auto other = Model::Load(*checkpoint, {.threads = 3}, two, nullptr);
  EXPECT_EQ(other.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(other.status().message().find("threads is 3, but the lent team has 2"),
            std::string::npos)
      << other.status();
  EXPECT_EQ(Model::Load(*checkpoint, {}, none, nullptr).status().code(),
            absl::StatusCode::kInvalidArgument);
  const auto same = Model::Load(*checkpoint, {.threads = 2}, two, nullptr);
  ASSERT_TRUE(same.ok()) << same.status();
  // Slabs are counted for the pool's threads.
  const auto one = PlanModel(*checkpoint, {.threads = 1});
  ASSERT_TRUE(one.ok()) << one.status();
  EXPECT_EQ((*same)->plan().need.loading, 2 * one->need.loading);
}

}  // namespace
}  // namespace mossrt::runtime
