// CodeGen: GPT-J's block with q, v and k of each of the TPU shards it was trained on in one matrix.
#include "models/specs/specs.h"

namespace mossrt::runtime {

ArchSpec CodegenSpec() {
  return {.name = "codegen",
          .model_types = {"codegen"},
          .required_keys = {"n_embd", "n_layer", "n_head"},
          // CodeGen2 has the same keys and eight shards instead of four; what tells it apart is
          // code beside the weights. So a config that names such code must be opened with
          // architecture "codegen" or "codegen2".
          .excluded_keys = {"auto_map"},
          .norm = Norm::kLayerNorm,
          .residual = Residual::kParallelSharedNorm,
          .position = Position::kRotaryInterleaved,
          .mlp = Mlp::kPlain,
          .activation = Activation::kGeluTanh,
          .norm_bias = true,
          .mlp_bias = true,
          .head_bias = true,
          .inner_per_hidden = 4,
          .fused_qkv = {.groups = 4, .order = "qvk"},
          .keys = {.hidden = "n_embd",
                   .layers = "n_layer",
                   .heads = "n_head",
                   .kv_heads = "",
                   .head_dim = "",
                   .inner = "n_inner",
                   .max_positions = "n_positions",
                   .norm_eps = "layer_norm_epsilon",
                   .vocab = "vocab_size",
                   .activation = "activation_function",
                   .rotary_dim = "rotary_dim",
                   .rotary_fraction = "",
                   .rope_theta = "",
                   .parallel_residual = "",
                   .qkv_groups = "mp_num",
                   // What LLaMA-like configs call these; no code of this family reads them.
                   .must_be_off = {"rope_scaling", "sliding_window", "attention_bias"}},
          .tensors = {.embedding = "transformer.wte",
                      .layer = "transformer.h.{}.",
                      .norm_1 = "ln_1",
                      .norm_2 = "",
                      .qkv = "attn.qkv_proj",
                      .q = "",
                      .k = "",
                      .v = "",
                      .attn_out = "attn.out_proj",
                      .mlp_up = "mlp.fc_in",
                      .mlp_gate = "",
                      .mlp_down = "mlp.fc_out",
                      .final_norm = "transformer.ln_f",
                      .head = "lm_head",
                      .ignore_in_layer = {"attn.causal_mask", "attn.bias", "attn.masked_bias"},
                      .ignore = {}}};
}

ArchSpec Codegen2Spec() {
  ArchSpec spec = CodegenSpec();
  spec.name = "codegen2";
  spec.model_types = {};  // only by name
  spec.excluded_keys = {};
  spec.fused_qkv.groups = 8;
  return spec;
}

}  // namespace mossrt::runtime
