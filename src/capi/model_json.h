// What the C interface tells about a model, as JSON.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/json.h"
#include "capi/handles.h"

namespace mossrt::capi {

// FNV-1a of the numeric settings, 16 hexadecimal digits.
std::string NumericsHash(std::string_view numerics);

// The note about settings with which no generation could begin.
std::string NoOptions(const absl::Status& status);

// Common to inspect and info.
runtime::Json PlanJson(const runtime::ModelPlan& plan);
// Every tensor of the file: name, dtype, shape, bytes, use.
runtime::Json TensorsJson(const runtime::ModelPlan& plan);
runtime::Json TokenizerJson(const TokenizerState* tokenizer);
// The whole of mossrt_model_info.
std::string InfoJson(const ModelState& state, const std::string& path, const std::string& backend);

}  // namespace mossrt::capi
