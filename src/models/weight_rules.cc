#include "models/weight_rules.h"

#include <algorithm>

#include "base/cat.h"

namespace mossrt::runtime {
namespace {

bool IsIdentity(const std::vector<std::int64_t>& map, std::int64_t rows) {
  if (static_cast<std::int64_t>(map.size()) != rows) return false;
  for (std::size_t i = 0; i < map.size(); ++i) {
    if (map[i] != static_cast<std::int64_t>(i)) return false;
  }
  return true;
}

class Builder {
 public:
  Builder(const ArchSpec& spec, const HyperParams& params) : spec_(spec), p_(params) {}

  std::vector<WeightRule> Build() {
    const TensorNames& t = spec_.tensors;
    Matrix(Role::kEmbedding, -1, t.embedding, p_.vocab, p_.hidden, false, 0, p_.vocab, false);
    for (int layer = 0; layer < static_cast<int>(p_.layers); ++layer) Layer(layer);
    Norm(Role::kFinalNorm, -1, t.final_norm);
    if (!p_.tied_head) {
      Matrix(Role::kHead, -1, t.head, p_.vocab, p_.hidden, spec_.head_bias, 0, p_.vocab, false);
    }
    return std::move(rules_);
  }

 private:
  void Layer(int layer) {
    const TensorNames& t = spec_.tensors;
    const std::string prefix = LayerPrefix(spec_, layer);
    const std::int64_t q_rows = p_.heads * p_.head_dim, kv_rows = p_.kv_heads * p_.head_dim;
    Norm(Role::kNorm1, layer, prefix + t.norm_1);
    const auto part = [&](Role role, char letter, const std::string& own, std::int64_t rows) {
      const bool fused = spec_.fused_qkv.groups != 0;
      Matrix(role, layer, prefix + (fused ? t.qkv : own), fused ? q_rows + 2 * kv_rows : rows,
             p_.hidden, spec_.qkv_bias, letter, rows, spec_.transposed);
    };
    part(Role::kQ, 'q', t.q, q_rows);
    part(Role::kK, 'k', t.k, kv_rows);
    part(Role::kV, 'v', t.v, kv_rows);
    Matrix(Role::kAttnOut, layer, prefix + t.attn_out, p_.hidden, q_rows, spec_.attn_out_bias, {},
           p_.hidden, spec_.transposed);
    if (p_.residual != Residual::kParallelSharedNorm) Norm(Role::kNorm2, layer, prefix + t.norm_2);
    Matrix(Role::kMlpUp, layer, prefix + t.mlp_up, p_.inner, p_.hidden, spec_.mlp_bias, {},
           p_.inner, spec_.transposed);
    if (spec_.mlp == Mlp::kGated) {
      Matrix(Role::kMlpGate, layer, prefix + t.mlp_gate, p_.inner, p_.hidden, spec_.mlp_bias, {},
             p_.inner, spec_.transposed);
    }
    Matrix(Role::kMlpDown, layer, prefix + t.mlp_down, p_.hidden, p_.inner, spec_.mlp_bias, {},
           p_.hidden, spec_.transposed);
  }

  void Norm(Role role, int layer, const std::string& base) {
    Vector(role, layer, false, base + ".weight", p_.hidden, 0, p_.hidden);
    if (spec_.norm_bias) Vector(role, layer, true, base + ".bias", p_.hidden, 0, p_.hidden);
  }

  void Matrix(Role role, int layer, const std::string& base, std::int64_t tensor_rows,
              std::int64_t cols, bool bias, char qkv_part, std::int64_t rows, bool transposed) {
    WeightRule rule{.role = role,
                    .layer = layer,
                    .bias = false,
                    .tensor = base + ".weight",
                    .shape = transposed ? std::vector<std::int64_t>{cols, tensor_rows}
                                        : std::vector<std::int64_t>{tensor_rows, cols},
                    .qkv_part = qkv_part,
                    .transposed = transposed,
                    .rows = rows,
                    .cols = cols};
    rules_.push_back(std::move(rule));
    if (bias) Vector(role, layer, true, base + ".bias", tensor_rows, qkv_part, rows);
  }

  void Vector(Role role, int layer, bool bias, std::string name, std::int64_t size, char qkv_part,
              std::int64_t rows) {
    rules_.push_back({.role = role,
                      .layer = layer,
                      .bias = bias,
                      .tensor = std::move(name),
                      .shape = {size},
                      .qkv_part = qkv_part,
                      .transposed = false,
                      .rows = rows,
                      .cols = 1});
  }

  const ArchSpec& spec_;
  const HyperParams& p_;
  std::vector<WeightRule> rules_;
};

}  // namespace

std::string LayerPrefix(const ArchSpec& spec, std::int64_t layer) {
  std::string prefix = spec.tensors.layer;
  const auto at = prefix.find("{}");
  if (at != std::string::npos) prefix.replace(at, 2, std::to_string(layer));
  return prefix;
}

std::string ShapeText(const std::vector<std::int64_t>& shape) {
  return Cat("[", Join(shape, ", "), "]");
}

std::string_view RoleName(Role role) {
  constexpr std::string_view kNames[] = {"embedding", "norm1",    "norm2",      "q",
                                         "k",         "v",        "attn_out",   "mlp_up",
                                         "mlp_gate",  "mlp_down", "final_norm", "head"};
  return kNames[static_cast<std::size_t>(role)];
}

std::vector<WeightRule> WeightRules(const ArchSpec& spec, const HyperParams& params) {
  return Builder(spec, params).Build();
}

std::vector<std::int64_t> RotaryOrder(const ArchSpec& spec, const HyperParams& params) {
  std::vector<std::int64_t> order;
  if (spec.position != Position::kRotaryInterleaved) return order;
  for (std::int64_t d = 0; d < params.rotary_dim; d += 2) order.push_back(d);
  for (std::int64_t d = 1; d < params.rotary_dim; d += 2) order.push_back(d);
  for (std::int64_t d = params.rotary_dim; d < params.head_dim; ++d) order.push_back(d);
  return order;
}

std::vector<std::int64_t> QkvRowMap(const ArchSpec& spec, const HyperParams& p, char part) {
  const bool fused = p.qkv_groups != 0;
  const std::int64_t heads = part == 'q' ? p.heads : p.kv_heads;
  const std::vector<std::int64_t> rotary =
      part == 'v' ? std::vector<std::int64_t>{} : RotaryOrder(spec, p);
  std::vector<std::int64_t> map;
  map.reserve(static_cast<std::size_t>(heads * p.head_dim));
  const std::int64_t groups = fused ? p.qkv_groups : 1;
  const std::int64_t group_rows = (p.heads + 2 * p.kv_heads) / groups * p.head_dim;
  std::int64_t part_start = 0;  // in rows, within a group
  if (fused) {
    for (const char letter : spec.fused_qkv.order) {
      if (letter == part) break;
      part_start += (letter == 'q' ? p.heads : p.kv_heads) / groups * p.head_dim;
    }
  }
  const std::int64_t heads_per_group = heads / groups;
  for (std::int64_t head = 0; head < heads; ++head) {
    const std::int64_t group = head / heads_per_group, in_group = head % heads_per_group;
    const std::int64_t base =
        fused ? group * group_rows + part_start + in_group * p.head_dim : head * p.head_dim;
    for (std::int64_t d = 0; d < p.head_dim; ++d) {
      map.push_back(base + (rotary.empty() ? d : rotary[static_cast<std::size_t>(d)]));
    }
  }
  if (!fused && IsIdentity(map, heads * p.head_dim)) map.clear();
  return map;
}

}  // namespace mossrt::runtime
