// Every kernel of the list: the same bits on every level, and near a plain computation in double
// (matrix products: gemm_checks.cc, int_gemm_checks.cc; integers: quantize_checks.cc; pairs of
// bf16: bf16_checks.cc). A kernel of the list without a check here does not compile.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "bf16_checks.h"
#include "gemm_checks.h"
#include "int_gemm_checks.h"
#include "levels.h"
#include "quantize_checks.h"

namespace mossrt::cpu {
namespace {

constexpr std::int64_t kLengths[] = {1, 2, 3, 15, 16, 17, 31, 63, 64, 65, 576, 2047};

std::string Label(const KernelTable& table, const char* kernel, std::int64_t n) {
  return std::string(table.name) + " " + kernel + " n=" + std::to_string(n);
}

using Values = std::vector<float>;
using Exact = std::vector<double>;

// A row one float off every boundary, with a canary behind it.
class Row {
 public:
  explicit Row(const Values& values) : memory_(values.size() + 2, kCanary), n_(values.size()) {
    std::copy(values.begin(), values.end(), memory_.begin() + 1);
  }
  float* data() { return memory_.data() + 1; }
  Values values() const { return Values(memory_.begin() + 1, memory_.end() - 1); }
  bool IntactAround() const { return memory_.front() == kCanary && memory_.back() == kCanary; }

 private:
  static constexpr float kCanary = 1234.5f;
  Values memory_;
  std::size_t n_;
};

// Runs an in-place kernel on the level and on scalar, and compares with `exact`.
template <class Run>
void CheckRow(const KernelTable& t, const char* kernel, const Values& start, const Exact& exact,
              double tolerance, Run run) {
  const std::string label = Label(t, kernel, static_cast<std::int64_t>(start.size()));
  Row got(start);
  Row want(start);
  run(t, got.data());
  run(Scalar(), want.data());
  EXPECT_TRUE(got.IntactAround()) << label;
  ExpectSameBits(want.values(), got.values(), label);
  ExpectClose(exact, got.values(), tolerance, label);
}

template <class Function>
Exact Map(const Values& x, Function function) {
  Exact y(x.size());
  for (std::size_t i = 0; i < x.size(); ++i) y[i] = function(static_cast<double>(x[i]));
  return y;
}

template <class Run, class Function>
void CheckActivation(const KernelTable& t, const char* kernel, Run run, Function function) {
  for (const std::int64_t n : kLengths) {
    const Values x = RandomValues(static_cast<std::size_t>(n), 7, 3.0f);
    CheckRow(t, kernel, x, Map(x, function), 1e-6,
             [&](const KernelTable& level, float* row) { run(level, row, n); });
  }
  // What overflows, vanishes or is no number: the same on every level.
  const float infinity = std::numeric_limits<float>::infinity();
  Row got({0.0f, -0.0f, 1e30f, -1e30f, 1e-42f, -1e-42f, infinity, -infinity, NAN, -88.5f, 88.5f,
           200.0f, -200.0f, -12.5f, -14.5f, 3e38f, -3e38f, 13.0f});
  Row want(got);
  const auto count = static_cast<std::int64_t>(got.values().size());
  run(t, got.data(), count);
  run(Scalar(), want.data(), count);
  ExpectSameBits(want.values(), got.values(), std::string(t.name) + " " + kernel + " specials");
  const Values y = got.values();
  EXPECT_EQ(y[0], 0.0f);
  EXPECT_EQ(y[2], 1e30f);
  EXPECT_EQ(y[3], 0.0f);
  EXPECT_EQ(y[6], infinity);
  EXPECT_EQ(y[7], 0.0f);
  EXPECT_TRUE(std::isnan(y[8]));
}

// Byte by byte from the values that the words hold.
void CheckWords(const KernelTable& t, std::int64_t bits, std::int64_t panels, std::int64_t lines) {
  const std::int64_t stride = panels * 16 + 3, panel_bytes = lines * 64 + 128, fields = 32 / bits;
  std::vector<std::uint32_t> words(static_cast<std::size_t>(1 + lines * stride + 16));
  for (std::size_t i = 0; i < words.size(); ++i) {
    words[i] = static_cast<std::uint32_t>(i + 1) * 2654435761u;
  }
  AlignedBytes out(static_cast<std::size_t>(panels * panel_bytes) + 64);
  constexpr std::byte kUntouched{0xA5};
  std::fill_n(out.bytes(), panels * panel_bytes, kUntouched);
  const std::uint32_t* from = words.data() + 1;
  t.pack_w_words(from, stride, lines, bits, panels, reinterpret_cast<std::uint32_t*>(out.bytes()),
                 panel_bytes);
  for (std::int64_t p = 0; p < panels; ++p) {
    const std::byte* panel = out.bytes() + p * panel_bytes;
    for (std::int64_t byte = 0; byte < panel_bytes; ++byte) {
      unsigned expected = std::to_integer<unsigned>(kUntouched);
      if (const std::int64_t line = byte / 64; line < lines) {
        const std::uint32_t word = from[line * stride + p * 16 + byte % 64 / 4];
        const auto value = [&](std::int64_t field) {
          return word >> (field * bits) & ((1u << bits) - 1);
        };
        expected = value(byte % 4);
        if (fields == 8) expected |= value(byte % 4 + 4) << 4;
      }
      ASSERT_EQ(std::to_integer<unsigned>(panel[byte]), expected)
          << t.name << " " << bits << " bits, panel " << p << " of " << panels << ", byte " << byte
          << " of " << lines << " lines";
    }
  }
}

// 16 rows of k values -> a panel, by the description of the layout.
template <class T, class Pack>
void CheckWeights(const KernelTable& t, const char* kernel, bool pairs, Pack pack) {
  for (const std::int64_t k : {1, 2, 15, 16, 17, 33, 70}) {
    for (const std::int64_t count : {1, 5, 16}) {
      std::vector<std::vector<T>> rows(16, std::vector<T>(static_cast<std::size_t>(k)));
      std::vector<const T*> pointers(16, nullptr);  // rows that do not exist are not touched
      for (std::int64_t i = 0; i < count; ++i) {
        for (std::int64_t j = 0; j < k; ++j) {
          rows[static_cast<std::size_t>(i)][static_cast<std::size_t>(j)] =
              static_cast<T>(i * 100 + j + 1);
        }
        pointers[static_cast<std::size_t>(i)] = rows[static_cast<std::size_t>(i)].data();
      }
      const std::int64_t depth = pairs ? (k + 1) / 2 * 2 : k;
      std::vector<T> panel(static_cast<std::size_t>(depth * 16 + 1), T{99});
      pack(t, pointers.data(), count, k, panel.data());
      for (std::int64_t j = 0; j < depth; ++j) {
        for (std::int64_t i = 0; i < 16; ++i) {
          const std::int64_t at = pairs ? (j / 2) * 32 + i * 2 + j % 2 : j * 16 + i;
          const T want = i < count && j < k ? static_cast<T>(i * 100 + j + 1) : T{0};
          ASSERT_EQ(panel[static_cast<std::size_t>(at)], want)
              << Label(t, kernel, k) << " " << i << " " << j;
        }
      }
      EXPECT_EQ(panel.back(), T{99});
    }
  }
}

template <class Pack>
void CheckInputs(const KernelTable& t, const char* kernel, bool rounded, Pack pack) {
  for (const std::int64_t m : {1, 2, 11, 12, 13, 25}) {
    for (const std::int64_t k : {1, 15, 16, 17, 70}) {
      const std::int64_t stride = k + 3;
      const Values x = RandomValues(static_cast<std::size_t>(m * stride), 5);
      Values packed(static_cast<std::size_t>(m * k) + 1, 99.0f);
      pack(t, x.data(), stride, m, k, packed.data());
      for (std::int64_t i = 0; i < m; ++i) {
        const std::int64_t first = i / 12 * 12;
        const std::int64_t rows = std::min<std::int64_t>(12, m - first);
        for (std::int64_t j = 0; j < k; ++j) {
          const float v = x[static_cast<std::size_t>(i * stride + j)];
          const float want = rounded ? ReferenceBf16(v) : v;
          ASSERT_EQ(packed[static_cast<std::size_t>(first * k + j * rows + i - first)], want)
              << Label(t, kernel, k) << " m=" << m << " row " << i << " k " << j;
        }
      }
      EXPECT_EQ(packed.back(), 99.0f);
    }
  }
}

struct Checks {
  static void layer_norm(const KernelTable& t) {
    for (const std::int64_t n : kLengths) {
      for (const bool with_bias : {true, false}) {
        const auto size = static_cast<std::size_t>(n);
        Values x = RandomValues(size, 1, 2.0f);
        for (float& v : x) v += 5.0f;  // a mean far from 0
        const Values w = RandomValues(size, 2);
        const Values b = RandomValues(size, 3);
        double mean = 0;
        double variance = 0;
        for (const float v : x) mean += static_cast<double>(v) / static_cast<double>(n);
        for (const float v : x) variance += (v - mean) * (v - mean) / static_cast<double>(n);
        Exact exact(size);
        for (std::size_t i = 0; i < size; ++i) {
          exact[i] = (x[i] - mean) / std::sqrt(variance + 1e-5) * w[i] + (with_bias ? b[i] : 0.0f);
        }
        // n = 1: the difference to the mean is 0 in both.
        CheckRow(t, "layer_norm", x, exact, 2e-5, [&](const KernelTable& level, float* row) {
          level.layer_norm(row, w.data(), with_bias ? b.data() : nullptr, 1e-5f, n, row);
        });
      }
    }
  }

  static void rms_norm(const KernelTable& t) {
    for (const std::int64_t n : kLengths) {
      const auto size = static_cast<std::size_t>(n);
      const Values x = RandomValues(size, 1, 2.0f);
      const Values w = RandomValues(size, 2);
      double squares = 0;
      for (const float v : x) squares += static_cast<double>(v) * v / static_cast<double>(n);
      Exact exact(size);
      for (std::size_t i = 0; i < size; ++i) exact[i] = x[i] / std::sqrt(squares + 1e-6) * w[i];
      CheckRow(t, "rms_norm", x, exact, 1e-5, [&](const KernelTable& level, float* row) {
        level.rms_norm(row, w.data(), 1e-6f, n, row);
      });
    }
  }

  static void rope(const KernelTable& t) {
    for (const std::int64_t rotary : {2, 6, 30, 32, 34, 64, 128}) {
      const std::int64_t heads = 3;
      const std::int64_t head_dim = rotary + 5;
      const std::int64_t half = rotary / 2;
      const Values x = RandomValues(static_cast<std::size_t>(heads * head_dim), 1);
      Values cosine(static_cast<std::size_t>(half));
      Values sine(static_cast<std::size_t>(half));
      for (std::size_t i = 0; i < cosine.size(); ++i) {
        cosine[i] = std::cos(static_cast<float>(i) * 0.7f);
        sine[i] = std::sin(static_cast<float>(i) * 0.7f);
      }
      Exact exact(x.begin(), x.end());
      for (std::int64_t head = 0; head < heads; ++head) {
        for (std::int64_t i = 0; i < half; ++i) {
          const auto a = static_cast<std::size_t>(head * head_dim + i);
          const std::size_t b = a + static_cast<std::size_t>(half);
          const double c = cosine[static_cast<std::size_t>(i)];
          const double s = sine[static_cast<std::size_t>(i)];
          exact[a] = x[a] * c - x[b] * s;
          exact[b] = x[b] * c + x[a] * s;
        }
      }
      CheckRow(t, "rope", x, exact, 1e-6, [&](const KernelTable& level, float* row) {
        level.rope(row, heads, head_dim, rotary, cosine.data(), sine.data());
      });
    }
  }

  static void gelu_tanh(const KernelTable& t) {
    CheckActivation(
        t, "gelu_tanh",
        [](const KernelTable& level, float* row, std::int64_t n) { level.gelu_tanh(row, n); },
        [](double x) {
          return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
        });
  }
  static void gelu_erf(const KernelTable& t) {
    CheckActivation(
        t, "gelu_erf",
        [](const KernelTable& level, float* row, std::int64_t n) { level.gelu_erf(row, n); },
        [](double x) { return 0.5 * x * std::erfc(-x / std::sqrt(2.0)); });
  }
  static void silu(const KernelTable& t) {
    CheckActivation(
        t, "silu", [](const KernelTable& level, float* row, std::int64_t n) { level.silu(row, n); },
        [](double x) { return x / (1 + std::exp(-x)); });
  }
  static void relu(const KernelTable& t) {
    CheckActivation(
        t, "relu", [](const KernelTable& level, float* row, std::int64_t n) { level.relu(row, n); },
        [](double x) { return std::max(x, 0.0); });
  }

  template <class Run, class Function>
  static void CheckPair(const KernelTable& t, const char* kernel, Run run, Function function) {
    for (const std::int64_t n : kLengths) {
      const Row x_row(RandomValues(static_cast<std::size_t>(n), 1));
      const Values x = x_row.values();
      const Values y = RandomValues(static_cast<std::size_t>(n), 2);
      Exact exact(y.size());
      for (std::size_t i = 0; i < y.size(); ++i) exact[i] = function(x[i], y[i]);
      CheckRow(t, kernel, y, exact, 1e-6, [&](const KernelTable& level, float* row) {
        run(level, Row(x_row).data(), n, row);
      });
    }
  }
  static void add(const KernelTable& t) {
    CheckPair(
        t, "add",
        [](const KernelTable& level, const float* x, std::int64_t n, float* y) {
          level.add(x, n, y);
        },
        [](double x, double y) { return x + y; });
  }
  static void multiply(const KernelTable& t) {
    CheckPair(
        t, "multiply",
        [](const KernelTable& level, const float* x, std::int64_t n, float* y) {
          level.multiply(x, n, y);
        },
        [](double x, double y) { return x * y; });
  }
  static void divide(const KernelTable& t) {
    CheckPair(
        t, "divide",
        [](const KernelTable& level, const float* x, std::int64_t n, float* y) {
          level.divide(x, 0.3f, n, y);
        },
        [](double x, double) { return x / 0.3f; });
  }
  static void scale_add(const KernelTable& t) {
    CheckPair(
        t, "scale_add",
        [](const KernelTable& level, const float* x, std::int64_t n, float* y) {
          level.scale_add(x, 0.3f, n, 0.7f, y);
        },
        [](double x, double y) { return y * 0.7f + x * 0.3f; });
  }

  static void CheckSoftmax(const KernelTable& t, std::int64_t n, bool factors) {
    const auto size = static_cast<std::size_t>(n);
    const Values x = RandomValues(size, 1, 20.0f);
    const Row before(RandomValues(size, 2)), after(RandomValues(size, 3));
    const Values first = before.values(), last = after.values();
    Exact exact(size);
    double max = -1e300;
    double sum = 0;
    for (std::size_t i = 0; i < size; ++i) {
      exact[i] = 0.125 * (factors ? double{x[i]} * first[i] : x[i]);
      max = std::max(max, exact[i]);
    }
    for (std::size_t i = 0; i < size; ++i) {
      const double power = std::exp(exact[i] - max);
      sum += power;
      exact[i] = factors ? power * last[i] : power;
    }
    float got_max = 0;
    float got_sum = 0;
    float want_max = 0;
    float want_sum = 0;
    CheckRow(t, "softmax_partial", x, exact, 3e-6, [&](const KernelTable& level, float* row) {
      const bool scalar = &level == &Scalar();
      level.softmax_partial(row, n, 1, &n, 0.125f, factors ? Row(before).data() : nullptr,
                            factors ? Row(after).data() : nullptr, scalar ? &want_max : &got_max,
                            scalar ? &want_sum : &got_sum);
    });
    if (&t == &Scalar()) got_max = want_max, got_sum = want_sum;
    ExpectSameBits(Values{want_max, want_sum}, Values{got_max, got_sum},
                   Label(t, "softmax_partial", n));
    EXPECT_NEAR(got_max, max, 1e-5);
    EXPECT_NEAR(got_sum, sum, 1e-6 * sum * static_cast<double>(n) + 1e-6);
  }
  // Rows of different lengths give what each gives alone, and nothing beyond their ends changes.
  static void CheckSoftmaxRows(const KernelTable& t, bool factors) {
    constexpr std::int64_t kStride = 40;
    const std::int64_t n[] = {3, 16, 17, 1, 33, 40, 2, 32, 9, 31, 40};
    const Values before = RandomValues(kStride, 2), after = RandomValues(kStride, 3);
    const float* const first = factors ? before.data() : nullptr;
    const float* const last = factors ? after.data() : nullptr;
    for (std::size_t m = 1; m <= std::size(n); ++m) {
      const Values x = RandomValues(m * kStride, 4 + static_cast<std::uint32_t>(m), 20.0f);
      Values want = x, want_max(m), want_sum(m), max(m), sum(m);
      for (std::size_t i = 0; i < m; ++i) {
        t.softmax_partial(want.data() + i * kStride, kStride, 1, n + i, 0.3f, first, last,
                          &want_max[i], &want_sum[i]);
      }
      Row got(x);
      t.softmax_partial(got.data(), kStride, static_cast<std::int64_t>(m), n, 0.3f, first, last,
                        max.data(), sum.data());
      const std::string label = Label(t, "softmax_partial of rows", static_cast<std::int64_t>(m));
      ExpectSameBits(want, got.values(), label);
      ExpectSameBits(want_max, max, label);
      ExpectSameBits(want_sum, sum, label);
      for (std::size_t i = 0; i < m; ++i) {
        for (std::size_t j = static_cast<std::size_t>(n[i]); j < kStride; ++j) {
          ASSERT_EQ(got.values()[i * kStride + j], x[i * kStride + j]) << label;
        }
      }
    }
  }
  static void softmax_partial(const KernelTable& t) {
    CheckSoftmaxRows(t, false);
    CheckSoftmaxRows(t, true);
    for (const std::int64_t n : kLengths) {
      CheckSoftmax(t, n, false);
      CheckSoftmax(t, n, true);
    }
    const float infinity = std::numeric_limits<float>::infinity();
    for (const std::int64_t n : {1, 16, 21}) {
      float max = 0;
      float sum = 1;
      Row row(Values(static_cast<std::size_t>(n), -infinity));
      t.softmax_partial(row.data(), n, 1, &n, 1.0f, nullptr, nullptr, &max, &sum);
      EXPECT_EQ(max, -infinity);
      EXPECT_EQ(sum, 0.0f);
      ExpectSameBits(Values(static_cast<std::size_t>(n), 0.0f), row.values(), t.name);
      // A masked or far slot among others adds exactly nothing.
      const std::int64_t five = 5;
      Row far({-infinity, 1.0f, -1e30f, -87.0f, 1.0f});
      t.softmax_partial(far.data(), 5, 1, &five, 1.0f, nullptr, nullptr, &max, &sum);
      ExpectSameBits(Values{0, 1, 0, 0, 1}, far.values(), t.name);
      EXPECT_EQ(sum, 2.0f);
    }
  }

  static void f16_to_f32(const KernelTable& t) {
    std::vector<std::uint16_t> x(65536 + 5);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::uint16_t>(i);
    Values y(x.size());
    t.f16_to_f32(x.data(), static_cast<std::int64_t>(x.size()), y.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_TRUE(SameBits(y[i], ReferenceF16ToF32(x[i]))) << t.name << " " << i << " " << y[i];
    }
  }
  static void bf16_to_f32(const KernelTable& t) {
    std::vector<std::uint16_t> x(65536 + 5);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<std::uint16_t>(i);
    Values y(x.size());
    t.bf16_to_f32(x.data(), static_cast<std::int64_t>(x.size()), y.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      ASSERT_TRUE(SameBits(y[i], std::bit_cast<float>(std::uint32_t{x[i]} << 16))) << t.name << i;
    }
  }
  // Floats from every exponent: all halves, their middles and the neighbours of these, and a stride
  // over all bits.
  static Values FloatsToRound(int kept_bits) {
    Values values;
    const std::uint32_t unit = 1u << (23 - kept_bits);
    for (std::uint32_t top = 0; top < (1u << (9 + kept_bits)); top += 1) {
      for (const std::uint32_t low : {0u, 1u, unit / 2 - 1, unit / 2, unit / 2 + 1, unit - 1}) {
        values.push_back(std::bit_cast<float>(top * unit + low));
      }
    }
    return values;
  }
  static void f32_to_f16(const KernelTable& t) {
    const Values x = FloatsToRound(10);
    std::vector<std::uint16_t> y(x.size());
    t.f32_to_f16(x.data(), static_cast<std::int64_t>(x.size()), y.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float back = ReferenceF16ToF32(y[i]);
      ASSERT_TRUE(SameBits(back, ReferenceF16(x[i])))
          << t.name << std::hexfloat << " " << x[i] << " became " << back;
    }
  }
  static void f32_to_bf16(const KernelTable& t) {
    const Values x = FloatsToRound(7);
    std::vector<std::uint16_t> y(x.size());
    t.f32_to_bf16(x.data(), static_cast<std::int64_t>(x.size()), y.data());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const float back = std::bit_cast<float>(std::uint32_t{y[i]} << 16);
      ASSERT_TRUE(SameBits(back, ReferenceBf16(x[i])))
          << t.name << std::hexfloat << " " << x[i] << " became " << back;
    }
  }

  static void pack_x_f32(const KernelTable& t) {
    CheckInputs(t, "pack_x_f32", false,
                [](const KernelTable& level, const float* x, std::int64_t stride, std::int64_t m,
                   std::int64_t k, float* packed) { level.pack_x_f32(x, stride, m, k, packed); });
  }
  static void pack_x_bf16_as_f32(const KernelTable& t) {
    CheckInputs(
        t, "pack_x_bf16_as_f32", true,
        [](const KernelTable& level, const float* x, std::int64_t stride, std::int64_t m,
           std::int64_t k, float* packed) { level.pack_x_bf16_as_f32(x, stride, m, k, packed); });
  }
  static void pack_x_bf16_pairs(const KernelTable& t) { CheckPackPairs(t); }
  static void pack_w_f32(const KernelTable& t) {
    CheckWeights<float>(
        t, "pack_w_f32", false,
        [](const KernelTable& level, const float* const* rows, std::int64_t count, std::int64_t k,
           float* panel) { level.pack_w_f32(rows, count, k, panel); });
  }
  static void pack_w_u16(const KernelTable& t) {
    CheckWeights<std::uint16_t>(
        t, "pack_w_u16", false,
        [](const KernelTable& level, const std::uint16_t* const* rows, std::int64_t count,
           std::int64_t k, std::uint16_t* panel) { level.pack_w_u16(rows, count, k, panel); });
  }
  static void pack_w_u16_pairs(const KernelTable& t) {
    CheckWeights<std::uint16_t>(t, "pack_w_u16_pairs", true,
                                [](const KernelTable& level, const std::uint16_t* const* rows,
                                   std::int64_t count, std::int64_t k, std::uint16_t* panel) {
                                  level.pack_w_u16_pairs(rows, count, k, panel);
                                });
  }

  static void pack_w_words(const KernelTable& t) {
    for (const std::int64_t bits : {4, 8}) {
      for (const std::int64_t panels : {0, 1, 3}) {
        for (const std::int64_t lines : {0, 1, 5}) CheckWords(t, bits, panels, lines);
      }
    }
  }

  static void gemm_f32(const KernelTable& t) { CheckGemm(t, WeightFormat::kF32); }
  static void gemm_f16(const KernelTable& t) { CheckGemm(t, WeightFormat::kF16); }
  static void gemm_bf16(const KernelTable& t) { CheckGemm(t, WeightFormat::kBf16); }
  static void gemm_bf16_pairs(const KernelTable& t) { CheckGemmPairs(t); }
  static void pack_x_int8(const KernelTable& t) { CheckPackInt8(t); }
  static void keys_to_bytes(const KernelTable& t) { CheckKeysToBytes(t); }
  static void values_to_bytes(const KernelTable& t) { CheckValuesToBytes(t); }
  static void keys_to_bf16(const KernelTable& t) { CheckKeysToBf16(t); }
  static void values_to_bf16(const KernelTable& t) { CheckValuesToBf16(t); }
  static void gemm_int8(const KernelTable& t) { CheckIntegerGemm(t, Integers::kInt8); }
  static void gemm_int4(const KernelTable& t) { CheckIntegerGemm(t, Integers::kInt4); }
  static void gemm_kv8(const KernelTable& t) { CheckIntegerGemm(t, Integers::kCached); }
  static void quantize_group(const KernelTable& t) { CheckQuantizeGroup(t); }
};

#define MOSSRT_KERNEL(kernel, parameters)                \
  TEST(EveryLevel, kernel) {                             \
    const FloatModeGuard guard;                          \
    for (const KernelTable* table : AvailableTables()) { \
      SCOPED_TRACE(table->name);                         \
      Checks::kernel(*table);                            \
    }                                                    \
  }
#include "mossrt/runtime/kernel_list.inc"
#undef MOSSRT_KERNEL

}  // namespace
}  // namespace mossrt::cpu
