// Weights of the native backend as a file holds them: the same panels.
#pragma once

#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "backends/native/integer_weight.h"
#include "mossrt/runtime/gemm_backend.h"

namespace mossrt::runtime {

// Of PanelWeight and IntegerWeight. Whoever changes a layout counts it up; files of another version
// are refused.
inline constexpr std::uint32_t kNativeLayout = 1;

SavedWeight SaveNative(const PackedWeight& weight, std::span<const std::byte>* bytes);
absl::StatusOr<std::size_t> SavedNativeBytes(const SavedWeight& saved);
// For integers; the order is checked.
absl::StatusOr<ColumnGroups> SavedColumns(SavedWeight saved);

}  // namespace mossrt::runtime
