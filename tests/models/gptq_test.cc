// GPTQ checkpoints: integers and values to the bit as NumPy unpacks them, logits against float64,
// claims that the tensors contradict, and tensors that contradict one another.
#include <zlib.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <map>

#include "base/half.h"
#include "base/status.h"
#include "checkpoint/file_writers.h"
#include "models/gptq_tensors.h"
#include "models/weight_sources.h"
#include "reference_model.h"

namespace mossrt::runtime {
namespace {

using Files = std::map<std::string, std::string>;

Files ReadModel(const std::string& name) {
  Files files;
  for (const auto& entry : std::filesystem::directory_iterator(std::string(MOSSRT_SOURCE_DIR) +
                                                               "/tests/data/models/" + name)) {
    if (entry.is_regular_file()) files[entry.path().filename()] = ReadFileOrDie(entry.path());
  }
  return files;
}

absl::StatusOr<ModelPlan> PlanOf(Files files, const LoadOptions& options = {}) {
  MOSSRT_ASSIGN_OR_RETURN(const auto checkpoint,
                          OpenCheckpoint(OpenMemory("memory", std::move(files))));
  return PlanModel(*checkpoint, options);
}

std::string Notes(const ModelPlan& plan) { return Join(plan.notes, "\n"); }

void ExpectAll(const std::string& text, const std::vector<std::string>& parts) {
  for (const std::string& part : parts) {
    EXPECT_NE(text.find(part), std::string::npos) << "no \"" << part << "\" in: " << text;
  }
}

template <typename T>
std::uint32_t Checksum(const std::vector<T>& values) {
  return static_cast<std::uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(values.data()), values.size() * sizeof(T)));
}

struct Opened {
  std::unique_ptr<Checkpoint> checkpoint;
  ModelPlan plan;
  std::vector<WeightRule> rules;
};

Opened Open(const std::string& name) {
  Opened opened;
  auto checkpoint = OpenCheckpoint(std::string(MOSSRT_SOURCE_DIR) + "/tests/data/models/" + name);
  EXPECT_TRUE(checkpoint.ok()) << checkpoint.status();
  opened.checkpoint = *std::move(checkpoint);
  auto plan = PlanModel(*opened.checkpoint, {});
  EXPECT_TRUE(plan.ok()) << plan.status();
  opened.plan = *std::move(plan);
  opened.rules = WeightRules(opened.plan.spec, opened.plan.params);
  return opened;
}

class GptqTest : public ::testing::TestWithParam<std::string> {};

// The rule of a matrix as it stands in the file, that is, of all of q, k and v.
WeightRule WholeRule(WeightRule rule) {
  rule.rows = rule.shape[0];
  return rule;
}

TEST_P(GptqTest, IntegersAreThoseThatNumPyUnpacks) {
  const ReferenceModel reference(GetParam());
  const Opened opened = Open(GetParam());
  int seen = 0;
  bool full_range = false;
  for (const auto& [base, want] : reference.json["matrices"].items()) {
    const auto rule =
        std::find_if(opened.rules.begin(), opened.rules.end(),
                     [&, name = base](const auto& r) { return r.tensor == name + ".weight"; });
    ASSERT_NE(rule, opened.rules.end()) << base;
    MatrixSources sources(*opened.checkpoint, 64, nullptr, nullptr);
    // Rows of the file, and again backwards and in pieces through a map.
    const WeightRule whole = WholeRule(*rule);
    std::vector<std::int64_t> backwards;
    for (std::int64_t r = whole.rows; r-- > 0;) backwards.push_back(r);
    for (const bool reversed : {false, true}) {
      const auto source = sources.Open(whole, reversed ? &backwards : nullptr);
      ASSERT_TRUE(source.ok()) << source.status();
      const IntegerEncoding* encoding = (*source)->integers();
      ASSERT_NE(encoding, nullptr);
      EXPECT_EQ(encoding->bits, want["bits"]);
      EXPECT_EQ(encoding->groups, want["groups"]);
      EXPECT_EQ(encoding->group_size, want["group_size"]);
      EXPECT_EQ(
          Checksum(std::vector<std::int32_t>(encoding->group_of.begin(), encoding->group_of.end())),
          want["group_of"]);
      const auto n = static_cast<std::size_t>(whole.rows), k = static_cast<std::size_t>(whole.cols),
                 groups = static_cast<std::size_t>(encoding->groups);
      std::vector<std::uint8_t> q(n * k);
      std::vector<std::uint16_t> scales(n * groups), zeros(n * groups);
      for (std::int64_t first = 0; first < whole.rows; first += 17) {
        const std::int64_t count = std::min<std::int64_t>(17, whole.rows - first);
        const auto m = static_cast<std::size_t>(count);
        std::vector<std::uint8_t> q_part(m * k);
        std::vector<std::uint16_t> scales_part(m * groups), zeros_part(m * groups);
        ASSERT_TRUE((*source)
                        ->ReadIntegers(first, count,
                                       {.q = q_part, .scales = scales_part, .zeros = zeros_part})
                        .ok());
        for (std::int64_t i = 0; i < count; ++i) {
          const auto from = static_cast<std::size_t>(i);
          const auto to =
              static_cast<std::size_t>(reversed ? whole.rows - 1 - first - i : first + i);
          std::copy_n(&q_part[from * k], k, &q[to * k]);
          std::copy_n(&scales_part[from * groups], groups, &scales[to * groups]);
          std::copy_n(&zeros_part[from * groups], groups, &zeros[to * groups]);
        }
      }
      EXPECT_EQ(Checksum(q), want["q"]) << base;
      EXPECT_EQ(Checksum(scales), want["scales"]) << base;
      EXPECT_EQ(Checksum(zeros), want["zeros"]) << base;
      full_range =
          full_range || *std::max_element(zeros.begin(), zeros.end()) == 1 << encoding->bits;
      ++seen;
    }
  }
  EXPECT_GE(seen, 16);
  EXPECT_TRUE(full_range) << "no zero point of 2^bits";
}

TEST_P(GptqTest, ValuesAreThoseOfTheFormulaInEveryBackend) {
  const ReferenceModel reference(GetParam());
  for (const std::string backend : {"native", "reference", "eigen"}) {
    const auto model = reference.Load({.dtype = "float32", .backend = backend});
    ASSERT_NE(model, nullptr);
    for (const auto& [base, want] : reference.json["matrices"].items()) {
      std::vector<std::int64_t> shape;
      const auto values = model->ReadTensor(base + ".weight", &shape);
      ASSERT_TRUE(values.ok()) << values.status();
      EXPECT_EQ(shape, want["shape"].get<std::vector<std::int64_t>>());
      EXPECT_EQ(Checksum(*values), want["values"]) << base << " " << backend;
      if (!want.contains("file")) continue;
      const std::string bytes = ReadFileOrDie(reference.directory + "/reference/values.bin");
      ASSERT_EQ(bytes.size(), values->size() * 4);
      for (std::size_t i = 0; i < values->size(); ++i) {
        float stored;
        std::memcpy(&stored, &bytes[4 * i], 4);
        ASSERT_EQ((*values)[i], stored) << base << "[" << i << "]";
      }
    }
  }
}

TEST_P(GptqTest, LogitsAreNearFloat64) {
  const ReferenceModel reference(GetParam());
  const auto rows = reference.json["rows"].get<std::vector<std::int32_t>>();
  for (const std::string backend : {"native", "reference", "eigen", "openblas"}) {
    const auto model = reference.Load({.dtype = "float32", .backend = backend});
    ASSERT_NE(model, nullptr) << backend;
    Sequence sequence(*model, 256);
    ASSERT_TRUE(sequence.Feed(reference.ids, SequenceInput::Rows::kListed, nullptr, rows).ok());
    const double ours = MaxDifference(sequence.logits, reference.Array("logits_f64").values);
    EXPECT_LE(ours, 4 * reference.TorchError("logits_f64")) << backend;
    EXPECT_GT(ours, 0) << "the reference is not independent";
  }
}

TEST_P(GptqTest, PlanTellsWhatBecomesOfEachTensor) {
  const ReferenceModel reference(GetParam());
  const auto checkpoint = OpenCheckpoint(reference.directory);
  ASSERT_TRUE(checkpoint.ok());
  const auto plan = PlanModel(**checkpoint, {.backend = "reference"});
  ASSERT_TRUE(plan.ok()) << plan.status();
  std::map<std::string, TensorPlan> tensors;
  for (const TensorPlan& tensor : plan->tensors) tensors[tensor.name] = tensor;
  std::int64_t quantised = 0, others = 0;
  for (const auto& [base, want] : reference.json["matrices"].items()) {
    const std::string use = tensors.at(base + ".qweight").use;
    EXPECT_TRUE(use.starts_with("layer ")) << use;
    EXPECT_EQ(tensors.at(base + ".qweight").held, "float32");
    EXPECT_EQ(tensors.at(base + ".qzeros").use, use + " zero points");
    EXPECT_EQ(tensors.at(base + ".scales").use, use + " scales");
    quantised += want["shape"][0].get<std::int64_t>() * want["shape"][1].get<std::int64_t>();
    for (const char* part : {".qweight", ".qzeros", ".scales", ".g_idx"}) {
      tensors.erase(base + part);
    }
  }
  for (const auto& [name, tensor] : tensors) {
    if (tensor.use == "ignored") continue;
    std::int64_t size = 1;
    for (const std::int64_t n : tensor.shape) size *= n;
    others += size;
  }
  EXPECT_EQ(plan->parameters, quantised + others);
  // What a backend that keeps integers would be asked for.
  const Json& first = reference.json["matrices"].begin().value();
  const int size = first["group_size"];
  const std::string format = "int" + std::string(first["bits"] == 8 ? "8" : "4") + "-g" +
                             (size >= 128  ? "128"
                              : size >= 64 ? "64"
                                           : "32") +
                             "-asym";
  ExpectAll(Notes(*plan), {"backend reference holds " + format + " as float32"});
}

INSTANTIATE_TEST_SUITE_P(Models, GptqTest,
                         ::testing::Values("moss-gptq-int4", "moss-gptq-int8", "moss-gptq-int2",
                                           "llama-gptq"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

Files WithJson(Files files, const std::string& file, const std::function<void(Json&)>& change) {
  Json json = files.contains(file) ? Json::parse(files.at(file)) : Json::object();
  change(json);
  files[file] = json.dump();
  return files;
}

std::string NotesOf(const Files& files, const LoadOptions& options = {}) {
  const auto plan = PlanOf(files, options);
  EXPECT_TRUE(plan.ok()) << plan.status();
  return plan.ok() ? Notes(*plan) : "";
}

TEST(GptqClaims, LyingBitsAreOverruledAndNamed) {
  const std::string note = "\"wbits\" says 4, but the shape of";
  ExpectAll(NotesOf(ReadModel("moss-gptq-int8")),
            {note, "means 8 bits", "8 of 8 quantised matrices"});
  EXPECT_EQ(NotesOf(ReadModel("moss-gptq-int4")).find("wbits"), std::string::npos);
  for (const int wbits : {8, 16, 32}) {
    ExpectAll(NotesOf(WithJson(ReadModel("moss-gptq-int4"), "config.json",
                               [wbits](Json& c) { c["wbits"] = wbits; })),
              {"\"wbits\" says " + std::to_string(wbits), "means 4 bits"});
  }
}

TEST(GptqClaims, NotesAndErrorsNameTheWholePath) {
  Files files = ReadModel("moss-gptq-int4");
  files = WithJson(std::move(files), "quantize_config.json", [](Json& c) { c["bits"] = 8; });
  files = WithJson(std::move(files), "config.json", [](Json& c) {
    c["wbits"] = 8;
    c["quantization_config"] = {{"quant_method", "gptq"}, {"bits", 2}};
  });
  ExpectAll(NotesOf(files), {"memory/config.json: \"wbits\" says 8",
                             "memory/config.json, \"quantization_config\": \"bits\" says 2",
                             "memory/quantize_config.json: \"bits\" says 8"});
  const auto wrong =
      PlanOf(WithJson(std::move(files), "config.json", [](Json& c) { c["wbits"] = "four"; }));
  const std::string said(wrong.status().message());
  EXPECT_TRUE(said.starts_with("memory/config.json: \"wbits\"")) << said;
}

TEST(GptqClaims, LyingGroupsAreOverruledAndNamed) {
  for (const int size : {-1, 64}) {
    ExpectAll(NotesOf(WithJson(ReadModel("moss-gptq-int4"), "config.json",
                               [size](Json& c) { c["groupsize"] = size; })),
              {"\"groupsize\" says " + std::to_string(size), ".scales has 3 groups for 80 inputs"});
  }
  EXPECT_EQ(NotesOf(ReadModel("llama-gptq")).find("says"), std::string::npos);
  ExpectAll(NotesOf(WithJson(ReadModel("llama-gptq"), "quantize_config.json",
                             [](Json& c) {
                               c["desc_act"] = false;
                               c["bits"] = 8;
                             })),
            {"/quantize_config.json: \"desc_act\" says 0", "in another order",
             "quantize_config.json: \"bits\" says 8"});
}

TEST(GptqClaims, OldFilesNeedTheGroupSize) {
  const auto plan = PlanOf(
      WithJson(ReadModel("moss-gptq-int2"), "config.json", [](Json& c) { c.erase("groupsize"); }));
  ASSERT_FALSE(plan.ok());
  ExpectAll(plan.status().ToString(), {"no g_idx", "80 inputs", "2 groups", "\"groupsize\""});
  // The keys of AutoGPTQ serve as well.
  EXPECT_TRUE(PlanOf(WithJson(ReadModel("moss-gptq-int2"), "config.json", [](Json& c) {
                c.erase("groupsize");
                c["quantization_config"] = {
                    {"quant_method", "gptq"}, {"bits", 2}, {"group_size", 64}, {"desc_act", false}};
              })).ok());
}

TEST(GptqClaims, OtherMethodsAreRefused) {
  const std::vector<std::pair<Json, std::string>> cases = {
      {{{"quant_method", "awq"}, {"bits", 4}}, "\"quant_method\" is \"awq\""},
      {{{"load_in_8bit", true}}, "\"load_in_8bit\" is true"},
      {{{"quant_method", "gptq"}, {"checkpoint_format", "gptq_v2"}}, "gptq_v2"},
      {{{"quant_method", "gptq"}, {"is_marlin_format", true}}, "marlin"},
  };
  for (const auto& [claims, part] : cases) {
    for (const bool beside : {false, true}) {
      const auto plan = PlanOf(WithJson(
          ReadModel("moss-gptq-int4"), beside ? "quantize_config.json" : "config.json",
          [beside, &said = claims](Json& c) { (beside ? c : c["quantization_config"]) = said; }));
      EXPECT_EQ(plan.status().code(), absl::StatusCode::kUnimplemented) << plan.status();
      ExpectAll(plan.status().ToString(), {part, "GPTQ"});
    }
  }
  const auto other = PlanOf(WithJson(ReadModel("moss-gptq-int4"), "config.json",
                                     [](Json& c) { c["quantization_bit"] = 4; }));
  EXPECT_EQ(other.status().code(), absl::StatusCode::kUnimplemented) << other.status();
  for (const Json& bad : {Json("gptq"), Json{{"bits", "four"}}, Json{{"group_size", 1.5}}}) {
    EXPECT_FALSE(PlanOf(WithJson(ReadModel("moss-gptq-int4"), "config.json", [&](Json& c) {
                   c["quantization_config"] = bad;
                 })).ok());
  }
}

TEST(GptqFormats, IntegersAreKeptAndRoundingIsSaid) {
  const Files files = ReadModel("moss-gptq-int4");
  ExpectAll(NotesOf(files, {.dtype = "int8-g64", .backend = "reference"}),
            {"int8-g64 was asked for", "kept as int4-g32-asym", "nothing is quantised twice"});
  EXPECT_EQ(NotesOf(files, {.backend = "reference"}).find("twice"), std::string::npos);
  ExpectAll(NotesOf(files, {.dtype = "float16"}),
            {"values of quantised matrices are rounded to float16"});
  EXPECT_EQ(NotesOf(files, {.dtype = "float32"}).find("rounded"), std::string::npos);
  // Overrides name tensors as the file does.
  const auto plan = PlanOf(files, {.dtype = "float32", .overrides = {"*.1.*.qweight=float16"}});
  ASSERT_TRUE(plan.ok()) << plan.status();
  for (const TensorPlan& tensor : plan->tensors) {
    if (!tensor.name.ends_with(".qweight")) continue;
    const bool second = tensor.name.find(".1.") != std::string::npos;
    EXPECT_EQ(tensor.held, second ? "float16" : "float32") << tensor.name;
  }
}

// ---- hostile files

struct Tensor {
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::string bytes;
};
using Tensors = std::map<std::string, Tensor>;

std::int64_t Size(const std::vector<std::int64_t>& shape) {
  std::int64_t size = 1;
  for (const std::int64_t n : shape) size *= n;
  return size;
}

Tensor Zeros(const std::string& dtype, const std::vector<std::int64_t>& shape) {
  const std::size_t width = dtype == "I64" ? 8 : dtype == "F16" || dtype == "BF16" ? 2 : 4;
  return {dtype, shape, std::string(static_cast<std::size_t>(Size(shape)) * width, '\0')};
}

// One layer of hidden 32 in 4 bits and groups of 16.
Tensors TinyGptq() {
  Tensors tensors = {{"transformer.wte.weight", Zeros("F16", {9, 32})},
                     {"transformer.ln_f.weight", Zeros("F16", {32})},
                     {"transformer.ln_f.bias", Zeros("F16", {32})},
                     {"lm_head.weight", Zeros("F16", {9, 32})},
                     {"lm_head.bias", Zeros("F16", {9})},
                     {"transformer.h.0.ln_1.weight", Zeros("F16", {32})},
                     {"transformer.h.0.ln_1.bias", Zeros("F16", {32})},
                     {"transformer.h.0.mlp.fc_in.bias", Zeros("F16", {64})},
                     {"transformer.h.0.mlp.fc_out.bias", Zeros("F16", {32})}};
  const auto add = [&](const std::string& base, std::int64_t in, std::int64_t out) {
    tensors[base + ".qweight"] = Zeros("I32", {in / 8, out});
    tensors[base + ".qzeros"] = Zeros("I32", {in / 16, out / 8});
    tensors[base + ".scales"] = Zeros("F16", {in / 16, out});
    tensors[base + ".g_idx"] = Zeros("I32", {in});
  };
  add("transformer.h.0.attn.qkv_proj", 32, 96);
  add("transformer.h.0.attn.out_proj", 32, 32);
  add("transformer.h.0.mlp.fc_in", 32, 64);
  add("transformer.h.0.mlp.fc_out", 64, 32);
  return tensors;
}

Files FilesOf(const Tensors& tensors) {
  Json header = Json::object();
  std::string data;
  for (const auto& [name, tensor] : tensors) {
    header[name] = {{"dtype", tensor.dtype},
                    {"shape", tensor.shape},
                    {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  const Json config = {{"model_type", "moss"}, {"n_embd", 32},    {"n_layer", 1},
                       {"n_head", 4},          {"n_inner", 64},   {"n_positions", 16},
                       {"rotary_dim", 4},      {"vocab_size", 9}, {"wbits", 4}};
  return {{"config.json", config.dump()},
          {"model.safetensors", testing::Safetensors(header.dump(), data)}};
}

absl::Status LoadOf(const Tensors& tensors) {
  const auto checkpoint = OpenCheckpoint(OpenMemory("memory", FilesOf(tensors)));
  if (!checkpoint.ok()) return checkpoint.status();
  return Model::Load(**checkpoint, {.dtype = "float32", .threads = 2, .huge_pages = false}, nullptr)
      .status();
}

void SetInt(Tensor* tensor, std::size_t index, std::int64_t value) {
  const std::size_t width = tensor->dtype == "I64" ? 8 : 4;
  std::memcpy(&tensor->bytes[index * width], &value, width);
}

TEST(GptqHostile, WrongTensorsAreNamedWithWhatWasExpected) {
  ASSERT_TRUE(LoadOf(TinyGptq()).ok()) << LoadOf(TinyGptq());
  struct Case {
    std::function<void(Tensors&)> change;
    std::vector<std::string> parts;
  };
  const std::string qkv = "transformer.h.0.attn.qkv_proj", fc_in = "transformer.h.0.mlp.fc_in";
  const std::vector<Case> cases = {
      {[&](Tensors& t) {
         t[qkv + ".qweight"] = Zeros("I32", {3, 96});
       },
       {qkv + ".qweight: expected [2, 96] for 2 bits or [4, 96] for 4 bits or [8, 96] for 8 bits, "
              "found [3, 96], which would be 3 bits"}},
      {[&](Tensors& t) {
         t[qkv + ".qweight"] = Zeros("I32", {4, 95});
       },
       {qkv + ".qweight: expected", "found [4, 95]"}},
      {[&](Tensors& t) { t[qkv + ".qweight"] = Zeros("I32", {4 * 96}); }, {"found [384]"}},
      {[&](Tensors& t) { t[qkv + ".qweight"].dtype = "F32"; },
       {qkv + ".qweight: expected int32, found float32"}},
      {[&](Tensors& t) {
         t[qkv + ".qweight"] = Zeros("I32", {8, 96});
       },
       {qkv + ".qzeros: expected [2, 24]", "8 bits", "found [2, 12]"}},
      {[&](Tensors& t) {
         t[qkv + ".qzeros"] = Zeros("I32", {3, 12});
       },
       {qkv + ".qzeros: expected [2, 12]", "2 groups", "found [3, 12]"}},
      {[&](Tensors& t) {
         t[qkv + ".scales"] = Zeros("F16", {2, 97});
       },
       {qkv + ".scales: expected [groups, 96]", "found [2, 97]"}},
      {[&](Tensors& t) {
         t[qkv + ".scales"] = Zeros("F16", {0, 96});
       },
       {qkv + ".scales: expected [groups, 96] with 1 to 32 groups, found [0, 96]"}},
      {[&](Tensors& t) {
         t[qkv + ".scales"] = Zeros("F16", {33, 96});
       },
       {"1 to 32 groups"}},
      {[&](Tensors& t) {
         t[qkv + ".scales"] = Zeros("I32", {2, 96});
       },
       {qkv + ".scales: expected float16", "found int32"}},
      {[&](Tensors& t) { t[qkv + ".g_idx"] = Zeros("I32", {31}); },
       {qkv + ".g_idx: expected [32]", "found [31]"}},
      {[&](Tensors& t) { t[qkv + ".g_idx"] = Zeros("F32", {32}); },
       {qkv + ".g_idx: expected int32 or int64, found float32"}},
      {[&](Tensors& t) { t.erase(qkv + ".qweight"); }, {qkv + ".qweight", "is missing"}},
      {[&](Tensors& t) { t.erase(qkv + ".scales"); }, {qkv + ".scales", "is missing"}},
      {[&](Tensors& t) { t.erase(qkv + ".qzeros"); }, {qkv + ".qzeros", "is missing"}},
      {[&](Tensors& t) {
         t[qkv + ".weight"] = Zeros("F16", {96, 32});
       },
       {"unexpected (4)", qkv + ".qweight"}},
      {[&](Tensors& t) {
         t["transformer.wte.qweight"] = Zeros("I32", {4, 9});
       },
       {"unexpected (1)", "transformer.wte.qweight"}},
      // All complaints in one message.
      {[&](Tensors& t) {
         t[qkv + ".g_idx"] = Zeros("I32", {31});
         t[fc_in + ".scales"] = Zeros("F16", {2, 63});
         t.erase(fc_in + ".bias");
         t["extra"] = Zeros("F16", {1});
       },
       {qkv + ".g_idx", fc_in + ".scales", fc_in + ".bias [64]", "extra [1]"}},
      // What only the values tell.
      {[&](Tensors& t) { SetInt(&t[qkv + ".g_idx"], 31, 2); },
       {qkv + ".g_idx[31] is 2, expected 0 to 1"}},
      {[&](Tensors& t) { SetInt(&t[qkv + ".g_idx"], 0, -1); }, {qkv + ".g_idx[0] is -1"}},
      {[&](Tensors& t) {
         t[qkv + ".g_idx"] = Zeros("I64", {32});
         SetInt(&t[qkv + ".g_idx"], 5, std::int64_t{1} << 40);
       },
       {qkv + ".g_idx[5] is 1099511627776"}},
      {[&](Tensors& t) {
         t[qkv + ".scales"] = Zeros("F32", {2, 96});
         SetInt(&t[qkv + ".scales"], 96 + 7, 0x3DCCCCCD);  // 0.1
       },
       {qkv + ".scales[1, 7] is 0.1", "float16 cannot hold exactly"}},
      {[&](Tensors& t) {
         t[qkv + ".bias"] = Zeros("F16", {96});
         t[qkv + ".bias"].bytes[40] = 1;
       },
       {"unexpected (1)", qkv + ".bias [96]", "value 20 is none"}},
      {[&](Tensors& t) { t[qkv + ".bias"] = Zeros("F16", {95}); }, {"unexpected (1)"}},
  };
  for (const Case& c : cases) {
    Tensors tensors = TinyGptq();
    c.change(tensors);
    const absl::Status status = LoadOf(tensors);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    ExpectAll(status.ToString(), c.parts);
  }
}

TEST(GptqHostile, WhatFitsIsTaken) {
  const std::string qkv = "transformer.h.0.attn.qkv_proj";
  const std::vector<std::function<void(Tensors&)>> changes = {
      [&](Tensors& t) {
        t[qkv + ".bias"] = Zeros("F16", {96});
        t[qkv + ".bias"].bytes[41] = '\x80';  // minus zero
      },
      [&](Tensors& t) { t[qkv + ".g_idx"] = Zeros("I64", {32}); },
      [&](Tensors& t) { t.erase(qkv + ".g_idx"); },  // 32 inputs in 2 groups: 16 each
      [&](Tensors& t) {
        t[qkv + ".scales"] = Zeros("BF16", {2, 96});
      },
      [&](Tensors& t) {
        t[qkv + ".scales"] = Zeros("F32", {2, 96});
        SetInt(&t[qkv + ".scales"], 3, 0x3D800000);  // 1/16
      },
      [&](Tensors& t) {  // a group for each input, and one for all
        t[qkv + ".scales"] = Zeros("F16", {32, 96});
        t[qkv + ".qzeros"] = Zeros("I32", {32, 12});
        t["transformer.h.0.mlp.fc_in.scales"] = Zeros("F16", {1, 64});
        t["transformer.h.0.mlp.fc_in.qzeros"] = Zeros("I32", {1, 8});
      },
      [&](Tensors& t) {  // a matrix that was left in floats
        for (const char* part : {".qweight", ".qzeros", ".scales", ".g_idx"}) t.erase(qkv + part);
        t[qkv + ".weight"] = Zeros("F16", {96, 32});
      },
      [&](Tensors& t) {  // other bits in one matrix
        t[qkv + ".qweight"] = Zeros("I32", {2, 96});
        t[qkv + ".qzeros"] = Zeros("I32", {2, 6});
      },
  };
  for (std::size_t i = 0; i < changes.size(); ++i) {
    Tensors tensors = TinyGptq();
    changes[i](tensors);
    const absl::Status status = LoadOf(tensors);
    EXPECT_TRUE(status.ok()) << i << ": " << status;
  }
}

TEST(GptqHostile, CutFilesEndInErrors) {
  const Files whole = FilesOf(TinyGptq());
  const std::string& file = whole.at("model.safetensors");
  for (std::size_t size = 0; size < file.size(); size += 97) {
    Files files = whole;
    files["model.safetensors"] = file.substr(0, size);
    EXPECT_FALSE(PlanOf(std::move(files)).ok()) << size;
  }
}

TEST(GptqLoading, ACancelIsSeenWhileStoragesAreReadAgain) {
  std::uint64_t at_end = 0;
  Monitor monitor(
      [&](const char*, std::uint64_t done, std::uint64_t all) {
        // The end of loading is told once, and then while CRCs are compared.
        at_end += done == all ? 1 : 0;
        return at_end == 2 ? -7 : 0;
      },
      std::chrono::milliseconds(0));
  const auto checkpoint = OpenCheckpoint(OpenMemory("memory", ReadModel("moss-gptq-int4")));
  ASSERT_TRUE(checkpoint.ok());
  const auto model = Model::Load(**checkpoint, {.dtype = "float32", .threads = 1}, &monitor);
  EXPECT_EQ(model.status().code(), absl::StatusCode::kCancelled) << model.status();
  EXPECT_EQ(monitor.tick_code(), -7);
}

// Of a file whose integers come by rows and are read again, and of one whose words come in order.
TEST(GptqHostile, AFlippedBitOfEachTensorIsSeen) {
  const std::string base = "transformer.h.1.mlp.fc_out", qkv = "transformer.h.1.attn.qkv_proj";
  const std::vector<std::string> tensors = {base + ".qweight", base + ".qzeros", base + ".scales",
                                            base + ".g_idx",   base + ".bias",   qkv + ".qweight",
                                            qkv + ".qzeros",   qkv + ".scales"};
  for (const auto& [name, dtype] :
       {std::pair{"moss-gptq-int4", "float32"}, {"moss-gptq-int8", "auto"}}) {
    const Files whole = ReadModel(name);
    const auto original = OpenCheckpoint(OpenMemory("memory", whole));
    ASSERT_TRUE(original.ok());
    for (const std::string& tensor : tensors) {
      const TensorInfo& info = (*original)->tensors().at(tensor);
      const StorageInfo& storage = (*original)->storages()[info.storage];
      Files files = whole;
      files["pytorch_model.bin"][storage.offset + storage.size / 2] ^= 2;
      const auto checkpoint = OpenCheckpoint(OpenMemory("memory", std::move(files)));
      ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
      const LoadOptions options{.dtype = dtype, .threads = 2};
      const auto model = Model::Load(**checkpoint, options, nullptr);
      // A group index may also be refused for its value, before all is read.
      EXPECT_FALSE(model.ok()) << name << " " << tensor;
      if (!tensor.ends_with(".g_idx")) {
        EXPECT_EQ(model.status().code(), absl::StatusCode::kDataLoss) << model.status();
        ExpectAll(model.status().ToString(), {tensor});
      }
    }
  }
}

}  // namespace
}  // namespace mossrt::runtime
