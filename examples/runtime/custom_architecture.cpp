// A family that no built-in spec covers, stated from outside: GPT-NeoX with its names, its QKV
// order and its two norms.
//   custom_architecture <checkpoint directory>
#include <algorithm>
#include <cstdio>
#include <string>

#include "mossrt/runtime/decoder.h"

namespace rt = mossrt::runtime;

namespace {

rt::ArchSpec GptNeox() {
  rt::ArchSpec spec;
  spec.name = "gpt_neox";
  spec.model_types = {"gpt_neox"};
  spec.required_keys = {"hidden_size", "rotary_pct"};
  spec.norm = rt::Norm::kLayerNorm;
  spec.residual = rt::Residual::kParallelTwoNorms;
  spec.position = rt::Position::kRotaryHalf;
  spec.mlp = rt::Mlp::kPlain;
  spec.activation = rt::Activation::kGeluErf;
  spec.norm_bias = spec.qkv_bias = spec.attn_out_bias = spec.mlp_bias = true;
  spec.fused_qkv = {.groups = rt::FusedQkv::kPerKvHead,
                    .order = "qkv"};  // q, k, v of head 0, then of head 1, ...
  spec.keys.kv_heads = "";            // the family has no such keys
  spec.keys.head_dim = "";
  spec.keys.norm_eps = "layer_norm_eps";
  spec.keys.rotary_fraction = "rotary_pct";
  spec.keys.rope_theta = "rotary_emb_base";
  spec.keys.parallel_residual = "use_parallel_residual";
  spec.tensors.embedding = "gpt_neox.embed_in";
  spec.tensors.layer = "gpt_neox.layers.{}.";
  spec.tensors.norm_1 = "input_layernorm";
  spec.tensors.norm_2 = "post_attention_layernorm";
  spec.tensors.qkv = "attention.query_key_value";
  spec.tensors.attn_out = "attention.dense";
  spec.tensors.mlp_up = "mlp.dense_h_to_4h";
  spec.tensors.mlp_down = "mlp.dense_4h_to_h";
  spec.tensors.final_norm = "gpt_neox.final_layer_norm";
  spec.tensors.head = "embed_out";
  spec.tensors.ignore_in_layer = {"attention.bias", "attention.masked_bias",
                                  "attention.rotary_emb.inv_freq"};
  return spec;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  absl::Status status = rt::RegisterArchitecture(GptNeox());
  const auto checkpoint = rt::OpenCheckpoint(argv[1]);
  if (status.ok()) status = checkpoint.status();
  if (status.ok()) {
    const auto model = rt::Model::Load(**checkpoint, {}, nullptr);
    if (!model.ok()) {
      status = model.status();
    } else {
      const rt::HyperParams& p = (*model)->params();
      const auto workspace = rt::Workspace::Create(**model, 4);
      rt::KvCache kv({p.layers, p.kv_heads, p.head_dim, rt::DType::kF32}, p.max_positions);
      const std::int32_t ids[] = {1, 2, 3, 4};
      const rt::SequenceInput input{.kv = &kv, .tokens = ids};
      const auto logits = (*model)->Forward({&input, 1}, {}, **workspace);
      status = logits.status();
      if (logits.ok()) {
        const auto row = logits->RowSpan(0);
        std::printf("%s: %lld layers, most probable next token %d\n", p.architecture.c_str(),
                    static_cast<long long>(p.layers),
                    static_cast<int>(std::max_element(row.begin(), row.end()) - row.begin()));
      }
    }
  }
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
