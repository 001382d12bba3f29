// Matrices in memory, for tests of what packs them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "base/half.h"
#include "base/page_buffer.h"
#include "mossrt/runtime/gemm_backend.h"

namespace mossrt::runtime {

class MemoryArena final : public WeightArena {
 public:
  explicit MemoryArena(std::size_t bytes) : buffer_(*PageBuffer::Create(bytes, false)) {}
  absl::StatusOr<std::byte*> Take(std::size_t bytes) override {
    std::byte* p = buffer_.data() + used_;
    used_ += (bytes + 63) / 64 * 64;
    EXPECT_LE(used_, buffer_.size());
    return p;
  }

 private:
  PageBuffer buffer_;
  std::size_t used_ = 0;
};

// A matrix in memory, stored as `dtype`.
class MemorySource final : public WeightSource {
 public:
  MemorySource(std::int64_t rows, std::int64_t cols, DType dtype, unsigned seed)
      : values(static_cast<std::size_t>(rows * cols)), rows_(rows), cols_(cols), dtype_(dtype) {
    std::mt19937 random(seed);
    for (float& v : values) {
      v = static_cast<float>(random() % 2001) / 1000.0f - 1.0f;
      if (dtype == DType::kF16) v = F16ToF32(F32ToF16(v));
      if (dtype == DType::kBF16) v = BF16ToF32(F32ToBF16(v));
    }
  }
  std::string_view name() const override { return "memory"; }
  std::int64_t rows() const override { return rows_; }
  std::int64_t cols() const override { return cols_; }
  DType dtype() const override { return dtype_; }
  absl::Status ReadSlab(std::int64_t first, std::int64_t count,
                        std::span<std::uint8_t> out) const override {
    for (std::int64_t i = 0; i < count * cols_; ++i) {
      const float v = values[static_cast<std::size_t>(first * cols_ + i)];
      const std::uint16_t half = dtype_ == DType::kF16 ? F32ToF16(v) : F32ToBF16(v);
      if (dtype_ == DType::kF32) {
        std::memcpy(&out[static_cast<std::size_t>(4 * i)], &v, 4);
      } else {
        std::memcpy(&out[static_cast<std::size_t>(2 * i)], &half, 2);
      }
    }
    return absl::OkStatus();
  }

  std::vector<float> values;

 private:
  std::int64_t rows_, cols_;
  DType dtype_;
};

enum class GroupOrder { kAsTheyCome, kShuffled, kOneIsEmpty };

// Integers of 4 or 8 bits in memory, in groups as they come or, shuffled, in any order.
class IntegersInMemory final : public WeightSource {
 public:
  IntegersInMemory(int bits, std::int64_t rows, std::int64_t cols, std::int64_t group,
                   GroupOrder order)
      : rows_(rows), cols_(cols), groups_((cols + group - 1) / group) {
    std::mt19937 random(3);
    for (std::int64_t i = 0; i < cols; ++i)
      group_of_.push_back(static_cast<std::int32_t>(i / group));
    if (order == GroupOrder::kShuffled) std::shuffle(group_of_.begin(), group_of_.end(), random);
    if (order == GroupOrder::kOneIsEmpty) {
      ++groups_;
      for (std::int32_t& g : group_of_) g += g > 0 ? 1 : 0;
    }
    for (std::int64_t i = 0; i < rows * cols; ++i)
      q_.push_back(static_cast<std::uint8_t>(random() % (1u << bits)));
    for (std::int64_t i = 0; i < rows * groups_; ++i) {
      scales_.push_back(F32ToF16(static_cast<float>(random() % 100 + 1) / 256));
      zeros_.push_back(static_cast<std::uint16_t>(random() % ((1u << bits) + 1)));
    }
    encoding_ = {.bits = bits, .groups = groups_, .group_size = group, .group_of = group_of_};
  }
  std::string_view name() const override { return "integers"; }
  std::int64_t rows() const override { return rows_; }
  std::int64_t cols() const override { return cols_; }
  DType dtype() const override { return DType::kF32; }
  const IntegerEncoding* integers() const override { return &encoding_; }
  absl::Status ReadIntegers(std::int64_t first, std::int64_t count,
                            const IntegerRows& out) const override {
    as_words = false;
    std::copy_n(&q_[At(first * cols_)], count * cols_, out.q.begin());
    std::copy_n(&scales_[At(first * groups_)], count * groups_, out.scales.begin());
    std::copy_n(&zeros_[At(first * groups_)], count * groups_, out.zeros.begin());
    return absl::OkStatus();
  }
  absl::Status ReadWords(const IntegerWords& out) const override {
    as_words = true;
    std::size_t most = most_words;
    while (most < out.words.size() && !most_words.compare_exchange_weak(most, out.words.size())) {
    }
    const std::int64_t fields = 32 / encoding_.bits;
    std::fill(out.words.begin(), out.words.end(), 0u);
    for (std::int64_t i = 0; i < std::ssize(out.words) * fields; ++i) {
      const std::int64_t row = i / fields % rows_,
                         k = (out.first_word + i / fields / rows_) * fields + i % fields;
      out.words[At(i / fields)] |= std::uint32_t{q_[At(row * cols_ + k)]}
                                   << (i % fields * encoding_.bits);
    }
    for (std::int64_t i = 0; i < std::ssize(out.scales); ++i) {
      const std::size_t from = At(i % rows_ * groups_ + out.first_group + i / rows_);
      out.scales[At(i)] = scales_[from];
      out.zeros[At(i)] = zeros_[from];
    }
    return absl::OkStatus();
  }
  absl::Status ReadSlab(std::int64_t, std::int64_t, std::span<std::uint8_t>) const override {
    return absl::UnimplementedError("not asked for");
  }
  float Value(std::int64_t row, std::int64_t k) const {
    const auto group =
        static_cast<std::size_t>(row * groups_ + group_of_[static_cast<std::size_t>(k)]);
    return static_cast<float>(q_[static_cast<std::size_t>(row * cols_ + k)] - zeros_[group]) *
           F16ToF32(scales_[group]);
  }

  // Does every group follow the one before?
  bool in_order() const {
    return std::adjacent_find(group_of_.begin(), group_of_.end(),
                              [](auto a, auto b) { return b < a || b > a + 1; }) == group_of_.end();
  }

  mutable std::atomic<bool> as_words{false};
  mutable std::atomic<std::size_t> most_words{0};  // of a read

 private:
  static std::size_t At(std::int64_t i) { return static_cast<std::size_t>(i); }

  std::int64_t rows_, cols_, groups_;
  std::vector<std::int32_t> group_of_;
  std::vector<std::uint8_t> q_;
  std::vector<std::uint16_t> scales_, zeros_;
  IntegerEncoding encoding_;
};

}  // namespace mossrt::runtime
