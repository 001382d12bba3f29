// Errors of base/math.h against the C library in long double, which has at least 64 bits.
#include "base/math.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>

#include "gtest/gtest.h"

namespace mossrt::runtime {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

double UlpError(double got, long double want) {
  const double nearest = static_cast<double>(want);
  if (std::isinf(nearest) || nearest == 0.0) return got == nearest ? 0.0 : 1e300;
  const double up = std::nextafter(std::fabs(nearest), kInfinity) - std::fabs(nearest);
  return static_cast<double>(std::fabs(static_cast<long double>(got) - want) / up);
}

// The worst error in ulp over `count` arguments uniform in [low, high].
template <typename F, typename G>
double Worst(F ours, G reference, double low, double high, int count = 300000) {
  std::mt19937_64 random(1);
  std::uniform_real_distribution<double> uniform(low, high);
  double worst = 0.0;
  for (int i = 0; i < count; ++i) {
    const double x = uniform(random);
    worst = std::max(worst, UlpError(ours(x), reference(static_cast<long double>(x))));
  }
  return worst;
}

TEST(Math, Exp) {
  const auto reference = [](long double x) { return std::exp(x); };
  EXPECT_LT(Worst(Exp, reference, -1e-3, 1e-3), 0.9);
  EXPECT_LT(Worst(Exp, reference, -1.0, 1.0), 0.9);
  EXPECT_LT(Worst(Exp, reference, -40.0, 0.0), 0.9);
  EXPECT_LT(Worst(Exp, reference, -708.0, 709.7), 0.9);
  EXPECT_LT(Worst(Exp, reference, -745.0, -708.4), 1.5);  // subnormal: rounded twice
  EXPECT_EQ(Exp(0.0), 1.0);
  EXPECT_EQ(Exp(-0.0), 1.0);
  EXPECT_EQ(Exp(-kInfinity), 0.0);
  EXPECT_EQ(Exp(-1e300), 0.0);
  EXPECT_EQ(Exp(kInfinity), kInfinity);
  EXPECT_EQ(Exp(709.79), kInfinity);
  EXPECT_TRUE(std::isnan(Exp(std::nan(""))));
}

TEST(Math, Log) {
  const auto reference = [](long double x) { return std::log(x); };
  EXPECT_LT(Worst(Log, reference, 0.5, 2.0), 0.52);
  EXPECT_LT(Worst(Log, reference, 0.999, 1.001), 0.52);
  EXPECT_LT(Worst(Log, reference, 1e-300, 1e-290), 0.52);
  EXPECT_LT(Worst(Log, reference, 5e-324, 1e-310), 0.52);
  EXPECT_LT(Worst(Log, reference, 1.0, 1e6), 0.52);
  EXPECT_EQ(Log(1.0), 0.0);
  EXPECT_EQ(Log(0.0), -kInfinity);
  EXPECT_EQ(Log(kInfinity), kInfinity);
  EXPECT_TRUE(std::isnan(Log(-1.0)));
  EXPECT_TRUE(std::isnan(Log(std::nan(""))));
}

TEST(Math, Pow) {
  for (const double base : {2.0, 10000.0, 1e6, 0.3, 1.0000001, 1e-300}) {
    const auto ours = [&](double y) { return Pow(base, y); };
    const auto reference = [&](long double y) {
      return std::pow(static_cast<long double>(base), y);
    };
    EXPECT_LT(Worst(ours, reference, -1.0, 0.0), 0.9) << base;
    EXPECT_LT(Worst(ours, reference, -20.0, 20.0), 0.9) << base;
  }
  EXPECT_EQ(Pow(10000.0, -0.5), 0.01);
  EXPECT_EQ(Pow(2.0, 10.0), 1024.0);
  EXPECT_EQ(Pow(2.0, -2000.0), 0.0);
  EXPECT_EQ(Pow(2.0, 2000.0), kInfinity);
  EXPECT_TRUE(std::isnan(Pow(-2.0, 2.0)));
  EXPECT_TRUE(std::isnan(Pow(2.0, kInfinity)));
}

TEST(Math, SinAndCos) {
  const auto sine = [](long double x) { return std::sin(x); };
  const auto cosine = [](long double x) { return std::cos(x); };
  for (const double range : {1e-3, 0.8, 4.0, 1000.0, 1e6}) {
    EXPECT_LT(Worst(Sin, sine, -range, range), 0.8) << range;
    EXPECT_LT(Worst(Cos, cosine, -range, range), 0.8) << range;
  }
  EXPECT_EQ(Sin(0.0), 0.0);
  EXPECT_EQ(Cos(0.0), 1.0);
  EXPECT_TRUE(std::isnan(Sin(1.1e6)));
  EXPECT_TRUE(std::isnan(Cos(kInfinity)));
}

TEST(Math, SinAndCosNearMultiplesOfHalfPi) {
  // Where nearly all bits cancel: the double nearest to each multiple.
  const long double half_pi = 1.57079632679489661923132169163975144L;
  double worst = 0.0;
  for (int n = 1; n < 636000; n += 7) {
    const double x = static_cast<double>(half_pi * static_cast<long double>(n));
    const auto y = static_cast<long double>(x);
    worst = std::max({worst, UlpError(Sin(x), std::sin(y)), UlpError(Cos(x), std::cos(y))});
  }
  EXPECT_LT(worst, 0.8);
}

TEST(Math, RotaryAnglesAsMossNeedsThem) {
  for (int i = 0; i < 32; ++i) {
    const double inverse = Pow(10000.0, -2.0 * i / 64.0);
    const long double want = std::pow(10000.0L, -2.0L * i / 64.0L);
    EXPECT_LT(UlpError(inverse, want), 0.9);
    const double angle = 2047.0 * inverse;
    EXPECT_LT(UlpError(Sin(angle), std::sin(static_cast<long double>(angle))), 0.8);
  }
}

// Equal bits with every compiler and processor: a hash over all five functions.
TEST(Math, Bits) {
  std::uint64_t hash = 1469598103934665603u;
  const auto add = [&](double value) {
    hash = (hash ^ std::bit_cast<std::uint64_t>(value)) * 1099511628211u;
  };
  for (int i = 1; i < 20000; ++i) {
    const double x = 0.0371 * i;
    add(Exp(-x));
    add(Log(x));
    add(Pow(10000.0, -x / 800.0));
    add(Sin(x * 1000.0));
    add(Cos(x * 1000.0));
  }
  EXPECT_EQ(hash, 6234924582790298336u);
}

}  // namespace
}  // namespace mossrt::runtime
