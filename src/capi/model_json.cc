#include "capi/model_json.h"

#include <cstdio>

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::capi {
namespace {

using runtime::Json;

std::uint64_t Bytes(const runtime::TensorPlan& tensor) {
  std::uint64_t bytes = runtime::DTypeSize(tensor.file_dtype);
  for (const std::int64_t n : tensor.shape) bytes *= static_cast<std::uint64_t>(n);
  return bytes;
}

Json ParsedOrNull(const std::string& text) {
  if (text.empty()) return nullptr;
  auto json = runtime::ParseJson(text, "config");
  return json.ok() ? *json : Json(nullptr);
}

}  // namespace

std::string NumericsHash(std::string_view numerics) {
  std::uint64_t hash = 0xCBF29CE484222325u;
  for (const char c : numerics) {
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3u;
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(hash));
  return text;
}

std::string NoOptions(const absl::Status& status) {
  return runtime::Cat("generation will fail: ", runtime::Message(status));
}

Json PlanJson(const runtime::ModelPlan& plan) {
  const runtime::HyperParams& p = plan.params;
  const runtime::MemoryNeed& need = plan.need;
  Json json;
  json["architecture"] = p.architecture;
  json["model_type"] = p.model_type;
  json["hyper_params"] = {{"vocab", p.vocab},
                          {"hidden", p.hidden},
                          {"layers", p.layers},
                          {"heads", p.heads},
                          {"kv_heads", p.kv_heads},
                          {"head_dim", p.head_dim},
                          {"inner", p.inner},
                          {"max_positions", p.max_positions},
                          {"rotary_dim", p.rotary_dim},
                          {"rope_theta", p.rope_theta},
                          {"norm_eps", p.norm_eps},
                          {"qkv_groups", p.qkv_groups},
                          {"residual", std::string(ResidualName(p.residual))},
                          {"activation", std::string(runtime::ActivationName(p.activation))},
                          {"tied_head", p.tied_head}};
  json["parameters"] = plan.parameters;
  json["dtype"] = std::string(runtime::FormatName(plan.format));
  json["kv_dtype"] = std::string(DTypeName(plan.kv_dtype));
  json["memory"] = {
      {"weights", need.weights},
      {"embedding", need.embedding},
      {"mapped", need.mapped},
      {"vectors", need.vectors},
      {"loading", need.loading},
      {"kv_per_token", need.kv_per_token},
      {"kv_full_context", need.kv_per_token * static_cast<std::uint64_t>(p.max_positions)},
      {"available", need.available},
      {"limited_by", need.limited_by}};
  json["packed"] = nullptr;
  if (plan.packed) {
    json["packed"] = {{"made_by", plan.packed->made_by},
                      {"made_from", plan.packed->name},
                      {"dtype", plan.packed->dtype},
                      {"overrides", plan.packed->overrides}};
  }
  json["notes"] = plan.notes;
  return json;
}

Json TensorsJson(const runtime::ModelPlan& plan) {
  Json tensors = Json::array();
  for (const runtime::TensorPlan& tensor : plan.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"dtype", std::string(runtime::DTypeName(tensor.file_dtype))},
                       {"shape", tensor.shape},
                       {"bytes", Bytes(tensor)},
                       {"use", tensor.use},
                       {"held", tensor.held}});
  }
  return tensors;
}

Json TokenizerJson(const TokenizerState* state) {
  if (state == nullptr) return nullptr;
  Json json = {{"kind", std::string(state->tokenizer->kind())}, {"size", state->tokenizer->size()}};
  for (const char* role : {"bos", "eos", "unk", "pad"}) json[role] = state->special.at(role);
  return json;
}

std::string InfoJson(const ModelState& state, const std::string& path, const std::string& backend) {
  const runtime::Model& model = *state.model;
  Json json = PlanJson(model.plan());
  json["version"] = MOSSRT_VERSION_TEXT;
  json["file"] = path;
  json["backend"] = backend;
  json["deterministic"] = model.backend().deterministic();
  json["threads"] = model.team().size();
  json["isa"] = cpu::Kernels()->name;
  json["outside_kernels"] = cpu::OutsideKernelsActive();
  json["numerics"] = model.numerics();
  json["numerics_hash"] = NumericsHash(model.numerics());
  json["memory"]["held"] = model.weight_bytes();
  json["tokenizer"] = TokenizerJson(state.tokenizer.get());
  if (state.tokenizer == nullptr) {
    json["notes"].push_back(
        runtime::Cat("no tokenizer: ", runtime::Message(state.tokenizer_status)));
  }
  for (const std::string& note : state.generation_notes) json["notes"].push_back(note);
  json["config"] = ParsedOrNull(state.config_json);
  json["generation_config"] = ParsedOrNull(state.generation_config_json);
  return runtime::DumpJson(json);
}

}  // namespace mossrt::capi
