// What both tokenizers and the incremental decoder do with tokens' bytes.
#pragma once

#include <string>
#include <string_view>

#include "mossrt/runtime/tokenizer.h"

namespace mossrt::runtime {

// `bytes` as valid UTF-8, replaced as this tokenizer's Decode does it.
void AppendDecoded(const Tokenizer& tokenizer, std::string_view bytes, std::string* text);

}  // namespace mossrt::runtime
