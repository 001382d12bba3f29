#include "dialogue/builtin_plugins.h"

#include "base/status.h"
#include "dialogue/calculator.h"
#include "dialogue/equation_solver.h"

namespace mossrt::runtime {
namespace {

template <absl::StatusOr<std::string> (*kFunction)(std::string_view)>
bool Run(PluginCall& call) {
  const absl::StatusOr<std::string> value = kFunction(call.argument());
  if (!value.ok()) {
    call.error = Message(value.status());
    return false;
  }
  call.result.ok = true;
  call.result.text = *value;
  return true;
}

}  // namespace

absl::StatusOr<std::shared_ptr<const Plugin>> BuiltinPlugin(std::string_view name) {
  static const auto& builtins = *new std::vector<std::shared_ptr<const Plugin>>{
      std::make_shared<const Plugin>(Plugin{.name = "Calculate",
                                            .description = "the value of an arithmetic expression",
                                            .run = Run<Calculate>}),
      std::make_shared<const Plugin>(Plugin{.name = "Solve",
                                            .description = "the solution of equations",
                                            .run = Run<SolveEquations>})};
  for (const auto& plugin : builtins) {
    if (plugin->name == name) return plugin;
  }
  return absl::NotFoundError(
      Cat("there is no built-in plugin \"", name, "\"; there are Calculate and Solve"));
}

}  // namespace mossrt::runtime
