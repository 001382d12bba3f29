// RunAndPrepare: bit for bit what Run and then Prepare give, whatever else the region multiplies.
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <vector>

#include "backends/matrices_in_memory.h"
#include "mossrt/runtime/thread_team.h"

namespace mossrt::runtime {
namespace {

// Counts the parallel regions of another.
class CountingTeam final : public ThreadTeam {
 public:
  explicit CountingTeam(int threads) : team_(*CreateThreadTeam(threads)) {}
  int size() const override { return team_->size(); }
  void Run(Body body, void* context) override {
    ++regions;
    team_->Run(body, context);
  }
  int regions = 0;

 private:
  std::unique_ptr<ThreadTeam> team_;
};

struct Shape {
  std::int64_t m, hidden, inner;
  const char *gate, *up, *down;  // formats; no gate: null
  int before = 1;                // products in front of them
  bool factors = false;          // up's outputs are those of one more product, too
};

// gate, up and down of an MLP, and a matrix beside them.
class Matrices {
 public:
  Matrices(GemmBackend& backend, const Shape& shape, const WeightSource& down, ThreadTeam& team)
      : backend_(backend) {
    const MemorySource gate(shape.inner, shape.hidden, DType::kF32, 31),
        up(shape.inner, shape.hidden, DType::kF32, 32), beside(70, shape.hidden, DType::kF32, 33);
    if (shape.gate != nullptr) gate_ = Pack(gate, shape.gate, team);
    up_ = Pack(up, shape.up, team);
    beside_ = Pack(beside, shape.up, team);
    down_ = Pack(down, shape.down, team);
  }

  // What down gives for the outputs of up, and before it those beside; `together`: by
  // RunAndPrepare. `regions` are those that making and preparing up's outputs took.
  std::vector<float> Outputs(const Shape& shape, bool together, int threads, int* regions) {
    CountingTeam team(threads);
    const std::int64_t m = shape.m;
    std::vector<float> x(static_cast<std::size_t>(m * shape.hidden));
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(i * 37 % 101) / 50 - 1;
    const auto input_of = [&](const PackedWeight& weight) {
      inputs_.push_back(backend_.CreatePrepared(m, shape.hidden));
      EXPECT_TRUE(backend_
                      .Prepare(ConstMatrix(x.data(), m, shape.hidden), backend_.InputKind(weight),
                               inputs_.back().get(), team)
                      .ok());
      return inputs_.back().get();
    };
    std::vector<float> bias(static_cast<std::size_t>(shape.inner));
    for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i % 7) / 8;
    std::vector<std::vector<float>> memory;
    const auto y_of = [&](const PackedWeight& weight) {
      const std::int64_t stride = (weight.rows() + 15) / 16 * 16;
      memory.emplace_back(static_cast<std::size_t>(m * stride), -77.0f);
      return Matrix(memory.back().data(), m, weight.rows(), stride);
    };
    std::vector<GemmCall> calls;
    const auto add = [&](const PackedWeight& weight, const Epilogue& epilogue) {
      calls.push_back(
          {.x = input_of(weight), .w = &weight, .y = y_of(weight), .epilogue = epilogue});
    };
    for (int i = 0; i < shape.before; ++i) add(*beside_, {});
    Epilogue epilogue{.bias = bias.data(), .activation = Activation::kSilu};
    if (gate_ != nullptr) {
      add(*gate_, epilogue);
      epilogue = {.bias = bias.data(), .times = calls.back().y};
    }
    add(*up_, epilogue);
    const std::size_t which = calls.size() - 1;
    if (shape.factors) add(*up_, {.times = calls.back().y});
    add(*beside_, {.activation = Activation::kRelu});
    auto prepared = backend_.CreatePrepared(m, shape.inner);
    const int kind = backend_.InputKind(*down_);
    team.regions = 0;
    if (together) {
      EXPECT_TRUE(backend_.RunAndPrepare(calls, which, kind, prepared.get(), team).ok());
    } else {
      EXPECT_TRUE(backend_.Run(calls, team).ok());
      EXPECT_TRUE(backend_.Prepare(calls[which].y, kind, prepared.get(), team).ok());
    }
    *regions = team.regions;
    const GemmCall last{.x = prepared.get(), .w = down_.get(), .y = y_of(*down_), .epilogue = {}};
    EXPECT_TRUE(backend_.Run({&last, 1}, team).ok());
    std::vector<float> all;
    std::vector<Matrix> wanted = {calls.front().y, calls.back().y, last.y};
    if (shape.factors) wanted.push_back(calls[which + 1].y);
    for (const Matrix& y : wanted) {
      for (std::int64_t i = 0; i < m; ++i) all.insert(all.end(), y.Row(i), y.Row(i) + y.cols);
    }
    return all;
  }

 private:
  std::unique_ptr<PackedWeight> Pack(const WeightSource& source, const char* format,
                                     ThreadTeam& team) {
    const WeightFormat held = backend_.HeldAs(source, *ParseWeightFormat(format));
    arenas_.push_back(std::make_unique<MemoryArena>(backend_.PackedBytes(source, held) + 4096));
    return *backend_.Pack({.source = &source, .format = held, .arena = arenas_.back().get()}, team);
  }

  GemmBackend& backend_;
  std::vector<std::unique_ptr<MemoryArena>> arenas_;
  std::vector<std::unique_ptr<PreparedInput>> inputs_;
  std::unique_ptr<PackedWeight> gate_, up_, beside_, down_;
};

// Returns the regions of RunAndPrepare.
int Check(GemmBackend& backend, const Shape& shape, const WeightSource& down, int threads) {
  SCOPED_TRACE(testing::Message() << shape.m << " x " << shape.hidden << " x " << shape.inner
                                  << ", " << (shape.gate == nullptr ? "none" : shape.gate) << ", "
                                  << shape.up << ", " << shape.down << ", " << threads
                                  << " threads");
  auto team = *CreateThreadTeam(1);
  Matrices matrices(backend, shape, down, *team);
  int regions = 0;
  const std::vector<float> want = matrices.Outputs(shape, false, 1, &regions);
  const std::vector<float> got = matrices.Outputs(shape, true, threads, &regions);
  EXPECT_EQ(std::memcmp(got.data(), want.data(), want.size() * sizeof(float)), 0);
  return regions;
}

// Blocks are cut at whole groups of what reads them, also where a matrix ends within one, and where
// threads are too many for places of their own.
const std::vector<Shape> kShapes = {
    {1, 64, 33, "float32", "float32", "float32"},   {3, 64, 200, "int4", "int4", "int4-g32"},
    {1, 64, 2100, "int8", "int4", "int4-g64"},      {13, 70, 330, nullptr, "bfloat16", "bfloat16"},
    {40, 64, 1500, "int4", "int8", "int8-g256"},    {25, 64, 1000, nullptr, "int8", "int4-g128"},
    {300, 32, 520, "float16", "bfloat16", "int4"},  {30, 64, 129, nullptr, "float32", "bfloat16"},
    {2000, 16, 300, "bfloat16", "float32", "int8"}, {24, 64, 48, "int8", "int8", "float16"},
};

TEST(PreparedOutputs, AreThoseOfPrepareInOneRegion) {
  auto backend = *CreateBackend("native");
  for (const Shape& shape : kShapes) {
    const MemorySource down(50, shape.inner, DType::kF32, 34);
    for (const int threads : {1, 2, 3, 8}) EXPECT_EQ(Check(*backend, shape, down, threads), 1);
  }
}

TEST(PreparedOutputs, ThatChangePlacesArePreparedAfterwards) {
  auto backend = *CreateBackend("native");
  const Shape shape{30, 64, 200, "int4", "int4", "int4"};
  const IntegersInMemory down(4, 50, shape.inner, 32, GroupOrder::kShuffled);
  EXPECT_EQ(Check(*backend, shape, down, 2), 2);
}

// The factor may be the last product of its region.
TEST(PreparedOutputs, ThatAreFactorsStayWhole) {
  auto backend = *CreateBackend("native");
  for (const int before : {1, 7}) {
    const Shape shape{30, 64, 200, nullptr, "int4", "int4", before, true};
    const MemorySource down(50, shape.inner, DType::kF32, 34);
    EXPECT_GT(Check(*backend, shape, down, 2), 1);
  }
}

TEST(PreparedOutputs, AreThereWithBackendsThatKnowNothingOfThem) {
  for (const char* name : {"reference", "eigen"}) {
    auto backend = *CreateBackend(name);
    for (const Shape& shape : kShapes) {
      const MemorySource down(50, shape.inner, DType::kF32, 34);
      Check(*backend, shape, down, 1);
    }
  }
}

}  // namespace
}  // namespace mossrt::runtime
