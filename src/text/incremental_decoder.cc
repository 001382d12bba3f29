#include "base/status.h"
#include "base/utf8.h"
#include "mossrt/runtime/tokenizer.h"
#include "text/decode.h"

namespace mossrt::runtime {

void AppendDecoded(const Tokenizer& tokenizer, std::string_view bytes, std::string* text) {
  if (!tokenizer.ReplacesEachInvalidByte()) return AppendReplacingInvalid(bytes, text);
  for (std::size_t i = 0; i < bytes.size();) {
    const DecodedCodePoint c = DecodeUtf8(bytes.substr(i));
    const auto length = static_cast<std::size_t>(c.bytes);
    if (c.valid) {
      text->append(bytes.substr(i, length));
    } else {
      for (std::size_t k = 0; k < length; ++k) text->append(kReplacementCharacter);
    }
    i += length;
  }
}

absl::Status Tokenizer::AppendToken(std::int32_t id, const DecodeOptions& options, bool* at_start,
                                    std::string* bytes) const {
  MOSSRT_ASSIGN_OR_RETURN(std::string_view token, TokenBytes(id));
  if (token.empty() || (options.skip_special_tokens && IsSpecial(id))) return absl::OkStatus();
  if (*at_start && StripsLeadingSpace() && token.front() == ' ') token.remove_prefix(1);
  *at_start = false;
  bytes->append(token);
  return absl::OkStatus();
}

absl::Status IncrementalDecoder::Push(std::int32_t id, std::string* text) {
  MOSSRT_RETURN_IF_ERROR(tokenizer_->AppendToken(id, options_, &at_start_, &pending_));
  const std::size_t complete = CompleteUtf8Prefix(pending_);
  AppendDecoded(*tokenizer_, std::string_view(pending_).substr(0, complete), text);
  pending_.erase(0, complete);
  return absl::OkStatus();
}

void IncrementalDecoder::Flush(std::string* text) {
  AppendDecoded(*tokenizer_, pending_, text);
  pending_.clear();
  at_start_ = true;
}

}  // namespace mossrt::runtime
