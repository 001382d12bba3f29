#include "mossrt/runtime/thread_team.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <new>
#include <system_error>
#include <vector>

#include "base/blocked_signals.h"
#include "base/float_mode.h"
#include "base/log.h"
#include "base/status.h"
#include "threads/topology.h"

namespace mossrt::runtime {
namespace {

constexpr int kMaxThreads = 1024;
// A futex round trip costs some 35 us, so waiting longer than that gains nothing per region.
constexpr std::chrono::nanoseconds kSpin = std::chrono::microseconds(50);
// With more threads than processors somebody else needs the processor that a spinner holds.
constexpr std::chrono::nanoseconds kOversubscribedSpin = std::chrono::microseconds(1);

// How long the caller waits for the others before it takes over what they have not begun.
constexpr std::chrono::nanoseconds kPatience = std::chrono::microseconds(2);

// Counts forks up to this process: state made under another number belongs to the parent.
std::atomic<std::uint32_t> fork_count{0};

void WatchForks() {
  static std::once_flag once;
  std::call_once(once, [] {
    ::pthread_atfork(nullptr, nullptr, [] { fork_count.fetch_add(1, std::memory_order_relaxed); });
  });
}

void Pause() {
#if defined(__x86_64__) || defined(__i386__)
  _mm_pause();
#else
  __asm__ volatile("yield");
#endif
}

void FutexWait(std::atomic<std::uint32_t>* word, std::uint32_t value) {
  static_assert(sizeof *word == 4);
  ::syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, nullptr, nullptr, 0);
}

void FutexWake(std::atomic<std::uint32_t>* word, int waiters) {
  ::syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, waiters, nullptr, nullptr, 0);
}

// Spins until `done` holds or `limit` is over; says which. The clock is read every 32 pauses.
template <typename Done>
bool SpinUntil(Done done, std::chrono::nanoseconds limit) {
  std::chrono::steady_clock::time_point start{};
  while (true) {
    for (int i = 0; i < 32; ++i) {
      if (done()) return true;
      Pause();
    }
    const auto now = std::chrono::steady_clock::now();
    if (start == std::chrono::steady_clock::time_point{}) {
      start = now;
    } else if (now - start > limit) {
      return false;
    }
  }
}

// The workers of one process. After a fork the child leaves its copy behind untouched: locks in it
// may be held by threads that do not exist there.
class Crew {
 public:
  Crew(int size, int processors, std::chrono::nanoseconds spin)
      : forks_(fork_count.load(std::memory_order_relaxed)),
        size_(size),
        processors_(processors),
        spin_(spin),
        claims_(static_cast<std::size_t>(size)) {
    done_.store(DoneAfter(kBeforeFirst), std::memory_order_relaxed);
    workers_.reserve(static_cast<std::size_t>(size));
  }
  Crew(const Crew&) = delete;
  Crew& operator=(const Crew&) = delete;

  bool OfThisProcess() const { return forks_ == fork_count.load(std::memory_order_relaxed); }

  // 0, or the errno of the first worker that could not be started.
  int Start() {
    const std::lock_guard lock(mutex_);
    return StartLocked();
  }

  void Run(ThreadTeam::Body body, void* context) {
    const FloatMode mode;  // any share may fall to the caller
    const std::lock_guard lock(mutex_);
    if (!started_) {
      // In a child after fork. Nobody waits for an error here: the threads that there are take over
      // the shares of those that are missing.
      if (const int error = StartLocked(); error != 0) {
        Log(LogLevel::kWarn,
            Cat("after a fork only ", workers_.size() + 1, " of ", size_,
                " threads could be started: ", std::generic_category().message(error)));
      }
    }
    if (workers_.empty()) {
      for (int t = 0; t < size_; ++t) body(context, t, size_);
      return;
    }
    news_.body = body;
    news_.context = context;
    const std::uint32_t region = Announce();
    body(context, 0, size_);
    WaitForShares(region);
  }

  void Stop() {
    news_.stop.store(true, std::memory_order_relaxed);
    Announce();
    for (const pthread_t worker : workers_) ::pthread_join(worker, nullptr);
    workers_.clear();
  }

 private:
  struct Entry {
    Crew* crew;
    int thread;
  };

  int StartLocked() {
    started_ = true;
    entries_.resize(static_cast<std::size_t>(size_));
    const BlockedSignals blocked;
    int error = 0;
    for (int t = 1; t < size_ && error == 0; ++t) {
      Entry& entry = entries_[static_cast<std::size_t>(t)];
      entry = {this, t};
      pthread_t worker;
      error = ::pthread_create(
          &worker, nullptr,
          [](void* p) -> void* {
            const Entry e = *static_cast<Entry*>(p);
            e.crew->Work(e.thread);
            return nullptr;
          },
          &entry);
      if (error == 0) workers_.push_back(worker);
    }
    return error;
  }

  // Returns the number of the new region. Store before load on both sides (sequentially
  // consistent): either the worker sees the new region, or we see that it sleeps. More workers than
  // processors would only take turns.
  std::uint32_t Announce() {
    const std::uint32_t region = 1 + news_.region.fetch_add(1, std::memory_order_seq_cst);
    if (sleepers_.load(std::memory_order_seq_cst) != 0) {
      const bool all = news_.stop.load(std::memory_order_relaxed);
      FutexWake(&news_.region, all ? INT_MAX : processors_);
    }
    return region;
  }

  // What done_ counts when all shares but the caller's are done, of this region and those before.
  std::uint32_t DoneAfter(std::uint32_t region) const {
    return region * static_cast<std::uint32_t>(size_ - 1);
  }

  // The share of a thread that has not come yet is taken over by another: one that the system does
  // not let run holds up nobody. Every share is claimed once in every region, so a claim counts
  // regions; a thread that comes late for its region finds them claimed.
  void TakeShares(int first, std::uint32_t region) {
    std::uint32_t done = 0;
    for (int i = 0; i < size_ - 1; ++i) {  // share 0 is the caller's
      const int t = 1 + (first - 1 + i) % (size_ - 1);
      std::atomic<std::uint32_t>& claim = claims_[static_cast<std::size_t>(t)].region;
      std::uint32_t before = region - 1;
      if (claim.load(std::memory_order_relaxed) != before ||
          !claim.compare_exchange_strong(before, region, std::memory_order_acq_rel,
                                         std::memory_order_relaxed)) {
        continue;
      }
      news_.body(news_.context, t, size_);
      ++done;
    }
    if (done > 0 && done_.fetch_add(done, std::memory_order_seq_cst) + done == DoneAfter(region) &&
        caller_sleeps_.load(std::memory_order_seq_cst)) {
      FutexWake(&done_, 1);
    }
  }

  // The caller looks at the claims only if the workers are late: each look takes their lines away
  // from them. Where somebody else needs the processor, they surely are.
  void WaitForShares(std::uint32_t region) {
    const std::uint32_t all = DoneAfter(region);
    const auto done = [&] { return done_.load(std::memory_order_acquire) == all; };
    if (spin_ > kPatience && SpinUntil(done, kPatience)) return;
    TakeShares(1, region);
    if (SpinUntil(done, spin_)) return;
    caller_sleeps_.store(true, std::memory_order_seq_cst);
    while (true) {
      const std::uint32_t now = done_.load(std::memory_order_seq_cst);
      if (now == all) break;
      FutexWait(&done_, now);
    }
    caller_sleeps_.store(false, std::memory_order_relaxed);
  }

  void Work(int thread) {
    char name[16];
    std::snprintf(name, sizeof name, "mossrt-%d", thread);
    ::pthread_setname_np(::pthread_self(), name);
    const FloatMode mode;
    std::uint32_t seen = kBeforeFirst;
    while (true) {
      WaitForRegion(seen);
      seen = news_.region.load(std::memory_order_acquire);  // regions that went by are done
      if (news_.stop.load(std::memory_order_relaxed)) return;
      TakeShares(thread, seen);
    }
  }

  void WaitForRegion(std::uint32_t seen) {
    const auto news = [&] { return news_.region.load(std::memory_order_acquire) != seen; };
    if (SpinUntil(news, spin_)) return;
    sleepers_.fetch_add(1, std::memory_order_seq_cst);
    while (news_.region.load(std::memory_order_seq_cst) == seen) FutexWait(&news_.region, seen);
    sleepers_.fetch_sub(1, std::memory_order_relaxed);
  }

  // Regions are counted from here on, so that every use of a team passes the end of 32 bits.
  static constexpr std::uint32_t kBeforeFirst = 0u - 16;

  // The line that workers poll, with all that they need next: a line takes 200 ns from one core
  // complex to another, and a layer of a small model 60 us.
  struct alignas(64) News {
    std::atomic<std::uint32_t> region{kBeforeFirst};
    std::atomic<bool> stop{false};
    ThreadTeam::Body body = nullptr;
    void* context = nullptr;
  };
  News news_;
  alignas(64) std::atomic<std::uint32_t> done_{0};  // shares of all regions; the caller polls it
  alignas(64) std::atomic<std::uint32_t> sleepers_{0};
  std::atomic<bool> caller_sleeps_{false};
  const std::uint32_t forks_;
  const int size_;
  const int processors_;
  const std::chrono::nanoseconds spin_;
  struct alignas(64) Claim {
    std::atomic<std::uint32_t> region{kBeforeFirst};  // the last in which it was taken
  };
  std::vector<Claim> claims_;
  bool started_ = false;
  std::mutex mutex_;
  std::vector<Entry> entries_;
  std::vector<pthread_t> workers_;
};

class Team final : public ThreadTeam {
 public:
  Team(std::unique_ptr<Crew> crew, int size, int processors, std::chrono::nanoseconds spin)
      : size_(size), processors_(processors), spin_(spin), crew_(crew.release()) {}

  ~Team() override {
    Crew* crew = crew_.load(std::memory_order_acquire);
    if (!crew->OfThisProcess()) return;  // the parent's threads; see Crew
    crew->Stop();
    delete crew;
  }

  int size() const override { return size_; }

  void Run(Body body, void* context) override { CurrentCrew().Run(body, context); }

 private:
  Crew& CurrentCrew() {
    Crew* crew = crew_.load(std::memory_order_acquire);
    if (crew->OfThisProcess()) return *crew;
    auto fresh = std::make_unique<Crew>(size_, processors_, spin_);
    // Of several threads of the child that come here at once, one wins.
    if (crew_.compare_exchange_strong(crew, fresh.get(), std::memory_order_acq_rel)) {
      return *fresh.release();
    }
    return *crew;
  }

  const int size_;
  const int processors_;
  const std::chrono::nanoseconds spin_;
  std::atomic<Crew*> crew_;
};

}  // namespace

int DefaultThreads() { return ReadCpuLimits().Threads(); }

absl::StatusOr<std::unique_ptr<ThreadTeam>> CreateThreadTeam(int threads) {
  if (threads < 0 || threads > kMaxThreads) {
    return absl::InvalidArgumentError(
        Cat("threads: ", threads, " is out of range; give 1 to ", kMaxThreads,
            ", or 0 for the physical cores that this process may use"));
  }
  const CpuLimits limits = ReadCpuLimits();
  if (threads == 0) threads = limits.Threads();
  WatchForks();
  const auto spin = threads > limits.Processors() ? kOversubscribedSpin : kSpin;
  auto crew = std::make_unique<Crew>(threads, limits.Processors(), spin);
  if (const int error = crew->Start(); error != 0) {
    crew->Stop();
    return absl::ResourceExhaustedError(
        Cat("threads: a team of ", threads,
            " could not be started: ", std::generic_category().message(error),
            "; give fewer threads or raise the limit on processes (ulimit -u, pids.max)"));
  }
  return std::make_unique<Team>(std::move(crew), threads, limits.Processors(), spin);
}

}  // namespace mossrt::runtime
