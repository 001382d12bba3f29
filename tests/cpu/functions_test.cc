// The transcendental functions against double, in units of the last place, and the fused
// multiply-add.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>

#include "levels.h"

namespace mossrt::cpu {
namespace {

double Ulps(double exact, float got) {
  const int exponent = std::max(std::ilogb(exact), -126);
  return std::fabs(static_cast<double>(got) - exact) / std::ldexp(1.0, exponent - 23);
}

// Every 1021st float of [low, high] (a prime, so that no pattern of mantissas is skipped),
// ascending in absolute value.
std::vector<float> FloatsBetween(float low, float high) {
  std::vector<float> values;
  for (std::uint32_t bits = 0; bits < 0x7F800000u; bits += 1021) {
    const float magnitude = std::bit_cast<float>(bits);
    if (magnitude <= high && magnitude >= low) values.push_back(magnitude);
    if (-magnitude >= low && -magnitude <= high) values.push_back(-magnitude);
  }
  return values;
}

struct Worst {
  double ulps = 0;
  float at = 0;
};

// The worst error of the best level over the values; all levels must agree in bits.
template <class Run, class Exact>
Worst Measure(const std::vector<float>& x, Run run, Exact exact) {
  std::vector<float> first;
  for (const KernelTable* table : AvailableTables()) {
    std::vector<float> y = x;
    run(*table, y);
    if (first.empty()) {
      first = y;
    } else {
      ExpectSameBits(first, y, table->name);
    }
  }
  Worst worst;
  for (std::size_t i = 0; i < x.size(); ++i) {
    const double ulps = Ulps(exact(static_cast<double>(x[i])), first[i]);
    if (ulps > worst.ulps) worst = {ulps, x[i]};
  }
  return worst;
}

void Report(const char* what, const Worst& worst, double stated) {
  std::printf("%s: %.3f ulp at %.9g\n", what, worst.ulps, static_cast<double>(worst.at));
  EXPECT_LE(worst.ulps, stated) << what << " at " << worst.at;
}

void Silu(const KernelTable& t, std::vector<float>& x) {
  t.silu(x.data(), static_cast<std::int64_t>(x.size()));
}
void GeluTanh(const KernelTable& t, std::vector<float>& x) {
  t.gelu_tanh(x.data(), static_cast<std::int64_t>(x.size()));
}
void GeluErf(const KernelTable& t, std::vector<float>& x) {
  t.gelu_erf(x.data(), static_cast<std::int64_t>(x.size()));
}

double ExactGeluTanh(double x) {
  const double u = std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x);
  return x / (1 + std::exp(-2 * u));
}
double ExactGeluErf(double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); }

// Bounds are those that docs/numerics.md states.
TEST(Functions, Exp) {
  std::vector<float> x = FloatsBetween(-87.0f, -0x1p-30f);
  x.insert(x.begin(), 0.0f);  // the maximum, so that x - max = x
  float max = 0;
  float sum = 0;
  const auto run = [&](const KernelTable& t, std::vector<float>& y) {
    const auto n = static_cast<std::int64_t>(y.size());
    t.softmax_partial(y.data(), n, 1, &n, 1.0f, nullptr, nullptr, &max, &sum);
  };
  Report("exp on [-87, 0]", Measure(x, run, [](double v) { return std::exp(v); }), 1.0);
}

TEST(Functions, Silu) {
  Report(
      "silu on [-87, 100]",
      Measure(FloatsBetween(-87.0f, 100.0f), Silu, [](double x) { return x / (1 + std::exp(-x)); }),
      2.5);
}

TEST(Functions, GeluErf) {
  Report("gelu_erf on [-1, 100]", Measure(FloatsBetween(-1.0f, 100.0f), GeluErf, ExactGeluErf),
         3.0);
  Report("gelu_erf on [-13, -1]", Measure(FloatsBetween(-13.0f, -1.0f), GeluErf, ExactGeluErf),
         6.5);
}

TEST(Functions, GeluTanh) {
  Report("gelu_tanh on [-1, 100]", Measure(FloatsBetween(-1.0f, 100.0f), GeluTanh, ExactGeluTanh),
         3.0);
  // The argument of exp grows to 80 and its rounding with it; what is lost is below 1e-8 in
  // absolute value.
  Report("gelu_tanh on [-10, -1]", Measure(FloatsBetween(-10.0f, -1.0f), GeluTanh, ExactGeluTanh),
         200.0);
  const std::vector<float> x = FloatsBetween(-12.0f, -1.0f);
  std::vector<float> y = x;
  GeluTanh(Scalar(), y);
  for (std::size_t i = 0; i < x.size(); ++i) ASSERT_NEAR(y[i], ExactGeluTanh(x[i]), 1e-7) << x[i];
}

// scale_add with b = 1 is fma(y, a, x) by itself.
class FusedMultiplyAdd : public ::testing::Test {
 protected:
  void Check(const std::vector<float>& x, const std::vector<float>& y, float a) {
    for (const KernelTable* table : AvailableTables()) {
      std::vector<float> result = y;
      table->scale_add(x.data(), 1.0f, static_cast<std::int64_t>(x.size()), a, result.data());
      for (std::size_t i = 0; i < x.size(); ++i) {
        const float want = std::fmaf(y[i], a, x[i]);
        ASSERT_TRUE(SameBits(want, result[i]))
            << table->name << std::hexfloat << " fma(" << y[i] << ", " << a << ", " << x[i]
            << ") = " << want << ", found " << result[i];
      }
    }
  }
};

TEST_F(FusedMultiplyAdd, RandomBits) {
  std::mt19937 random(11);
  std::vector<float> x(512);
  std::vector<float> y(512);
  int exponent = 0;
  for (int round = 0; round < 4000; ++round) {
    const float a = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
    for (std::size_t i = 0; i < x.size(); ++i) {
      y[i] = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
      x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
      // Two of three addends near the product, where roundings meet; short mantissas make ties.
      if (i % 3 != 0 && std::isnormal(y[i] * a)) {
        x[i] = std::ldexp(x[i] == x[i] ? std::frexp(x[i], &exponent) : 0.5f,
                          std::ilogb(y[i] * a) + static_cast<int>(random() % 60) - 30);
      }
      if (i % 2 != 0) x[i] = std::bit_cast<float>(std::bit_cast<std::uint32_t>(x[i]) & 0xFFFFF000u);
    }
    Check(x, y, a);
    if (HasFatalFailure()) return;
  }
}

TEST_F(FusedMultiplyAdd, TiesAndSubnormals) {
  std::vector<float> seeds;
  for (const float v :
       {0.0f, 0x1p-149f, 0x1.8p-148f, 0x1p-126f, 0x1.FFFFFEp-127f, 0x1p-75f, 0x1p-24f, 0x1p-25f,
        1.0f, 0x1.000002p0f, 0x1.FFFFFEp0f, 0x1.8p0f, 0x1.001p0f, 0x1.FFEp11f, 0x1p24f,
        0x1.FFFFFEp127f, 0x1p127f, std::numeric_limits<float>::infinity(),
        std::numeric_limits<float>::quiet_NaN()}) {
    seeds.push_back(v);
    seeds.push_back(-v);
  }
  std::vector<float> x;
  std::vector<float> y;
  for (const float u : seeds) {
    for (const float v : seeds) {
      x.push_back(u);
      y.push_back(v);
    }
  }
  for (const float a : seeds) Check(x, y, a);
}

}  // namespace
}  // namespace mossrt::cpu
