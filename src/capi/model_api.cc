#include <algorithm>
#include <filesystem>
#include <memory>

#include "base/log.h"
#include "base/status.h"
#include "capi/memory.h"
#include "capi/model_json.h"
#include "capi/option_values.h"
#include "capi/tokenizer_state.h"
#include "mossrt/mossrt.h"
#include "mossrt/runtime/checkpoint.h"
#include "mossrt/runtime/gemm_backend.h"

namespace mossrt::capi {
namespace {

using runtime::Checkpoint;
using runtime::LoadOptions;

constexpr std::uint64_t kConfigLimit = std::uint64_t{16} << 20;

// From here on a reader's kInvalidArgument blames the file; names that the caller chose are judged
// before.
absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const char* path, const LoadOptions& options) {
  if (cpu::Kernels() == nullptr) return absl::InvalidArgumentError(cpu::KernelError());
  const std::vector<std::string> names = runtime::BackendNames();
  if (std::find(names.begin(), names.end(), options.backend) == names.end()) {
    MOSSRT_RETURN_IF_ERROR(runtime::CreateBackend(options.backend).status());
  }
  auto checkpoint = runtime::OpenCheckpoint(std::string(path));
  if (!checkpoint.ok()) return BlameFile(checkpoint.status());
  if (!options.architecture.empty()) {
    MOSSRT_RETURN_IF_ERROR(
        runtime::ChooseArchitecture((*checkpoint)->config_json(), options.architecture).status());
  }
  return checkpoint;
}

// Some options are judged with the file at hand; such messages begin so.
absl::Status BlameFileOrOption(const absl::Status& status) {
  return runtime::Message(status).starts_with("option ") ? status : BlameFile(status);
}

// The text of generation_config.json, empty if there is none. Values are judged when somebody
// generates, who may give others; what is no JSON is a damaged file.
absl::StatusOr<std::string> ReadGenerationConfig(const runtime::ByteSource& source) {
  constexpr std::string_view kFile = "generation_config.json";
  auto text = runtime::ReadAll(source, kFile, kConfigLimit);
  if (absl::IsNotFound(text.status())) return std::string();
  if (!text.ok()) return BlameFile(text.status());
  MOSSRT_RETURN_IF_ERROR(
      BlameFile(runtime::ParseJsonObject(*text, runtime::Cat(source.name(), "/", kFile),
                                         runtime::kCorrectFile)
                    .status()));
  return text;
}

// What a generation without any argument leaves out of the checkpoint's settings, or why it could
// not begin.
std::vector<std::string> NotesOnGeneration(const Checkpoint& checkpoint,
                                           std::string_view generation_config,
                                           const runtime::HyperParams& params,
                                           const TokenizerState* tokenizer) {
  const auto resolved =
      runtime::ResolveGenerateOptions("", generation_config, checkpoint.config_json(), params,
                                      tokenizer == nullptr ? nullptr : tokenizer->tokenizer.get());
  if (!resolved.ok()) {
    return {NoOptions(runtime::InFolder(resolved.status(), checkpoint.source().name()))};
  }
  std::vector<std::string> notes;
  for (const runtime::OptionOrigin& origin : resolved->origins) {
    if (origin.origin.ends_with(" (ignored)")) {
      notes.push_back(runtime::Cat(checkpoint.source().name(), "/", origin.origin, ": ", origin.key,
                                   " ", origin.value));
    }
  }
  return notes;
}

// A model without a tokenizer still runs on ids; a damaged one is an error.
absl::Status FindTokenizer(const runtime::ByteSource& source, ModelState* state) {
  auto tokenizer = LoadTokenizerState(source, {});
  if (tokenizer.ok()) {
    state->tokenizer = *std::move(tokenizer);
    return absl::OkStatus();
  }
  state->tokenizer_status = tokenizer.status();
  const bool absent = absl::IsNotFound(tokenizer.status());
  return absent || absl::IsUnimplemented(tokenizer.status()) ? absl::OkStatus()
                                                             : tokenizer.status();
}

absl::StatusOr<std::shared_ptr<ModelState>> LoadModel(const char* path, const LoadOptions& options,
                                                      runtime::Monitor* monitor) {
  MOSSRT_ASSIGN_OR_RETURN(const auto checkpoint, Open(path, options));
  auto state = std::make_shared<ModelState>();
  state->config_json = checkpoint->config_json();
  MOSSRT_ASSIGN_OR_RETURN(state->generation_config_json,
                          ReadGenerationConfig(checkpoint->source()));
  MOSSRT_RETURN_IF_ERROR(FindTokenizer(checkpoint->source(), state.get()));
  auto model = runtime::Model::Load(*checkpoint, options, monitor);
  if (!model.ok()) return BlameFileOrOption(model.status());
  state->path = std::filesystem::absolute(path).string();
  if (state->tokenizer != nullptr) SetOrigin(path, checkpoint->source(), state->tokenizer.get());
  state->model = *std::move(model);
  state->generation_notes = NotesOnGeneration(*checkpoint, state->generation_config_json,
                                              state->model->params(), state->tokenizer.get());
  state->info_json = InfoJson(*state, path, options.backend);
  using runtime::LogLevel;
  for (const std::string& note : state->model->plan().notes) runtime::Log(LogLevel::kWarn, note);
  if (state->tokenizer == nullptr) {
    runtime::Log(LogLevel::kWarn, runtime::Message(state->tokenizer_status));
  }
  for (const std::string& note : state->generation_notes) runtime::Log(LogLevel::kWarn, note);
  runtime::Log(LogLevel::kInfo, runtime::Cat("loaded ", path, ": ", state->model->numerics()));
  return state;
}

const runtime::TensorPlan* FindTensor(const ModelState& state, std::string_view name) {
  for (const runtime::TensorPlan& tensor : state.model->plan().tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

absl::Status NoTensor(const char* name) {
  return absl::NotFoundError(runtime::Cat("the checkpoint has no tensor named \"", name,
                                          "\"; mossrt_model_inspect lists them"));
}

}  // namespace
}  // namespace mossrt::capi

using namespace mossrt::capi;     // NOLINT: the definitions below are the C functions
using namespace mossrt::runtime;  // NOLINT

mossrt_error* mossrt_model_load(const char* path, const mossrt_options* o, mossrt_monitor* m,
                                mossrt_model** out) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(path);
    MOSSRT_NEED(out);
    MOSSRT_ASSIGN_OR_RETURN(const LoadOptions options, LoadOptionsOf(o));
    const Use use(m == nullptr ? nullptr : &m->state->in_use, Use::kExclusive);
    if (!use.held()) return Busy("monitor");
    auto model = std::make_unique<mossrt_model>();
    MOSSRT_ASSIGN_OR_RETURN(model->state,
                            LoadModel(path, options, m == nullptr ? nullptr : &m->state->monitor));
    *out = model.release();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_model_inspect(const char* path, const mossrt_options* o, char** json,
                                   size_t* len) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(path);
    MOSSRT_NEED(json);
    MOSSRT_NEED(len);
    MOSSRT_ASSIGN_OR_RETURN(const LoadOptions options, LoadOptionsOf(o));
    MOSSRT_ASSIGN_OR_RETURN(const auto checkpoint, Open(path, options));
    auto plan = PlanModel(*checkpoint, options);
    if (!plan.ok()) return BlameFileOrOption(plan.status());
    Json result = PlanJson(*plan);
    result["version"] = MOSSRT_VERSION_TEXT;
    result["file"] = path;
    result["tensors"] = TensorsJson(*plan);
    MOSSRT_ASSIGN_OR_RETURN(result["config"], ParseJson(checkpoint->config_json(), "config.json"));
    const auto tokenizer = LoadTokenizerState(checkpoint->source(), {});
    result["tokenizer"] = TokenizerJson(tokenizer.ok() ? tokenizer->get() : nullptr);
    if (!tokenizer.ok()) {
      result["notes"].push_back(Cat("no tokenizer: ", Message(tokenizer.status())));
    }
    const auto generation = ReadGenerationConfig(checkpoint->source());
    const std::vector<std::string> notes =
        generation.ok() ? NotesOnGeneration(*checkpoint, *generation, plan->params,
                                            tokenizer.ok() ? tokenizer->get() : nullptr)
                        : std::vector{NoOptions(generation.status())};
    for (const std::string& note : notes) result["notes"].push_back(note);
    return GiveText(DumpJson(result), json, len);
  });
}

mossrt_error* mossrt_model_save_packed(const mossrt_model* model, const char* path,
                                       mossrt_monitor* m) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(model);
    MOSSRT_NEED(path);
    const Use use(m == nullptr ? nullptr : &m->state->in_use, Use::kExclusive);
    if (!use.held()) return Busy("monitor");
    const ModelState& state = *model->state;
    MOSSRT_ASSIGN_OR_RETURN(const auto files, OpenModelFiles(state.path));
    return SavePacked(*state.model, *files, path, {.made_by = "mossrt " MOSSRT_VERSION_TEXT},
                      m == nullptr ? nullptr : &m->state->monitor);
  });
}

void mossrt_model_free(mossrt_model* model) {
  GuardVoid(__func__, [&] { delete model; });
}

mossrt_error* mossrt_model_info(const mossrt_model* model, const char** json, size_t* len) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(model);
    MOSSRT_NEED(json);
    MOSSRT_NEED(len);
    *json = model->state->info_json.c_str();
    *len = model->state->info_json.size();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_model_get_int(const mossrt_model* model, const char* key, int64_t* value) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(model);
    MOSSRT_NEED(key);
    MOSSRT_NEED(value);
    const Model& m = *model->state->model;
    const HyperParams& p = m.params();
    const std::pair<std::string_view, int64_t> numbers[] = {
        {"vocab", p.vocab},
        {"hidden", p.hidden},
        {"layers", p.layers},
        {"heads", p.heads},
        {"kv_heads", p.kv_heads},
        {"head_dim", p.head_dim},
        {"inner", p.inner},
        {"max_positions", p.max_positions},
        {"rotary_dim", p.rotary_dim},
        {"parameters", m.plan().parameters},
        {"weight_bytes", static_cast<int64_t>(m.weight_bytes())},
        {"kv_bytes_per_token", static_cast<int64_t>(m.plan().need.kv_per_token)},
        {"threads", m.team().size()},
    };
    std::vector<std::string_view> names;
    for (const auto& [name, number] : numbers) {
      if (name == key) {
        *value = number;
        return absl::OkStatus();
      }
      names.push_back(name);
    }
    return absl::InvalidArgumentError(
        Cat("a model has no number \"", key, "\"; known are ", Join(names, ", ")));
  });
}

mossrt_error* mossrt_model_tensor_shape(const mossrt_model* model, const char* name, int64_t* dims,
                                        size_t capacity, size_t* rank) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(model);
    MOSSRT_NEED(name);
    if (capacity > 0) MOSSRT_NEED(dims);
    MOSSRT_NEED(rank);
    const TensorPlan* tensor = FindTensor(*model->state, name);
    if (tensor == nullptr) return NoTensor(name);
    std::copy_n(tensor->shape.begin(), std::min(capacity, tensor->shape.size()), dims);
    *rank = tensor->shape.size();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_model_tensor_read(const mossrt_model* model, const char* name, float* dst,
                                       size_t capacity, size_t* count) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(model);
    MOSSRT_NEED(name);
    if (capacity > 0) MOSSRT_NEED(dst);
    MOSSRT_NEED(count);
    const TensorPlan* tensor = FindTensor(*model->state, name);
    if (tensor == nullptr) return NoTensor(name);
    size_t values = 1;
    for (const int64_t n : tensor->shape) values *= static_cast<size_t>(n);
    if (dst != nullptr && capacity < values) {
      return absl::InvalidArgumentError(
          Cat("tensor \"", name, "\" has ", values, " values, but capacity is ", capacity));
    }
    if (dst != nullptr) {
      std::vector<int64_t> shape;
      MOSSRT_ASSIGN_OR_RETURN(const std::vector<float> data,
                              model->state->model->ReadTensor(name, &shape));
      if (data.size() != values) {
        return absl::InternalError(
            Cat("tensor \"", name, "\" gave ", data.size(), " values instead of ", values));
      }
      std::copy(data.begin(), data.end(), dst);
    }
    *count = values;
    return absl::OkStatus();
  });
}
