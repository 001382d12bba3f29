// The input is config.json beside one fixed safetensors file; what plans and is small is loaded and
// run.
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "run_once.h"

namespace {

using namespace mossrt::runtime;  // NOLINT

// The tensors of a LLaMA and of a MOSS, both of hidden 8, 1 layer, 2 heads, 11 tokens, so that
// configs close to the seeds fit one of them. A header alone: zeros follow.
std::string Tensors(bool moss) {
  using Shape = std::vector<int>;
  std::vector<std::pair<std::string, Shape>> tensors;
  if (moss) {
    const std::string layer = "transformer.h.0.";
    tensors = {{"transformer.wte.weight", {11, 8}},
               {layer + "ln_1.weight", {8}},
               {layer + "ln_1.bias", {8}},
               {layer + "attn.qkv_proj.weight", {24, 8}},
               {layer + "attn.out_proj.weight", {8, 8}},
               {layer + "mlp.fc_in.weight", {32, 8}},
               {layer + "mlp.fc_in.bias", {32}},
               {layer + "mlp.fc_out.weight", {8, 32}},
               {layer + "mlp.fc_out.bias", {8}},
               {"transformer.ln_f.weight", {8}},
               {"transformer.ln_f.bias", {8}},
               {"lm_head.weight", {11, 8}},
               {"lm_head.bias", {11}}};
  } else {
    const std::string layer = "model.layers.0.";
    tensors = {{"model.embed_tokens.weight", {11, 8}},
               {layer + "input_layernorm.weight", {8}},
               {layer + "post_attention_layernorm.weight", {8}},
               {layer + "self_attn.q_proj.weight", {8, 8}},
               {layer + "self_attn.k_proj.weight", {4, 8}},
               {layer + "self_attn.v_proj.weight", {4, 8}},
               {layer + "self_attn.o_proj.weight", {8, 8}},
               {layer + "mlp.up_proj.weight", {12, 8}},
               {layer + "mlp.gate_proj.weight", {12, 8}},
               {layer + "mlp.down_proj.weight", {8, 12}},
               {"model.norm.weight", {8}},
               {"lm_head.weight", {11, 8}}};
  }
  std::string header = "{";
  std::size_t at = 0;
  for (const auto& [name, shape] : tensors) {
    std::size_t bytes = 2;
    std::string sizes;
    for (const int n : shape) {
      bytes *= static_cast<std::size_t>(n);
      sizes += (sizes.empty() ? "" : ",") + std::to_string(n);
    }
    header += (at == 0 ? "\"" : ",\"") + name + "\":{\"dtype\":\"BF16\",\"shape\":[" + sizes +
              "],\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(at + bytes) + "]}";
    at += bytes;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string file(8, '\0');
  const std::uint64_t size = header.size();
  std::memcpy(file.data(), &size, 8);
  return file + header + std::string(at, '\1');
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string files[2] = {Tensors(false), Tensors(true)};
  for (const std::string& tensors : files) {
    const auto checkpoint = OpenCheckpoint(
        OpenMemory("mem", {{"config.json", std::string(reinterpret_cast<const char*>(data), size)},
                           {"model.safetensors", tensors}}));
    if (!checkpoint.ok()) continue;
    const LoadOptions options{.dtype = "auto", .threads = 1, .huge_pages = false};
    const auto plan = PlanModel(**checkpoint, options);
    if (!plan.ok()) continue;
    constexpr std::uint64_t kSmall = 1 << 20;
    const MemoryNeed& need = plan->need;
    if (need.weights + need.embedding + need.vectors > kSmall || need.kv_per_token > kSmall / 256) {
      continue;
    }
    const auto model = Model::Load(**checkpoint, options, nullptr);
    if (model.ok()) RunOnce(**model);
  }
  return 0;
}
