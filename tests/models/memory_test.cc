// Peak memory of loading: packed weights + 64 MiB a thread, on a synthetic checkpoint of over 600
// MB.
#include <fcntl.h>
#include <unistd.h>

#include <filesystem>

#include "reference_model.h"

namespace mossrt::runtime {
namespace {

constexpr std::int64_t kHidden = 2048, kLayers = 5, kVocab = 16384;

// A MOSS-shaped safetensors file without its zeros: sparse, so that it costs the disk nothing.
std::string WriteSparseCheckpoint(const std::string& directory) {
  Json header;
  std::uint64_t offset = 0;
  const auto add = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    std::uint64_t bytes = 2;
    for (const std::int64_t n : shape) bytes *= static_cast<std::uint64_t>(n);
    header[name] = {{"dtype", "F16"}, {"shape", shape}, {"data_offsets", {offset, offset + bytes}}};
    offset += bytes;
  };
  add("transformer.wte.weight", {kVocab, kHidden});
  for (std::int64_t layer = 0; layer < kLayers; ++layer) {
    const std::string base = "transformer.h." + std::to_string(layer) + ".";
    add(base + "ln_1.weight", {kHidden});
    add(base + "ln_1.bias", {kHidden});
    add(base + "attn.qkv_proj.weight", {3 * kHidden, kHidden});
    add(base + "attn.out_proj.weight", {kHidden, kHidden});
    add(base + "mlp.fc_in.weight", {4 * kHidden, kHidden});
    add(base + "mlp.fc_in.bias", {4 * kHidden});
    add(base + "mlp.fc_out.weight", {kHidden, 4 * kHidden});
    add(base + "mlp.fc_out.bias", {kHidden});
  }
  add("transformer.ln_f.weight", {kHidden});
  add("transformer.ln_f.bias", {kHidden});
  add("lm_head.weight", {kVocab, kHidden});
  add("lm_head.bias", {kVocab});
  const std::string text = header.dump();
  const std::string path = directory + "/model.safetensors";
  std::ofstream file(path, std::ios::binary);
  std::uint64_t length = text.size();
  file.write(reinterpret_cast<const char*>(&length), 8);
  file << text;
  file.close();
  std::filesystem::resize_file(path, 8 + text.size() + offset);
  std::ofstream(directory + "/config.json") << Json{{"model_type", "moss"},
                                                    {"n_embd", kHidden},
                                                    {"n_layer", kLayers},
                                                    {"n_head", 16},
                                                    {"n_positions", 2048},
                                                    {"rotary_dim", 64},
                                                    {"vocab_size", kVocab},
                                                    {"layer_norm_epsilon", 1e-5},
                                                    {"activation_function", "gelu_new"}}
                                                   .dump();
  EXPECT_GT(offset, 600u << 20);
  return directory;
}

std::uint64_t StatusKilobytes(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key + ":")) return std::stoull(line.substr(key.size() + 1));
  }
  return 0;
}

TEST(Memory, LoadingPeaksAtPackedWeightsAndSlabs) {
  const std::string directory = testing::TempDir() + "/mossrt_memory_" + std::to_string(getpid());
  std::filesystem::create_directories(directory);
  WriteSparseCheckpoint(directory);
  for (const int threads : {1, 2}) {
    const auto checkpoint = OpenCheckpoint(directory);
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    std::ofstream("/proc/self/clear_refs") << "5";  // the high-water mark starts anew
    const std::uint64_t before = StatusKilobytes("VmRSS") << 10;
    const auto model = Model::Load(**checkpoint, {.threads = threads}, nullptr);
    ASSERT_TRUE(model.ok()) << model.status();
    const std::uint64_t peak = (StatusKilobytes("VmHWM") << 10) - before;
    const std::uint64_t weights = (*model)->weight_bytes();
    std::printf("%d threads: weights %.1f MiB, peak %.1f MiB above the start\n", threads,
                static_cast<double>(weights) / (1 << 20), static_cast<double>(peak) / (1 << 20));
    EXPECT_GE(weights, 600u << 20);
    EXPECT_LE(peak, weights + static_cast<std::uint64_t>(threads) * (64u << 20));
    EXPECT_LE((*model)->plan().need.loading, static_cast<std::uint64_t>(threads) * (64u << 20));
  }
  std::filesystem::remove_all(directory);
}

}  // namespace
}  // namespace mossrt::runtime
