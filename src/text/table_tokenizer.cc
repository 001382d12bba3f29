#include "text/table_tokenizer.h"

#include "base/status.h"
#include "text/decode.h"

namespace mossrt::runtime {

absl::Status TableTokenizer::DecodeBytes(std::span<const std::int32_t> ids,
                                         const DecodeOptions& options, std::string* bytes) const {
  bool at_start = true;
  for (const std::int32_t id : ids) {
    MOSSRT_RETURN_IF_ERROR(AppendToken(id, options, &at_start, bytes));
  }
  return absl::OkStatus();
}

absl::Status TableTokenizer::Decode(std::span<const std::int32_t> ids, const DecodeOptions& options,
                                    std::string* text) const {
  std::string bytes;
  MOSSRT_RETURN_IF_ERROR(DecodeBytes(ids, options, &bytes));
  AppendDecoded(*this, bytes, text);
  return absl::OkStatus();
}

absl::StatusOr<std::string_view> TableTokenizer::TokenBytes(std::int32_t id) const {
  if (id < 0 || id >= size()) {
    return absl::InvalidArgumentError(
        Cat("The id ", id, " is no token: the vocabulary has the ids 0 to ", size() - 1));
  }
  return tokens_[id];
}

bool TableTokenizer::IsSpecial(std::int32_t id) const {
  return id >= 0 && id < size() && is_special_[static_cast<std::size_t>(id)];
}

std::int32_t TableTokenizer::TokenId(std::string_view name) const {
  const auto it = ids_.find(name);
  return it == ids_.end() ? -1 : it->second;
}

}  // namespace mossrt::runtime
