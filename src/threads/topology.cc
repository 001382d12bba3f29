#include "threads/topology.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>
#include <set>
#include <string_view>

#include "base/cat.h"
#include "base/cgroup.h"

namespace mossrt::runtime {
namespace {

std::optional<long long> ParseInt(std::string_view text) {
  long long value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc()) return std::nullopt;
  return value;
}

std::optional<double> Ratio(std::optional<long long> quota, std::optional<long long> period) {
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;  // -1: no limit
  return static_cast<double>(*quota) / static_cast<double>(*period);
}

std::optional<double> QuotaOf(const std::string& directory, int version) {
  if (version == 2) {  // "max 100000" or "150000 100000"
    const auto text = ReadSmallFile(directory + "/cpu.max");
    if (!text) return std::nullopt;
    const std::size_t space = text->find(' ');
    const std::string_view period =
        space == std::string::npos ? "100000" : std::string_view(*text).substr(space + 1);
    return Ratio(ParseInt(*text), ParseInt(period));
  }
  const auto quota = ReadSmallFile(directory + "/cpu.cfs_quota_us");
  const auto period = ReadSmallFile(directory + "/cpu.cfs_period_us");
  if (!quota || !period) return std::nullopt;
  return Ratio(ParseInt(*quota), ParseInt(*period));
}

int CutByQuota(int count, const std::optional<double>& quota) {
  if (quota && *quota < count) {
    count = static_cast<int>(*quota) + (*quota > static_cast<int>(*quota) ? 1 : 0);
  }
  return std::max(count, 1);
}

}  // namespace

std::vector<int> AllowedCpus() {
  std::vector<int> cpus;
  // The kernel refuses a mask shorter than its own, which 1024 bits may be.
  for (int bits = 1024; bits <= 1 << 18; bits *= 4) {
    const std::size_t bytes = CPU_ALLOC_SIZE(bits);
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> mask(
        CPU_ALLOC(bits), [](cpu_set_t* set) { CPU_FREE(set); });
    if (!mask) break;
    CPU_ZERO_S(bytes, mask.get());
    if (::sched_getaffinity(0, bytes, mask.get()) != 0) continue;
    for (int i = 0; i < bits; ++i) {
      if (CPU_ISSET_S(static_cast<std::size_t>(i), bytes, mask.get())) cpus.push_back(i);
    }
    break;
  }
  return cpus;
}

int CountCores(std::span<const int> cpus, const std::string& root) {
  std::set<std::string> cores;
  for (const int cpu : cpus) {
    const std::string folder = Cat(root, "/sys/devices/system/cpu/cpu", cpu, "/topology/");
    // core_id alone repeats between packages, and between dies or clusters of some machines.
    std::string core;
    for (const char* name : {"physical_package_id", "die_id", "cluster_id", "core_id"}) {
      core += ReadSmallFile(folder + name).value_or("-");
      core += '/';
    }
    if (core == "-/-/-/-/") core = Cat("cpu", cpu);
    cores.insert(core);
  }
  return static_cast<int>(cores.size());
}

std::optional<double> CpuQuota(const std::string& root) {
  const CgroupPath group = FindCgroup("cpu", root);
  std::optional<double> least;
  for (const std::string& directory : group.directories) {
    const auto quota = QuotaOf(directory, group.version);
    if (quota && (!least || *quota < *least)) least = quota;
  }
  return least;
}

int CpuLimits::Processors() const { return CutByQuota(logical, quota); }
int CpuLimits::Threads() const { return CutByQuota(cores, quota); }

CpuLimits ReadCpuLimits(const std::string& root) {
  const std::vector<int> cpus = AllowedCpus();
  CpuLimits limits;
  if (cpus.empty()) {
    limits.logical = static_cast<int>(std::max(1L, ::sysconf(_SC_NPROCESSORS_ONLN)));
    limits.cores = limits.logical;
  } else {
    limits.logical = static_cast<int>(cpus.size());
    limits.cores = std::max(1, CountCores(cpus, root));
  }
  limits.quota = CpuQuota(root);
  return limits;
}

}  // namespace mossrt::runtime
