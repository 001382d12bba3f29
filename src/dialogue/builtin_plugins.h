// Plugins that the library brings.
#pragma once

#include <memory>
#include <string_view>

#include "absl/status/statusor.h"
#include "dialogue/plugin_runner.h"

namespace mossrt::runtime {

// "Calculate" or "Solve"; kNotFound lists the names.
absl::StatusOr<std::shared_ptr<const Plugin>> BuiltinPlugin(std::string_view name);

}  // namespace mossrt::runtime
