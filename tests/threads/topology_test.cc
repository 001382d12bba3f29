#include "threads/topology.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "base/memory_info.h"
#include "gtest/gtest.h"

namespace mossrt::runtime {
namespace {

namespace fs = std::filesystem;

// A file tree that stands in for /proc and /sys.
class FakeRoot : public testing::Test {
 protected:
  FakeRoot() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    root_ = testing::TempDir() + "mossrt_" + info->test_suite_name() + "_" + info->name();
    fs::remove_all(root_);
    fs::create_directories(root_);
  }
  ~FakeRoot() override { fs::remove_all(root_); }

  void Write(const std::string& path, const std::string& text) {
    const fs::path full = root_ + path;
    fs::create_directories(full.parent_path());
    std::ofstream(full) << text;
  }
  void Cpu(int cpu, int package, int core) {
    const std::string folder = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    Write(folder + "physical_package_id", std::to_string(package) + "\n");
    Write(folder + "core_id", std::to_string(core) + "\n");
  }
  void Version2(const std::string& group, const std::string& mount_root = "/") {
    Write("/proc/self/cgroup", "0::" + group + "\n");
    Write("/proc/self/mountinfo", "22 1 8:1 / / rw - ext4 /dev/sda1 rw\n30 22 0:26 " + mount_root +
                                      " /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n");
  }
  void Version1(const std::string& group) {
    Write("/proc/self/cgroup", "7:memory:" + group + "\n4:cpu,cpuacct:" + group + "\n0::/none\n");
    Write("/proc/self/mountinfo",
          "31 30 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
          "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
          "33 30 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  }

  std::string root_;
};

using Topology = FakeRoot;
using Memory = FakeRoot;

TEST_F(Topology, SiblingsCountAsOneCore) {
  for (int cpu = 0; cpu < 8; ++cpu) Cpu(cpu, cpu / 4, cpu % 2);  // 2 packages, 2 cores, 2 threads
  const int all[] = {0, 1, 2, 3, 4, 5, 6, 7};
  EXPECT_EQ(CountCores(all, root_), 4);
  const int siblings[] = {0, 2};
  EXPECT_EQ(CountCores(siblings, root_), 1);
  const int packages[] = {0, 4};
  EXPECT_EQ(CountCores(packages, root_), 2);
}

TEST_F(Topology, ProcessorsWithoutATopologyAreCores) {
  const int cpus[] = {3, 5, 9};
  EXPECT_EQ(CountCores(cpus, root_), 3);
  EXPECT_EQ(CountCores({}, root_), 0);
}

TEST_F(Topology, NoControlGroupNoQuota) { EXPECT_EQ(CpuQuota(root_), std::nullopt); }

TEST_F(Topology, QuotaOfVersion2IsTheLeastOfAllLevels) {
  Version2("/a/b");
  Write("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  EXPECT_EQ(CpuQuota(root_), std::nullopt);
  Write("/sys/fs/cgroup/a/cpu.max", "350000 100000\n");
  EXPECT_EQ(CpuQuota(root_), 3.5);
  Write("/sys/fs/cgroup/a/b/cpu.max", "25000 50000\n");
  EXPECT_EQ(CpuQuota(root_), 0.5);
}

TEST_F(Topology, GroupThatAContainerSeesAsTheRoot) {
  Version2("/docker/abc", "/docker/abc");
  Write("/sys/fs/cgroup/cpu.max", "200000 100000\n");
  EXPECT_EQ(CpuQuota(root_), 2.0);
  Version2("/docker/abc/inner", "/docker/abc");
  Write("/sys/fs/cgroup/inner/cpu.max", "100000 100000\n");
  EXPECT_EQ(CpuQuota(root_), 1.0);
  Version2("/docker/abcdef", "/docker/abc");  // another group, whose name only begins alike
  EXPECT_EQ(CpuQuota(root_), 2.0);
  Version2("/../sibling");
  EXPECT_EQ(CpuQuota(root_), 2.0);
}

TEST_F(Topology, QuotaOfVersion1) {
  Version1("/job");
  const std::string folder = "/sys/fs/cgroup/cpu,cpuacct/job/";
  Write(folder + "cpu.cfs_quota_us", "-1\n");
  Write(folder + "cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(CpuQuota(root_), std::nullopt);
  Write(folder + "cpu.cfs_quota_us", "150000\n");
  EXPECT_EQ(CpuQuota(root_), 1.5);
}

TEST_F(Topology, NonsenseIsNoQuota) {
  Version2("/");
  for (const char* text : {"", "x y", "0 100000", "100 0", "-5 100", "99999999999999999999 1"}) {
    Write("/sys/fs/cgroup/cpu.max", text);
    EXPECT_EQ(CpuQuota(root_), std::nullopt) << text;
  }
}

TEST_F(Topology, LimitsCombine) {
  CpuLimits limits{.logical = 8, .cores = 4, .quota = std::nullopt};
  EXPECT_EQ(limits.Processors(), 8);
  EXPECT_EQ(limits.Threads(), 4);
  limits.quota = 2.5;
  EXPECT_EQ(limits.Processors(), 3);
  EXPECT_EQ(limits.Threads(), 3);
  limits.quota = 0.1;
  EXPECT_EQ(limits.Threads(), 1);
  limits.quota = 6.0;
  EXPECT_EQ(limits.Processors(), 6);
  EXPECT_EQ(limits.Threads(), 4);
}

TEST_F(Topology, ThisMachine) {
  const auto cpus = AllowedCpus();
  ASSERT_FALSE(cpus.empty());
  const CpuLimits limits = ReadCpuLimits();
  EXPECT_EQ(limits.logical, static_cast<int>(cpus.size()));
  EXPECT_GE(limits.cores, 1);
  EXPECT_LE(limits.cores, limits.logical);
}

TEST_F(Memory, NothingToRead) {
  const MemoryInfo info = AvailableMemory(root_);
  EXPECT_EQ(info.available, UINT64_MAX);
  EXPECT_EQ(info.limited_by, "unknown");
}

TEST_F(Memory, TheMachineLimits) {
  Write("/proc/meminfo", "MemTotal:  4000 kB\nMemFree: 1000 kB\nMemAvailable:   2000 kB\n");
  EXPECT_EQ(AvailableMemory(root_).available, 2000u * 1024);
  EXPECT_EQ(AvailableMemory(root_).limited_by, "memory");
  Write("/proc/meminfo", "MemTotal:  4000 kB\nMemFree: 1000 kB\nBuffers: 1 kB\nCached: 20 kB\n");
  EXPECT_EQ(AvailableMemory(root_).available, 1021u * 1024);
}

TEST_F(Memory, AControlGroupOfVersion2Limits) {
  Write("/proc/meminfo", "MemAvailable:   2000000 kB\n");
  Version2("/a/b");
  Write("/sys/fs/cgroup/a/b/memory.max", "max\n");
  Write("/sys/fs/cgroup/a/memory.max", "1000000\n");
  Write("/sys/fs/cgroup/a/memory.current", "400000\n");
  Write("/sys/fs/cgroup/a/memory.stat", "anon 300000\ninactive_file 50000\nactive_file 7\n");
  const MemoryInfo info = AvailableMemory(root_);
  EXPECT_EQ(info.available, 650000u);
  EXPECT_EQ(info.limited_by, "cgroup");
  EXPECT_EQ(info.source, root_ + "/sys/fs/cgroup/a/memory.max");
  Write("/sys/fs/cgroup/a/memory.current", "2000000\n");
  EXPECT_EQ(AvailableMemory(root_).available, 0u);
}

TEST_F(Memory, AControlGroupOfVersion1Limits) {
  Write("/proc/meminfo", "MemAvailable:   2000000 kB\n");
  Version1("/job");
  Write("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(AvailableMemory(root_).limited_by, "memory");
  Write("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "500000\n");
  Write("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "100000\n");
  Write("/sys/fs/cgroup/memory/job/memory.stat", "inactive_file 1\ntotal_inactive_file 2000\n");
  EXPECT_EQ(AvailableMemory(root_).available, 402000u);
  EXPECT_EQ(AvailableMemory(root_).limited_by, "cgroup");
}

TEST_F(Memory, ThisMachine) {
  const MemoryInfo info = AvailableMemory();
  EXPECT_GT(info.available, 0u);
  EXPECT_NE(info.limited_by, "unknown");
}

}  // namespace
}  // namespace mossrt::runtime
