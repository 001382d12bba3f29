// Decode (one sequence and several) and prefill of a whole model, each round bracketed by the
// bandwidth and product probes of the same minute.
//
//   model_bench --help
//
// Medians over rounds; a round whose two probes differ by more than 15 % is dropped (shared
// machines have weather). With --json, what is asked for on standard input (answer_requests.h).
#include <algorithm>
#include <atomic>
#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include "answer_requests.h"
#include "base/page_buffer.h"
#include "mossrt/runtime/decoder.h"
#include "mossrt/runtime/kernel_table.h"
#include "probe.h"

namespace {

std::atomic<std::uint64_t> allocations{0};

}  // namespace

// Counts every allocation of the process, so that the token loop can be shown to make none.
void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  void* p = std::malloc(size == 0 ? 1 : size);
  if (p == nullptr) throw std::bad_alloc();
  return p;
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }

namespace mossrt::bench {
namespace {

using namespace mossrt::runtime;  // NOLINT

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Of all threads: what another process takes from a shared machine does not count.
double ProcessorSeconds() {
  timespec now = {};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

// The median and the range of fractions.
std::string Percent(const std::vector<double>& values) {
  if (values.empty()) return "none";
  const auto [least, most] = std::minmax_element(values.begin(), values.end());
  char text[64];
  std::snprintf(text, sizeof(text), "%.1f %% (%.1f-%.1f)", 100 * Median(values), 100 * *least,
                100 * *most);
  return text;
}

// All threads of the team read their share of `memory` once.
double TeamBandwidth(ThreadTeam& team, const PageBuffer& memory) {
  const double start = Now();
  team.ForEachThread([&](int thread, int threads) {
    const Range part = SplitRange(static_cast<std::int64_t>(memory.size() / 4096), thread, threads);
    ProbeBandwidth(memory.data() + part.begin * 4096,
                   static_cast<std::size_t>(part.end - part.begin) * 4096);
  });
  return static_cast<double>(memory.size()) / (Now() - start) * 1e-9;
}

double TeamProducts(ThreadTeam& team, Arithmetic arithmetic) {
  std::atomic<double> sum{0};
  team.ForEachThread([&](int, int) { sum += ProbeProducts(cpu::Kernels()->name, arithmetic); });
  return sum;
}

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return 1;
}

int RunRequests(const std::string& directory, const LoadOptions& options) {
  auto checkpoint = OpenCheckpoint(directory);
  if (!checkpoint.ok()) return Fail(checkpoint.status());
  const double start = Now();
  auto loaded = Model::Load(**checkpoint, options, nullptr);
  if (!loaded.ok()) return Fail(loaded.status());
  return AnswerRequests(**loaded, Now() - start, stdin);
}

int Run(const std::string& directory, const LoadOptions& options, std::string_view kv, int rounds,
        int prefill, int decode, int batch, int context) {
  auto checkpoint = OpenCheckpoint(directory);
  if (!checkpoint.ok()) return Fail(checkpoint.status());
  const double load_start = Now();
  auto loaded = Model::Load(**checkpoint, options, nullptr);
  if (!loaded.ok()) return Fail(loaded.status());
  const Model& model = **loaded;
  const double load_seconds = Now() - load_start;
  const HyperParams& p = model.params();
  const DType kv_dtype = kv == "float32"    ? DType::kF32
                         : kv == "bfloat16" ? DType::kBF16
                         : kv == "int8"     ? DType::kI8
                                            : model.plan().kv_dtype;
  auto workspace = Workspace::Create(
      model, std::max<std::int64_t>(batch, std::min<std::int64_t>(prefill, kPromptRows)));
  if (!workspace.ok()) return Fail(workspace.status());
  auto memory = PageBuffer::Create(std::size_t{1} << 30, true);
  if (!memory.ok()) return Fail(memory.status());
  std::memset(memory->data(), 1, memory->size());

  // What one token streams: every matrix once (the embedding table is only gathered) and the cache,
  // and the multiplications it costs.
  const double bytes =
      static_cast<double>(model.plan().need.weights) +
      static_cast<double>(KvShape{p.layers, p.kv_heads, p.head_dim, kv_dtype}.BlockBytes() /
                          kKvBlockTokens) *
          (context + decode / 2.0);
  const std::int64_t attention = p.hidden * p.head_dim * (2 * p.heads + 2 * p.kv_heads);
  const std::int64_t mlp = p.hidden * p.inner * (model.plan().spec.mlp == Mlp::kGated ? 3 : 2);
  const double head = 2.0 * static_cast<double>(p.vocab * p.hidden);
  const double products = 2.0 * static_cast<double>(p.layers * (attention + mlp)) + head;
  const WeightFormat& format = model.plan().format;
  const bool pairs = format.dtype == DType::kBF16 && cpu::Kernels()->gemm_bf16_pairs != nullptr;
  const Arithmetic arithmetic = format.integers() ? Arithmetic::kInt8
                                : pairs           ? Arithmetic::kBf16
                                                  : Arithmetic::kF32;

  std::vector<double> decode_speed, decode_fraction, prefill_speed, prefill_fraction,
      processor_fraction, bandwidths, peaks, batch_speed, batch_fraction, batch_stream;
  std::vector<std::int32_t> ids(static_cast<std::size_t>(prefill));
  for (std::size_t i = 0; i < ids.size(); ++i)
    ids[i] = static_cast<std::int32_t>((i * 7919 + 13) % static_cast<std::size_t>(p.vocab));
  std::uint64_t loop_allocations = 0;
  for (int round = 0; round < rounds; ++round) {
    KvCache kv({p.layers, p.kv_heads, p.head_dim, kv_dtype}, p.max_positions);
    const auto forward = [&](std::span<const std::int32_t> tokens) {
      return ForwardInPasses(model, tokens, &kv, **workspace);
    };
    const double peak_before = TeamProducts(model.team(), arithmetic);
    double start = Now();
    const double processor_start = ProcessorSeconds();
    if (absl::Status s = forward(ids); !s.ok()) return Fail(s);
    const double processor_seconds = ProcessorSeconds() - processor_start;
    const double prefill_seconds = Now() - start;
    const double peak = std::max(peak_before, TeamProducts(model.team(), arithmetic));
    kv.Rewind(std::min(context, prefill));
    while (kv.length() < context) {
      const auto left = static_cast<std::size_t>(context - kv.length());
      const auto part = std::span(ids).first(std::min(ids.size(), left));
      if (absl::Status s = forward(part); !s.ok()) return Fail(s);
    }
    if (absl::Status s = forward(std::span(ids).first(1)); !s.ok()) return Fail(s);

    const double before = TeamBandwidth(model.team(), *memory);
    const std::uint64_t allocations_before = allocations.load();
    start = Now();
    for (int i = 0; i < decode; ++i) {
      const std::size_t at = static_cast<std::size_t>(i) % ids.size();
      if (absl::Status s = forward(std::span(ids).subspan(at, 1)); !s.ok()) return Fail(s);
    }
    const double decode_seconds = Now() - start;
    loop_allocations = allocations.load() - allocations_before;
    const double after = TeamBandwidth(model.team(), *memory);

    // One token each of `batch` sequences in one pass.
    std::vector<std::unique_ptr<KvCache>> caches;
    std::vector<SequenceInput> inputs;
    for (int i = 0; i < batch; ++i) {
      caches.push_back(std::make_unique<KvCache>(kv.shape(), p.max_positions));
      inputs.push_back({.kv = caches.back().get(), .tokens = std::span(ids).first(1)});
    }
    double batch_seconds = 0;
    const int batch_steps = std::max(1, decode / 4);
    for (int i = -1; i < batch_steps; ++i) {  // the first pass allocates
      start = Now();
      if (absl::Status s = model.Forward(inputs, {}, **workspace).status(); !s.ok()) return Fail(s);
      if (i >= 0) batch_seconds += Now() - start;
    }
    batch_speed.push_back(batch * batch_steps / batch_seconds);
    batch_fraction.push_back(batch_speed.back() * products * 1e-9 / peak);

    const double tokens = decode / decode_seconds;
    const double total = products * prefill - head * (prefill - 1);
    prefill_speed.push_back(prefill / prefill_seconds);
    prefill_fraction.push_back(total / prefill_seconds * 1e-9 / peak);
    processor_fraction.push_back(total / processor_seconds * model.team().size() * 1e-9 / peak);
    peaks.push_back(peak);
    batch_stream.push_back(batch_speed.back() / batch *
                           static_cast<double>(model.plan().need.weights) * 1e-9 /
                           ((before + after) / 2));
    const bool steady = std::max(before, after) < 1.15 * std::min(before, after);
    std::printf(
        "round %d: prefill %.1f t/s (%.0f %% of %.0f GFLOP/s), decode %.2f t/s (%.0f %% of %.1f "
        "GB/s)%s\n",
        round, prefill_speed.back(), 100 * prefill_fraction.back(), peak, tokens,
        100 * tokens * bytes * 1e-9 / ((before + after) / 2), (before + after) / 2,
        steady ? "" : "  [decode dropped: bandwidth moved]");
    if (!steady) continue;
    decode_speed.push_back(tokens);
    decode_fraction.push_back(tokens * bytes * 1e-9 / ((before + after) / 2));
    bandwidths.push_back((before + after) / 2);
  }
  std::printf("%s %s threads %d: load %.1f s, weights %.2f GB\n", p.architecture.c_str(),
              model.numerics(kv_dtype).c_str(), model.team().size(), load_seconds, bytes * 1e-9);
  std::printf(
      "prefill %d: %.1f t/s, %s of %.0f GFLOP/s (%.1f %% by processor time) | %d sequences: %.1f "
      "t/s, %s of them and %s of the bandwidth | decode: %.2f t/s, %s of %.1f GB/s (%zu of %d "
      "rounds) | allocations in %d decode steps: %llu\n",
      prefill, Median(prefill_speed), Percent(prefill_fraction).c_str(), Median(peaks),
      100 * Median(processor_fraction), batch, Median(batch_speed), Percent(batch_fraction).c_str(),
      Percent(batch_stream).c_str(), Median(decode_speed), Percent(decode_fraction).c_str(),
      Median(bandwidths), decode_speed.size(), rounds, decode,
      static_cast<unsigned long long>(loop_allocations));
  return 0;
}

}  // namespace
}  // namespace mossrt::bench

namespace {

constexpr char kUsage[] =
    "usage: model_bench DIRECTORY [OPTION VALUE]...\n"
    "       model_bench DIRECTORY --json [--dtype T] [--threads N]\n"
    "\n"
    "Decode and prefill of a model, with the machine's bandwidth and products measured around "
    "them.\n"
    "\n"
    "  --dtype T     how matrices are held: auto, float32, bfloat16, int8, int4, ... (auto)\n"
    "  --kv T        the cache: auto, float32, bfloat16, int8 (auto)\n"
    "  --threads N   threads that compute (2)\n"
    "  --rounds N    measurements, of which medians are printed (7)\n"
    "  --prefill N   tokens of the prompt (512)\n"
    "  --decode N    tokens made one at a time (32)\n"
    "  --batch N     sequences decoded together (8)\n"
    "  --context N   tokens before the first that is made (8)\n"
    "  --json        answers requests on standard input (answer_requests.h)\n"
    "  -h, --help    prints this\n";

struct Arguments {
  mossrt::runtime::LoadOptions load{.threads = 2};
  std::string kv = "auto";
  int rounds = 7, prefill = 512, decode = 32, batch = 8, context = 8;
  bool requests = false;
};

int Wrong(const std::string& what) {
  std::fprintf(stderr, "model_bench: %s\n\n%s", what.c_str(), kUsage);
  return 2;
}

// 0, or the exit code of a wrong command line.
int Read(int argc, char** argv, Arguments* out) {
  const struct {
    std::string_view key;
    std::string* text;
    int* number;
  } options[] = {{"--dtype", &out->load.dtype, nullptr},     {"--kv", &out->kv, nullptr},
                 {"--threads", nullptr, &out->load.threads}, {"--rounds", nullptr, &out->rounds},
                 {"--prefill", nullptr, &out->prefill},      {"--decode", nullptr, &out->decode},
                 {"--batch", nullptr, &out->batch},          {"--context", nullptr, &out->context}};
  for (int i = 2; i < argc; ++i) {
    const std::string key = argv[i];
    if (key == "--json") {
      out->requests = true;
      continue;
    }
    const auto* const option = std::find_if(std::begin(options), std::end(options),
                                            [&](const auto& known) { return known.key == key; });
    if (option == std::end(options)) return Wrong("unknown option \"" + key + "\"");
    if (++i == argc) return Wrong(key + " needs a value");
    const std::string value = argv[i];
    if (option->text != nullptr) {
      *option->text = value;
      continue;
    }
    const auto [end, error] =
        std::from_chars(value.data(), value.data() + value.size(), *option->number);
    if (error != std::errc() || end != value.data() + value.size() || *option->number < 0) {
      return Wrong(key + " needs a number, 0 or more, found \"" + value + "\"");
    }
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const bool help = std::any_of(argv + 1, argv + argc, [](const std::string_view argument) {
    return argument == "-h" || argument == "--help";
  });
  if (help) {
    std::fputs(kUsage, stdout);
    return 0;
  }
  if (argc < 2) return Wrong("DIRECTORY is missing");
  Arguments a;
  if (const int code = Read(argc, argv, &a); code != 0) return code;
  if (a.requests) return mossrt::bench::RunRequests(argv[1], a.load);
  if (a.prefill == 0) return Wrong("--prefill needs 1 or more: what follows reads its tokens");
  return mossrt::bench::Run(argv[1], a.load, a.kv, a.rounds, a.prefill, a.decode, a.batch,
                            a.context);
}
