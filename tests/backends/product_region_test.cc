// How the products of a region are dealt out, seen by kernels that only write down what they are
// asked for.
#include "backends/native/product_region.h"

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <vector>

#include "mossrt/runtime/thread_team.h"

namespace mossrt::runtime {
namespace {

constexpr std::int64_t kPanel = cpu::kPanelRows;

class Matrix16 final : public PackedWeight {
 public:
  Matrix16(std::int64_t rows, std::int64_t cols) : PackedWeight(rows, cols, Dense(DType::kF32)) {}
};

// The bodies of a region one after the other, in the order of `turns`.
class SerialTeam final : public ThreadTeam {
 public:
  explicit SerialTeam(std::vector<int> turns) : turns_(std::move(turns)) {}
  int size() const override { return static_cast<int>(turns_.size()); }
  void Run(Body body, void* context) override {
    ++regions;
    for (const int t : turns_) body(context, t, size());
  }
  int regions = 0;

 private:
  std::vector<int> turns_;
};

struct Block {
  const void* x;  // tells the calls apart
  std::int64_t first, count;
};
std::vector<Block>* blocks_run = nullptr;  // in the order of time
const std::byte* weights_begin = nullptr;

void Note(const cpu::GemmArgs* args) {
  const auto at = static_cast<const std::byte*>(args->w) - weights_begin;
  const std::int64_t first = at / static_cast<std::int64_t>(args->w_panel_bytes);
  blocks_run->push_back({args->x, first, args->panels});
  for (std::int64_t i = 0; i < args->m; ++i) {
    for (std::int64_t j = 0; j < args->panels * kPanel; ++j)
      args->y[i * args->y_stride + j] = static_cast<float>(first * kPanel + j);
  }
}

struct Call {
  std::int64_t rows;
  std::size_t panel_bytes;
  bool times = false;  // by the call before
};

// Runs `calls` and checks that each panel of each was made once and rightly, a factor before what
// it multiplies. Returns the regions.
int Check(const std::vector<Call>& calls, std::int64_t m, std::vector<int> turns) {
  SerialTeam team(std::move(turns));
  static const std::vector<std::byte> weights(std::size_t{64} << 20);
  weights_begin = weights.data();
  std::vector<Block> blocks;
  blocks_run = &blocks;
  std::vector<std::unique_ptr<Matrix16>> matrices;
  std::vector<std::vector<float>> outputs;
  std::vector<GemmCall> made;
  std::vector<char> inputs(calls.size());
  for (const Call& call : calls) {
    const std::int64_t stride = (call.rows + kPanel - 1) / kPanel * kPanel;
    matrices.push_back(std::make_unique<Matrix16>(call.rows, 1));
    outputs.emplace_back(static_cast<std::size_t>(m * stride), -1.0f);
    made.push_back(
        {.w = matrices.back().get(), .y = Matrix(outputs.back().data(), m, call.rows, stride)});
    if (call.times) made.back().epilogue.times = made[made.size() - 2].y;
  }
  std::size_t next = 0;
  while (next < calls.size()) {
    ProductRegion region(*cpu::Kernels(), team.size());
    for (; next < calls.size() && !region.full(); ++next) {
      region.Add({Note, weights_begin, calls[next].panel_bytes, 1}, made[next], &inputs[next]);
    }
    region.Run(team);
  }
  std::vector<std::map<std::int64_t, std::size_t>> when(calls.size());  // panel to place in time
  for (std::size_t b = 0; b < blocks.size(); ++b) {
    const auto call =
        static_cast<std::size_t>(static_cast<const char*>(blocks[b].x) - inputs.data());
    for (std::int64_t p = 0; p < blocks[b].count; ++p) {
      EXPECT_TRUE(when[call].emplace(blocks[b].first + p, b).second)
          << "panel " << blocks[b].first + p << " of call " << call << " was made twice";
    }
  }
  for (std::size_t c = 0; c < calls.size(); ++c) {
    EXPECT_EQ(std::ssize(when[c]), (calls[c].rows + kPanel - 1) / kPanel) << "call " << c;
    for (const auto& [panel, at] : when[c]) {
      if (!calls[c].times) continue;
      if (c % ProductRegion::kMostProducts == 0) {
        EXPECT_LT(when[c - 1].at(panel), at) << "panel " << panel;
      } else {
        EXPECT_EQ(when[c - 1].at(panel) + 1, at) << "panel " << panel;
      }
    }
    for (std::int64_t i = 0; i < m; ++i) {
      for (std::int64_t j = 0; j < calls[c].rows; ++j) {
        const auto value = static_cast<float>(j);
        EXPECT_EQ(made[c].y.Row(i)[j], calls[c].times ? value * value : value)
            << "call " << c << ", " << i << ", " << j;
      }
    }
  }
  return team.regions;
}

TEST(ProductRegion, MakesEachPanelOnce) {
  for (const std::vector<int>& turns : std::vector<std::vector<int>>{{0}, {0, 1}, {2, 0, 1}}) {
    EXPECT_EQ(Check({{1, 64}, {16, 1 << 20}, {1000, 300000}, {17, 5000}}, 1, turns), 1);
    EXPECT_EQ(Check({{4096, 1024}, {33, 1024}}, 60, turns), 1);
  }
}

TEST(ProductRegion, MakesAFactorJustBeforeWhatItMultiplies) {
  for (const std::vector<int>& turns : std::vector<std::vector<int>>{{0}, {0, 1}, {2, 0, 1}}) {
    // Blocks of either are the shorter.
    EXPECT_EQ(Check({{700, 200000}, {700, 40000, true}}, 1, turns), 1);
    EXPECT_EQ(Check({{700, 40000}, {700, 200000, true}}, 1, turns), 1);
    EXPECT_EQ(Check({{50, 64}, {2000, 64}, {2000, 64, true}, {90, 64}}, 100, turns), 1);
  }
}

TEST(ProductRegion, GoesOnInAnotherAfterEight) {
  std::vector<Call> calls(6, {100, 1000});
  calls.push_back({640, 100000});
  calls.push_back({640, 100000, true});
  EXPECT_EQ(Check(calls, 2, {1, 0}), 1);
  calls.push_back({640, 100000});
  EXPECT_EQ(Check(calls, 2, {1, 0}), 2);
  calls.erase(calls.begin());  // the last factor comes at the end of the first region
  calls.push_back({640, 100000, true});
  EXPECT_EQ(Check(calls, 2, {1, 0}), 2);
}

TEST(ProductRegion, TakesMoreThreadsThanItDealsTo) {
  std::vector<int> turns;
  for (int t = 0; t < ProductRegion::kMostThreads + 7; ++t) turns.push_back((t * 31 + 70) % 71);
  EXPECT_EQ(Check({{16 * 70, 100}, {3, 100}, {900, 100}, {900, 100, true}}, 1, turns), 1);
}

}  // namespace
}  // namespace mossrt::runtime
