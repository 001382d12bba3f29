// Reports of turns as JSON, out and in.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "base/json.h"
#include "chat/transcript.h"

namespace mossrt::runtime {

Json ReportJson(const TurnReport& report);
// Reads what ReportJson wrote; types and sizes are checked.
absl::StatusOr<TurnReport> ReadReport(const Json& json, std::string_view what);

}  // namespace mossrt::runtime
