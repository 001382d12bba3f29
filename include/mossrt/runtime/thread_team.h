// Threads that work on one region at a time. An interface, so that an application may lend its own
// pool. Owned by src/threads.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"

namespace mossrt::runtime {

class ThreadTeam {
 public:
  using Body = void (*)(void* context, int thread, int threads);

  virtual ~ThreadTeam() = default;
  virtual int size() const = 0;  // at least 1, and always the same
  // Calls body(context, t, size()) once for every t in [0, size()), t = 0 on the calling thread,
  // and returns when all have returned. Calls from several threads wait for each other. Bodies
  // neither throw, nor call Run, nor wait for one another: one thread may run several of them, as
  // the team's own do for workers that the system does not let run.
  virtual void Run(Body body, void* context) = 0;

  // The same for a callable f(int thread, int threads).
  template <typename F>
  void ForEachThread(F&& f) {
    auto* address = std::addressof(f);
    Run([](void* context, int t, int n) { (*static_cast<decltype(address)>(context))(t, n); },
        const_cast<void*>(static_cast<const void*>(address)));
  }
};

// How many threads pay off here: physical cores that the affinity mask and the cgroup quota allow,
// at least 1.
int DefaultThreads();

// A team of `threads` (0: DefaultThreads()). Workers spin for some 50 us after a region, then
// sleep; threads that have nothing left to do take over what others have not begun. Workers end
// with the team, and start anew in a child after fork.
absl::StatusOr<std::unique_ptr<ThreadTeam>> CreateThreadTeam(int threads);

// [begin, end) of `count` items for thread t of n: contiguous, sizes differ by at most one.
struct Range {
  std::int64_t begin, end;
};
constexpr Range SplitRange(std::int64_t count, int t, int n) {
  return {count * t / n, count * (t + 1) / n};
}

// Calls f(first, end) with a split of [0, rows) over the team; on the calling thread alone if one
// row is all there is.
template <typename F>
void ForRows(std::int64_t rows, ThreadTeam& team, F&& f) {
  if (rows <= 1) {
    if (rows == 1) f(std::int64_t{0}, std::int64_t{1});
    return;
  }
  team.ForEachThread([&](int thread, int threads) {
    const Range range = SplitRange(rows, thread, threads);
    if (range.begin < range.end) f(range.begin, range.end);
  });
}

}  // namespace mossrt::runtime
