#include "models/formats.h"

#include <algorithm>
#include <map>

#include "base/cat.h"
#include "base/status.h"

namespace mossrt::runtime {

bool MatchesPattern(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0, star = std::string_view::npos, resume = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      resume = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p;
      ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

absl::StatusOr<FormatOverrides> FormatOverrides::Parse(const std::vector<std::string>& entries) {
  FormatOverrides overrides;
  for (const std::string& entry : entries) {
    const std::size_t equals = entry.rfind('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(
          Cat("option overrides: \"", entry,
              "\" is not of the form pattern=format, as in \"lm_head.weight=float16\""));
    }
    auto format = ParseWeightFormat(std::string_view(entry).substr(equals + 1));
    if (!format.ok()) return Prefix(format.status(), "option overrides");
    overrides.entries_.push_back({.pattern = entry.substr(0, equals), .format = *format});
  }
  return overrides;
}

std::optional<WeightFormat> FormatOverrides::Find(std::string_view tensor) {
  for (Entry& entry : entries_) {
    if (!MatchesPattern(entry.pattern, tensor)) continue;
    entry.used = true;
    return entry.format;
  }
  return std::nullopt;
}

absl::Status FormatOverrides::CheckUsed() const {
  for (const Entry& entry : entries_) {
    if (entry.used) continue;
    return absl::InvalidArgumentError(
        Cat("option overrides: no matrix of the model matches \"", entry.pattern,
            "\", or an earlier pattern takes all that do; `mossrt inspect` lists the names"));
  }
  return absl::OkStatus();
}

WeightFormat StoredFormat(const WeightSource& source) {
  const IntegerEncoding* integers = source.integers();
  if (integers == nullptr) return Dense(source.dtype());
  const std::int64_t size = integers->group_size;
  return Integers(integers->bits <= 4 ? 4 : 8, size >= 128 ? 128 : size >= 64 ? 64 : 32, true);
}

WeightFormat KeepIntegers(const WeightFormat& stored, const WeightFormat& asked) {
  return stored.integers() && asked.integers() ? stored : asked;
}

absl::StatusOr<WeightFormat> ChooseFormat(const std::string& asked,
                                          const std::vector<WeightRule>& rules,
                                          const std::vector<WeightFormat>& stored,
                                          std::vector<std::string>* notes) {
  if (asked != "auto") {
    auto format = ParseWeightFormat(asked);
    if (!format.ok()) return Prefix(format.status(), "option dtype");
    return format;
  }
  struct Share {
    WeightFormat format;
    std::int64_t elements = 0;
  };
  std::map<std::string, Share> shares;  // of matrices, by the format's name
  bool quantised = false;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (!rules[i].matrix()) continue;
    quantised = quantised || stored[i].integers();
    Share& share = shares[FormatName(stored[i])];
    share.format = stored[i];
    std::int64_t& count = share.elements;
    if (__builtin_add_overflow(count, rules[i].rows * rules[i].cols, &count)) count = INT64_MAX;
  }
  // Of a quantised file the embedding and the head, and now and then more, are left in floats.
  if (quantised) std::erase_if(shares, [](const auto& s) { return !s.second.format.integers(); });
  const auto most = std::max_element(
      shares.begin(), shares.end(),
      [](const auto& a, const auto& b) { return a.second.elements < b.second.elements; });
  if (shares.size() > 1 && !quantised) {
    std::string types;
    for (const auto& [name, share] : shares) types += Cat(types.empty() ? "" : ", ", name);
    notes->push_back(
        Cat("matrices come in several types (", types, "); all are held as ", most->first));
  }
  if (most->second.format == Dense(DType::kF64)) {
    notes->push_back("the file's float64 weights are held as float32");
    return Dense(DType::kF32);
  }
  return most->second.format;
}

WeightFormat FormatOfRole(Role role, const WeightFormat& format) {
  const bool outer = role == Role::kEmbedding || role == Role::kHead;
  return outer && format.integers() ? Integers(8, 128) : format;
}

WeightFormat MostFrequent(const std::vector<WeightRule>& rules,
                          const std::vector<WeightFormat>& held) {
  std::map<std::string, std::int64_t> elements;
  WeightFormat most;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (!rules[i].matrix() || rules[i].layer < 0) continue;
    std::int64_t& sum = elements[FormatName(held[i])];
    if (__builtin_add_overflow(sum, rules[i].rows * rules[i].cols, &sum)) sum = INT64_MAX;
    if (sum >= elements[FormatName(most)]) most = held[i];
  }
  return most;
}

std::string FormatsText(const std::vector<WeightRule>& rules, const std::vector<WeightFormat>& held,
                        const WeightFormat& most) {
  // By role; a role whose layers differ is told by a hash of all of them.
  std::map<Role, std::vector<std::string>> by_role;
  for (std::size_t i = 0; i < rules.size(); ++i) {
    if (!rules[i].matrix()) continue;
    // A row of a table of float16 or float32 comes out as it stands in the file.
    const bool exact = !held[i].integers() && held[i].dtype != DType::kBF16;
    if (rules[i].role == Role::kEmbedding && exact) continue;
    by_role[rules[i].role].push_back(FormatName(held[i]));
  }
  std::string text = FormatName(most);
  for (const auto& [role, names] : by_role) {
    const bool one =
        std::all_of(names.begin(), names.end(),
                    [&first = names.front()](const std::string& name) { return name == first; });
    if (one && names.front() == FormatName(most)) continue;
    text += Cat(" ", RoleName(role), "=");
    if (one) {
      text += names.front();
      continue;
    }
    std::uint64_t hash = 0xCBF29CE484222325u;
    for (const std::string& name : names) {
      for (const char c : name + "\n")
        hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001B3u;
    }
    text += Cat("mixed:", hash);
  }
  return text;
}

}  // namespace mossrt::runtime
