// What the machine gives to two threads at this moment. For every line of standard input one line:
// {"gbs": bytes read from memory, "int8": ..., "bf16": ..., "f32": multiplications and additions
// between registers}, all in billions a second, 0 where the unit is missing.
#include "probe.h"

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <functional>
#include <string>
#include <thread>

#include "base/page_buffer.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::bench {
namespace {

using runtime::PageBuffer;

constexpr int kThreads = 2;
constexpr double kSeconds = 0.25;  // shorter ones differ by more than what they are to bracket
constexpr std::size_t kBytes = std::size_t{1} << 29;

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The sum of what `rate` gives on each thread, each on a processor of its own, all at once.
double Together(const std::function<double(int)>& rate) {
  std::atomic<int> ready{0};
  double rates[kThreads] = {};
  std::thread threads[kThreads];
  for (int i = 0; i < kThreads; ++i) {
    threads[i] = std::thread([&, i] {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(static_cast<std::size_t>(i), &set);
      pthread_setaffinity_np(pthread_self(), sizeof set, &set);
      ++ready;
      while (ready < kThreads) {
      }
      rates[i] = rate(i);
    });
  }
  double sum = 0;
  for (int i = 0; i < kThreads; ++i) {
    threads[i].join();
    sum += rates[i];
  }
  return sum;
}

// By wall-clock time: what other programs take of the bus is gone for the engines too.
double Bandwidth(const PageBuffer& memory) {
  return Together([&](int thread) {
    const std::size_t share = memory.size() / kThreads;
    const double start = Now();
    double bytes = 0, seconds = 0;
    while (seconds < kSeconds) {
      ReadMemory(memory.data() + static_cast<std::size_t>(thread) * share, share);
      bytes += static_cast<double>(share);
      seconds = Now() - start;
    }
    return bytes / seconds * 1e-9;
  });
}

double Products(Arithmetic arithmetic) {
  const char* const isa = cpu::Kernels()->name;
  return Together([&](int) { return ProbeProducts(isa, arithmetic); });
}

int Run() {
  auto memory = PageBuffer::Create(kBytes, true);
  if (!memory.ok()) {
    std::fprintf(stderr, "%s\n", std::string(memory.status().message()).c_str());
    return 1;
  }
  std::memset(memory->data(), 1, memory->size());
  char line[64];
  while (std::fgets(line, sizeof line, stdin) != nullptr) {
    const double gbs = Bandwidth(*memory);
    std::printf("{\"gbs\": %.2f, \"int8\": %.1f, \"bf16\": %.1f, \"f32\": %.1f}\n", gbs,
                Products(Arithmetic::kInt8), Products(Arithmetic::kBf16),
                Products(Arithmetic::kF32));
    std::fflush(stdout);
  }
  return 0;
}

}  // namespace
}  // namespace mossrt::bench

int main() { return mossrt::bench::Run(); }
