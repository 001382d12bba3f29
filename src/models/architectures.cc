// Choosing an architecture by what config.json states.
#include <algorithm>
#include <mutex>

#include "base/cat.h"
#include "base/json.h"
#include "base/status.h"
#include "models/specs/specs.h"

namespace mossrt::runtime {
namespace {

struct Registry {
  std::mutex mutex;
  std::vector<ArchSpec> outside;
};

Registry& GetRegistry() {
  static auto* registry = new Registry;
  return *registry;
}

bool Contains(const std::vector<std::string>& list, const std::string& item) {
  return std::find(list.begin(), list.end(), item) != list.end();
}

// Why the spec does not fit, or empty.
std::string Mismatch(const ArchSpec& spec, const JsonReader& config) {
  std::vector<std::string> missing, excluded;
  for (const std::string& key : spec.required_keys) {
    if (!config.Has(key)) missing.push_back(key);
  }
  for (const std::string& key : spec.excluded_keys) {
    if (config.Has(key)) excluded.push_back(key);
  }
  std::string why;
  if (!missing.empty()) why = Cat("needs the keys ", Join(missing, ", "));
  if (!excluded.empty())
    why = Cat(why, why.empty() ? "" : "; ", "must not have ", Join(excluded, ", "));
  return why;
}

}  // namespace

std::vector<ArchSpec> Architectures() {
  std::vector<ArchSpec> all = {MossSpec(), CodegenSpec(), Codegen2Spec(), LlamaSpec()};
  Registry& registry = GetRegistry();
  const std::lock_guard lock(registry.mutex);
  all.insert(all.end(), registry.outside.begin(), registry.outside.end());
  return all;
}

absl::Status RegisterArchitecture(ArchSpec spec) {
  if (spec.name.empty()) return absl::InvalidArgumentError("an architecture needs a name");
  for (const ArchSpec& known : Architectures()) {
    if (known.name == spec.name) {
      return absl::AlreadyExistsError(
          Cat("an architecture named \"", spec.name, "\" is registered already"));
    }
  }
  Registry& registry = GetRegistry();
  const std::lock_guard lock(registry.mutex);
  registry.outside.push_back(std::move(spec));
  return absl::OkStatus();
}

absl::StatusOr<ArchSpec> ChooseArchitecture(const std::string& config_json,
                                            const std::string& architecture) {
  MOSSRT_ASSIGN_OR_RETURN(const Json json, ParseJsonObject(config_json, "config.json"));
  const JsonReader config(json, "config.json");
  const std::vector<ArchSpec> all = Architectures();
  std::vector<std::string> names;
  for (const ArchSpec& spec : all) names.push_back(spec.name);

  if (!architecture.empty()) {
    for (const ArchSpec& spec : all) {
      if (spec.name == architecture) return spec;
    }
    return absl::InvalidArgumentError(
        Cat("unknown architecture \"", architecture, "\"; known are ", Join(names, ", ")));
  }
  MOSSRT_ASSIGN_OR_RETURN(const auto type, config.String("model_type"));
  if (!type) {
    return absl::InvalidArgumentError(
        Cat("config.json has no \"model_type\"; give the load option \"architecture\" (",
            Join(names, ", "), ")"));
  }
  std::vector<const ArchSpec*> fitting;
  std::vector<std::string> reasons;
  for (const ArchSpec& spec : all) {
    if (!Contains(spec.model_types, *type)) continue;
    std::string why = Mismatch(spec, config);
    if (why.empty()) {
      fitting.push_back(&spec);
    } else {
      reasons.push_back(Cat("\"", spec.name, "\" ", why));
    }
  }
  if (fitting.size() == 1) return *fitting[0];
  if (fitting.size() > 1) {
    std::vector<std::string> candidates;
    for (const ArchSpec* spec : fitting) candidates.push_back(spec->name);
    return absl::InvalidArgumentError(Cat("config.json fits more than one architecture (",
                                          Join(candidates, ", "),
                                          "); give the load option \"architecture\""));
  }
  if (reasons.empty()) {
    return absl::UnimplementedError(Cat("model_type \"", *type,
                                        "\" is not one that this library runs; known "
                                        "architectures are ",
                                        Join(names, ", "), ", and a program can register its own"));
  }
  return absl::InvalidArgumentError(
      Cat("model_type \"", *type,
          "\" is known, but config.json fits no architecture: ", Join(reasons, "; "),
          ". The load option \"architecture\" chooses one of ", Join(names, ", "), " by name"));
}

}  // namespace mossrt::runtime
