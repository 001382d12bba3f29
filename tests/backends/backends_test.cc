// Every backend against plain double loops on odd shapes; the native one also against itself, bit
// by bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>

#include "backends/dense_rows.h"
#include "backends/matrices_in_memory.h"
#include "mossrt/runtime/gemm_backend.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::runtime {
namespace {

struct Result {
  std::vector<float> y;  // [m, n]
  DType held = DType::kF32;
  std::vector<float> row0;
};

Result Multiply(GemmBackend& backend, const MemorySource& source, DType wanted,
                const std::vector<float>& x, std::int64_t m, int threads,
                const Epilogue& epilogue) {
  auto team = *CreateThreadTeam(threads);
  MemoryArena arena(backend.PackedBytes(source, backend.HeldAs(source, Dense(wanted))) + 4096);
  auto packed = backend.Pack({.source = &source, .format = Dense(wanted), .arena = &arena}, *team);
  EXPECT_TRUE(packed.ok()) << packed.status();
  const std::int64_t n = source.rows(), k = source.cols(), stride = (n + 15) / 16 * 16;
  auto input = backend.CreatePrepared(m, k);
  EXPECT_TRUE(
      backend.Prepare(ConstMatrix(x.data(), m, k), backend.InputKind(**packed), input.get(), *team)
          .ok());
  std::vector<float> y(static_cast<std::size_t>(m * stride), -77.0f);
  const std::uint64_t before = backend.run_count();
  const GemmCall call{.x = input.get(),
                      .w = packed->get(),
                      .y = Matrix(y.data(), m, n, stride),
                      .epilogue = epilogue};
  EXPECT_TRUE(backend.Run({&call, 1}, *team).ok());
  EXPECT_EQ(backend.run_count(), before + 1);
  Result result{.y = {},
                .held = (*packed)->format().dtype,
                .row0 = std::vector<float>(static_cast<std::size_t>(k))};
  for (std::int64_t i = 0; i < m; ++i)
    result.y.insert(result.y.end(), &y[static_cast<std::size_t>(i * stride)],
                    &y[static_cast<std::size_t>(i * stride + n)]);
  backend.ReadRow(**packed, n - 1, result.row0.data());
  return result;
}

struct Shape {
  std::int64_t m, n, k;
};
constexpr Shape kShapes[] = {{1, 1, 1},   {1, 16, 7},    {1, 33, 70},   {2, 17, 31},
                             {5, 50, 64}, {12, 48, 129}, {13, 31, 255}, {40, 100, 300}};

std::vector<float> Inputs(std::int64_t count) {
  std::mt19937 random(5);
  std::vector<float> x(static_cast<std::size_t>(count));
  for (float& v : x) v = static_cast<float>(random() % 4001) / 2000.0f - 1.0f;
  return x;
}

class BackendTest : public testing::TestWithParam<std::string> {};

TEST_P(BackendTest, ProductsAreNearDouble) {
  auto backend = CreateBackend(GetParam());
  ASSERT_TRUE(backend.ok()) << backend.status();
  EXPECT_EQ((*backend)->name(), GetParam());
  for (const Shape& s : kShapes) {
    for (const DType file : {DType::kF32, DType::kF16, DType::kBF16}) {
      const MemorySource source(s.n, s.k, file, 3);
      const std::vector<float> x = Inputs(s.m * s.k);
      std::vector<float> bias(static_cast<std::size_t>(s.n));
      for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i) / 8;
      const Result got = Multiply(**backend, source, file, x, s.m, 2,
                                  {.bias = bias.data(), .activation = Activation::kSilu});
      const bool rounds_inputs = got.held == DType::kBF16;
      for (std::int64_t i = 0; i < s.m; ++i) {
        for (std::int64_t j = 0; j < s.n; ++j) {
          double sum = 0, size = 0;
          for (std::int64_t k = 0; k < s.k; ++k) {
            const double product = double{x[static_cast<std::size_t>(i * s.k + k)]} *
                                   double{source.values[static_cast<std::size_t>(j * s.k + k)]};
            sum += product;
            size += std::abs(product);
          }
          sum += bias[static_cast<std::size_t>(j)];
          size += bias[static_cast<std::size_t>(j)];
          const double want = sum / (1 + std::exp(-sum));
          // Half an ulp a step of the chain; inputs rounded to bf16 are off by 2^-9 each.
          const double bound =
              size * (static_cast<double>(s.k) * 6e-8 + (rounds_inputs ? 0x1p-8 : 0)) * 1.2 + 1e-6;
          ASSERT_NEAR(got.y[static_cast<std::size_t>(i * s.n + j)], want, bound)
              << GetParam() << " " << DTypeName(file) << " m " << s.m << " n " << s.n << " k "
              << s.k;
        }
      }
      for (std::int64_t k = 0; k < s.k; ++k) {
        ASSERT_EQ(got.row0[static_cast<std::size_t>(k)],
                  source.values[static_cast<std::size_t>((s.n - 1) * s.k + k)]);
      }
    }
  }
}

// y of a matrix multiplied, in its epilogue, by that of the matrix before it.
TEST_P(BackendTest, FactorsAreRoundedAsIfTheyCameAfter) {
  auto backend = *CreateBackend(GetParam());
  struct GateAndUp {
    std::int64_t m, n, k;
    const char *gate, *up;
  };
  for (const GateAndUp& s :
       {GateAndUp{1, 33, 70, "float32", "float32"}, GateAndUp{1, 2100, 64, "int8", "int4"},
        GateAndUp{1, 4096, 512, "int4", "bfloat16"}, GateAndUp{7, 200, 64, "bfloat16", "float16"},
        GateAndUp{40, 1500, 96, "int4", "int8"}}) {
    for (const int threads : {1, 2, 3}) {
      SCOPED_TRACE(testing::Message() << s.m << " x " << s.k << " x " << s.n << ", " << s.gate
                                      << ", " << s.up << ", " << threads << " threads");
      const std::int64_t m = s.m, n = s.n, k = s.k;
      auto team = *CreateThreadTeam(threads);
      const std::int64_t stride = (n + 15) / 16 * 16;
      const std::vector<float> x = Inputs(m * k);
      const MemorySource sources[] = {{n, k, DType::kF32, 21}, {n, k, DType::kF32, 22}};
      std::vector<std::unique_ptr<MemoryArena>> arenas;
      std::vector<std::unique_ptr<PackedWeight>> weights;
      std::vector<std::unique_ptr<PreparedInput>> inputs;
      for (const MemorySource& source : sources) {
        const WeightFormat held =
            backend->HeldAs(source, *ParseWeightFormat(weights.empty() ? s.gate : s.up));
        arenas.push_back(std::make_unique<MemoryArena>(backend->PackedBytes(source, held) + 4096));
        auto packed =
            backend->Pack({.source = &source, .format = held, .arena = arenas.back().get()}, *team);
        ASSERT_TRUE(packed.ok()) << packed.status();
        weights.push_back(*std::move(packed));
      }
      for (const auto& weight : weights) {
        inputs.push_back(backend->CreatePrepared(m, k));
        ASSERT_TRUE(backend
                        ->Prepare(ConstMatrix(x.data(), m, k), backend->InputKind(*weight),
                                  inputs.back().get(), *team)
                        .ok());
      }
      std::vector<float> y[2];
      const auto call = [&](std::size_t i, const Epilogue& epilogue) {
        y[i].assign(static_cast<std::size_t>(m * stride), -77.0f);
        return GemmCall{.x = inputs[i].get(),
                        .w = weights[i].get(),
                        .y = Matrix(y[i].data(), m, n, stride),
                        .epilogue = epilogue};
      };
      const Epilogue silu{.activation = Activation::kSilu};
      const GemmCall apart[] = {call(0, silu), call(1, {})};
      ASSERT_TRUE(backend->Run(apart, *team).ok());
      std::vector<float> want = y[1];
      for (std::int64_t i = 0; i < m; ++i) {
        for (std::int64_t j = 0; j < n; ++j) {
          want[static_cast<std::size_t>(i * stride + j)] *=
              y[0][static_cast<std::size_t>(i * stride + j)];
        }
      }
      const GemmCall gate = call(0, silu);
      const GemmCall together[] = {gate, call(1, {.times = gate.y})};
      ASSERT_TRUE(backend->Run(together, *team).ok());
      for (std::int64_t i = 0; i < m; ++i) {
        ASSERT_EQ(std::memcmp(&y[1][static_cast<std::size_t>(i * stride)],
                              &want[static_cast<std::size_t>(i * stride)],
                              static_cast<std::size_t>(n) * sizeof(float)),
                  0);
      }
    }
  }
}

TEST_P(BackendTest, RefusesFactorsOfAnythingButTheCallBefore) {
  auto backend = *CreateBackend(GetParam());
  auto team = *CreateThreadTeam(2);
  const std::vector<float> x = Inputs(8);
  const MemorySource wide(32, 8, DType::kF32, 1), narrow(16, 8, DType::kF32, 1);
  MemoryArena arena(1 << 16);
  const auto pack = [&](const MemorySource& source) {
    return *backend->Pack({.source = &source, .format = Dense(DType::kF32), .arena = &arena},
                          *team);
  };
  const std::unique_ptr<PackedWeight> w = pack(wide), half = pack(narrow);
  auto input = backend->CreatePrepared(1, 8);
  ASSERT_TRUE(
      backend->Prepare(ConstMatrix(x.data(), 1, 8), backend->InputKind(*w), input.get(), *team)
          .ok());
  std::vector<float> a(32), b(32), c(32);
  const auto call = [&](const PackedWeight& weight, std::vector<float>& y, ConstMatrix times) {
    return GemmCall{.x = input.get(),
                    .w = &weight,
                    .y = Matrix(y.data(), 1, weight.rows(), 32),
                    .epilogue = {.times = times}};
  };
  const ConstMatrix of_a(a.data(), 1, 32), of_b(b.data(), 1, 32), half_of_a(a.data(), 1, 16);
  const std::vector<std::vector<GemmCall>> refused = {
      {call(*w, a, of_b)},                                      // of none before
      {call(*w, a, {}), call(*w, b, {}), call(*w, c, of_a)},    // of one further off
      {call(*w, a, {}), call(*w, b, of_a), call(*w, c, of_b)},  // of one with factors
      {call(*w, a, {}), call(*w, b, half_of_a)},                // of another shape
      {call(*w, a, {}), call(*half, b, half_of_a)},             // of a part
  };
  for (const std::vector<GemmCall>& calls : refused) {
    const absl::Status status = backend->Run(calls, *team);
    EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
    EXPECT_NE(status.message().find("outputs of the call before"), std::string::npos) << status;
  }
  const GemmCall right[] = {call(*w, a, {}), call(*w, b, of_a)};
  EXPECT_TRUE(backend->Run(right, *team).ok());
}

INSTANTIATE_TEST_SUITE_P(All, BackendTest,
                         testing::Values("native", "reference", "eigen", "openblas",
                                         "cblas:libblis.so.4"),
                         [](const auto& info) {
                           return info.param.substr(0, 5) == "cblas" ? std::string("blis")
                                                                     : info.param;
                         });

// Packs `source` and reads every value back.
void ExpectHeld(const IntegersInMemory& source) {
  auto backend = *CreateBackend("native");
  const WeightFormat held =
      backend->HeldAs(source, *ParseWeightFormat(source.integers()->bits == 4 ? "int4" : "int8"));
  MemoryArena arena(backend->PackedBytes(source, held) + 4096);
  auto team = *CreateThreadTeam(2);
  const auto packed = backend->Pack({.source = &source, .format = held, .arena = &arena}, *team);
  ASSERT_TRUE(packed.ok()) << packed.status();
  std::vector<float> row(static_cast<std::size_t>(source.cols()));
  for (std::int64_t i = 0; i < source.rows(); ++i) {
    backend->ReadRow(**packed, i, row.data());
    for (std::int64_t k = 0; k < source.cols(); ++k)
      ASSERT_EQ(row[static_cast<std::size_t>(k)], source.Value(i, k)) << i << ", " << k;
  }
}

TEST(NativeBackend, PacksIntegersOfEdgesByWordsAndByBytes) {
  for (const std::int64_t rows : {1, 16, 21, 48}) {
    for (const std::int64_t cols :
         {8, 120, 128, 152, 264, 260, 262}) {  // the last are no whole of words
      for (const auto& [bits, group] : {std::pair{4, 32}, {4, 128}, {4, 1000}, {8, 128}}) {
        for (const auto order :
             {GroupOrder::kAsTheyCome, GroupOrder::kShuffled, GroupOrder::kOneIsEmpty}) {
          SCOPED_TRACE(testing::Message()
                       << rows << " x " << cols << ", " << bits << " bits, groups of " << group
                       << ", order " << static_cast<int>(order));
          const IntegersInMemory source(bits, rows, cols, group, order);
          ExpectHeld(source);
          EXPECT_EQ(source.as_words, source.in_order() && cols * bits % 32 == 0);
        }
      }
    }
  }
}

// A group's words of so many outputs are more than the second cache holds.
TEST(NativeBackend, ReadsAGroupOfManyOutputsInParts) {
  constexpr std::int64_t kRows = 10005;
  for (const int bits : {4, 8}) {
    SCOPED_TRACE(bits);
    const IntegersInMemory source(bits, kRows, 264, 128, GroupOrder::kAsTheyCome);
    ExpectHeld(source);
    EXPECT_TRUE(source.as_words);
    EXPECT_EQ(source.most_words, static_cast<std::size_t>((bits == 4 ? 8 : 11) * kRows));
  }
}

// Products of rows that are made while they are prepared, [m, rows of the source].
std::vector<float> MadeProducts(GemmBackend& backend, const PackedWeight& packed,
                                const std::vector<float>& x, std::int64_t m, int threads) {
  auto team = *CreateThreadTeam(threads);
  const std::int64_t n = packed.rows(), k = packed.cols(), stride = (n + 15) / 16 * 16;
  std::vector<float> rows(x.size(), std::nanf(""));
  auto input = backend.CreatePrepared(m, k);
  const auto make = [&](std::int64_t first, std::int64_t end) {
    std::copy(x.begin() + first * k, x.begin() + end * k, rows.begin() + first * k);
  };
  EXPECT_TRUE(backend
                  .MakeAndPrepare(ConstMatrix(rows.data(), m, k), backend.InputKind(packed),
                                  input.get(), *team, make)
                  .ok());
  std::vector<float> y(static_cast<std::size_t>(m * stride));
  const GemmCall call{
      .x = input.get(), .w = &packed, .y = Matrix(y.data(), m, n, stride), .epilogue = {}};
  EXPECT_TRUE(backend.Run({&call, 1}, *team).ok());
  std::vector<float> result;
  for (std::int64_t i = 0; i < m; ++i)
    result.insert(result.end(), y.begin() + i * stride, y.begin() + i * stride + n);
  return result;
}

// Threads share a tile of few long rows: first by rows, then by values of k, whose number is no
// whole of groups or lines here.
TEST(NativeBackend, ATileThatIsSharedByThreadsHasTheBitsOfItsRows) {
  auto backend = *CreateBackend("native");
  const auto check = [&](const WeightSource& source, const char* format, std::int64_t m) {
    SCOPED_TRACE(testing::Message() << format << ", m " << m << ", k " << source.cols());
    const WeightFormat held = backend->HeldAs(source, *ParseWeightFormat(format));
    MemoryArena arena(backend->PackedBytes(source, held) + 4096);
    auto team = *CreateThreadTeam(2);
    const auto packed = backend->Pack({.source = &source, .format = held, .arena = &arena}, *team);
    ASSERT_TRUE(packed.ok()) << packed.status();
    const std::int64_t k = source.cols();
    const std::vector<float> x = Inputs(m * k);
    std::vector<float> want;
    for (std::int64_t i = 0; i < m; ++i) {
      const std::vector<float> row(x.begin() + i * k, x.begin() + (i + 1) * k);
      const std::vector<float> y = MadeProducts(*backend, **packed, row, 1, 1);
      want.insert(want.end(), y.begin(), y.end());
    }
    for (const int threads : {1, 2, 3, 5}) {
      const std::vector<float> got = MadeProducts(*backend, **packed, x, m, threads);
      EXPECT_EQ(std::memcmp(got.data(), want.data(), want.size() * 4), 0) << threads << " threads";
    }
  };
  for (const auto& [m, k] : {std::pair{2, 4130}, {7, 1301}, {12, 700}}) {
    const MemorySource source(21, k, DType::kF32, 11);
    for (const char* format : {"float32", "float16", "bfloat16", "int8", "int8-g64-asym", "int4"})
      check(source, format, m);
    const IntegersInMemory shuffled(4, 21, k, 128, GroupOrder::kShuffled);
    check(shuffled, "int4", m);
  }
}

TEST(NativeBackend, ThreadsAndBatchChangeNoBit) {
  auto backend = *CreateBackend("native");
  for (const Shape& s : kShapes) {
    for (const DType held : {DType::kF32, DType::kF16, DType::kBF16}) {
      const MemorySource source(s.n, s.k, DType::kF32, 9);
      const std::vector<float> x = Inputs(s.m * s.k);
      const Result all = Multiply(*backend, source, held, x, s.m, 1, {});
      EXPECT_EQ(all.held, held);
      for (const int threads : {2, 3}) {
        const Result other = Multiply(*backend, source, held, x, s.m, threads, {});
        ASSERT_EQ(std::memcmp(all.y.data(), other.y.data(), all.y.size() * 4), 0);
      }
      for (std::int64_t i = 0; i < s.m; ++i) {
        const std::vector<float> one(x.begin() + i * s.k, x.begin() + (i + 1) * s.k);
        const Result row = Multiply(*backend, source, held, one, 1, 2, {});
        ASSERT_EQ(
            std::memcmp(row.y.data(), &all.y[static_cast<std::size_t>(i * s.n)], row.y.size() * 4),
            0);
      }
    }
  }
}

TEST(NativeBackend, Float16WeightsGiveTheBitsOfTheSameFloat32Weights) {
  auto backend = *CreateBackend("native");
  const MemorySource half(50, 77, DType::kF16, 4);
  const std::vector<float> x = Inputs(3 * 77);
  const Result a = Multiply(*backend, half, DType::kF16, x, 3, 2, {});
  const Result b = Multiply(*backend, half, DType::kF32, x, 3, 2, {});
  EXPECT_EQ(a.held, DType::kF16);
  EXPECT_EQ(b.held, DType::kF32);
  EXPECT_EQ(a.y, b.y);
}

TEST(CblasBackend, RefusesLibrariesThatDoNotMultiply) {
  EXPECT_TRUE(CreateBackend("cblas:" FAKE_CBLAS_GOOD).ok());
  for (const auto& [path, why] : std::initializer_list<std::pair<const char*, const char*>>{
           {FAKE_CBLAS_WRONG, "gives a wrong 2x2 product"},
           {FAKE_CBLAS_SILENT, "gives a wrong 2x2 product"},
           {FAKE_CBLAS_ILP64, "takes integers of 64 bits"},
           {"libblis64.so.4", "takes integers of 64 bits"},
           {FAKE_CBLAS_SUFFIX64, "its integers have 64 bits"},
           {FAKE_CBLAS_ALONE, "has no cblas_scopy"}}) {
    const auto refused = CreateBackend("cblas:" + std::string(path));
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << path;
    EXPECT_NE(std::string(refused.status().message()).find(why), std::string::npos)
        << refused.status();
    EXPECT_NE(std::string(refused.status().message()).find(path), std::string::npos)
        << refused.status();
  }
}

TEST(Registry, SaysWhatItKnows) {
  const auto unknown = CreateBackend("nativ");
  ASSERT_FALSE(unknown.ok());
  EXPECT_NE(std::string(unknown.status().message()).find("openblas"), std::string::npos)
      << unknown.status();
  const auto no_file = CreateBackend("cblas:/no/such/library.so");
  EXPECT_EQ(no_file.status().code(), absl::StatusCode::kInvalidArgument);
  const auto no_blas = CreateBackend("cblas:libz.so.1");
  EXPECT_EQ(no_blas.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(RegisterBackend("native", [] { return CreateBackend("native"); }).ok());
  EXPECT_TRUE(RegisterBackend("mine", [] { return CreateBackend("reference"); }).ok());
  EXPECT_FALSE(RegisterBackend("mine", [] { return CreateBackend("reference"); }).ok());
  EXPECT_TRUE(CreateBackend("mine").ok());
}

}  // namespace
}  // namespace mossrt::runtime
