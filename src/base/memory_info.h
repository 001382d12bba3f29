// How much memory this process may still take.
#pragma once

#include <cstdint>
#include <string>

namespace mossrt::runtime {

struct MemoryInfo {
  std::uint64_t available = 0;  // bytes; UINT64_MAX if nothing could be read
  std::string limited_by;       // "memory" | "cgroup" | "unknown"
  std::string source;           // the file that says so: "/proc/meminfo", ".../memory.max"
};

// The smallest of the machine's MemAvailable and what each enclosing control group leaves; file
// pages that a group can drop count as free. `root` stands before /proc and /sys.
MemoryInfo AvailableMemory(const std::string& root = "");

}  // namespace mossrt::runtime
