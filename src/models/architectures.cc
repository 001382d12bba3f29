// Choosing an architecture by what config.json states.
#include <algorithm>
#include <initializer_list>
#include <mutex>
#include <utility>

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

// What a spec must state whatever config.json says.
absl::Status CheckSpec(const ArchSpec& s) {
  std::vector<std::string> problems;
  const auto require = [&problems](bool ok, std::string problem) {
    if (!ok) problems.push_back(std::move(problem));
  };
  const auto need = [&](std::string_view kind,
                        std::initializer_list<std::pair<const char*, const std::string&>> names) {
    for (const auto& [field, value] : names) require(!value.empty(), Cat(kind, field, " is empty"));
  };
  need("", {{"name", s.name}});
  need("keys.", {{"hidden", s.keys.hidden},
                 {"layers", s.keys.layers},
                 {"heads", s.keys.heads},
                 {"max_positions", s.keys.max_positions},
                 {"vocab", s.keys.vocab}});
  const TensorNames& t = s.tensors;
  need("tensors.", {{"embedding", t.embedding},
                    {"norm_1", t.norm_1},
                    {"attn_out", t.attn_out},
                    {"mlp_up", t.mlp_up},
                    {"mlp_down", t.mlp_down},
                    {"final_norm", t.final_norm}});
  if (s.mlp == Mlp::kGated) need("tensors.", {{"mlp_gate", t.mlp_gate}});
  if (s.residual != Residual::kParallelSharedNorm) need("tensors.", {{"norm_2", t.norm_2}});
  if (!s.tied_head) need("tensors.", {{"head", t.head}});
  if (s.fused_qkv.groups == 0) {
    need("tensors.", {{"q", t.q}, {"k", t.k}, {"v", t.v}});
  } else {
    need("tensors.", {{"qkv", t.qkv}});
    std::string order = s.fused_qkv.order;
    std::sort(order.begin(), order.end());
    require(order == "kqv",
            Cat("fused_qkv.order is \"", s.fused_qkv.order, "\", not q, k and v in some order"));
    require(s.fused_qkv.groups >= FusedQkv::kPerKvHead,
            Cat("fused_qkv.groups is ", s.fused_qkv.groups));
  }
  require(t.layer.find("{}") != std::string::npos,
          Cat("tensors.layer is \"", t.layer, "\", without {} for the layer's number"));
  require(s.inner_per_hidden >= 0 && s.inner_per_hidden <= 64,
          Cat("inner_per_hidden is ", s.inner_per_hidden, ", not from 0 to 64"));
  if (problems.empty()) return absl::OkStatus();
  return absl::InvalidArgumentError(
      Cat("the architecture \"", s.name, "\" cannot be registered: ", Join(problems, "; ")));
}

std::vector<ArchSpec> BuiltIn() { return {MossSpec(), CodegenSpec(), Codegen2Spec(), LlamaSpec()}; }

}  // namespace

std::vector<ArchSpec> Architectures() {
  std::vector<ArchSpec> all = BuiltIn();
  Registry& registry = GetRegistry();
  const std::lock_guard lock(registry.mutex);
  all.insert(all.end(), registry.outside.begin(), registry.outside.end());
  return all;
}

absl::Status RegisterArchitecture(ArchSpec spec) {
  MOSSRT_RETURN_IF_ERROR(CheckSpec(spec));
  const auto taken = [&spec](const std::vector<ArchSpec>& known) {
    return std::any_of(known.begin(), known.end(),
                       [&](const ArchSpec& other) { return other.name == spec.name; });
  };
  Registry& registry = GetRegistry();
  const std::lock_guard lock(registry.mutex);
  if (taken(BuiltIn()) || taken(registry.outside)) {
    return absl::AlreadyExistsError(
        Cat("an architecture named \"", spec.name, "\" is registered already; choose another"));
  }
  registry.outside.push_back(std::move(spec));
  return absl::OkStatus();
}

absl::StatusOr<ArchSpec> ChooseArchitecture(const std::string& config_json,
                                            const std::string& architecture) {
  MOSSRT_ASSIGN_OR_RETURN(const Json json,
                          ParseJsonObject(config_json, "config.json", kCorrectFile));
  const JsonReader config(json, "config.json", kCorrectFile);
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
        Cat("config.json: \"model_type\" is missing; give the load option \"architecture\" (",
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
    return absl::InvalidArgumentError(Cat("config.json: fits more than one architecture (",
                                          Join(candidates, ", "),
                                          "); give the load option \"architecture\""));
  }
  if (reasons.empty()) {
    return absl::UnimplementedError(Cat("config.json: model_type \"", *type,
                                        "\" is not one that this library runs; known "
                                        "architectures are ",
                                        Join(names, ", "), ", and a program can register its own"));
  }
  return absl::InvalidArgumentError(
      Cat("config.json: model_type \"", *type,
          "\" is known, but the file fits no architecture: ", Join(reasons, "; "),
          ". The load option \"architecture\" chooses one of ", Join(names, ", "), " by name"));
}

}  // namespace mossrt::runtime
