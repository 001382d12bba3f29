#include "mossrt/runtime/thread_team.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "base/float_mode.h"
#include "gtest/gtest.h"

#if defined(__SANITIZE_THREAD__)
#define MOSSRT_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define MOSSRT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define MOSSRT_TSAN 1
#elif __has_feature(address_sanitizer)
#define MOSSRT_ASAN 1
#endif
#endif

namespace mossrt::runtime {
namespace {

std::unique_ptr<ThreadTeam> Create(int threads) {
  auto team = CreateThreadTeam(threads);
  EXPECT_TRUE(team.ok()) << team.status();
  return team.ok() ? *std::move(team) : nullptr;
}

// Threads of this process whose name begins as ours do.
int CountWorkers() {
  int count = 0;
  DIR* tasks = ::opendir("/proc/self/task");
  while (const dirent* entry = ::readdir(tasks)) {
    std::ifstream file(std::string("/proc/self/task/") + entry->d_name + "/comm");
    std::string name;
    if (std::getline(file, name) && name.starts_with("mossrt-")) ++count;
  }
  ::closedir(tasks);
  return count;
}

// The kernel lists a thread for an instant after it has been joined.
bool WorkersBecome(int wanted) {
  for (int i = 0; i < 2000; ++i) {
    if (CountWorkers() == wanted) return true;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return false;
}

// Every index once, on the caller for 0; returns how many regions went wrong.
int RunRegions(ThreadTeam& team, int regions) {
  const int n = team.size();
  std::vector<int> seen(static_cast<std::size_t>(n) * 16);  // a cache line each
  int wrong = 0;
  const auto caller = std::this_thread::get_id();
  for (int r = 1; r <= regions; ++r) {
    bool first_on_caller = false;
    team.ForEachThread([&](int t, int threads) {
      seen[static_cast<std::size_t>(t) * 16] += threads == n ? 1 : 1000;
      if (t == 0) first_on_caller = std::this_thread::get_id() == caller;
    });
    if (!first_on_caller) ++wrong;
    for (int t = 0; t < n; ++t) wrong += seen[static_cast<std::size_t>(t) * 16] != r;
  }
  return wrong;
}

TEST(ThreadTeam, EveryIndexRunsOnceInEveryRegion) {
  for (int size = 1; size <= 8; ++size) {
    const auto team = Create(size);
    ASSERT_NE(team, nullptr);
    EXPECT_EQ(team->size(), size);
    EXPECT_EQ(RunRegions(*team, size <= 2 ? 100000 : 14000), 0) << size;
  }
}

TEST(ThreadTeam, WakesWorkersThatSleep) {
  const auto team = Create(3);
  for (int i = 0; i < 50; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));  // far longer than they spin
    EXPECT_EQ(RunRegions(*team, 2), 0);
  }
}

TEST(ThreadTeam, SleepsWhileAWorkerIsLate) {
  const auto team = Create(2);
  timespec before, after;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &before);
  team->ForEachThread([](int t, int) {
    if (t == 1) std::this_thread::sleep_for(std::chrono::milliseconds(200));
  });
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &after);
  const double spent = static_cast<double>(after.tv_sec - before.tv_sec) +
                       1e-9 * static_cast<double>(after.tv_nsec - before.tv_nsec);
  EXPECT_LT(spent, 0.05);
}

TEST(ThreadTeam, CallsOfSeveralThreadsWaitForEachOther) {
  const auto team = Create(3);
  long long sum = 0;  // not atomic: only one region runs at a time
  std::vector<std::thread> callers;
  for (int c = 0; c < 4; ++c) {
    callers.emplace_back([&] {
      for (int i = 0; i < 2000; ++i) {
        team->ForEachThread([&](int t, int) {
          if (t == 2) ++sum;
        });
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(sum, 8000);
}

TEST(ThreadTeam, WorkersHaveNamesAndEndWithTheTeam) {
  EXPECT_TRUE(WorkersBecome(0));
  auto a = Create(4);
  auto b = Create(2);
  EXPECT_TRUE(WorkersBecome(4));  // names are set by the workers themselves, at their start
  a.reset();
  EXPECT_TRUE(WorkersBecome(1));
  b.reset();
  EXPECT_TRUE(WorkersBecome(0));
}

TEST(ThreadTeam, EndsWithoutARegion) {
  for (int i = 0; i < 200; ++i) ASSERT_NE(Create(3), nullptr);
  EXPECT_TRUE(WorkersBecome(0));
}

TEST(ThreadTeam, SignalsStayWithTheProgram) {
  const auto team = Create(2);
  const auto caller = std::this_thread::get_id();
  bool by_worker = false;
  // Until the worker has been quick enough to take its share.
  for (int i = 0; i < 10000 && !by_worker; ++i) {
    team->ForEachThread([&](int t, int) {
      if (t == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1));
      if (std::this_thread::get_id() == caller) return;
      by_worker = true;
      sigset_t mask;
      ::pthread_sigmask(SIG_SETMASK, nullptr, &mask);
      for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGCHLD, SIGALRM}) {
        EXPECT_EQ(::sigismember(&mask, signal), 1) << signal;
      }
      EXPECT_EQ(::sigismember(&mask, SIGSEGV), 0);
    });
  }
  EXPECT_TRUE(by_worker);
}

// Stands for a system that does not let a worker run: its thread is held in a handler of a signal
// that workers leave deliverable.
std::atomic<int> held{0};
std::atomic<bool> hold{false};

TEST(ThreadTeam, OthersTakeOverForAWorkerThatDoesNotRun) {
  const auto team = Create(3);
  ASSERT_TRUE(WorkersBecome(2));
  struct sigaction action = {}, before = {};
  action.sa_handler = [](int) {
    held.fetch_add(1);
    while (hold.load()) ::usleep(1000);
    held.fetch_sub(1);
  };
  ASSERT_EQ(::sigaction(SIGTRAP, &action, &before), 0);
  hold = true;
  DIR* tasks = ::opendir("/proc/self/task");
  while (const dirent* entry = ::readdir(tasks)) {
    std::ifstream file(std::string("/proc/self/task/") + entry->d_name + "/comm");
    std::string name;
    if (std::getline(file, name) && name.starts_with("mossrt-")) {
      ::syscall(SYS_tgkill, ::getpid(), std::stoi(entry->d_name), SIGTRAP);
    }
  }
  ::closedir(tasks);
  while (held.load() < 2) std::this_thread::yield();
  EXPECT_EQ(RunRegions(*team, 100), 0);  // would never return if it waited for them
  hold = false;
  while (held.load() > 0) std::this_thread::yield();
  EXPECT_EQ(RunRegions(*team, 100), 0);
  ASSERT_EQ(::sigaction(SIGTRAP, &before, nullptr), 0);
}

TEST(ThreadTeam, WorkersComputeInTheDefaultFloatMode) {
  const std::uint64_t before = FloatMode::Get();
  FloatMode::Set(FloatMode::kDefault | FloatMode::kFlushToZero);
  const auto team = Create(4);
  std::vector<std::uint64_t> modes(4);
  std::vector<float> halves(4);
  volatile float smallest_normal = 0x1p-126f;
  team->ForEachThread([&](int t, int) {
    modes[static_cast<std::size_t>(t)] = FloatMode::Get();
    halves[static_cast<std::size_t>(t)] = smallest_normal * 0.5f;
  });
  const std::uint64_t after = FloatMode::Get();
  FloatMode::Set(before);
  constexpr std::uint64_t kSticky = 0x3F;  // exceptions seen so far
  EXPECT_EQ(after & ~kSticky, FloatMode::kDefault | FloatMode::kFlushToZero);
  for (std::size_t t = 0; t < 4; ++t) {
    EXPECT_EQ(modes[t] & ~kSticky, FloatMode::kDefault);
    EXPECT_EQ(halves[t], 0x1p-127f);
  }
}

TEST(FloatMode, PutsTheOldModeBack) {
  const std::uint64_t before = FloatMode::Get();
  FloatMode::Set(FloatMode::kDefault | FloatMode::kFlushToZero);
  {
    const FloatMode mode;
    EXPECT_EQ(FloatMode::Get(), FloatMode::kDefault);
  }
  EXPECT_EQ(FloatMode::Get(), FloatMode::kDefault | FloatMode::kFlushToZero);
  FloatMode::Set(before);
}

// ThreadSanitizer does not support threads started in a child of a process with several threads.
#if !defined(MOSSRT_TSAN)
// Runs `child` in a forked process with 20 s to live; 0 if all went well there.
template <typename F>
int InChild(F child) {
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::alarm(20);
    ::_exit(child());
  }
  int status = -1;
  ::waitpid(pid, &status, 0);
  return status;
}

TEST(ThreadTeam, WorksInAChildAfterFork) {
  auto team = Create(3);
  EXPECT_EQ(RunRegions(*team, 100), 0);
  EXPECT_EQ(InChild([&] {
              if (RunRegions(*team, 200) != 0) return 1;
              if (!WorkersBecome(2)) return 2;
              const int grandchild = InChild([&] { return RunRegions(*team, 50) == 0 ? 0 : 1; });
              if (grandchild != 0) return 3;
              team.reset();
              return WorkersBecome(0) ? 0 : 4;
            }),
            0);
  EXPECT_EQ(InChild([&] {
              team.reset();  // never used in the child
              return 0;
            }),
            0);
  EXPECT_EQ(RunRegions(*team, 100), 0);  // the parent's team has not noticed
}

TEST(ThreadTeam, ForkWhileAnotherThreadIsInsideRun) {
  const auto team = Create(2);
  std::atomic<bool> stop{false}, running{false};
  std::thread other([&] {
    while (!stop.load()) {
      team->ForEachThread([&](int, int) {
        running.store(true);
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      });
    }
  });
  while (!running.load()) std::this_thread::yield();
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(InChild([&] { return RunRegions(*team, 20) == 0 ? 0 : 1; }), 0);
  }
  stop.store(true);
  other.join();
}

#if !defined(MOSSRT_ASAN)  // it reserves terabytes and cannot run under such a limit
int CreateWithoutSpaceForStacks() {
  const rlimit limit{64 << 20, 64 << 20};
  ::setrlimit(RLIMIT_AS, &limit);
  const auto team = CreateThreadTeam(1000);
  if (team.ok()) return 1;
  if (team.status().code() != absl::StatusCode::kResourceExhausted) return 2;
  return WorkersBecome(0) ? 0 : 3;
}

TEST(ThreadTeam, ThreadsThatCannotBeStartedAreAnError) {
  EXPECT_EQ(InChild(CreateWithoutSpaceForStacks), 0);
}
#endif  // !MOSSRT_ASAN
#endif  // !MOSSRT_TSAN

TEST(ThreadTeam, RefusesSizesThatMakeNoSense) {
  EXPECT_EQ(CreateThreadTeam(-1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CreateThreadTeam(1025).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ThreadTeam, DefaultThreadsIsAtLeastOneAndCreates) {
  EXPECT_GE(DefaultThreads(), 1);
  const auto team = Create(0);
  EXPECT_EQ(team->size(), DefaultThreads());
}

TEST(SplitRange, CoversEverythingOnceInEvenParts) {
  for (const std::int64_t count : {0L, 1L, 2L, 7L, 16L, 107008L, 1L << 40}) {
    for (int n = 1; n <= 17; ++n) {
      std::int64_t next = 0, least = count, most = 0;
      for (int t = 0; t < n; ++t) {
        const Range range = SplitRange(count, t, n);
        EXPECT_EQ(range.begin, next);
        next = range.end;
        least = std::min(least, range.end - range.begin);
        most = std::max(most, range.end - range.begin);
      }
      EXPECT_EQ(next, count);
      EXPECT_LE(most - least, 1);
    }
  }
}

}  // namespace
}  // namespace mossrt::runtime
