// Small checkpoints drawn from a seed: odd sizes, floats to be rounded while loading or GPTQ's
// integers with inputs in any order, and beside them in float64 what the file stands for.
#pragma once

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "base/half.h"
#include "base/json.h"
#include "checkpoint/file_writers.h"
#include "forward64.h"

namespace mossrt::runtime {

struct Gptq {
  int bits = 0;  // 0: floats
  std::int64_t group = 0;
};

class DrawnModel {
 public:
  DrawnModel(bool moss, Gptq gptq, std::uint32_t seed, std::int64_t positions)
      : gptq_(gptq), random_(seed) {
    shape.moss = moss;
    shape.layers = 2;
    shape.heads = 4;
    shape.kv_heads = moss ? 4 : Below(2) + 1;
    // Sizes off every multiple of 16, unless words of GPTQ's must be filled.
    shape.head_dim = gptq.bits > 0 ? 16 + 8 * Below(3) : 10 + 2 * Below(14);
    shape.rotary_dim = moss ? 2 * (1 + Below(shape.head_dim / 2)) : shape.head_dim;
    shape.eps = 1e-5;
    hidden_ = shape.heads * shape.head_dim;
    inner_ = gptq.bits > 0 ? 16 * (6 + Below(10)) : 90 + Below(200);
    vocab = 40 + Below(60);
    config = moss ? Json{{"model_type", "moss"},
                         {"n_embd", hidden_},
                         {"n_layer", shape.layers},
                         {"n_head", shape.heads},
                         {"n_inner", inner_},
                         {"n_positions", positions},
                         {"rotary_dim", shape.rotary_dim},
                         {"vocab_size", vocab},
                         {"layer_norm_epsilon", shape.eps},
                         {"activation_function", "gelu_new"}}
                  : Json{{"model_type", "llama"},
                         {"hidden_size", hidden_},
                         {"num_hidden_layers", shape.layers},
                         {"num_attention_heads", shape.heads},
                         {"num_key_value_heads", shape.kv_heads},
                         {"intermediate_size", inner_},
                         {"max_position_embeddings", positions},
                         {"rms_norm_eps", shape.eps},
                         {"vocab_size", vocab}};
    moss ? DrawMoss() : DrawLlama();
  }

  std::map<std::string, std::string> Files() const {
    return {{"config.json", config.dump()},
            {"model.safetensors", testing::Safetensors(header_.dump(), data_)}};
  }

  std::int64_t Below(std::int64_t n) {
    return static_cast<std::int64_t>(random_() % static_cast<std::uint32_t>(n));
  }

  Shape64 shape;
  Json config;
  Tables64 tables;
  std::int64_t vocab = 0;

 private:
  double Normal() {  // near enough, and the same with every library
    double sum = 0;
    for (int i = 0; i < 12; ++i) sum += static_cast<double>(random_()) * 0x1p-32;
    return sum - 6;
  }

  void AddTensor(const std::string& name, const char* dtype,
                 const std::vector<std::int64_t>& shape_of, const std::string& bytes) {
    header_[name] = {{"dtype", dtype},
                     {"shape", shape_of},
                     {"data_offsets", {data_.size(), data_.size() + bytes.size()}}};
    data_ += bytes;
  }

  void Floats(const std::string& name, const std::vector<std::int64_t>& shape_of, double mean,
              double spread) {
    Table64 table{.rows = shape_of.size() == 2 ? shape_of[0] : 1, .cols = shape_of.back()};
    std::string bytes;
    for (std::int64_t i = 0; i < table.rows * table.cols; ++i) {
      const auto value = static_cast<float>(mean + spread * Normal());
      table.values.push_back(static_cast<double>(value));
      bytes += testing::U32(std::bit_cast<std::uint32_t>(value));
    }
    AddTensor(name, "F32", shape_of, bytes);
    tables[name] = std::move(table);
  }

  void Norm(const std::string& name, bool bias) {
    Floats(name + ".weight", {hidden_}, 1, 0.1);
    if (bias) Floats(name + ".bias", {hidden_}, 0, 0.1);
  }

  // [rows, cols] in floats, or as GPTQ packs it: inputs along K and zero points less one along N,
  // lowest bits first.
  void Matrix(const std::string& base, std::int64_t rows, std::int64_t cols) {
    const double spread = 1 / std::sqrt(static_cast<double>(cols));
    if (gptq_.bits == 0) return Floats(base + ".weight", {rows, cols}, 0, spread);
    const std::int64_t per_word = 32 / gptq_.bits, levels = std::int64_t{1} << gptq_.bits,
                       groups = (cols + gptq_.group - 1) / gptq_.group;
    Table64 table{.rows = rows, .cols = cols};
    table.values.resize(static_cast<std::size_t>(rows * cols));
    table.groups.resize(static_cast<std::size_t>(cols));
    std::vector<std::int64_t> order(static_cast<std::size_t>(cols));
    std::iota(order.begin(), order.end(), 0);
    for (std::int64_t i = cols; i-- > 1;)
      std::swap(order[static_cast<std::size_t>(i)], order[static_cast<std::size_t>(Below(i + 1))]);
    for (std::int64_t i = 0; i < cols; ++i) {
      table.groups[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])] =
          static_cast<std::int32_t>(i / gptq_.group);
    }
    std::vector<std::uint32_t> qweight(static_cast<std::size_t>(cols / per_word * rows)),
        qzeros(static_cast<std::size_t>(groups * (rows / per_word)));
    std::string scales, g_idx;
    std::vector<double> scale, zero;
    for (std::int64_t g = 0; g < groups; ++g) {
      for (std::int64_t j = 0; j < rows; ++j) {
        const double wanted = spread * (0.5 + static_cast<double>(Below(100)) / 100);
        const std::uint16_t half =
            F32ToF16(static_cast<float>(wanted * 3 / static_cast<double>(levels)));
        scales += testing::U16(half);
        scale.push_back(static_cast<double>(F16ToF32(half)));
        // Zero points from 1 to 2^bits, most of them in the middle.
        const std::int64_t stored =
            Below(8) == 0 ? levels - 1 - (levels - 1) * Below(2) : levels / 2 - 1;
        zero.push_back(static_cast<double>(stored + 1));
        qzeros[static_cast<std::size_t>(g * (rows / per_word) + j / per_word)] |=
            static_cast<std::uint32_t>(stored) << gptq_.bits * (j % per_word);
      }
    }
    for (std::int64_t i = 0; i < cols; ++i) {
      const std::int32_t g = table.groups[static_cast<std::size_t>(i)];
      g_idx += testing::U32(static_cast<std::uint32_t>(g));
      for (std::int64_t j = 0; j < rows; ++j) {
        const std::int64_t q = Below(levels);
        qweight[static_cast<std::size_t>(i / per_word * rows + j)] |=
            static_cast<std::uint32_t>(q) << gptq_.bits * (i % per_word);
        const auto at = static_cast<std::size_t>(g * rows + j);
        table.values[static_cast<std::size_t>(j * cols + i)] =
            (static_cast<double>(q) - zero[at]) * scale[at];
      }
    }
    const auto bytes = [](const std::vector<std::uint32_t>& words) {
      std::string out;
      for (const std::uint32_t word : words) out += testing::U32(word);
      return out;
    };
    AddTensor(base + ".qweight", "I32", {cols / per_word, rows}, bytes(qweight));
    AddTensor(base + ".qzeros", "I32", {groups, rows / per_word}, bytes(qzeros));
    AddTensor(base + ".scales", "F16", {groups, rows}, scales);
    AddTensor(base + ".g_idx", "I32", {cols}, g_idx);
    tables[base + ".weight"] = std::move(table);
  }

  void DrawMoss() {
    Floats("transformer.wte.weight", {vocab, hidden_}, 0, 1);
    for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
      const std::string base = "transformer.h." + std::to_string(layer) + ".";
      Norm(base + "ln_1", true);
      Matrix(base + "attn.qkv_proj", 3 * hidden_, hidden_);
      Matrix(base + "attn.out_proj", hidden_, hidden_);
      Matrix(base + "mlp.fc_in", inner_, hidden_);
      Floats(base + "mlp.fc_in.bias", {inner_}, 0, 0.1);
      Matrix(base + "mlp.fc_out", hidden_, inner_);
      Floats(base + "mlp.fc_out.bias", {hidden_}, 0, 0.1);
    }
    Norm("transformer.ln_f", true);
    Head();
    Floats("lm_head.bias", {vocab}, 0, 0.1);
  }

  void DrawLlama() {
    Floats("model.embed_tokens.weight", {vocab, hidden_}, 0, 1);
    const std::int64_t kv = shape.kv_heads * shape.head_dim;
    for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
      const std::string base = "model.layers." + std::to_string(layer) + ".";
      Norm(base + "input_layernorm", false);
      Matrix(base + "self_attn.q_proj", hidden_, hidden_);
      Matrix(base + "self_attn.k_proj", kv, hidden_);
      Matrix(base + "self_attn.v_proj", kv, hidden_);
      Matrix(base + "self_attn.o_proj", hidden_, hidden_);
      Norm(base + "post_attention_layernorm", false);
      Matrix(base + "mlp.gate_proj", inner_, hidden_);
      Matrix(base + "mlp.up_proj", inner_, hidden_);
      Matrix(base + "mlp.down_proj", hidden_, inner_);
    }
    Norm("model.norm", false);
    Head();
  }
  void Head() {
    Floats("lm_head.weight", {vocab, hidden_}, 0, 1 / std::sqrt(static_cast<double>(hidden_)));
  }

  Gptq gptq_;
  std::mt19937 random_;
  std::int64_t hidden_ = 0, inner_ = 0;
  Json header_ = Json::object();
  std::string data_;
};

}  // namespace mossrt::runtime
