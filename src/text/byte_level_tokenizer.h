#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "mossrt/runtime/tokenizer.h"
#include "text/tokenizer_config.h"

namespace mossrt::runtime {

// From vocab.json and merges.txt.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadByteLevel(const ByteSource& source,
                                                         const TokenizerConfig& config,
                                                         const TokenizerOptions& options);

}  // namespace mossrt::runtime
