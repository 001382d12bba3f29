// A checkpoint that exists in no file: the tensors that a config.json asks for, of any size, with
// values that follow from name and place.
#pragma once

#include <gtest/gtest.h>

#include <cstring>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "models/weight_rules.h"
#include "mossrt/runtime/decoder.h"

namespace mossrt::runtime {

class MadeCheckpoint final : public Checkpoint {
 public:
  // `spec` says which tensors there are; without one there are none, and PlanModel lists them all
  // as missing.
  explicit MadeCheckpoint(const Json& config, const ArchSpec* spec = nullptr)
      : config_(config.dump()), source_(OpenMemory("made", {})) {
    if (spec == nullptr) return;
    const auto params = ReadHyperParams(*spec, config_);
    EXPECT_TRUE(params.ok()) << params.status();
    if (!params.ok()) return;
    for (const WeightRule& rule : WeightRules(*spec, *params)) Add(rule.tensor, rule.shape);
  }

  void Add(const std::string& name, const std::vector<std::int64_t>& shape) {
    std::vector<std::int64_t> strides(shape.size(), 1);
    if (shape.size() == 2) strides[0] = shape[1];
    tensors_[name] = {.name = name, .dtype = DType::kF32, .shape = shape, .strides = strides};
  }
  // `name` gets the values of `other`.
  void Alias(const std::string& name, const std::string& other) { aliases_[name] = other; }

  const ByteSource& source() const override { return *source_; }
  const std::string& config_json() const override { return config_; }
  const std::map<std::string, TensorInfo, std::less<>>& tensors() const override {
    return tensors_;
  }
  const std::vector<StorageInfo>& storages() const override { return storages_; }
  const std::vector<std::string>& notes() const override { return notes_; }

  absl::Status ReadRows(const TensorInfo& tensor, std::int64_t first, std::int64_t rows,
                        std::span<std::uint8_t> out) const override {
    const auto alias = aliases_.find(tensor.name);
    std::uint32_t seed = 0;
    for (const char c : alias == aliases_.end() ? tensor.name : alias->second) {
      seed = seed * 31 + static_cast<unsigned char>(c);
    }
    const std::int64_t cols = tensor.shape.size() == 2 ? tensor.shape[1] : 1;
    const std::int64_t col_stride = tensor.shape.size() == 2 ? tensor.strides[1] : 0;
    for (std::int64_t i = 0; i < rows * cols; ++i) {
      const std::int64_t at = (first + i / cols) * tensor.strides[0] + i % cols * col_stride;
      const std::uint32_t mixed = (seed + static_cast<std::uint32_t>(at)) * 2654435761u;
      const float value = static_cast<float>(mixed >> 16) / 65536.0f - 0.5f;
      std::memcpy(&out[static_cast<std::size_t>(4 * i)], &value, 4);
    }
    return absl::OkStatus();
  }

 private:
  std::string config_;
  std::unique_ptr<ByteSource> source_;
  std::map<std::string, TensorInfo, std::less<>> tensors_;
  std::vector<StorageInfo> storages_{StorageInfo{}};
  std::vector<std::string> notes_;
  std::map<std::string, std::string> aliases_;
};

inline ArchSpec SpecNamed(const std::string& name) {
  for (ArchSpec& spec : Architectures()) {
    if (spec.name == name) return std::move(spec);
  }
  ADD_FAILURE() << "no architecture " << name;
  return {};
}

inline Json TinyMoss() {
  return {{"model_type", "moss"}, {"n_embd", 32},      {"n_layer", 2},    {"n_head", 4},
          {"n_inner", nullptr},   {"n_positions", 64}, {"rotary_dim", 4}, {"vocab_size", 50}};
}

inline Json TinyLlama() {
  return {{"model_type", "llama"},          {"hidden_size", 32},        {"num_hidden_layers", 2},
          {"num_attention_heads", 4},       {"num_key_value_heads", 2}, {"intermediate_size", 48},
          {"max_position_embeddings", 600}, {"rms_norm_eps", 1e-5},     {"vocab_size", 50}};
}

}  // namespace mossrt::runtime
