// The input edits the tensors of a small GPTQ model and fills them: a count of edits, three bytes
// for each (which tensor, what of it, the new value), then the bytes that all tensors repeat. What
// plans and is small is loaded, read in pieces and run.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include "models/weight_sources.h"
#include "run_once.h"

namespace {

using namespace mossrt::runtime;  // NOLINT

constexpr const char* kConfig =
    R"({"model_type": "moss", "n_embd": 32, "n_layer": 1, "n_head": 4, "n_inner": 48,
        "n_positions": 16, "rotary_dim": 4, "vocab_size": 9, "wbits": 4, "groupsize": 16})";
constexpr const char* kTypes[] = {"I32", "I64", "F16", "BF16", "F32", "F64", "U8", "BOOL"};

struct Tensor {
  std::string name, dtype;
  std::vector<int> shape;
  bool there = true;
};

std::size_t Width(const std::string& dtype) {
  if (dtype == "I64" || dtype == "F64") return 8;
  if (dtype == "I32" || dtype == "F32") return 4;
  return dtype == "U8" || dtype == "BOOL" ? 1 : 2;
}

// 16 tensors of quantised matrices, then the others.
std::vector<Tensor> Tensors() {
  std::vector<Tensor> tensors;
  const std::string layer = "transformer.h.0.";
  const auto add = [&](const std::string& name, int in, int out) {
    tensors.push_back({layer + name + ".qweight", "I32", {in / 8, out}});
    tensors.push_back({layer + name + ".qzeros", "I32", {in / 16, out / 8}});
    tensors.push_back({layer + name + ".scales", "F16", {in / 16, out}});
    tensors.push_back({layer + name + ".g_idx", "I32", {in}});
  };
  add("attn.qkv_proj", 32, 96);
  add("attn.out_proj", 32, 32);
  add("mlp.fc_in", 32, 48);
  add("mlp.fc_out", 48, 32);
  const std::vector<Tensor> others = {
      {"transformer.wte.weight", "F16", {9, 32}}, {layer + "ln_1.weight", "F16", {32}},
      {layer + "ln_1.bias", "F16", {32}},         {layer + "attn.qkv_proj.bias", "F16", {96}},
      {layer + "mlp.fc_in.bias", "F16", {48}},    {layer + "mlp.fc_out.bias", "F16", {32}},
      {"transformer.ln_f.weight", "F16", {32}},   {"transformer.ln_f.bias", "F16", {32}},
      {"lm_head.weight", "F16", {9, 32}},         {"lm_head.bias", "F16", {9}}};
  tensors.insert(tensors.end(), others.begin(), others.end());
  return tensors;
}

std::string File(const std::vector<Tensor>& tensors, std::string_view contents) {
  std::string header = "{";
  std::size_t at = 0;
  for (const Tensor& tensor : tensors) {
    if (!tensor.there) continue;
    std::size_t bytes = Width(tensor.dtype);
    std::string sizes;
    for (const int n : tensor.shape) {
      bytes *= static_cast<std::size_t>(n);
      sizes += (sizes.empty() ? "" : ",") + std::to_string(n);
    }
    header += (at == 0 ? "\"" : ",\"") + tensor.name + "\":{\"dtype\":\"" + tensor.dtype +
              "\",\"shape\":[" + sizes + "],\"data_offsets\":[" + std::to_string(at) + "," +
              std::to_string(at + bytes) + "]}";
    at += bytes;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string file(8, '\0');
  const std::uint64_t size = header.size();
  std::memcpy(file.data(), &size, 8);
  file += header;
  if (contents.empty()) return file + std::string(at, '\0');
  for (std::size_t end = file.size() + at; file.size() < end;)
    file += contents.substr(0, end - file.size());
  return file;
}

void ReadAllIntegers(const Checkpoint& checkpoint, const ModelPlan& plan) {
  MatrixSources sources(checkpoint, 16, nullptr, nullptr);
  for (const WeightRule& rule : WeightRules(plan.spec, plan.params)) {
    if (!rule.matrix()) continue;
    const auto source = sources.Open(rule, nullptr);
    if (!source.ok() || (*source)->integers() == nullptr) continue;
    const auto groups = static_cast<std::size_t>((*source)->integers()->groups);
    for (std::int64_t first = 0; first < rule.rows; first += 5) {
      const auto count = std::min<std::int64_t>(5, rule.rows - first);
      const auto n = static_cast<std::size_t>(count);
      std::vector<std::uint8_t> q(n * static_cast<std::size_t>(rule.cols));
      std::vector<std::uint16_t> scales(n * groups), zeros(n * groups);
      (void)(*source)->ReadIntegers(first, count, {.q = q, .scales = scales, .zeros = zeros});
    }
    const auto n_words = static_cast<std::size_t>(rule.cols) *
                         static_cast<std::size_t>((*source)->integers()->bits) / 32;
    const auto rows = static_cast<std::size_t>(rule.rows);
    std::vector<std::uint32_t> words(n_words * rows);
    std::vector<std::uint16_t> scales(groups * rows), zeros(groups * rows);
    (void)(*source)->ReadWords(
        {.first_word = 0, .words = words, .first_group = 0, .scales = scales, .zeros = zeros});
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<Tensor> tensors = Tensors();
  std::size_t at = 0;
  const auto next = [&] { return at < size ? data[at++] : std::uint8_t{0}; };
  for (int edits = next() % 8; edits > 0; --edits) {
    Tensor& tensor = tensors[next() % tensors.size()];
    const int what = next() % 5, value = next();
    if (what == 0) tensor.there = false;
    if (what == 1) tensor.dtype = kTypes[static_cast<std::size_t>(value) % std::size(kTypes)];
    if (what == 2) tensor.shape[0] = value;
    if (what == 3) tensor.shape.back() = value;
    if (what == 4) tensor.shape.assign(static_cast<std::size_t>(1 + value % 3), 4);
  }
  const std::string_view contents(reinterpret_cast<const char*>(data) + at, size - at);
  const auto checkpoint = OpenCheckpoint(OpenMemory(
      "mem", {{"config.json", kConfig}, {"model.safetensors", File(tensors, contents)}}));
  if (!checkpoint.ok()) return 0;
  for (const char* dtype : {"auto", "float32"}) {
    const LoadOptions options{.dtype = dtype, .threads = 1, .huge_pages = false};
    const auto plan = PlanModel(**checkpoint, options);
    if (!plan.ok()) return 0;
    ReadAllIntegers(**checkpoint, *plan);
    const auto model = Model::Load(**checkpoint, options, nullptr);
    if (model.ok()) RunOnce(**model);
  }
  return 0;
}
