// The input is the manifest of a packed file (or, behind a zero byte, the whole file); header and
// sums are made to fit, so that what is behind them is reached. What loads is run.
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "models/packed_bytes.h"
#include "run_once.h"

namespace {

using namespace mossrt::runtime;  // NOLINT

// A LLaMA of hidden 64, 1 layer, 2 heads, 11 tokens, in int4: with groups, and orders of no length.
std::string Base() {
  const std::string layer = "model.layers.0.";
  const std::pair<std::string, std::string> tensors[] = {
      {"model.embed_tokens.weight", "11,64"},
      {layer + "input_layernorm.weight", "64"},
      {layer + "post_attention_layernorm.weight", "64"},
      {layer + "self_attn.q_proj.weight", "64,64"},
      {layer + "self_attn.k_proj.weight", "32,64"},
      {layer + "self_attn.v_proj.weight", "32,64"},
      {layer + "self_attn.o_proj.weight", "64,64"},
      {layer + "mlp.up_proj.weight", "12,64"},
      {layer + "mlp.gate_proj.weight", "12,64"},
      {layer + "mlp.down_proj.weight", "64,12"},
      {"model.norm.weight", "64"},
      {"lm_head.weight", "11,64"}};
  std::string header = "{";
  std::size_t at = 0;
  for (const auto& [name, shape] : tensors) {
    std::size_t bytes = 2;
    std::istringstream numbers(shape);
    for (std::string n; std::getline(numbers, n, ',');) bytes *= std::stoul(n);
    header += (at == 0 ? "\"" : ",\"") + name + "\":{\"dtype\":\"BF16\",\"shape\":[" + shape +
              "],\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(at + bytes) + "]}";
    at += bytes;
  }
  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  std::string file(8, '\0');
  const std::uint64_t size = header.size();
  std::memcpy(file.data(), &size, 8);
  const std::string config =
      R"({"model_type":"llama","vocab_size":11,"hidden_size":64,"num_hidden_layers":1,)"
      R"("num_attention_heads":2,"num_key_value_heads":1,"intermediate_size":12,)"
      R"("max_position_embeddings":16,"rms_norm_eps":1e-6,"hidden_act":"silu",)"
      R"("tie_word_embeddings":false})";
  const auto checkpoint = OpenCheckpoint(OpenMemory(
      "mem",
      {{"config.json", config}, {"model.safetensors", file + header + std::string(at, '\1')}}));
  if (!checkpoint.ok()) std::abort();  // our own mistake
  const auto model =
      Model::Load(**checkpoint, {.dtype = "int4-g32", .threads = 1, .huge_pages = false}, nullptr);
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

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::string& base = *new std::string(Base());
  const std::string input(reinterpret_cast<const char*>(data), size);
  std::string file;
  if (size > 0 && data[0] == 0) {
    file = input.substr(1);
    if (file.size() >= kPackedHeader) {
      PackedHeader header = HeaderOf(file);
      header.file_bytes = file.size();
      SetHeader(header, &file);
    }
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
