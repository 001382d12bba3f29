// Options by name as the structs of the runtime.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "capi/handles.h"
#include "mossrt/mossrt.h"
#include "mossrt/runtime/chat.h"
#include "mossrt/runtime/options.h"

namespace mossrt::capi {

// The values of `o` (may be null), which must be of this kind, as a JSON object.
absl::StatusOr<runtime::Json> ValuesOf(const mossrt_options* o, runtime::OptionKind kind);

absl::StatusOr<runtime::LoadOptions> LoadOptionsOf(const mossrt_options* o);
absl::StatusOr<runtime::SessionOptions> SessionOptionsOf(const mossrt_options* o);
absl::StatusOr<runtime::EvalOptions> EvalOptionsOf(const mossrt_options* o);
absl::StatusOr<runtime::TokenizerOptions> TokenizerOptionsOf(const mossrt_options* o);
absl::StatusOr<runtime::ChatOptions> ChatOptionsOf(const mossrt_options* o);

}  // namespace mossrt::capi
