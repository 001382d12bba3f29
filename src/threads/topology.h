// How many processors this process may use: affinity mask, physical cores, cgroup quota.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace mossrt::runtime {

// Numbers of the processors in this thread's affinity mask, ascending; empty if the kernel does
// not say.
std::vector<int> AllowedCpus();

// Physical cores among `cpus`, by /sys/devices/system/cpu/cpu<N>/topology. A processor without that
// folder counts as a core of its own. `root` stands before /proc and /sys.
int CountCores(std::span<const int> cpus, const std::string& root = "");

// Processors' worth of time that the control groups allow, or nullopt if they set no limit.
std::optional<double> CpuQuota(const std::string& root = "");

struct CpuLimits {
  int logical = 1;  // processors in the affinity mask
  int cores = 1;    // physical cores among them
  std::optional<double> quota;

  int Processors() const;  // that may run at once: logical, cut by the quota
  int Threads() const;     // that pay off: cores, cut by the quota
};
CpuLimits ReadCpuLimits(const std::string& root = "");

}  // namespace mossrt::runtime
