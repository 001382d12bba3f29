// A tiny checkpoint of tests/data/models with the answers that tests/references/ stored beside it.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "base/json.h"
#include "mossrt/runtime/decoder.h"

namespace mossrt::runtime {

inline std::string ReadFileOrDie(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file.good()) << path;
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

struct ReferenceArray {
  std::vector<double> values;
  std::vector<std::int64_t> shape;
};

struct ReferenceModel {
  explicit ReferenceModel(const std::string& model_name) : name(model_name) {
    directory = std::string(MOSSRT_SOURCE_DIR) + "/tests/data/models/" + name;
    json = Json::parse(ReadFileOrDie(directory + "/reference/reference.json"));
    ids = json["ids"].get<std::vector<std::int32_t>>();
  }

  ReferenceArray Array(const std::string& key) const {
    const Json& entry = json["arrays"][key];
    const std::string bytes =
        ReadFileOrDie(directory + "/reference/" + entry["file"].get<std::string>());
    ReferenceArray array;
    array.shape = entry["shape"].get<std::vector<std::int64_t>>();
    if (entry["dtype"] == "float32") {
      std::vector<float> narrow(bytes.size() / 4);
      std::memcpy(narrow.data(), bytes.data(), bytes.size());
      array.values.assign(narrow.begin(), narrow.end());
    } else {
      array.values.resize(bytes.size() / 8);
      std::memcpy(array.values.data(), bytes.data(), bytes.size());
    }
    return array;
  }
  double TorchError(const std::string& key) const {
    return json["torch_f32_error"][key].get<double>();
  }

  std::unique_ptr<Model> Load(LoadOptions options) const {
    if (options.architecture.empty() && name == "codegen2") options.architecture = "codegen2";
    if (options.threads == 0) options.threads = 2;
    auto checkpoint = OpenCheckpoint(directory);
    EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
    if (!checkpoint.ok()) return nullptr;
    auto model = Model::Load(**checkpoint, options, nullptr);
    EXPECT_TRUE(model.ok()) << model.status();
    return model.ok() ? *std::move(model) : nullptr;
  }

  std::string name, directory;
  Json json;
  std::vector<std::int32_t> ids;
};

// One sequence fed in pieces; logits of the rows wanted are appended to `logits`.
class Sequence {
 public:
  Sequence(const Model& model, std::int64_t max_rows, DType kv_dtype = DType::kF32)
      : model_(model),
        kv_({model.params().layers, model.params().kv_heads, model.params().head_dim, kv_dtype},
            model.params().max_positions) {
    auto workspace = Workspace::Create(model, max_rows);
    EXPECT_TRUE(workspace.ok()) << workspace.status();
    workspace_ = *std::move(workspace);
  }

  absl::Status Feed(std::span<const std::int32_t> ids, SequenceInput::Rows want,
                    const HookSet* hooks = nullptr, std::span<const std::int32_t> listed = {}) {
    const SequenceInput input{
        .kv = &kv_, .tokens = ids, .embeddings = {}, .want = want, .listed = listed};
    auto result = model_.Forward({&input, 1}, {.hooks = hooks}, *workspace_);
    if (!result.ok()) return result.status();
    for (std::int64_t i = 0; i < result->rows; ++i) {
      const auto row = result->RowSpan(i);
      logits.insert(logits.end(), row.begin(), row.end());
    }
    return absl::OkStatus();
  }

  KvCache& kv() { return kv_; }
  Workspace& workspace() { return *workspace_; }
  std::vector<float> logits;

 private:
  const Model& model_;
  KvCache kv_;
  std::unique_ptr<Workspace> workspace_;
};

inline double MaxDifference(const std::vector<float>& ours, const std::vector<double>& theirs) {
  EXPECT_EQ(ours.size(), theirs.size());
  double worst = 0;
  for (std::size_t i = 0; i < std::min(ours.size(), theirs.size()); ++i) {
    const double d = std::abs(static_cast<double>(ours[i]) - theirs[i]);
    if (!(d <= worst)) worst = d;  // NaN counts as the worst
  }
  return worst;
}

}  // namespace mossrt::runtime
