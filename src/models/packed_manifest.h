// What a packed file says about its model: what the rules and the backend do not know already.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/json.h"
#include "models/weight_rules.h"
#include "mossrt/runtime/decoder.h"

namespace mossrt::runtime {

// One matrix, in the order of WeightRules.
struct PackedMatrix {
  std::string role;
  std::int64_t layer = -1;
  SavedWeight saved{};  // without its order
  // Its order among the 32 bit numbers of the section of orders.
  std::uint64_t order_at = 0, order_count = 0;
  std::uint64_t bytes = 0;
};

struct PackedManifest {
  std::string architecture{};
  PackedOrigin origin{};  // without made_by
  std::vector<PackedMatrix> matrices{};
  std::vector<TensorPlan> tensors{};

  Json ToJson() const;
  // `what` names the file in messages.
  static absl::StatusOr<PackedManifest> Parse(const Json& model, std::string_view what);
};

}  // namespace mossrt::runtime
