// Tokenizers behind handles, and the flags of encoding.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "capi/handles.h"

namespace mossrt::capi {

// Loads, and collects the special ids by role. What is wrong in the files is kDataLoss.
absl::StatusOr<std::shared_ptr<TokenizerState>> LoadTokenizerState(
    const runtime::ByteSource& source, const runtime::TokenizerOptions& options);

// Remembers the checkpoint that `files` are of, a directory or a packed file.
void SetOrigin(const std::string& path, const runtime::ByteSource& files, TokenizerState* state);

// A reader's kInvalidArgument blames the file, not the caller's arguments.
absl::Status BlameFile(const absl::Status& status);

inline constexpr std::uint32_t kEncodeFlags =
    MOSSRT_ENCODE_ADD_SPECIAL | MOSSRT_ENCODE_PARSE_SPECIAL | MOSSRT_ENCODE_REPLACE_INVALID;
absl::Status KnownFlags(std::uint32_t flags, std::uint32_t known);
runtime::EncodeOptions EncodeOptionsOf(std::uint32_t flags);

}  // namespace mossrt::capi
