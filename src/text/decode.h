// What both tokenizers and the incremental decoder do with tokens' bytes.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "mossrt/runtime/tokenizer.h"

namespace mossrt::runtime {

// `bytes` as valid UTF-8, replaced as this tokenizer's Decode does it.
void AppendDecoded(const Tokenizer& tokenizer, std::string_view bytes, std::string* text);
// Tokenizer::DecodeBytes by way of AppendToken.
absl::Status AppendTokens(const Tokenizer& tokenizer, std::span<const std::int32_t> ids,
                          const DecodeOptions& options, std::string* bytes);

}  // namespace mossrt::runtime
