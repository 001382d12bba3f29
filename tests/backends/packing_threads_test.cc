// Weights are read, rounded and packed on all threads: whoever comes first waits for a second.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <set>
#include <string_view>
#include <thread>
#include <vector>

#include "backends/native/integer_weight.h"
#include "backends/native/packed_weight.h"
#include "base/half.h"
#include "base/page_buffer.h"
#include "mossrt/runtime/gemm_backend.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::runtime {
namespace {

// Far above what a busy machine needs to start a thread.
constexpr std::chrono::seconds kDeadline(20);

class Meeting {
 public:
  // Returns when two threads have come, or when the deadline has passed once.
  void Come() {
    std::unique_lock lock(mutex_);
    threads_.insert(std::this_thread::get_id());
    changed_.notify_all();
    const bool met = changed_.wait_for(lock, missed_ ? std::chrono::seconds(0) : kDeadline,
                                       [this] { return threads_.size() >= 2; });
    missed_ = !met;
  }
  std::size_t threads() const {
    const std::lock_guard lock(mutex_);
    return threads_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::set<std::thread::id> threads_;
  bool missed_ = false;
};

// 20 MiB of float32, or integers of 4 bits in groups of 128 whose inputs stand in order or not.
class MetSource final : public WeightSource {
 public:
  enum class Holds { kFloats, kIntegers, kIntegersInAnyOrder };

  explicit MetSource(Holds holds) : holds_(holds), group_of_(kCols) {
    for (std::int64_t k = 0; k < kCols; ++k) {
      const std::int64_t place = holds == Holds::kIntegers ? k : k * 5 % kCols;
      group_of_[static_cast<std::size_t>(k)] = static_cast<std::int32_t>(place / 128);
    }
    encoding_ = {.bits = 4, .groups = kCols / 128, .group_size = 128, .group_of = group_of_};
  }
  std::string_view name() const override { return "met"; }
  std::int64_t rows() const override { return 640; }
  std::int64_t cols() const override { return kCols; }
  DType dtype() const override { return DType::kF32; }
  const IntegerEncoding* integers() const override {
    return holds_ == Holds::kFloats ? nullptr : &encoding_;
  }
  absl::Status ReadIntegers(std::int64_t, std::int64_t, const IntegerRows& out) const override {
    readers.Come();
    std::fill(out.q.begin(), out.q.end(), std::uint8_t{9});
    std::fill(out.scales.begin(), out.scales.end(), F32ToF16(0.5f));
    std::fill(out.zeros.begin(), out.zeros.end(), std::uint16_t{8});
    return absl::OkStatus();
  }
  absl::Status ReadWords(const IntegerWords& out) const override {
    as_words = true;
    readers.Come();
    std::fill(out.words.begin(), out.words.end(), 0x99999999u);
    std::fill(out.scales.begin(), out.scales.end(), F32ToF16(0.5f));
    std::fill(out.zeros.begin(), out.zeros.end(), std::uint16_t{8});
    return absl::OkStatus();
  }
  absl::Status ReadSlab(std::int64_t, std::int64_t, std::span<std::uint8_t> out) const override {
    readers.Come();
    auto* floats = reinterpret_cast<float*>(out.data());
    for (std::size_t i = 0; i < out.size() / sizeof(float); ++i)
      floats[i] = static_cast<float>(i % 19) - 9.0f;
    return absl::OkStatus();
  }

  mutable Meeting readers;
  mutable std::atomic<bool> as_words{false};

 private:
  static constexpr std::int64_t kCols = 8192;

  Holds holds_;
  std::vector<std::int32_t> group_of_;
  IntegerEncoding encoding_;
};

class OneMatrix final : public WeightArena {
 public:
  absl::StatusOr<std::byte*> Take(std::size_t bytes) override {
    buffer_.emplace(*PageBuffer::Create(bytes, false));
    return buffer_->data();
  }

 private:
  std::optional<PageBuffer> buffer_;
};

Meeting* packers = nullptr;

// The kernels of this machine, with those that round and pack weights telling who calls them.
cpu::KernelTable MetKernels() {
  cpu::KernelTable table = *cpu::Kernels();
  table.quantize_group = [](const float* w, std::int64_t n, std::int64_t bits, bool zeros,
                            std::int64_t steps, std::uint8_t* q, std::uint16_t* scale,
                            std::uint16_t* zero) {
    packers->Come();
    cpu::Kernels()->quantize_group(w, n, bits, zeros, steps, q, scale, zero);
  };
  table.pack_w_f32 = [](const float* const* rows, std::int64_t count, std::int64_t k,
                        float* panel) {
    packers->Come();
    cpu::Kernels()->pack_w_f32(rows, count, k, panel);
  };
  table.pack_w_u16_pairs = [](const std::uint16_t* const* rows, std::int64_t count, std::int64_t k,
                              std::uint16_t* panel) {
    packers->Come();
    cpu::Kernels()->pack_w_u16_pairs(rows, count, k, panel);
  };
  return table;
}

TEST(Packing, RoundsFloatsOnAllThreads) {
  const cpu::KernelTable kernels = MetKernels();
  const auto team = *CreateThreadTeam(2);
  for (const char* format : {"int4", "int8-g32-asym", "float32", "bfloat16"}) {
    const MetSource source(MetSource::Holds::kFloats);
    const WeightFormat held = *ParseWeightFormat(format);
    Meeting meeting;
    packers = &meeting;
    OneMatrix arena;
    const PackRequest request{.source = &source, .format = held, .arena = &arena};
    const absl::Status status = held.integers()
                                    ? PackIntegers(kernels, request, held, *team).status()
                                    : PackPanels(kernels, request, held.dtype, *team).status();
    ASSERT_TRUE(status.ok()) << status;
    ASSERT_EQ(source.readers.threads(), 2u) << format;
    ASSERT_EQ(meeting.threads(), 2u) << format;
  }
}

TEST(Packing, TakesIntegersOnAllThreads) {
  const auto team = *CreateThreadTeam(2);
  for (const auto holds : {MetSource::Holds::kIntegers, MetSource::Holds::kIntegersInAnyOrder}) {
    const MetSource source(holds);
    OneMatrix arena;
    const WeightFormat held = Integers(4, 128, true);
    const PackRequest request{.source = &source, .format = held, .arena = &arena};
    const auto packed = PackIntegers(*cpu::Kernels(), request, held, *team);
    ASSERT_TRUE(packed.ok()) << packed.status();
    EXPECT_EQ(source.as_words, holds == MetSource::Holds::kIntegers);
    ASSERT_EQ(source.readers.threads(), 2u) << static_cast<int>(holds);
  }
}

}  // namespace
}  // namespace mossrt::runtime
