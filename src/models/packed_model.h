// Models from packed files: the same plan and the same weights as from the checkpoint.
#pragma once

#include "checkpoint/packed_file.h"
#include "models/weights.h"

namespace mossrt::runtime {

// `checkpoint.packed()` is not null.
absl::StatusOr<ModelPlan> PlanPacked(const Checkpoint& checkpoint, const LoadOptions& options,
                                     const GemmBackend& backend);

absl::StatusOr<Weights> LoadPacked(const PackedFile& file, const ModelPlan& plan,
                                   const LoadOptions& options, GemmBackend& backend,
                                   ThreadTeam& team, Monitor* monitor);

}  // namespace mossrt::runtime
