// Peak memory of loading: packed weights and what the plan promises for loading, at most 64 MiB a
// thread, on synthetic checkpoints of over 600 MB, in both kinds of file, held as they stand and
// converted while they are read, and of GPTQ.
#include <malloc.h>
#include <unistd.h>

#include <filesystem>

#include "checkpoint/file_writers.h"
#include "reference_model.h"

namespace mossrt::runtime {
namespace {

constexpr std::int64_t kHidden = 2048, kLayers = 5, kVocab = 16384;
// Each CPU counts some pages by itself before the process's count knows of them.
constexpr std::uint64_t kUncounted = 8u << 20;

struct Tensor {
  std::string name;
  std::vector<std::int64_t> shape;
  std::uint64_t values = 1;  // all of them zero, but for what `contents` says
  std::string dtype = "F16";
  std::string contents{};
  std::uint64_t bytes() const { return values * (dtype == "F16" ? 2 : 4); }
};

std::vector<Tensor> MossTensors() {
  std::vector<Tensor> tensors;
  const auto add = [&](const std::string& name, const std::vector<std::int64_t>& shape) {
    tensors.push_back({.name = name, .shape = shape});
    for (const std::int64_t n : shape) tensors.back().values *= static_cast<std::uint64_t>(n);
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
  return tensors;
}

// The same with the layers' matrices in groups of 128 inputs; `ordered`: the groups take turns.
std::vector<Tensor> GptqMossTensors(std::int64_t bits, bool ordered) {
  std::vector<Tensor> tensors;
  const auto add = [&](const std::string& name, std::int64_t rows, std::int64_t cols,
                       const std::string& dtype) {
    tensors.push_back({.name = name,
                       .shape = {rows, cols},
                       .values = static_cast<std::uint64_t>(rows * cols),
                       .dtype = dtype});
  };
  for (const Tensor& t : MossTensors()) {
    const std::size_t end = t.name.rfind(".weight");
    if (!t.name.starts_with("transformer.h.") || t.shape.size() != 2) {
      tensors.push_back(t);
      continue;
    }
    const std::string base = t.name.substr(0, end);
    const std::int64_t outputs = t.shape[0], inputs = t.shape[1];
    add(base + ".qweight", inputs * bits / 32, outputs, "I32");
    add(base + ".qzeros", inputs / 128, outputs * bits / 32, "I32");
    add(base + ".scales", inputs / 128, outputs, "F16");
    if (!ordered) continue;
    tensors.push_back({.name = base + ".g_idx",
                       .shape = {inputs},
                       .values = static_cast<std::uint64_t>(inputs),
                       .dtype = "I32"});
    for (std::int64_t i = 0; i < inputs; ++i) {
      tensors.back().contents += testing::U32(static_cast<std::uint64_t>(i % (inputs / 128)));
    }
  }
  return tensors;
}

// A file of which the zeros are holes, so that it costs the disk nothing.
class SparseFile {
 public:
  explicit SparseFile(const std::string& path) : path_(path), file_(path, std::ios::binary) {}
  void Write(std::string_view bytes) {
    file_.seekp(static_cast<std::streamoff>(at_));
    file_ << bytes;
    at_ += bytes.size();
  }
  void Skip(std::uint64_t zeros) { at_ += zeros; }
  std::uint64_t at() const { return at_; }
  void Close() {
    file_.close();
    std::filesystem::resize_file(path_, at_);
  }

 private:
  std::string path_;
  std::ofstream file_;
  std::uint64_t at_ = 0;
};

void WriteSafetensors(const std::string& directory, const std::vector<Tensor>& tensors) {
  Json header;
  std::uint64_t offset = 0;
  for (const Tensor& t : tensors) {
    header[t.name] = {
        {"dtype", t.dtype}, {"shape", t.shape}, {"data_offsets", {offset, offset + t.bytes()}}};
    offset += t.bytes();
  }
  SparseFile file(directory + "/model.safetensors");
  file.Write(testing::Safetensors(header.dump(), ""));
  for (const Tensor& t : tensors) {
    file.Write(t.contents);
    file.Skip(t.bytes() - t.contents.size());
  }
  file.Close();
}

std::uint32_t CrcOfZeros(std::uint64_t size) {
  std::uint32_t crc = 0, of_power = testing::CrcOf(std::string(1, '\0'));
  for (std::uint64_t power = 1; power <= size; power *= 2) {
    const auto length = static_cast<z_off_t>(power);
    if (size & power) crc = static_cast<std::uint32_t>(crc32_combine(crc, of_power, length));
    of_power = static_cast<std::uint32_t>(crc32_combine(of_power, of_power, length));
  }
  return crc;
}

// As torch.save writes it: an entry for each storage, its sizes behind it and in the directory.
void WriteTorchFile(const std::string& directory) {
  using testing::U16, testing::U32, testing::U64;
  const std::vector<Tensor> tensors = MossTensors();
  std::vector<testing::PickledTensor> pickled;
  for (const Tensor& t : tensors) {
    const bool matrix = t.shape.size() == 2;
    pickled.push_back({.name = t.name,
                       .storage_class = "HalfStorage",
                       .key = std::to_string(pickled.size()),
                       .numel = static_cast<std::int64_t>(t.values),
                       .shape = t.shape,
                       .strides = matrix ? std::vector{t.shape[1], std::int64_t{1}}
                                         : std::vector{std::int64_t{1}}});
  }
  SparseFile file(directory + "/pytorch_model.bin");
  std::string central;
  std::size_t entries = 0;
  const auto add = [&](const std::string& name, std::string_view bytes, std::uint64_t zeros) {
    const std::uint64_t size = bytes.size() + zeros, local = file.at();
    const std::string crc = U32(zeros > 0 ? CrcOfZeros(zeros) : testing::CrcOf(bytes));
    const std::string start = U16(8) + U16(0) + U32(0);  // sizes follow, stored
    file.Write(U32(0x04034B50) + U16(20) + start + U32(0) + U32(0) + U32(0));
    const std::size_t padding = 64 - (file.at() + 8 + name.size()) % 64;
    file.Write(U16(name.size()) + U16(4 + padding) + name + "FB" + U16(padding));
    file.Write(std::string(padding, 'Z'));
    file.Write(bytes);
    file.Skip(zeros);
    file.Write(U32(0x08074B50) + crc + U32(size) + U32(size));
    central += U32(0x02014B50) + U16(45) + U16(20) + start + crc + U32(size) + U32(size);
    central += U16(name.size()) + U16(0) + U16(0) + U16(0) + U16(0) + U32(0) + U32(local) + name;
    ++entries;
  };
  add("archive/data.pkl", testing::Pickle(testing::StateDictOf(pickled)), 0);
  for (std::size_t i = 0; i < tensors.size(); ++i)
    add("archive/data/" + pickled[i].key, "", 2 * tensors[i].values);
  add("archive/version", "3\n", 0);
  const std::uint64_t directory_at = file.at();
  file.Write(central);
  file.Write(U32(0x06054B50) + U32(0) + U16(entries) + U16(entries) + U32(central.size()) +
             U32(directory_at) + U16(0));
  file.Close();
}

std::uint64_t StatusKilobytes(const std::string& key) {
  std::ifstream file("/proc/self/status");
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(key + ":")) return std::stoull(line.substr(key.size() + 1));
  }
  return 0;
}

class MemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    for (const std::string kind :
         {"safetensors", "torch", "gptq2", "gptq4", "gptq8", "gptq4-order", "gptq8-order"}) {
      std::filesystem::create_directories(Directory(kind));
      std::ofstream(Directory(kind) + "/config.json")
          << Json{{"model_type", "moss"},       {"n_embd", kHidden},
                  {"n_layer", kLayers},         {"n_head", 16},
                  {"n_positions", 2048},        {"rotary_dim", 64},
                  {"vocab_size", kVocab},       {"groupsize", 128},
                  {"layer_norm_epsilon", 1e-5}, {"activation_function", "gelu_new"}}
                 .dump();
    }
    WriteSafetensors(Directory("safetensors"), MossTensors());
    for (const int bits : {2, 4, 8}) {
      WriteSafetensors(Directory("gptq" + std::to_string(bits)), GptqMossTensors(bits, false));
    }
    for (const int bits : {4, 8}) {
      WriteSafetensors(Directory("gptq" + std::to_string(bits) + "-order"),
                       GptqMossTensors(bits, true));
    }
    WriteTorchFile(Directory("torch"));
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  std::string Directory(const std::string& kind) const { return root_ + "/" + kind; }

 private:
  std::string root_ = ::testing::TempDir() + "/mossrt_memory_" + std::to_string(getpid());
};

TEST_F(MemoryTest, LoadingPeaksAtPackedWeightsAndSlabs) {
  struct Case {
    std::string kind, dtype;
    int threads;
    std::uint64_t held;  // MiB of weights at least, so that the peak is not that of something small
  };
  for (const Case& c : std::initializer_list<Case>{{"safetensors", "auto", 1, 600},
                                                   {"safetensors", "auto", 2, 600},
                                                   {"torch", "auto", 2, 600},
                                                   {"torch", "bfloat16", 1, 600},
                                                   {"safetensors", "int8", 1, 300},
                                                   {"torch", "int8-g64-asym", 2, 300},
                                                   {"torch", "int4", 1, 170},
                                                   {"safetensors", "int4-g32-asym", 2, 170},
                                                   {"gptq4", "auto", 1, 170},
                                                   {"gptq4", "auto", 2, 170},
                                                   {"gptq2", "auto", 2, 170},
                                                   {"gptq8", "auto", 1, 300},
                                                   {"gptq8", "auto", 2, 300},
                                                   {"gptq4-order", "auto", 1, 170},
                                                   {"gptq4-order", "auto", 2, 170},
                                                   {"gptq8-order", "auto", 2, 300}}) {
    const auto checkpoint = OpenCheckpoint(Directory(c.kind));
    ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
    malloc_trim(0);  // what an earlier case gave back must not serve this one unseen
    std::ofstream("/proc/self/clear_refs") << "5";  // the high-water mark starts anew
    const std::uint64_t before = StatusKilobytes("VmRSS") << 10;
    const auto model = Model::Load(**checkpoint, {.dtype = c.dtype, .threads = c.threads}, nullptr);
    ASSERT_TRUE(model.ok()) << model.status();
    const std::uint64_t peak = (StatusKilobytes("VmHWM") << 10) - before;
    const std::uint64_t weights = (*model)->weight_bytes();
    const std::uint64_t loading = (*model)->plan().need.loading;
    const auto mib = [](std::uint64_t n) { return static_cast<double>(n) / (1 << 20); };
    const std::string what =
        c.kind + " held as " + c.dtype + ", " + std::to_string(c.threads) + " threads";
    std::printf("%s: weights %.1f MiB, peak %.1f MiB above the start, promised %.1f for loading\n",
                what.c_str(), mib(weights), mib(peak), mib(loading));
    EXPECT_GE(weights, c.held << 20) << what;
    EXPECT_LE(peak, weights + loading + kUncounted) << what;
    EXPECT_LE(loading, static_cast<std::uint64_t>(c.threads) * (64u << 20)) << what;
  }
}

}  // namespace
}  // namespace mossrt::runtime
