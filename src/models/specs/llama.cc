// LLaMA and moss-base-7b: RMSNorm, separate q, k, v, gated SiLU MLP.
#include "models/specs/specs.h"

namespace mossrt::runtime {

ArchSpec LlamaSpec() {
  ArchSpec spec;
  spec.name = "llama";
  spec.model_types = {"llama", "mistral", "moss"};
  spec.required_keys = {"hidden_size", "num_hidden_layers", "num_attention_heads",
                        "intermediate_size", "rms_norm_eps"};
  spec.excluded_keys = {"n_embd"};
  spec.keys.must_be_off = {"rope_scaling", "attention_bias", "mlp_bias", "sliding_window"};
  spec.tensors = {.embedding = "model.embed_tokens",
                  .layer = "model.layers.{}.",
                  .norm_1 = "input_layernorm",
                  .norm_2 = "post_attention_layernorm",
                  .qkv = "",
                  .q = "self_attn.q_proj",
                  .k = "self_attn.k_proj",
                  .v = "self_attn.v_proj",
                  .attn_out = "self_attn.o_proj",
                  .mlp_up = "mlp.up_proj",
                  .mlp_gate = "mlp.gate_proj",
                  .mlp_down = "mlp.down_proj",
                  .final_norm = "model.norm",
                  .head = "lm_head",
                  .ignore_in_layer = {"self_attn.rotary_emb.inv_freq"},
                  .ignore = {}};
  return spec;
}

}  // namespace mossrt::runtime
