// MOSS and LLaMA in float64 from the published descriptions, over matrices as they stand in a
// checkpoint; on demand with the inputs of integer and of bfloat16 products and the cache rounded
// as docs/numerics.md says.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "attention64.h"

namespace mossrt::runtime {

struct Table64 {
  std::int64_t rows = 1, cols = 0;
  std::vector<double> values = {};        // [rows, cols]
  std::vector<std::int32_t> groups = {};  // of each input: which are rounded together; empty: none
  bool bf16 = false;                      // each input is rounded to bfloat16
};
using Tables64 = std::map<std::string, Table64>;

struct Shape64 {
  bool moss = true;
  std::int64_t layers, heads, kv_heads, head_dim, rotary_dim;
  double eps;
};

class Forward64 {
 public:
  // `kv` is read only if inputs are rounded.
  Forward64(const Shape64& shape, const Tables64& tables, bool rounds, DType kv)
      : s_(shape), tables_(tables), rounds_(rounds), kv_(rounds ? kv : DType::kF32) {}

  // Logits of all positions.
  std::vector<double> Logits(std::span<const std::int32_t> ids) const {
    std::vector<Row> x;
    const Table64& embed =
        tables_.at(s_.moss ? "transformer.wte.weight" : "model.embed_tokens.weight");
    for (const std::int32_t id : ids) {
      const auto from = embed.values.begin() + id * embed.cols;
      x.emplace_back(from, from + embed.cols);
    }
    for (std::int64_t layer = 0; layer < s_.layers; ++layer)
      s_.moss ? Moss(layer, &x) : Llama(layer, &x);
    std::vector<double> logits;
    for (const Row& row :
         Product("lm_head", Norm(s_.moss ? "transformer.ln_f" : "model.norm", x))) {
      logits.insert(logits.end(), row.begin(), row.end());
    }
    return logits;
  }

 private:
  using Rows = std::vector<Row>;

  static void AddTo(Rows* x, const Rows& y) {
    for (std::size_t t = 0; t < x->size(); ++t) {
      for (std::size_t i = 0; i < (*x)[t].size(); ++i) (*x)[t][i] += y[t][i];
    }
  }

  // The attention's and the MLP's part read one norm; blocks of a quarter of the heads, each q, v,
  // k.
  void Moss(std::int64_t layer, Rows* x) const {
    const std::string base = "transformer.h." + std::to_string(layer) + ".";
    const Rows n = Norm(base + "ln_1", *x);
    const std::int64_t part = s_.heads * s_.head_dim / 4;
    Rows q(n.size()), k = q, v = q;
    const Rows fused = Product(base + "attn.qkv_proj", n);
    for (std::size_t t = 0; t < n.size(); ++t) {
      for (std::int64_t block = 0; block < 4; ++block) {
        auto from = fused[t].begin() + 3 * block * part;
        for (Row* to : {&q[t], &v[t], &k[t]}) {
          to->insert(to->end(), from, from + part);
          from += part;
        }
      }
    }
    Rows inner = Product(base + "mlp.fc_in", n);
    for (Row& row : inner) {
      for (double& y : row)
        y = 0.5 * y * (1 + std::tanh(std::sqrt(2 / M_PI) * (y + 0.044715 * y * y * y)));
    }
    AddTo(x, Product(base + "attn.out_proj", Attention(q, k, v)));
    AddTo(x, Product(base + "mlp.fc_out", inner));
  }

  void Llama(std::int64_t layer, Rows* x) const {
    const std::string base = "model.layers." + std::to_string(layer) + ".";
    const Rows n = Norm(base + "input_layernorm", *x);
    const auto project = [&](const char* name) { return Product(base + "self_attn." + name, n); };
    AddTo(x, Product(base + "self_attn.o_proj",
                     Attention(project("q_proj"), project("k_proj"), project("v_proj"))));
    const Rows m = Norm(base + "post_attention_layernorm", *x);
    Rows inner = Product(base + "mlp.gate_proj", m);
    const Rows up = Product(base + "mlp.up_proj", m);
    for (std::size_t t = 0; t < inner.size(); ++t) {
      for (std::size_t i = 0; i < inner[t].size(); ++i)
        inner[t][i] *= up[t][i] / (1 + std::exp(-inner[t][i]));
    }
    AddTo(x, Product(base + "mlp.down_proj", inner));
  }

  Rows Norm(const std::string& name, const Rows& x) const {
    const Table64& weight = tables_.at(name + ".weight");
    const auto bias = tables_.find(name + ".bias");
    Rows out = x;
    for (Row& row : out) {
      const auto n = static_cast<double>(row.size());
      double mean = 0, square = 0;
      if (s_.moss) {
        for (const double y : row) mean += y / n;
      }
      for (const double y : row) square += (y - mean) * (y - mean) / n;
      for (std::size_t i = 0; i < row.size(); ++i) {
        row[i] = (row[i] - mean) / std::sqrt(square + s_.eps) * weight.values[i];
        if (bias != tables_.end()) row[i] += bias->second.values[i];
      }
    }
    return out;
  }

  Rows Product(const std::string& name, const Rows& x) const {
    const Table64& w = tables_.at(name + ".weight");
    const auto bias = tables_.find(name + ".bias");
    Rows out;
    for (Row row : x) {
      if (rounds_ && !w.groups.empty()) RoundByGroups(w.groups, &row);
      if (rounds_ && w.bf16) row = Rounded(DType::kBF16, row);
      Row y(static_cast<std::size_t>(w.rows));
      for (std::size_t j = 0; j < y.size(); ++j) {
        const double* of_row = &w.values[j * row.size()];
        for (std::size_t i = 0; i < row.size(); ++i) y[j] += of_row[i] * row[i];
        if (bias != tables_.end()) y[j] += bias->second.values[j];
      }
      out.push_back(std::move(y));
    }
    return out;
  }

  static void RoundByGroups(const std::vector<std::int32_t>& groups, Row* row) {
    std::map<std::int32_t, double> largest;
    for (std::size_t i = 0; i < row->size(); ++i) {
      double& most = largest[groups[i]];
      most = std::max(most, std::abs((*row)[i]));
    }
    for (std::size_t i = 0; i < row->size(); ++i) {
      const double most = largest[groups[i]];
      if (most > 0) (*row)[i] = std::nearbyint((*row)[i] * 127 / most) * most / 127;
    }
  }

  // Frequency and angle rounded to float32 step by step, as the originals have them.
  void Rotate(std::int64_t position, Row* x) const {
    const std::int64_t half = s_.rotary_dim / 2;
    for (std::int64_t h = 0; h * s_.head_dim < static_cast<std::int64_t>(x->size()); ++h) {
      double* head = x->data() + h * s_.head_dim;
      for (std::int64_t i = 0; i < half; ++i) {
        const float exponent = static_cast<float>(2 * i) / static_cast<float>(s_.rotary_dim);
        const float power = static_cast<float>(std::pow(10000.0, static_cast<double>(exponent)));
        const float angle = static_cast<float>(position) * (1.0f / power);
        const double cos = std::cos(static_cast<double>(angle)),
                     sin = std::sin(static_cast<double>(angle));
        double& a = head[s_.moss ? 2 * i : i];
        double& b = head[s_.moss ? 2 * i + 1 : half + i];
        const double turned = a * cos - b * sin;
        b = b * cos + a * sin;
        a = turned;
      }
    }
  }

  Rows Attention(Rows q, Rows k, const Rows& v) const {
    for (std::size_t t = 0; t < q.size(); ++t) {
      Rotate(static_cast<std::int64_t>(t), &q[t]);
      Rotate(static_cast<std::int64_t>(t), &k[t]);
    }
    const auto part = [this](const Row& row, std::int64_t head) {
      const auto from = row.begin() + head * s_.head_dim;
      return Row(from, from + s_.head_dim);
    };
    Rows out(q.size());
    for (std::int64_t h = 0; h < s_.heads; ++h) {
      Rows keys, values;
      for (std::size_t t = 0; t < q.size(); ++t) {
        keys.push_back(part(k[t], h / (s_.heads / s_.kv_heads)));
        values.push_back(part(v[t], h / (s_.heads / s_.kv_heads)));
        const Row head = AttentionInDouble(kv_, part(q[t], h), keys, values,
                                           1 / std::sqrt(static_cast<double>(s_.head_dim)));
        out[t].insert(out[t].end(), head.begin(), head.end());
      }
    }
    return out;
  }

  Shape64 s_;
  const Tables64& tables_;
  bool rounds_;
  DType kv_;
};

}  // namespace mossrt::runtime
