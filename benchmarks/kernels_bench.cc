// Every kernel of the list on one thread: values a second of rows that stay in the caches, and the
// matrix products (kernel_products.h). MOSSRT_ISA names the level; the options are Google
// Benchmark's.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <iterator>
#include <string>
#include <vector>

#include "base/page_buffer.h"
#include "kernel_products.h"
#include "mossrt/runtime/kernel_table.h"
#include "probe.h"

namespace mossrt::bench {
namespace {

constexpr std::int64_t kRow = 2048;

template <typename Run>
void Row(const char* name, std::int64_t values, const Run& run) {
  benchmark::RegisterBenchmark(name, [values, run](benchmark::State& state) {
    for (auto _ : state) run();
    state.SetItemsProcessed(values * state.iterations());
  });
}

// Registers one benchmark or more for each kernel, under the kernel's name.
struct Bench {
  explicit Bench(const cpu::KernelTable& table) : t(table) {
    std::fill(std::begin(x), std::end(x), 0.25f);
    std::fill(std::begin(y), std::end(y), 0.5f);
    std::fill(std::begin(w), std::end(w), 1.5f);
    std::fill(std::begin(h), std::end(h), std::uint16_t{0x3C00});
    std::fill(std::begin(x_rows), std::end(x_rows), x);
    std::fill(std::begin(h_rows), std::end(h_rows), h);
  }

  const cpu::KernelTable& t;
  alignas(64) float x[kRow * 16];
  alignas(64) float y[kRow * 16];
  alignas(64) float w[kRow];
  alignas(64) std::uint16_t h[kRow * 16];
  alignas(64) std::uint16_t panel[kRow * 16];
  alignas(64) std::uint32_t packed[kRow * 12];
  const float* x_rows[16];
  const std::uint16_t* h_rows[16];

  void layer_norm() {
    Row("layer_norm", kRow, [this] { t.layer_norm(x, w, w, 1e-5f, kRow, y); });
  }
  void rms_norm() {
    Row("rms_norm", kRow, [this] { t.rms_norm(x, w, 1e-5f, kRow, y); });
  }
  void rope() {
    Row("rope", kRow, [this] { t.rope(y, kRow / 64, 64, 64, w, w); });
  }
  void gelu_tanh() {
    Row("gelu_tanh", kRow, [this] { t.gelu_tanh(y, kRow); });
  }
  void gelu_erf() {
    Row("gelu_erf", kRow, [this] { t.gelu_erf(y, kRow); });
  }
  void silu() {
    Row("silu", kRow, [this] { t.silu(y, kRow); });
  }
  void relu() {
    Row("relu", kRow, [this] { t.relu(y, kRow); });
  }
  void add() {
    Row("add", kRow, [this] { t.add(x, kRow, y); });
  }
  void multiply() {
    Row("multiply", kRow, [this] { t.multiply(x, kRow, y); });
  }
  void divide() {
    Row("divide", kRow, [this] { t.divide(x, 3.0f, kRow, y); });
  }
  void softmax_partial() {
    constexpr std::int64_t kRows = 8;
    static const std::vector<std::int64_t> n(kRows, 256);
    Row("softmax_partial", kRows * 256, [this] {
      float max[kRows], sum[kRows];
      t.softmax_partial(y, 256, kRows, n.data(), 0.125f, nullptr, nullptr, max, sum);
    });
    Row("softmax_partial/factors", kRows * 256, [this] {
      float max[kRows], sum[kRows];
      t.softmax_partial(y, 256, kRows, n.data(), 0.125f, x, x + 256, max, sum);
    });
  }
  void scale_add() {
    Row("scale_add", kRow, [this] { t.scale_add(x, 0.5f, kRow, 0.5f, y); });
  }
  void f16_to_f32() {
    Row("f16_to_f32", kRow, [this] { t.f16_to_f32(h, kRow, y); });
  }
  void bf16_to_f32() {
    Row("bf16_to_f32", kRow, [this] { t.bf16_to_f32(h, kRow, y); });
  }
  void f32_to_f16() {
    Row("f32_to_f16", kRow, [this] { t.f32_to_f16(x, kRow, h); });
  }
  void f32_to_bf16() {
    Row("f32_to_bf16", kRow, [this] { t.f32_to_bf16(x, kRow, h); });
  }
  void pack_x_f32() {
    Row("pack_x_f32/m:12", kRow * 12, [this] { t.pack_x_f32(x, kRow, 12, kRow, y); });
  }
  void pack_x_bf16_as_f32() {
    Row("pack_x_bf16_as_f32/m:12", kRow * 12,
        [this] { t.pack_x_bf16_as_f32(x, kRow, 12, kRow, y); });
  }
  void pack_x_bf16_pairs() {
    Row("pack_x_bf16_pairs/m:12", kRow * 12,
        [this] { t.pack_x_bf16_pairs(x, kRow, 12, kRow, packed); });
  }
  void pack_x_int8() {
    Row("pack_x_int8/m:12/group:64", kRow * 12,
        [this] { t.pack_x_int8(x, kRow, 12, kRow, 64, packed); });
  }
  // 16 tokens of 64.
  void keys_to_bytes() {
    Row("keys_to_bytes", 64 * 16, [this] {
      alignas(64) std::uint32_t panel[64 / 4 * 16];
      float scales[16];
      t.keys_to_bytes(x, 64, 16, 64, panel, scales);
    });
  }
  void values_to_bytes() {
    Row("values_to_bytes", 64 * 16, [this] {
      alignas(64) std::uint8_t panels[64 * 16];
      float scales[16];
      t.values_to_bytes(x, 64, 16, 64, 0, panels, 16 * 16, scales);
    });
  }
  void keys_to_bf16() {
    Row("keys_to_bf16", 64 * 16, [this] {
      alignas(64) std::uint32_t panel[64 / 2 * 16];
      t.keys_to_bf16(x, 64, 16, 64, panel);
    });
  }
  void values_to_bf16() {
    Row("values_to_bf16", 64 * 16, [this] {
      alignas(64) std::uint32_t panels[64 * 16 / 2];
      t.values_to_bf16(x, 64, 16, 64, 0, panels, 16 * 16 * 2);
    });
  }
  void pack_w_f32() {
    Row("pack_w_f32", kRow * 16, [this] { t.pack_w_f32(x_rows, 16, kRow, y); });
  }
  void pack_w_u16() {
    Row("pack_w_u16", kRow * 16, [this] { t.pack_w_u16(h_rows, 16, kRow, panel); });
  }
  void pack_w_u16_pairs() {
    Row("pack_w_u16_pairs", kRow * 16, [this] { t.pack_w_u16_pairs(h_rows, 16, kRow, panel); });
  }
  // A group of 4 bits of 2048 outputs, into panels of 2048 inputs.
  void pack_w_words() {
    constexpr std::int64_t kPanels = 128, kLines = 16, kPanelBytes = 16 * (64 + kLines * 64);
    static std::vector<std::uint32_t> words(kPanels * kLines * 16, 0x12345678u);
    static const auto memory = *runtime::PageBuffer::Create(kPanels * kPanelBytes, true);
    Row("pack_w_words", kPanels * kLines * 16 * 8, [this] {
      t.pack_w_words(words.data(), kPanels * 16, kLines, 4, kPanels,
                     reinterpret_cast<std::uint32_t*>(memory.data()), kPanelBytes);
    });
  }
  void gemm_f32() { RegisterFloatProducts("gemm_f32", t.gemm_f32, Arithmetic::kF32, 4); }
  void gemm_f16() { RegisterFloatProducts("gemm_f16", t.gemm_f16, Arithmetic::kF32, 2); }
  void gemm_bf16() { RegisterFloatProducts("gemm_bf16", t.gemm_bf16, Arithmetic::kF32, 2); }
  void gemm_bf16_pairs() {
    RegisterFloatProducts("gemm_bf16_pairs", t.gemm_bf16_pairs, Arithmetic::kBf16, 2);
  }
  void gemm_int8() { RegisterIntegerProducts("gemm_int8", t.gemm_int8, 8); }
  void gemm_int4() { RegisterIntegerProducts("gemm_int4", t.gemm_int4, 4); }
  void gemm_kv8() { RegisterCacheProducts("gemm_kv8", t.gemm_kv8); }
  void quantize_group() {
    for (const std::int64_t steps : {0, 20}) {
      Row(steps == 0 ? "quantize_group" : "quantize_group/steps:20", 64, [this, steps] {
        std::uint8_t q[64];
        std::uint16_t scale, zero;
        t.quantize_group(x, 64, 4, false, steps, q, &scale, &zero);
      });
    }
  }
};

std::string Peak(Arithmetic arithmetic) {
  return std::to_string(std::lround(ProbeProducts(cpu::Kernels()->name, arithmetic)));
}

int Main(int argc, char** argv) {
  // Defaults that the command line overrides, as it could not what is set for each benchmark.
  char repetitions[] = "--benchmark_repetitions=7";
  char aggregates[] = "--benchmark_report_aggregates_only=true";
  char min_time[] = "--benchmark_min_time=0.02";
  std::vector<char*> arguments(argv, argv + argc);
  arguments.insert(arguments.begin() + 1, {repetitions, aggregates, min_time});
  argc = static_cast<int>(arguments.size());
  benchmark::Initialize(&argc, arguments.data());
  if (benchmark::ReportUnrecognizedArguments(argc, arguments.data())) return 2;

  const cpu::KernelTable* const table = cpu::Kernels();
  if (table == nullptr) {
    std::fprintf(stderr, "kernels_bench: %s\n", cpu::KernelError());
    return 2;
  }
  benchmark::AddCustomContext("kernels", table->name);
  benchmark::AddCustomContext("processor", cpu::CpuFeatureNames());
  benchmark::AddCustomContext("multiply-adds between registers, Gop/s",
                              "float32 " + Peak(Arithmetic::kF32) + ", bfloat16 " +
                                  Peak(Arithmetic::kBf16) + ", int8 " + Peak(Arithmetic::kInt8));
  static Bench bench(*table);
#define MOSSRT_KERNEL(kernel, parameters) bench.kernel();
#include "mossrt/runtime/kernel_list.inc"
#undef MOSSRT_KERNEL
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace mossrt::bench

int main(int argc, char** argv) { return mossrt::bench::Main(argc, argv); }
