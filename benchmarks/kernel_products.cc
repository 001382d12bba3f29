#include "kernel_products.h"

#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/page_buffer.h"

namespace mossrt::bench {
namespace {

using cpu::GemmArgs;
using runtime::PageBuffer;

constexpr std::size_t kStreamedBytes = std::size_t{768} << 20;  // many times the last cache
constexpr std::int64_t kDepth = 2048;

struct Product {
  std::string name;
  Gemm gemm;
  Arithmetic arithmetic;
  bool streams;  // bound by reading the weights
  std::int64_t m;
  std::int64_t k = kDepth;
  std::int64_t panels;
  std::size_t panel_bytes;
  std::int64_t group = 0;
  bool zeros = false;
};

// Few rows read kStreamedBytes of weights, many a square matrix.
std::int64_t Panels(bool few, std::size_t panel_bytes) {
  return few ? static_cast<std::int64_t>(kStreamedBytes / panel_bytes) : kDepth / cpu::kPanelRows;
}

// Zeros, written so that the pages are there.
absl::Status Grow(PageBuffer* buffer, std::size_t bytes) {
  if (buffer->size() >= bytes) return absl::OkStatus();
  auto larger = PageBuffer::Create(bytes, true);
  if (!larger.ok()) return larger.status();
  std::memset(larger->data(), 0, bytes);
  *buffer = *std::move(larger);
  return absl::OkStatus();
}

void Pack(const Product& product, std::byte* packed) {
  const cpu::KernelTable& table = *cpu::Kernels();
  const std::vector<float> row(static_cast<std::size_t>(product.k), 0.5f);
  auto* const dwords = reinterpret_cast<std::uint32_t*>(packed);
  switch (product.arithmetic) {
    case Arithmetic::kF32:
      return table.pack_x_f32(row.data(), 0, product.m, product.k,
                              reinterpret_cast<float*>(packed));
    case Arithmetic::kBf16:
      return table.pack_x_bf16_pairs(row.data(), 0, product.m, product.k, dwords);
    case Arithmetic::kInt8:
      return table.pack_x_int8(row.data(), 0, product.m, product.k, product.group, dwords);
  }
}

void Turn(const Product& product, benchmark::State& state) {
  static PageBuffer weights, input, output, scratch;  // of all products
  const auto outputs = static_cast<std::size_t>(product.m * product.panels * cpu::kPanelRows);
  const auto inputs = static_cast<std::size_t>(product.m * product.k);
  const std::size_t streamed = static_cast<std::size_t>(product.panels) * product.panel_bytes;
  for (const auto& [buffer, bytes] :
       {std::pair{&weights, streamed}, std::pair{&input, inputs * sizeof(float)},
        std::pair{&output, outputs * sizeof(float)}, std::pair{&scratch, cpu::kGemmScratchBytes}}) {
    const absl::Status status = Grow(buffer, bytes);
    if (!status.ok()) return state.SkipWithError(status.ToString().c_str());
  }
  Pack(product, input.data());
  const GemmArgs args = {.w = weights.data(),
                         .w_panel_bytes = product.panel_bytes,
                         .x = input.data(),
                         .x_k = product.k,
                         .y = reinterpret_cast<float*>(output.data()),
                         .y_stride = product.panels * cpu::kPanelRows,
                         .m = product.m,
                         .k = product.k,
                         .panels = product.panels,
                         .accumulate = false,
                         .scratch = scratch.data(),
                         .group = product.group,
                         .zeros = product.zeros};
  const auto probe = [&] {
    return product.streams ? ProbeBandwidth(weights.data(), streamed / 4)
                           : ProbeProducts(cpu::Kernels()->name, product.arithmetic);
  };

  product.gemm(&args);  // the first run meets cold caches
  const double before = probe();
  const double start = Seconds();
  for (auto _ : state) product.gemm(&args);
  const double seconds = Seconds() - start;
  const double limit = (before + probe()) / 2;

  const double work = product.streams
                          ? static_cast<double>(streamed)
                          : 2.0 * static_cast<double>(outputs) * static_cast<double>(product.k);
  const double rate = work * static_cast<double>(state.iterations()) / seconds * 1e-9;
  state.counters[product.streams ? "GB/s" : "GFLOP/s"] = rate;
  if (limit > 0) {
    state.counters["probe"] = limit;
    state.counters["fraction"] = rate / limit;
  }
}

void Register(const Product& product) {
  benchmark::RegisterBenchmark(product.name.c_str(),
                               [product](benchmark::State& state) { Turn(product, state); })
      ->ComputeStatistics("min",
                          [](const std::vector<double>& values) {
                            return *std::min_element(values.begin(), values.end());
                          })
      ->ComputeStatistics("max", [](const std::vector<double>& values) {
        return *std::max_element(values.begin(), values.end());
      });
}

std::string Name(const char* name, std::int64_t m) {
  return std::string(name) + "/m:" + std::to_string(m);
}

}  // namespace

void RegisterFloatProducts(const char* name, Gemm gemm, Arithmetic arithmetic,
                           std::size_t value_bytes) {
  if (gemm == nullptr) return;
  const std::size_t panel_bytes = static_cast<std::size_t>(kDepth * cpu::kPanelRows) * value_bytes;
  for (const std::int64_t m : {1, 2, 4, 8, 11, 12, 16, 32, 100, 252, 504}) {
    const bool few = m <= cpu::kTileRows;
    Register({.name = Name(name, m),
              .gemm = gemm,
              .arithmetic = arithmetic,
              .streams = few,
              .m = m,
              .panels = Panels(few, panel_bytes),
              .panel_bytes = panel_bytes});
  }
}

// All but the single row are held against the arithmetic.
void RegisterIntegerProducts(const char* name, Gemm gemm, std::int64_t bits) {
  for (const std::int64_t m : {1, 2, 4, 8, 16, 504}) {
    for (const std::int64_t group : {32, 64, 128, 256, 0}) {  // 0: 128, each with zero points
      if (group == 256 && bits == 4) continue;                // no such format
      const cpu::IntegerPanel format{bits, group == 0 ? 128 : group, group == 0};
      const std::size_t panel_bytes = format.Bytes(kDepth / format.group);
      Register({.name = Name(name, m) + "/group:" + std::to_string(format.group) +
                        (format.zeros ? "/zeros" : ""),
                .gemm = gemm,
                .arithmetic = Arithmetic::kInt8,
                .streams = m == 1,
                .m = m,
                .panels = Panels(m <= 16, panel_bytes),
                .panel_bytes = panel_bytes,
                .group = format.group,
                .zeros = format.zeros});
    }
  }
}

void RegisterCacheProducts(const char* name, Gemm gemm) {
  for (const std::int64_t k : {64, 256}) {
    Register({.name = Name(name, 48) + "/k:" + std::to_string(k),
              .gemm = gemm,
              .arithmetic = Arithmetic::kInt8,
              .streams = false,
              .m = 48,
              .k = k,
              .panels = k == 256 ? 4 : 16,
              .panel_bytes = static_cast<std::size_t>(k * cpu::kPanelRows),
              .group = k});
  }
}

}  // namespace mossrt::bench
