#include "checkpoint/shard_index.h"

#include <algorithm>
#include <optional>
#include <set>
#include <tuple>
#include <utility>

#include "base/json.h"
#include "base/status.h"
#include "checkpoint/bytes.h"

namespace mossrt::runtime {
namespace {

// The index of a model with 90,000 tensors has 9 MB.
constexpr std::uint64_t kMaxIndex = 16u << 20;
constexpr std::uint32_t kMaxShards = 100'000;

struct FormatNames {
  FileFormat format;
  std::string_view stem;
  std::string_view extension;
};

constexpr FormatNames kFormats[] = {{FileFormat::kSafetensors, "model", ".safetensors"},
                                    {FileFormat::kTorchPickle, "pytorch_model", ".bin"}};

// "pytorch_model-00002-of-00004.bin"
struct ShardName {
  std::string_view stem;
  std::string_view extension;
  std::uint32_t part = 0;
  std::uint32_t total = 0;
  bool usual = false;  // five digits each

  auto Key() const { return std::tie(stem, extension, part, total); }
};

std::optional<std::uint32_t> TakeDigits(std::string_view* text, std::size_t* digits) {
  std::uint32_t number = 0;
  *digits = 0;
  while (*digits < text->size() && (*text)[*digits] >= '0' && (*text)[*digits] <= '9') {
    if (*digits == 9) return std::nullopt;
    number = number * 10 + static_cast<std::uint32_t>((*text)[(*digits)++] - '0');
  }
  if (*digits == 0) return std::nullopt;
  text->remove_prefix(*digits);
  return number;
}

std::optional<ShardName> ParseShardName(std::string_view file) {
  constexpr std::string_view kOf = "-of-";
  for (const FormatNames& format : kFormats) {
    if (!file.starts_with(format.stem) || !file.ends_with(format.extension)) continue;
    std::string_view rest = file.substr(format.stem.size());
    if (!rest.starts_with('-')) continue;
    rest.remove_prefix(1);
    std::size_t part_digits = 0;
    std::size_t total_digits = 0;
    const std::optional<std::uint32_t> part = TakeDigits(&rest, &part_digits);
    if (!part || !rest.starts_with(kOf)) continue;
    rest.remove_prefix(kOf.size());
    const std::optional<std::uint32_t> total = TakeDigits(&rest, &total_digits);
    if (!total || rest != format.extension) continue;
    return ShardName{format.stem, format.extension, *part, *total,
                     part_digits == 5 && total_digits == 5};
  }
  return std::nullopt;
}

bool SafeName(std::string_view name) {
  return !name.empty() && name.find("..") == std::string_view::npos &&
         name.find_first_of(std::string_view("/\\\0", 3)) == std::string_view::npos && name != ".";
}

class Planner {
 public:
  Planner(const ByteSource& source, const std::vector<std::string>& files)
      : source_(source), files_(files) {}

  absl::StatusOr<ShardPlan> Plan() {
    ShardPlan plan;
    bool found = false;
    for (const FormatNames& format : kFormats) {
      const std::string single = Cat(format.stem, format.extension);
      const std::string index = single + ".index.json";
      const std::vector<std::string> numbered = Numbered(format);
      if (!Has(single) && !Has(index) && numbered.empty()) continue;
      if (found) {
        plan.notes.push_back(
            Cat(source_.name(), ": ", plan.index.empty() ? plan.shards[0] : plan.index,
                " is read; the weights in ", format.extension, " files beside it are ignored"));
        continue;
      }
      found = true;
      plan.format = format.format;
      if (Has(single)) {
        plan.shards = {single};
        if (Has(index) || !numbered.empty()) {
          plan.notes.push_back(Cat(source_.name(), "/", single,
                                   " is read; the shards or index beside it are ignored"));
        }
      } else if (Has(index)) {
        MOSSRT_RETURN_IF_ERROR(FollowIndex(index, &plan));
      } else {
        MOSSRT_RETURN_IF_ERROR(FollowNumbers(numbered, &plan));
      }
    }
    if (!found) found = FindAutoGptq(&plan);
    if (found) return plan;
    return absl::NotFoundError(
        Cat(source_.name(),
            ": holds no weights. Expected model.safetensors, pytorch_model.bin, shards such as "
            "pytorch_model-00001-of-00004.bin, or one gptq_model-*.safetensors; found ",
            QuotedList(files_)));
  }

 private:
  bool Has(std::string_view file) const {
    return std::binary_search(files_.begin(), files_.end(), file);
  }

  std::vector<std::string> Numbered(const FormatNames& format) const {
    std::vector<std::string> names;
    for (const std::string& file : files_) {
      const std::optional<ShardName> name = ParseShardName(file);
      if (name && name->stem == format.stem && name->extension == format.extension) {
        names.push_back(file);
      }
    }
    return names;
  }

  // AutoGPTQ names its one file after bits and groups: gptq_model-4bit-128g.safetensors.
  bool FindAutoGptq(ShardPlan* plan) const {
    for (const FormatNames& format : kFormats) {
      std::vector<std::string> names;
      for (const std::string& file : files_) {
        if (file.starts_with("gptq_model-") && file.ends_with(format.extension))
          names.push_back(file);
      }
      if (names.size() != 1) continue;
      plan->format = format.format;
      plan->shards = std::move(names);
      return true;
    }
    return false;
  }

  absl::Status FollowIndex(const std::string& index, ShardPlan* plan) const {
    MOSSRT_ASSIGN_OR_RETURN(const std::string json, ReadAll(source_, index, kMaxIndex));
    const std::string where = Cat(source_.name(), "/", index);
    MOSSRT_ASSIGN_OR_RETURN(plan->weight_map, ParseShardIndex(json, where));
    plan->index = index;
    std::map<std::string, std::string> actual;  // as the index names it -> as it is named
    std::vector<std::string> missing;
    std::set<std::string> shards;
    for (const auto& [tensor, shard] : plan->weight_map) actual.emplace(shard, "");
    for (auto& [shard, file] : actual) {
      file = FindShard(shard);
      if (file.empty()) {
        missing.push_back(shard);
      } else if (file != shard) {
        plan->notes.push_back(Cat(where, ": names ", Quoted(shard), ", which is missing; ",
                                  Quoted(file), " has the same numbers and is read instead"));
      }
      if (!file.empty() && !shards.insert(file).second) {
        return absl::InvalidArgumentError(
            Cat(where, ": names ", Quoted(file), " in two ways; correct the index"));
      }
    }
    if (!missing.empty()) {
      return absl::NotFoundError(Cat(where, ": ", missing.size(), " of ", actual.size(),
                                     " files that it names are missing: ", QuotedList(missing),
                                     "; download them into the same directory"));
    }
    for (auto& [tensor, shard] : plan->weight_map) shard = actual[shard];
    plan->shards.assign(shards.begin(), shards.end());
    return absl::OkStatus();
  }

  // The file itself, or the one that has the same numbers in other digits; empty if there is none.
  std::string FindShard(const std::string& shard) const {
    if (Has(shard)) return shard;
    const std::optional<ShardName> wanted = ParseShardName(shard);
    if (!wanted) return "";
    for (const std::string& file : files_) {
      const std::optional<ShardName> name = ParseShardName(file);
      if (name && name->Key() == wanted->Key()) return file;
    }
    return "";
  }

  absl::Status FollowNumbers(const std::vector<std::string>& numbered, ShardPlan* plan) const {
    const std::uint32_t total = ParseShardName(numbered[0])->total;
    std::map<std::uint32_t, std::string> parts;
    for (const std::string& file : numbered) {
      const ShardName name = *ParseShardName(file);
      if (name.total != total || name.part < 1 || name.part > total || total > kMaxShards ||
          !parts.emplace(name.part, file).second) {
        return absl::InvalidArgumentError(
            Cat(source_.name(),
                ": without an index the shards must be numbered 1 to N once each; "
                "found ",
                QuotedList(numbered)));
      }
      if (!name.usual) {
        plan->notes.push_back(Cat(source_.name(), "/", file,
                                  ": the name has another number of digits than usual; it is read "
                                  "as part ",
                                  name.part, " of ", total));
      }
    }
    if (parts.size() != total) {
      std::vector<std::string> missing;
      for (std::uint32_t part = 1; part <= total; ++part) {
        if (!parts.contains(part)) missing.push_back(std::to_string(part));
      }
      return absl::NotFoundError(Cat(source_.name(), ": of ", total, " shards only ", parts.size(),
                                     " are there (", QuotedList(numbered),
                                     "); missing are the parts ", QuotedList(missing)));
    }
    for (auto& [part, file] : parts) plan->shards.push_back(file);
    return absl::OkStatus();
  }

  const ByteSource& source_;
  const std::vector<std::string>& files_;
};

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> ParseShardIndex(std::string_view json,
                                                                   std::string_view where) {
  MOSSRT_ASSIGN_OR_RETURN(const Json index, ParseJsonObject(json, where, kCorrectFile));
  const auto map = index.find("weight_map");
  if (map == index.end() || !map->is_object()) {
    return absl::InvalidArgumentError(
        Cat(where, ": expected an object \"weight_map\" from tensors to files, found ",
            map == index.end() ? "none" : Excerpt(*map), "; ", kCorrectFile));
  }
  std::map<std::string, std::string> result;
  for (const auto& [tensor, shard] : map->items()) {
    const std::string* name = shard.get_ptr<const std::string*>();
    if (name == nullptr || !SafeName(*name)) {
      return absl::InvalidArgumentError(
          Cat(where, ": \"weight_map\" gives tensor ", Quoted(tensor), " the file ",
              Quoted(name == nullptr ? DumpJson(shard) : *name),
              "; expected the plain name of a file in the same directory; ", kCorrectFile));
    }
    result.emplace(tensor, *name);
  }
  if (result.empty()) {
    return absl::InvalidArgumentError(
        Cat(where, ": \"weight_map\" is empty; expected a file for each tensor; ", kCorrectFile));
  }
  return result;
}

absl::StatusOr<ShardPlan> PlanShards(const ByteSource& source,
                                     const std::vector<std::string>& files) {
  return Planner(source, files).Plan();
}

}  // namespace mossrt::runtime
