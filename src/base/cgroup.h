// Where the control groups of this process stand in the file system (v1 and v2).
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mossrt::runtime {

// The text of a file of at most 1 MiB, such as those of /proc and /sys; nullopt if it cannot be
// read.
std::optional<std::string> ReadSmallFile(const std::string& path);

struct CgroupPath {
  int version = 0;  // 1, 2, or 0: no such controller is mounted here
  // From the process's own group up to the topmost one that is visible; limits of all of them hold.
  std::vector<std::string> directories;
};

// For `controller` ("cpu", "memory"). `root` stands before /proc and /sys; empty in real life.
CgroupPath FindCgroup(std::string_view controller, const std::string& root);

}  // namespace mossrt::runtime
