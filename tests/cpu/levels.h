// What the tests of kernels share: the levels this machine can run, inputs, and comparison of bits.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu {

inline std::vector<const KernelTable*> AvailableTables() {
  int count = 0;
  const KernelTable* const* tables = KernelTables(&count);
  std::vector<const KernelTable*> available;
  for (int i = 0; i < count; ++i) {
    if (tables[i]->available()) available.push_back(tables[i]);
  }
  return available;
}

inline const KernelTable& Scalar() { return *AvailableTables().front(); }

// Values of both signs over some orders of magnitude, never special.
inline std::vector<float> RandomValues(std::size_t n, std::uint32_t seed, float scale = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, scale);
  std::vector<float> values(n);
  for (float& v : values) v = normal(random);
  return values;
}

inline bool SameBits(float a, float b) {
  return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) || (a != a && b != b);
}

inline void ExpectSameBits(std::span<const float> want, std::span<const float> got,
                           const std::string& what) {
  ASSERT_EQ(want.size(), got.size()) << what;
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_TRUE(SameBits(want[i], got[i]))
        << what << " [" << i << "]: expected " << std::hexfloat << want[i] << ", found " << got[i];
  }
}

inline void ExpectClose(std::span<const double> want, std::span<const float> got, double tolerance,
                        const std::string& what) {
  ASSERT_EQ(want.size(), got.size()) << what;
  for (std::size_t i = 0; i < want.size(); ++i) {
    ASSERT_NEAR(want[i], static_cast<double>(got[i]), tolerance) << what << " [" << i << "]";
  }
}

// Memory of packed weights and scratch: 64-byte aligned.
class AlignedBytes {
 public:
  explicit AlignedBytes(std::size_t bytes)
      : memory_(static_cast<std::byte*>(std::aligned_alloc(64, (bytes + 127) / 64 * 64))) {}
  ~AlignedBytes() { std::free(memory_); }
  AlignedBytes(const AlignedBytes&) = delete;
  AlignedBytes& operator=(const AlignedBytes&) = delete;

  std::byte* bytes() { return memory_; }
  float* floats() { return reinterpret_cast<float*>(memory_); }

 private:
  std::byte* memory_;
};

}  // namespace mossrt::cpu
