// Every kernel of the list on one thread, each beside a probe of the same moment: memory bandwidth
// for the products of one row, multiply-adds between registers for products of many rows.
//
//   kernels_bench [--isa NAME] [--only TEXT] [--rounds N] [--mib N]
#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "mossrt/runtime/kernel_table.h"
#include "probe.h"

namespace mossrt::bench {
namespace {

using cpu::GemmArgs;
using cpu::KernelTable;

struct Options {
  std::string isa;
  std::string only;
  int rounds = 7;
  std::size_t mib = 768;
};

// Pages of 2 MiB, touched; lives as long as the process.
std::byte* Arena(std::size_t bytes) {
  constexpr std::size_t kHuge = std::size_t{2} << 20;
  void* raw =
      mmap(nullptr, bytes + kHuge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (raw == MAP_FAILED) {
    std::fprintf(stderr, "kernels_bench: no memory for %zu bytes\n", bytes);
    std::exit(1);
  }
  const auto address = (reinterpret_cast<std::uintptr_t>(raw) + kHuge - 1) / kHuge * kHuge;
  auto* memory = reinterpret_cast<std::byte*>(address);
  madvise(memory, bytes, MADV_HUGEPAGE);
  std::memset(memory, 0, bytes);
  return memory;
}

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

class Runner {
 public:
  Runner(const KernelTable& table, const Options& options)
      : table_(table),
        options_(options),
        weights_bytes_(options.mib << 20),
        weights_(Arena(weights_bytes_)) {}

  const KernelTable& table() const { return table_; }
  std::byte* weights() const { return weights_; }
  std::size_t weights_bytes() const { return weights_bytes_; }

  // Per value of a cache-resident row.
  void Row(const char* name, std::int64_t values, const std::function<void()>& run) {
    if (Skip(name)) return;
    std::vector<double> rates;
    for (int round = 0; round < options_.rounds; ++round) {
      const int repeats = static_cast<int>(4000000 / values) + 1;
      const double start = Seconds();
      for (int i = 0; i < repeats; ++i) run();
      rates.push_back(static_cast<double>(values) * repeats / (Seconds() - start) * 1e-9);
    }
    std::printf("%-34s %8.2f Gvalues/s\n", name, Median(rates));
  }

  void Streamed(const std::string& name, double bytes, const std::function<void()>& run) {
    Against(name, bytes, "GB/s", run,
            [this] { return ProbeBandwidth(weights_, weights_bytes_ / 4); });
  }

  void Computed(const std::string& name, double operations, Arithmetic arithmetic,
                const std::function<void()>& run) {
    Against(name, operations, "GFLOP/s", run,
            [this, arithmetic] { return ProbeProducts(table_.name, arithmetic); });
  }

 private:
  bool Skip(std::string_view name) const {
    return !options_.only.empty() && name.find(options_.only) == std::string_view::npos;
  }

  void Against(const std::string& name, double work, const char* unit,
               const std::function<void()>& run, const std::function<double()>& probe) {
    if (Skip(name)) return;
    run();
    std::vector<double> rates, probes, fractions;
    for (int round = 0; round < options_.rounds; ++round) {
      const double before = probe();
      const double start = Seconds();
      run();
      const double rate = work / (Seconds() - start) * 1e-9;
      const double limit = (before + probe()) / 2;
      rates.push_back(rate);
      probes.push_back(limit);
      if (limit > 0) fractions.push_back(rate / limit);
    }
    std::printf("%-34s %8.2f %s", name.c_str(), Median(rates), unit);
    if (!fractions.empty()) {
      std::printf("  probe %8.2f  fraction %.3f (%.3f-%.3f)", Median(probes), Median(fractions),
                  *std::min_element(fractions.begin(), fractions.end()),
                  *std::max_element(fractions.begin(), fractions.end()));
    }
    std::printf("\n");
  }

  const KernelTable& table_;
  const Options& options_;
  std::size_t weights_bytes_;
  std::byte* weights_;
};

constexpr std::int64_t kRow = 2048;

// One weight format of the products: bytes per value and how an input is packed.
struct Product {
  const char* name;
  void (*gemm)(const GemmArgs*);
  std::size_t bytes;
  bool pairs;
};

void Products(Runner& runner, const Product& product) {
  if (product.gemm == nullptr) return;
  for (const std::int64_t m : {1, 2, 4, 8, 11, 12, 16, 32, 100, 252, 504}) {
    const std::int64_t k = 2048;
    const std::size_t panel = static_cast<std::size_t>(k) * 16 * product.bytes;
    // Few rows read all of the memory once; many rows a matrix of 2048 x 2048.
    const bool streamed = m <= 12;
    const std::int64_t panels =
        streamed ? static_cast<std::int64_t>(runner.weights_bytes() / panel) : kRow / 16;
    auto* y = reinterpret_cast<float*>(Arena(static_cast<std::size_t>(m * panels) * 16 * 4));
    std::byte* packed = Arena(static_cast<std::size_t>(m * k) * 4);
    std::byte* scratch = Arena(cpu::kGemmScratchBytes);
    std::vector<float> x(static_cast<std::size_t>(m * k), 0.5f);
    if (product.pairs) {
      runner.table().pack_x_bf16_pairs(x.data(), k, m, k, reinterpret_cast<std::uint32_t*>(packed));
    } else {
      runner.table().pack_x_f32(x.data(), k, m, k, reinterpret_cast<float*>(packed));
    }
    const GemmArgs args = {.w = runner.weights(),
                           .w_panel_bytes = panel,
                           .x = packed,
                           .x_k = k,
                           .y = y,
                           .y_stride = panels * 16,
                           .m = m,
                           .k = k,
                           .panels = panels,
                           .accumulate = false,
                           .scratch = scratch};
    const auto run = [&] { product.gemm(&args); };
    const std::string name = std::string(product.name) + " m=" + std::to_string(m);
    const double operations = 2.0 * static_cast<double>(m * panels * 16 * k);
    if (streamed) {
      runner.Streamed(name, static_cast<double>(panel) * static_cast<double>(panels), run);
    } else {
      runner.Computed(name, operations, product.pairs ? Arithmetic::kBf16 : Arithmetic::kF32, run);
    }
  }
}

// Products of integers: a single row reads memory once, and so do few; many rows a matrix of 2048 x
// 2048. All but the single row are held against the peak.
void IntegerProducts(Runner& runner, const char* name, void (*gemm)(const GemmArgs*),
                     std::int64_t bits) {
  for (const std::int64_t m : {1, 2, 4, 8, 16, 504}) {
    for (const std::int64_t group : {32, 64, 128, 256, 0}) {  // 0: 128, each with zero points
      if (group == 256 && bits == 4) continue;                // no such format
      const cpu::IntegerPanel format{bits, group == 0 ? 128 : group, group == 0};
      const std::int64_t k = 2048;
      const std::size_t panel = format.Bytes(k / format.group);
      const std::int64_t panels =
          m <= 16 ? static_cast<std::int64_t>(runner.weights_bytes() / panel) : kRow / 16;
      auto* y = reinterpret_cast<float*>(Arena(static_cast<std::size_t>(m * panels) * 16 * 4));
      std::byte* packed =
          Arena(static_cast<std::size_t>(m * cpu::IntegerInputDwords(k, format.group)) * 4);
      std::byte* scratch = Arena(cpu::kGemmScratchBytes);
      const std::vector<float> x(static_cast<std::size_t>(m * k), 0.5f);
      runner.table().pack_x_int8(x.data(), k, m, k, format.group,
                                 reinterpret_cast<std::uint32_t*>(packed));
      const GemmArgs args = {.w = runner.weights(),
                             .w_panel_bytes = panel,
                             .x = packed,
                             .x_k = k,
                             .y = y,
                             .y_stride = panels * 16,
                             .m = m,
                             .k = k,
                             .panels = panels,
                             .accumulate = false,
                             .scratch = scratch,
                             .group = format.group,
                             .zeros = format.zeros};
      const std::string label = std::string(name) + " m=" + std::to_string(m) + " group " +
                                std::to_string(format.group) + (format.zeros ? " zeros" : "");
      const auto run = [&] { gemm(&args); };
      if (m == 1) {
        runner.Streamed(label, static_cast<double>(panel) * static_cast<double>(panels), run);
      } else {
        runner.Computed(label, 2.0 * static_cast<double>(m * panels * 16 * k), Arithmetic::kInt8,
                        run);
      }
    }
  }
}

struct Bench {
  Runner& runner;
  const KernelTable& t = runner.table();
  std::vector<float> x = std::vector<float>(kRow * 16, 0.25f);
  std::vector<float> y = std::vector<float>(kRow * 16, 0.5f);
  std::vector<float> w = std::vector<float>(kRow, 1.5f);
  std::vector<std::uint16_t> h = std::vector<std::uint16_t>(kRow * 16, 0x3C00);

  void layer_norm() {
    runner.Row("layer_norm", kRow,
               [&] { t.layer_norm(x.data(), w.data(), w.data(), 1e-5f, kRow, y.data()); });
  }
  void rms_norm() {
    runner.Row("rms_norm", kRow, [&] { t.rms_norm(x.data(), w.data(), 1e-5f, kRow, y.data()); });
  }
  void rope() {
    runner.Row("rope", kRow, [&] { t.rope(y.data(), kRow / 64, 64, 64, w.data(), w.data()); });
  }
  void gelu_tanh() {
    runner.Row("gelu_tanh", kRow, [&] { t.gelu_tanh(y.data(), kRow); });
  }
  void gelu_erf() {
    runner.Row("gelu_erf", kRow, [&] { t.gelu_erf(y.data(), kRow); });
  }
  void silu() {
    runner.Row("silu", kRow, [&] { t.silu(y.data(), kRow); });
  }
  void relu() {
    runner.Row("relu", kRow, [&] { t.relu(y.data(), kRow); });
  }
  void add() {
    runner.Row("add", kRow, [&] { t.add(x.data(), kRow, y.data()); });
  }
  void multiply() {
    runner.Row("multiply", kRow, [&] { t.multiply(x.data(), kRow, y.data()); });
  }
  void softmax_partial() {
    float max = 0;
    float sum = 0;
    runner.Row("softmax_partial", 256,
               [&] { t.softmax_partial(y.data(), 256, 0.125f, nullptr, nullptr, &max, &sum); });
    runner.Row("softmax_partial with factors", 256, [&] {
      t.softmax_partial(y.data(), 256, 0.125f, x.data(), x.data() + 256, &max, &sum);
    });
  }
  void divide() {
    runner.Row("divide", kRow, [&] { t.divide(x.data(), 3.0f, kRow, y.data()); });
  }
  void scale_add() {
    runner.Row("scale_add", kRow, [&] { t.scale_add(x.data(), 0.5f, kRow, 0.5f, y.data()); });
  }
  void f16_to_f32() {
    runner.Row("f16_to_f32", kRow, [&] { t.f16_to_f32(h.data(), kRow, y.data()); });
  }
  void bf16_to_f32() {
    runner.Row("bf16_to_f32", kRow, [&] { t.bf16_to_f32(h.data(), kRow, y.data()); });
  }
  void f32_to_f16() {
    runner.Row("f32_to_f16", kRow, [&] { t.f32_to_f16(x.data(), kRow, h.data()); });
  }
  void f32_to_bf16() {
    runner.Row("f32_to_bf16", kRow, [&] { t.f32_to_bf16(x.data(), kRow, h.data()); });
  }
  void pack_x_f32() {
    runner.Row("pack_x_f32 m=12", kRow * 12,
               [&] { t.pack_x_f32(x.data(), kRow, 12, kRow, y.data()); });
  }
  void pack_x_bf16_as_f32() {
    runner.Row("pack_x_bf16_as_f32 m=12", kRow * 12,
               [&] { t.pack_x_bf16_as_f32(x.data(), kRow, 12, kRow, y.data()); });
  }
  void pack_x_bf16_pairs() {
    std::vector<std::uint32_t> packed(kRow * 6);
    runner.Row("pack_x_bf16_pairs m=12", kRow * 12,
               [&] { t.pack_x_bf16_pairs(x.data(), kRow, 12, kRow, packed.data()); });
  }
  void pack_w_f32() {
    std::vector<const float*> rows(16, x.data());
    runner.Row("pack_w_f32", kRow * 16, [&] { t.pack_w_f32(rows.data(), 16, kRow, y.data()); });
  }
  void pack_w_u16() {
    std::vector<const std::uint16_t*> rows(16, h.data());
    std::vector<std::uint16_t> panel(kRow * 16);
    runner.Row("pack_w_u16", kRow * 16, [&] { t.pack_w_u16(rows.data(), 16, kRow, panel.data()); });
  }
  void pack_w_u16_pairs() {
    std::vector<const std::uint16_t*> rows(16, h.data());
    std::vector<std::uint16_t> panel(kRow * 16);
    runner.Row("pack_w_u16_pairs", kRow * 16,
               [&] { t.pack_w_u16_pairs(rows.data(), 16, kRow, panel.data()); });
  }
  void gemm_f32() { Products(runner, {"gemm_f32", t.gemm_f32, 4, false}); }
  void gemm_f16() { Products(runner, {"gemm_f16", t.gemm_f16, 2, false}); }
  void gemm_bf16() { Products(runner, {"gemm_bf16", t.gemm_bf16, 2, false}); }
  void gemm_bf16_pairs() { Products(runner, {"gemm_bf16_pairs", t.gemm_bf16_pairs, 2, true}); }
  void pack_x_int8() {
    std::vector<std::uint32_t> packed(
        static_cast<std::size_t>(12 * cpu::IntegerInputDwords(kRow, 64)));
    runner.Row("pack_x_int8 m=12 group 64", kRow * 12,
               [&] { t.pack_x_int8(x.data(), kRow, 12, kRow, 64, packed.data()); });
  }
  // 16 tokens of 64.
  void keys_to_bytes() {
    alignas(64) std::uint32_t panel[64 / 4 * 16];
    float scales[16];
    runner.Row("keys_to_bytes", 64 * 16,
               [&] { t.keys_to_bytes(x.data(), 64, 16, 64, panel, scales); });
  }
  void values_to_bytes() {
    alignas(64) std::uint8_t panels[64 * 16];
    float scales[16];
    runner.Row("values_to_bytes", 64 * 16,
               [&] { t.values_to_bytes(x.data(), 64, 16, 64, 0, panels, 16 * 16, scales); });
  }
  void gemm_int8() { IntegerProducts(runner, "gemm_int8", t.gemm_int8, 8); }
  void gemm_int4() { IntegerProducts(runner, "gemm_int4", t.gemm_int4, 4); }
  // 48 queries by the keys of a block, and their probabilities by its values.
  void gemm_kv8() {
    for (const std::int64_t k : {64, 256}) {
      const std::int64_t m = 48, panels = k == 256 ? 4 : 16;
      std::vector<std::uint32_t> packed(
          static_cast<std::size_t>(m * cpu::IntegerInputDwords(k, k)));
      t.pack_x_int8(x.data(), 0, m, k, k, packed.data());
      const GemmArgs args = {.w = runner.weights(),
                             .w_panel_bytes = static_cast<std::size_t>(k) * 16,
                             .x = packed.data(),
                             .x_k = k,
                             .y = y.data(),
                             .y_stride = panels * 16,
                             .m = m,
                             .k = k,
                             .panels = panels,
                             .accumulate = false,
                             .scratch = nullptr,
                             .group = k};
      runner.Computed("gemm_kv8 m=48 k=" + std::to_string(k),
                      2.0 * static_cast<double>(m * panels * 16 * k), Arithmetic::kInt8,
                      [&] { t.gemm_kv8(&args); });
    }
  }
  void quantize_group() {
    for (const std::int64_t steps : {0, 20}) {
      std::uint8_t q[64];
      std::uint16_t scale = 0, zero = 0;
      runner.Row(steps == 0 ? "quantize_group" : "quantize_group 20 steps", 64,
                 [&] { t.quantize_group(x.data(), 64, 4, false, steps, q, &scale, &zero); });
    }
  }
};

const KernelTable* FindTable(const Options& options) {
  if (options.isa.empty()) return cpu::Kernels();
  int count = 0;
  const KernelTable* const* tables = cpu::KernelTables(&count);
  for (int i = 0; i < count; ++i) {
    if (options.isa == tables[i]->name && tables[i]->available()) return tables[i];
  }
  return nullptr;
}

int Main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i += 2) {
    const std::string_view key = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : nullptr;
    if (value != nullptr && key == "--isa") {
      options.isa = value;
    } else if (value != nullptr && key == "--only") {
      options.only = value;
    } else if (value != nullptr && key == "--rounds") {
      options.rounds = std::max(1, std::atoi(value));
    } else if (value != nullptr && key == "--mib") {
      options.mib = static_cast<std::size_t>(std::max(64, std::atoi(value)));
    } else {
      std::fprintf(stderr,
                   "usage: kernels_bench [--isa NAME] [--only TEXT] [--rounds N] [--mib N]\n");
      return key == "--help" || key == "-h" ? 0 : 2;
    }
  }
  const KernelTable* table = FindTable(options);
  if (table == nullptr) {
    std::fprintf(stderr, "kernels_bench: no such level here: %s %s\n", options.isa.c_str(),
                 cpu::KernelError());
    return 2;
  }
  std::printf("%s on %s, one thread, median of %d rounds\n", table->name, cpu::CpuFeatureNames(),
              options.rounds);
  std::printf("multiply-adds between registers: float32 %.0f, bfloat16 %.0f, int8 %.0f Gop/s\n",
              ProbeProducts(table->name, Arithmetic::kF32),
              ProbeProducts(table->name, Arithmetic::kBf16),
              ProbeProducts(table->name, Arithmetic::kInt8));
  Runner runner(*table, options);
  Bench bench{.runner = runner};
#define MOSSRT_KERNEL(kernel, parameters) bench.kernel();
#include "mossrt/runtime/kernel_list.inc"
#undef MOSSRT_KERNEL
  return 0;
}

}  // namespace
}  // namespace mossrt::bench

int main(int argc, char** argv) { return mossrt::bench::Main(argc, argv); }
