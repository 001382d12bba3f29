// The input is the manifest of a packed file; behind a byte 1 a number of edits of the orders of
// inputs, six bytes for each (where, what), and then the manifest of a packed file with act-order,
// which may be left out; behind a zero byte a whole file. Header and sums are made to fit, so that
// what is behind them is reached. What loads is run.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/packed_file.h"
#include "models/packed_bytes.h"
#include "run_once.h"

namespace {

using namespace mossrt::runtime;  // NOLINT

constexpr std::size_t kEdit = 6;  // bytes

struct Tensor {
  std::string name, dtype;
  std::vector<std::size_t> shape;
  std::string contents{};  // empty: bytes of 1
};

std::string LlamaConfig(int inner) {
  return R"({"model_type":"llama","vocab_size":11,"hidden_size":64,"num_hidden_layers":1,)"
         R"("num_attention_heads":2,"num_key_value_heads":1,"intermediate_size":)" +
         std::to_string(inner) +
         R"(,"max_position_embeddings":16,"rms_norm_eps":1e-6,"hidden_act":"silu",)"
         R"("tie_word_embeddings":false})";
}

// A LLaMA of hidden 64, 1 layer, 2 heads, 11 tokens. `add` appends a matrix of the layer.
template <typename Add>
std::vector<Tensor> LlamaTensors(std::size_t inner, const Add& add) {
  const std::string layer = "model.layers.0.";
  std::vector<Tensor> tensors = {{"model.embed_tokens.weight", "BF16", {11, 64}},
                                 {layer + "input_layernorm.weight", "BF16", {64}},
                                 {layer + "post_attention_layernorm.weight", "BF16", {64}},
                                 {"model.norm.weight", "BF16", {64}},
                                 {"lm_head.weight", "BF16", {11, 64}}};
  add(&tensors, layer + "self_attn.q_proj", 64, 64);
  add(&tensors, layer + "self_attn.k_proj", 32, 64);
  add(&tensors, layer + "self_attn.v_proj", 32, 64);
  add(&tensors, layer + "self_attn.o_proj", 64, 64);
  add(&tensors, layer + "mlp.up_proj", inner, 64);
  add(&tensors, layer + "mlp.gate_proj", inner, 64);
  add(&tensors, layer + "mlp.down_proj", 64, inner);
  return tensors;
}

std::string Packed(const std::string& config, const std::vector<Tensor>& tensors,
                   const std::string& dtype) {
  std::string header = "{", contents;
  for (const Tensor& tensor : tensors) {
    std::size_t bytes = tensor.dtype == "I32" ? 4 : 2;
    std::string shape;
    for (const std::size_t n : tensor.shape) {
      bytes *= n;
      shape += (shape.empty() ? "" : ",") + std::to_string(n);
    }
    header += (contents.empty() ? "\"" : ",\"") + tensor.name + "\":{\"dtype\":\"" + tensor.dtype +
              "\",\"shape\":[" + shape + "],\"data_offsets\":[" + std::to_string(contents.size()) +
              "," + std::to_string(contents.size() + bytes) + "]}";
    contents += tensor.contents.empty() ? std::string(bytes, '\1') : tensor.contents;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string file(8, '\0');
  const std::uint64_t size = header.size();
  std::memcpy(file.data(), &size, 8);
  const auto checkpoint = OpenCheckpoint(OpenMemory(
      "mem", {{"config.json", config}, {"model.safetensors", file + header + contents}}));
  if (!checkpoint.ok()) std::abort();  // our own mistake
  const auto model =
      Model::Load(**checkpoint, {.dtype = dtype, .threads = 1, .huge_pages = false}, nullptr);
  if (!model.ok()) std::abort();
  std::string folder = (std::filesystem::temp_directory_path() / "mossrt-fuzz-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) std::abort();
  const absl::Status saved =
      SavePacked(**model, (*checkpoint)->source(), folder + "/m", {}, nullptr);
  if (!saved.ok()) std::abort();
  std::ostringstream bytes;
  bytes << std::ifstream(folder + "/m", std::ios::binary).rdbuf();
  std::filesystem::remove_all(folder);
  return bytes.str();
}

// In int4: with groups, and orders of no length.
std::string PlainBase() {
  const auto add = [](std::vector<Tensor>* to, const std::string& name, std::size_t out,
                      std::size_t in) {
    to->push_back({name + ".weight", "BF16", {out, in}});
  };
  return Packed(LlamaConfig(12), LlamaTensors(12, add), "int4-g32");
}

// GPTQ of 4 bits, of which the two groups take turns, in another way for every input.
std::string OrderedBase() {
  const auto add = [](std::vector<Tensor>* to, const std::string& name, std::size_t out,
                      std::size_t in) {
    const std::size_t run = name.ends_with("o_proj") ? 2 : name.ends_with("down_proj") ? 4 : 1;
    std::string groups;
    for (std::size_t i = 0; i < in; ++i) {
      groups += std::string{static_cast<char>(i / run % 2), '\0', '\0', '\0'};
    }
    to->push_back({name + ".qweight", "I32", {in / 8, out}});
    to->push_back({name + ".qzeros", "I32", {2, out / 8}});
    to->push_back({name + ".scales", "F16", {2, out}});
    to->push_back({name + ".g_idx", "I32", {in}, groups});
  };
  return Packed(LlamaConfig(64), LlamaTensors(64, add), "auto");
}

PackedSection OrdersOf(const std::string& file) {
  const auto checkpoint = OpenPacked(std::make_unique<OneFile>(&file), "m.mossrt");
  if (!checkpoint.ok()) std::abort();
  PackedSection orders = (*checkpoint)->packed()->section(PackedPart::kOrders);
  if (orders.bytes == 0) std::abort();  // what this base is for
  return orders;
}

// `edits` changes the orders, kEdit bytes each; `manifest` may be empty.
std::string EditedOrders(std::string_view edits, const std::string& manifest) {
  static const std::string& base = *new std::string(OrderedBase());
  static const PackedSection& orders = *new PackedSection(OrdersOf(base));
  std::string file = base;
  for (std::size_t i = 0; i + kEdit <= edits.size(); i += kEdit) {
    std::uint16_t where;
    std::memcpy(&where, edits.data() + i, 2);
    std::memcpy(file.data() + orders.offset + where % (orders.bytes / 4) * 4, edits.data() + i + 2,
                4);
  }
  if (manifest.empty() || manifest.size() > base.size() / 2) return file;
  return WithManifest(file, manifest);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string& base = *new std::string(PlainBase());
  const std::string input(reinterpret_cast<const char*>(data), size);
  std::string file;
  if (size > 0 && data[0] == 0) {
    file = input.substr(1);
    if (file.size() >= kPackedHeader) {
      PackedHeader header = HeaderOf(file);
      header.file_bytes = file.size();
      SetHeader(header, &file);
    }
  } else if (size > 1 && data[0] == 1) {
    const std::size_t edits = std::min<std::size_t>(kEdit * data[1], size - 2);
    file = EditedOrders(std::string_view(input).substr(2, edits), input.substr(2 + edits));
  } else if (size <= base.size() / 2) {
    file = WithManifest(base, input);
  }
  const auto checkpoint = OpenPacked(std::make_unique<OneFile>(&file), "m.mossrt");
  if (!checkpoint.ok()) return 0;
  const auto model =
      Model::Load(**checkpoint, {.threads = 1, .verify_crc = false, .huge_pages = false}, nullptr);
  if (model.ok()) RunOnce(**model);
  return 0;
}
