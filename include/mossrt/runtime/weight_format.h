// How the matrices of a model are held, and the names by which a format is asked for. Owned by
// src/backends.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "mossrt/runtime/dtype.h"

namespace mossrt::runtime {

// Floating-point values, or integers of 8 or 4 bits: w = (q - zero) * scale with one float16 scale
// for each group of successive inputs of an output. Without zeros, zero = 2^(bits - 1).
struct WeightFormat {
  DType dtype = DType::kF32;  // kF32, kF16, kBF16: dense; kU8: integers
  int bits = 0;               // 8 or 4 if integers
  int group = 0;              // inputs per scale
  bool zeros = false;         // each group has a zero point of its own, 0 .. 2^bits
  bool search = false;        // scales of least squared error instead of the largest value's

  constexpr bool integers() const { return bits != 0; }
  // How values are held, whatever way the scales were chosen.
  constexpr bool SameLayout(const WeightFormat& other) const {
    return dtype == other.dtype && bits == other.bits && group == other.group &&
           zeros == other.zeros;
  }
  friend constexpr bool operator==(const WeightFormat&, const WeightFormat&) = default;
};

constexpr WeightFormat Dense(DType dtype) { return {.dtype = dtype}; }
constexpr WeightFormat Integers(int bits, int group, bool zeros = false) {
  return {.dtype = DType::kU8, .bits = bits, .group = group, .zeros = zeros};
}

// "float32", "int8-g128", "int4-g64-asym", "int4-g64-search", ...
std::string FormatName(const WeightFormat& format);

// "float32" | "float16" | "bfloat16" | ("int8" | "int4")["-g" size]["-asym"]["-search"]. Groups of
// 32, 64, 128 inputs, for int8 also 256; without "-g": int8 128, int4 64.
absl::StatusOr<WeightFormat> ParseWeightFormat(std::string_view name);

}  // namespace mossrt::runtime
