#include "base/memory_info.h"

#include <charconv>
#include <optional>
#include <string_view>

#include "base/cgroup.h"

namespace mossrt::runtime {
namespace {

// Version 1 writes a number near 2^63 where there is no limit.
constexpr std::uint64_t kUnlimited = std::uint64_t{1} << 62;

std::optional<std::uint64_t> ParseNumber(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  std::uint64_t value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc()) return std::nullopt;  // "max" as well
  return value;
}

std::optional<std::uint64_t> NumberIn(const std::string& path) {
  const std::optional<std::string> text = ReadSmallFile(path);
  return text ? ParseNumber(*text) : std::nullopt;
}

// The number after `key` at the start of a line.
std::optional<std::uint64_t> Field(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    const std::string_view line = text.substr(0, text.find('\n'));
    if (line.substr(0, key.size()) == key) return ParseNumber(line.substr(key.size()));
    text.remove_prefix(line.size() < text.size() ? line.size() + 1 : line.size());
  }
  return std::nullopt;
}

std::optional<std::uint64_t> MachineBytes(const std::string& path) {
  const std::optional<std::string> text = ReadSmallFile(path);
  if (!text) return std::nullopt;
  if (const auto kib = Field(*text, "MemAvailable:")) return *kib * 1024;
  const auto free = Field(*text, "MemFree:");  // kernels before 3.14
  if (!free) return std::nullopt;
  return (*free + Field(*text, "Buffers:").value_or(0) + Field(*text, "Cached:").value_or(0)) *
         1024;
}

}  // namespace

MemoryInfo AvailableMemory(const std::string& root) {
  MemoryInfo info{.available = UINT64_MAX, .limited_by = "unknown", .source = ""};
  const std::string meminfo = root + "/proc/meminfo";
  if (const auto bytes = MachineBytes(meminfo)) {
    info = {.available = *bytes, .limited_by = "memory", .source = meminfo};
  }
  const CgroupPath group = FindCgroup("memory", root);
  const bool v2 = group.version == 2;
  for (const std::string& directory : group.directories) {
    const std::string file = directory + (v2 ? "/memory.max" : "/memory.limit_in_bytes");
    const auto limit = NumberIn(file);
    if (!limit || *limit >= kUnlimited) continue;
    const std::uint64_t used =
        NumberIn(directory + (v2 ? "/memory.current" : "/memory.usage_in_bytes")).value_or(0);
    const std::string stat = ReadSmallFile(directory + "/memory.stat").value_or("");
    const std::uint64_t droppable =
        Field(stat, v2 ? "inactive_file " : "total_inactive_file ").value_or(0);
    const std::uint64_t held = used > droppable ? used - droppable : 0;
    const std::uint64_t left = *limit > held ? *limit - held : 0;
    if (left < info.available) info = {.available = left, .limited_by = "cgroup", .source = file};
  }
  return info;
}

}  // namespace mossrt::runtime
