// What the machine's memory gives, for bench and doctor to compare with.
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <barrier>
#include <new>

#include "bindings.h"
#include "memory_probe.h"

namespace mossrt::python {
namespace {

using Clock = std::chrono::steady_clock;

// Pages of `bytes` zeros that were touched by the calling thread, huge ones where the kernel
// agrees.
class Pages {
 public:
  explicit Pages(std::size_t bytes) : bytes_(bytes) {
    void* p = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return;
    words_ = static_cast<std::uint64_t*>(p);
    madvise(p, bytes, MADV_HUGEPAGE);
    for (std::size_t i = 0; i < bytes / 8; i += 512) words_[i] = i;
  }
  ~Pages() {
    if (words_ != nullptr) munmap(words_, bytes_);
  }
  Pages(const Pages&) = delete;
  Pages& operator=(const Pages&) = delete;
  bool ok() const { return words_ != nullptr; }

  void ReadAll() const { mossrt::bench::ReadMemory(words_, bytes_); }

 private:
  std::size_t bytes_;
  std::uint64_t* words_ = nullptr;
};

// Bytes per second that all threads together read, the median of `rounds`.
double Measure(int threads, std::size_t bytes, int rounds) {
  std::vector<Clock::time_point> begins(static_cast<std::size_t>(rounds)), ends = begins;
  std::atomic<bool> failed = false;
  std::barrier meet(threads);
  const auto work = [&](int thread) {
    const Pages pages(bytes);
    if (!pages.ok()) failed = true;
    for (std::size_t round = 0; round < begins.size(); ++round) {
      meet.arrive_and_wait();
      if (failed) return;  // the same for all: written before the barrier only
      if (thread == 0) begins[round] = Clock::now();
      pages.ReadAll();
      meet.arrive_and_wait();
      if (thread == 0) ends[round] = Clock::now();
    }
  };
  std::vector<std::thread> team;
  for (int i = 1; i < threads; ++i) team.emplace_back(work, i);
  work(0);
  for (std::thread& thread : team) thread.join();
  if (failed) throw std::bad_alloc();

  std::vector<double> speeds;
  for (std::size_t i = 0; i < begins.size(); ++i) {
    const double seconds = std::chrono::duration<double>(ends[i] - begins[i]).count();
    speeds.push_back(static_cast<double>(bytes) * threads / seconds);
  }
  std::nth_element(speeds.begin(), speeds.begin() + rounds / 2, speeds.end());
  return speeds[static_cast<std::size_t>(rounds / 2)];
}

}  // namespace

void BindBandwidth(py::module_& module) {
  module.def(
      "measure_bandwidth",
      [](int threads, std::size_t bytes, int rounds) {
        if (threads < 1 || threads > 1024 || bytes < 4096 || rounds < 1 || rounds > 1000) {
          throw py::value_error(
              "measure_bandwidth needs 1 to 1024 threads, 4096 bytes or more, 1 to 1000 rounds");
        }
        return Interruptible([=] { return Measure(threads, bytes, rounds); });
      },
      py::arg("threads"), py::arg("bytes"), py::arg("rounds"));
}

}  // namespace mossrt::python
