// Architectures as data: what differs between decoder-only families. Owned by src/models.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mossrt/runtime/gemm_backend.h"
#include "mossrt/runtime/norm.h"

namespace mossrt::runtime {

enum class Residual : std::uint8_t {
  kSequential,          // x += attn(n1(x));  x += mlp(n2(x))
  kParallelSharedNorm,  // x = (attn(n1(x)) + mlp(n1(x))) + x
  kParallelTwoNorms,    // x = (attn(n1(x)) + mlp(n2(x))) + x
};
std::string_view ResidualName(Residual residual);  // "parallel, one norm"
enum class Position : std::uint8_t { kNone, kRotaryHalf, kRotaryInterleaved };
enum class Mlp : std::uint8_t { kPlain, kGated };

// Row layout of a fused QKV projection: [groups][parts in `order`][heads of the part][head_dim].
struct FusedQkv {
  static constexpr int kPerKvHead = -1;  // one group per key/value head
  int groups = 0;                        // 0: q, k and v are three tensors
  std::string order = "qkv";
};

// Base names; ".weight" and ".bias" are appended, "{}" in `layer` is the layer's number. Empty: no
// such tensor.
struct TensorNames {
  std::string embedding{}, layer{}, norm_1{}, norm_2{};
  std::string qkv{}, q{}, k{}, v{}, attn_out{};
  std::string mlp_up{}, mlp_gate{}, mlp_down{};
  std::string final_norm{}, head{};
  std::vector<std::string> ignore_in_layer{};  // buffers that carry no weights
  std::vector<std::string> ignore{};
};

// Keys of config.json. Empty: the family has no such key.
struct ConfigKeys {
  std::string hidden = "hidden_size", layers = "num_hidden_layers";
  std::string heads = "num_attention_heads", kv_heads = "num_key_value_heads",
              head_dim = "head_dim";
  std::string inner = "intermediate_size", max_positions = "max_position_embeddings";
  std::string norm_eps = "rms_norm_eps", vocab = "vocab_size", activation = "hidden_act";
  std::string rotary_dim, rotary_fraction, rope_theta = "rope_theta";
  std::string
      parallel_residual;     // a boolean that chooses between kSequential and the spec's residual
  std::string qkv_groups{};  // overrides FusedQkv::groups
  std::vector<std::string> must_be_off{};  // absent, null, false or 0, else the model is refused
};

struct ArchSpec {
  std::string name{};  // our stable name; the load option "architecture" takes it
  std::vector<std::string> model_types{};    // values of "model_type" it answers to
  std::vector<std::string> required_keys{};  // config.json must have all of these ...
  std::vector<std::string>
      excluded_keys;  // ... and none of these, or the spec must be asked for by name
  Norm norm = Norm::kRmsNorm;
  Residual residual = Residual::kSequential;
  Position position = Position::kRotaryHalf;
  Mlp mlp = Mlp::kGated;
  Activation activation = Activation::kSilu;  // if config.json names none
  bool norm_bias = false, qkv_bias = false, attn_out_bias = false, mlp_bias = false,
       head_bias = false;
  bool tied_head = false;       // default; "tie_word_embeddings" overrides
  bool transposed = false;      // linear weights stored [in, out] (GPT-2's Conv1D)
  int inner_per_hidden = 0;     // MLP width / hidden where config.json has null or no key (MOSS: 4)
  double rope_theta = 10000.0;  // default
  double norm_eps = 1e-5;       // default
  FusedQkv fused_qkv{};
  ConfigKeys keys{};
  TensorNames tensors{};
};

// A spec with the numbers of one config.json filled in.
struct HyperParams {
  std::string architecture{}, model_type{};
  std::int64_t vocab = 0, hidden = 0, layers = 0, heads = 0, kv_heads = 0, head_dim = 0, inner = 0;
  std::int64_t max_positions = 0, rotary_dim = 0;
  double rope_theta = 10000.0, norm_eps = 1e-5;
  int qkv_groups = 0;
  Residual residual = Residual::kSequential;
  Activation activation = Activation::kNone;
  bool tied_head = false;
  friend bool operator==(const HyperParams&, const HyperParams&) = default;
};

// The built-in specs (moss, codegen, codegen2, llama) and those registered, in this order.
std::vector<ArchSpec> Architectures();
// A second spec of one name is refused, and one that lacks what every model has.
absl::Status RegisterArchitecture(ArchSpec spec);
// By name if `architecture` is not empty, else by model_type and keys, never by the model's name.
// What fits nothing, or more than one, is an error that lists the candidates.
absl::StatusOr<ArchSpec> ChooseArchitecture(const std::string& config_json,
                                            const std::string& architecture);
absl::StatusOr<HyperParams> ReadHyperParams(const ArchSpec& spec, const std::string& config_json);

}  // namespace mossrt::runtime
