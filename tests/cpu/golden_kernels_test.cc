// One hash over every kernel that contract 1 covers, the same from every instruction set on every
// processor: what tests/data/golden_bits.json is for whole models, here also for those that only
// this room is cross-built for. Lengths leave a rest in every kernel.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <functional>

#include "levels.h"

namespace mossrt::cpu {
namespace {

constexpr std::int64_t kN = 333;

// Values of both signs in [-range, range), by integers alone: std::normal_distribution is libm's.
std::vector<float> Values(std::int64_t n, std::uint32_t seed, float range) {
  std::vector<float> values(static_cast<std::size_t>(n));
  std::uint32_t state = seed * 2654435761u + 1u;
  for (float& v : values) {
    state = state * 1664525u + 1013904223u;
    v = (static_cast<float>(state >> 8) * 0x1p-23f - 1.0f) * range;
  }
  return values;
}

class Hash {
 public:
  template <typename T>
  void Add(std::span<const T> values) {
    for (const T value : values) {
      auto bits =
          std::bit_cast<std::conditional_t<sizeof(T) == 4, std::uint32_t,
                                           std::conditional_t<sizeof(T) == 2, std::uint16_t, T>>>(
              value);
      for (std::size_t i = 0; i < sizeof(T); ++i, bits = static_cast<decltype(bits)>(bits >> 8)) {
        hash_ = (hash_ ^ (bits & 0xFF)) * 0x100000001B3u;
      }
    }
  }
  void Add(const std::vector<float>& values) { Add(std::span<const float>(values)); }
  std::uint64_t value() const { return hash_; }

 private:
  std::uint64_t hash_ = 0xCBF29CE484222325u;
};

void HashRows(const KernelTable& t, Hash* hash) {
  const std::vector<float> x = Values(kN, 1, 4.0f), w = Values(kN, 2, 2.0f),
                           b = Values(kN, 3, 1.0f);
  std::vector<float> y(x.size());
  t.layer_norm(x.data(), w.data(), b.data(), 1e-5f, kN, y.data());
  hash->Add(y);
  t.layer_norm(x.data(), w.data(), nullptr, 1e-5f, kN, y.data());
  hash->Add(y);
  t.rms_norm(x.data(), w.data(), 1e-6f, kN, y.data());
  hash->Add(y);
  for (const auto activation : {t.gelu_tanh, t.gelu_erf, t.silu, t.relu}) {
    y = Values(kN, 4, 15.0f);
    activation(y.data(), kN);
    hash->Add(y);
  }
  y = x;
  t.add(w.data(), kN, y.data());
  t.multiply(b.data(), kN, y.data());
  t.scale_add(w.data(), 0.75f, kN, 1.25f, y.data());
  hash->Add(y);
  const std::int64_t n = kN;
  float max_and_sum[2];
  t.softmax_partial(y.data(), kN, 1, &n, 0.125f, nullptr, nullptr, &max_and_sum[0],
                    &max_and_sum[1]);
  hash->Add(y);
  hash->Add(std::span<const float>(max_and_sum));
  y = x;
  t.softmax_partial(y.data(), kN, 1, &n, 0.3f, w.data(), b.data(), &max_and_sum[0],
                    &max_and_sum[1]);
  hash->Add(y);
  hash->Add(std::span<const float>(max_and_sum));
  t.divide(x.data(), max_and_sum[1], kN, y.data());
  hash->Add(y);
  y = Values(5 * 26, 5, 3.0f);
  t.rope(y.data(), 5, 26, 22, x.data(), w.data());
  hash->Add(y);
}

void HashConversions(const KernelTable& t, Hash* hash) {
  const std::vector<float> x = Values(kN, 6, 70000.0f);
  std::vector<std::uint16_t> half(x.size());
  std::vector<float> wide(x.size());
  t.f32_to_f16(x.data(), kN, half.data());
  hash->Add(std::span<const std::uint16_t>(half));
  t.f16_to_f32(half.data(), kN, wide.data());
  hash->Add(wide);
  t.f32_to_bf16(x.data(), kN, half.data());
  hash->Add(std::span<const std::uint16_t>(half));
  t.bf16_to_f32(half.data(), kN, wide.data());
  hash->Add(wide);
  std::vector<std::uint32_t> pairs(13 * 13);
  t.pack_x_bf16_pairs(x.data(), 25, 13, 25, pairs.data());
  hash->Add(std::span<const std::uint32_t>(pairs));
}

// 13 rows (a whole tile and one), two panels of which the second has 5 rows, an odd depth.
void HashProducts(const KernelTable& t, Hash* hash) {
  constexpr std::int64_t kRows = 13, kOutputs = kPanelRows + 5, kDepth = 77;
  const std::vector<float> x = Values(kRows * kDepth, 7, 1.0f);
  const std::vector<float> w = Values(kOutputs * kDepth, 8, 1.0f);
  std::vector<std::uint16_t> f16(w.size()), bf16(w.size());
  t.f32_to_f16(w.data(), kOutputs * kDepth, f16.data());
  t.f32_to_bf16(w.data(), kOutputs * kDepth, bf16.data());
  enum Format { kF32, kF16, kBF16 };
  for (const Format format : {kF32, kF16, kBF16}) {
    const std::size_t panel_bytes = (kDepth + 1) * kPanelRows * (format == kF32 ? 4 : 2);
    const std::size_t aligned = (panel_bytes + 63) / 64 * 64;
    AlignedBytes panels(2 * aligned), packed((kRows * (kDepth + 1)) * 4),
        scratch(kGemmScratchBytes);
    for (std::int64_t p = 0; p < 2; ++p) {
      const std::int64_t first = p * kPanelRows, count = std::min(kPanelRows, kOutputs - first);
      const float* rows[kPanelRows] = {};
      const std::uint16_t* halves[kPanelRows] = {};
      for (std::int64_t r = 0; r < count; ++r) {
        rows[r] = w.data() + (first + r) * kDepth;
        halves[r] = (format == kF16 ? f16 : bf16).data() + (first + r) * kDepth;
      }
      std::byte* panel = panels.bytes() + static_cast<std::size_t>(p) * aligned;
      if (format == kF32) {
        t.pack_w_f32(rows, count, kDepth, reinterpret_cast<float*>(panel));
      } else {
        (format == kF16 ? t.pack_w_u16 : t.pack_w_u16_pairs)(
            halves, count, kDepth, reinterpret_cast<std::uint16_t*>(panel));
      }
    }
    for (const std::int64_t m : {kRows, std::int64_t{1}}) {
      (format == kBF16 ? t.pack_x_bf16_as_f32 : t.pack_x_f32)(x.data(), kDepth, m, kDepth,
                                                              packed.floats());
      std::vector<float> y = Values(m * 2 * kPanelRows, 9, 1.0f);
      for (const bool accumulate : {true, false}) {
        const GemmArgs args = {.w = panels.bytes(),
                               .w_panel_bytes = aligned,
                               .x = packed.bytes(),
                               .x_k = kDepth,
                               .y = y.data(),
                               .y_stride = 2 * kPanelRows,
                               .m = m,
                               .k = kDepth,
                               .panels = 2,
                               .accumulate = accumulate,
                               .scratch = scratch.bytes()};
        (format == kF32 ? t.gemm_f32 : format == kF16 ? t.gemm_f16 : t.gemm_bf16)(&args);
        hash->Add(y);
      }
    }
  }
}

// What a level may do in ways of its own: many rows (from 25 on), a whole tile and one, one.
constexpr std::int64_t kIntegerRows[] = {27, 13, 1};

// Panels of integers made of weights, so many that all but one have a neighbour.
void HashIntegerPanels(const KernelTable& t, const IntegerPanel& format, Hash* hash) {
  constexpr std::int64_t kOutputs = 3 * kPanelRows, kGroups = 3;
  const std::int64_t group = format.group, bits = format.bits;
  const std::int64_t depth = 2 * group + 13, padded = kGroups * group;  // the last group is short
  const std::vector<float> x = Values(kIntegerRows[0] * depth, 10, 1.0f);
  const std::vector<float> w = Values(kOutputs * padded, 11, 0.1f);
  const std::size_t panel_bytes = format.Bytes(kGroups);
  AlignedBytes panels(3 * panel_bytes), scratch(kGemmScratchBytes);
  std::memset(panels.bytes(), 0, 3 * panel_bytes);
  std::vector<std::uint8_t> q(static_cast<std::size_t>(group));
  for (std::int64_t j = 0; j < kOutputs; ++j) {
    std::byte* panel = panels.bytes() + static_cast<std::size_t>(j / kPanelRows) * panel_bytes;
    const std::int64_t lane = j % kPanelRows;
    for (std::int64_t g = 0; g < kGroups; ++g) {
      auto* header = reinterpret_cast<std::uint16_t*>(panel + format.HeaderOffset(g)) + lane;
      std::uint16_t zero = 0;
      t.quantize_group(w.data() + j * padded + g * group, group, bits, format.zeros, j % 5,
                       q.data(), header, &zero);
      if (format.zeros) header[kPanelRows] = zero;
      hash->Add(std::span<const std::uint8_t>(q));
      auto* data = reinterpret_cast<std::uint8_t*>(panel + format.DataOffset(g)) + lane * 4;
      for (std::int64_t k = 0; k < group; ++k) {
        const std::uint8_t value = q[static_cast<std::size_t>(k)];
        std::uint8_t& byte = bits == 8 ? data[k / 4 * 64 + k % 4] : data[k / 8 * 64 + k % 4];
        byte = static_cast<std::uint8_t>(bits == 8 || k % 8 < 4 ? value : byte | value << 4);
      }
    }
  }
  hash->Add(std::span<const std::uint8_t>(reinterpret_cast<std::uint8_t*>(panels.bytes()),
                                          3 * panel_bytes));
  for (const std::int64_t m : kIntegerRows) {
    std::vector<std::uint32_t> packed(
        static_cast<std::size_t>(m * IntegerInputDwords(depth, group)));
    t.pack_x_int8(x.data(), depth, m, depth, group, packed.data());
    hash->Add(std::span<const std::uint32_t>(packed));
    std::vector<float> y = Values(m * kOutputs, 12, 1.0f);
    for (const bool accumulate : {true, false}) {
      const GemmArgs args = {.w = panels.bytes(),
                             .w_panel_bytes = panel_bytes,
                             .x = packed.data(),
                             .x_k = depth,
                             .y = y.data(),
                             .y_stride = kOutputs,
                             .m = m,
                             .k = depth,
                             .panels = 3,
                             .accumulate = accumulate,
                             .scratch = scratch.bytes(),
                             .group = group,
                             .zeros = format.zeros};
      (bits == 8 ? t.gemm_int8 : t.gemm_int4)(&args);
      hash->Add(y);
    }
  }
}

void HashIntegers(const KernelTable& t, Hash* hash) {
  for (const std::int64_t bits : {8, 4}) {
    for (const std::int64_t group : {32, 64, 128, 256}) {
      if (bits == 4 && group == 256) continue;
      for (const bool zeros : {false, true}) HashIntegerPanels(t, {bits, group, zeros}, hash);
    }
  }
}

// Heads of 40 dimensions, 45 positions in three panels of keys and from position 2 on in values;
// queries and probabilities multiply them.
void HashCache(const KernelTable& t, Hash* hash) {
  constexpr std::int64_t kDims = 40, kDepth = 48, kTokens = 45, kSlot = 2, kPositions = 48;
  const std::vector<float> x = Values(kTokens * kDims, 13, 2.0f);
  AlignedBytes keys(kPositions * kDepth), values(kPositions * kDepth), scratch(kGemmScratchBytes);
  std::vector<float> scales(kPositions);
  for (AlignedBytes* cache : {&keys, &values})
    std::memset(cache->bytes(), 128, kPositions * kDepth);
  const auto take = [&](AlignedBytes& cache) {
    hash->Add(std::span<const std::uint8_t>(reinterpret_cast<std::uint8_t*>(cache.bytes()),
                                            kPositions * kDepth));
    hash->Add(scales);
  };
  for (std::int64_t first = 0; first < kTokens; first += kPanelRows) {
    t.keys_to_bytes(x.data() + first * kDims, kDims, std::min(kPanelRows, kTokens - first), kDims,
                    reinterpret_cast<std::uint32_t*>(keys.bytes() + first * kDepth),
                    scales.data() + first);
  }
  take(keys);
  t.values_to_bytes(x.data(), kDims, kTokens, kDims, kSlot,
                    reinterpret_cast<std::uint8_t*>(values.bytes()), kPositions * kPanelRows,
                    scales.data());
  take(values);
  for (const std::int64_t m : kIntegerRows) {
    const auto multiply = [&](const std::byte* w, std::int64_t k, std::uint32_t seed) {
      const std::vector<float> of = Values(m * k, seed, 1.0f);
      const std::int64_t group = (k + 15) / 16 * 16;
      std::vector<std::uint32_t> packed(static_cast<std::size_t>(m * IntegerInputDwords(k, group)));
      t.pack_x_int8(of.data(), k, m, k, group, packed.data());
      std::vector<float> y = Values(m * 3 * kPanelRows, 15, 1.0f);
      for (const bool accumulate : {true, false}) {
        const GemmArgs args = {.w = w,
                               .w_panel_bytes = static_cast<std::size_t>(group * kPanelRows),
                               .x = packed.data(),
                               .x_k = k,
                               .y = y.data(),
                               .y_stride = 3 * kPanelRows,
                               .m = m,
                               .k = k,
                               .panels = 3,
                               .accumulate = accumulate,
                               .scratch = scratch.bytes(),
                               .group = group};
        t.gemm_kv8(&args);
        hash->Add(y);
      }
    };
    multiply(keys.bytes(), kDims, 14);
    multiply(values.bytes(), kSlot + kTokens, 16);
  }
}

TEST(GoldenKernels, OneHashOnEveryLevel) {
  const FloatModeGuard guard;
  for (const KernelTable* table : AvailableTables()) {
    Hash hash;
    HashRows(*table, &hash);
    HashConversions(*table, &hash);
    HashProducts(*table, &hash);
    EXPECT_EQ(hash.value(), 0x234F4467375E668Eu) << table->name << std::hex << " " << hash.value();
  }
}

TEST(GoldenKernels, OneHashOfIntegersOnEveryLevel) {
  const FloatModeGuard guard;
  for (const KernelTable* table : AvailableTables()) {
    Hash hash;
    HashIntegers(*table, &hash);
    HashCache(*table, &hash);
    EXPECT_EQ(hash.value(), 0x926988AFA01CE5DBu) << table->name << std::hex << " " << hash.value();
  }
}

}  // namespace
}  // namespace mossrt::cpu
