#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "mossrt/runtime/tokenizer.h"
#include "text/tokenizer_config.h"

namespace mossrt::runtime {

// From tokenizer.model.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadSentencePiece(const ByteSource& source,
                                                             const TokenizerConfig& config,
                                                             const TokenizerOptions& options);

}  // namespace mossrt::runtime
