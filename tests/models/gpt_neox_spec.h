// GPT-NeoX: a family that no built-in spec covers, stated from outside.
#pragma once

#include "mossrt/runtime/arch_spec.h"

namespace mossrt::runtime {

inline ArchSpec GptNeoxSpec() {
  ArchSpec spec;
  spec.name = "gpt_neox";
  spec.model_types = {"gpt_neox"};
  spec.required_keys = {"hidden_size", "rotary_pct"};
  spec.norm = Norm::kLayerNorm;
  spec.residual = Residual::kParallelTwoNorms;
  spec.mlp = Mlp::kPlain;
  spec.activation = Activation::kGeluErf;
  spec.norm_bias = spec.qkv_bias = spec.attn_out_bias = spec.mlp_bias = true;
  spec.fused_qkv = {.groups = FusedQkv::kPerKvHead, .order = "qkv"};
  spec.keys.kv_heads = "";
  spec.keys.head_dim = "";
  spec.keys.norm_eps = "layer_norm_eps";
  spec.keys.rotary_fraction = "rotary_pct";
  spec.keys.rope_theta = "rotary_emb_base";
  spec.keys.parallel_residual = "use_parallel_residual";
  spec.tensors = {.embedding = "gpt_neox.embed_in",
                  .layer = "gpt_neox.layers.{}.",
                  .norm_1 = "input_layernorm",
                  .norm_2 = "post_attention_layernorm",
                  .qkv = "attention.query_key_value",
                  .q = "",
                  .k = "",
                  .v = "",
                  .attn_out = "attention.dense",
                  .mlp_up = "mlp.dense_h_to_4h",
                  .mlp_gate = "",
                  .mlp_down = "mlp.dense_4h_to_h",
                  .final_norm = "gpt_neox.final_layer_norm",
                  .head = "embed_out",
                  .ignore_in_layer = {"attention.bias", "attention.masked_bias",
                                      "attention.rotary_emb.inv_freq"},
                  .ignore = {}};
  return spec;
}

}  // namespace mossrt::runtime
