// Judging a text before it is encoded.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "mossrt/runtime/tokenizer.h"

namespace mossrt::runtime {

// `text` itself if it is valid UTF-8 of fewer than 2^31 bytes; else an error, or the text with
// invalid parts replaced, which is kept in *storage.
absl::StatusOr<std::string_view> CheckInput(std::string_view text, InvalidUtf8 invalid,
                                            std::string* storage);

}  // namespace mossrt::runtime
