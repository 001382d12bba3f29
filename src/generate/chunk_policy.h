// How many tokens one pass over the model takes while a prompt is read.
#pragma once

#include <cstdint>

namespace mossrt::runtime {

// A cancel is looked at between layers and must be seen within 100 ms, so the size grows only while
// a layer stays clearly below that: doubling from 25 ms or less gives at most 50, growing by a
// quarter from 55 gives at most 69. Below 8 rows a pass is bound by reading the weights, and
// smaller chunks would only make it slower.
class ChunkPolicy {
 public:
  static constexpr std::int64_t kMostFixedRows = 512, kMinRows = 8;

  // `fixed` rows, or 0 to adapt. `layer_parameters`: of one layer, for the first guess.
  ChunkPolicy(std::int64_t fixed, std::int64_t layer_parameters);

  // Rows of the next pass: at most kPromptRows unless fixed, and as many without a monitor, when
  // nobody can cancel.
  std::int64_t Rows(bool cancellable) const;
  // A pass of `rows` took `layer_seconds` for each layer.
  void Measured(std::int64_t rows, double layer_seconds);

 private:
  bool fixed_;
  std::int64_t rows_;
};

}  // namespace mossrt::runtime
