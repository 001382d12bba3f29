#include "base/cgroup.h"

#include <cstdio>
#include <sstream>

namespace mossrt::runtime {
namespace {

constexpr std::size_t kMaxSmallFile = std::size_t{1} << 20;

// Is `item` one of the comma-separated items of `list`?
bool Lists(std::string_view list, std::string_view item) {
  while (true) {
    const std::size_t comma = list.find(',');
    if (list.substr(0, comma) == item) return true;
    if (comma == std::string_view::npos) return false;
    list.remove_prefix(comma + 1);
  }
}

struct Mount {
  std::string root, point;
};

// One line: "36 35 98:0 /root /mount/point options - type source super-options".
std::optional<Mount> FindMount(const std::string& mountinfo, int version,
                               std::string_view controller) {
  std::istringstream lines(mountinfo);
  std::string line;
  while (std::getline(lines, line)) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream head(line.substr(0, dash)), tail(line.substr(dash + 3));
    std::string id, parent, device, type, source, super;
    Mount mount;
    head >> id >> parent >> device >> mount.root >> mount.point;
    tail >> type >> source >> super;
    if (mount.point.empty()) continue;
    if (version == 2 ? type == "cgroup2" : type == "cgroup" && Lists(super, controller)) {
      return mount;
    }
  }
  return std::nullopt;
}

// The group's path in /proc/self/cgroup, whose lines are "number:controllers:path".
std::optional<std::string> FindGroup(const std::string& groups, int version,
                                     std::string_view controller) {
  std::istringstream lines(groups);
  std::string line;
  while (std::getline(lines, line)) {
    const std::size_t first = line.find(':');
    if (first == std::string::npos) continue;
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string_view controllers =
        std::string_view(line).substr(first + 1, second - first - 1);
    if (version == 2 ? controllers.empty() : Lists(controllers, controller)) {
      return line.substr(second + 1);
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<std::string> ReadSmallFile(const std::string& path) {
  std::FILE* file = std::fopen(path.c_str(), "re");
  if (file == nullptr) return std::nullopt;
  std::string text;
  char buffer[4096];
  std::size_t n = 0;
  while (text.size() < kMaxSmallFile && (n = std::fread(buffer, 1, sizeof buffer, file)) > 0) {
    text.append(buffer, n);
  }
  const bool failed = std::ferror(file) != 0;
  std::fclose(file);
  if (failed) return std::nullopt;
  return text;
}

CgroupPath FindCgroup(std::string_view controller, const std::string& root) {
  const std::optional<std::string> groups = ReadSmallFile(root + "/proc/self/cgroup");
  const std::optional<std::string> mounts = ReadSmallFile(root + "/proc/self/mountinfo");
  if (!groups || !mounts) return {};
  // On hybrid systems a controller belongs to v1 if v1 lists it.
  for (const int version : {1, 2}) {
    const auto group = FindGroup(*groups, version, controller);
    const auto mount = group ? FindMount(*mounts, version, controller) : std::nullopt;
    if (!mount) continue;
    // A container may see its own group as the mount's root while /proc names it from the host's.
    std::string below = *group;
    if (mount->root != "/") {
      const bool inside = below.compare(0, mount->root.size(), mount->root) == 0 &&
                          (below.size() == mount->root.size() || below[mount->root.size()] == '/');
      below = inside ? below.substr(mount->root.size()) : std::string();
    }
    if (below.find("/..") != std::string::npos) below.clear();  // outside of what is visible
    CgroupPath path{.version = version, .directories = {}};
    const std::string top = root + mount->point;
    while (!below.empty() && below != "/") {
      path.directories.push_back(top + below);
      below.resize(below.rfind('/') == std::string::npos ? 0 : below.rfind('/'));
    }
    path.directories.push_back(top);
    return path;
  }
  return {};
}

}  // namespace mossrt::runtime
