// What tokenizers have in common once their files are read: a table of tokens, their names, and the
// special ones.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "mossrt/runtime/tokenizer.h"
#include "text/added_tokens.h"
#include "text/byte_bpe.h"

namespace mossrt::runtime {

struct SpecialIds {
  std::int32_t bos = -1, eos = -1, unk = -1, pad = -1;
};

class TableTokenizer : public Tokenizer {
 public:
  std::int32_t size() const override { return tokens_.size(); }
  absl::Status DecodeBytes(std::span<const std::int32_t> ids, const DecodeOptions& options,
                           std::string* bytes) const override;
  absl::Status Decode(std::span<const std::int32_t> ids, const DecodeOptions& options,
                      std::string* text) const override;
  absl::StatusOr<std::string_view> TokenBytes(std::int32_t id) const override;
  bool IsSpecial(std::int32_t id) const override;
  std::int32_t TokenId(std::string_view name) const override;
  std::int32_t bos_id() const override { return special_.bos; }
  std::int32_t eos_id() const override { return special_.eos; }
  std::int32_t unk_id() const override { return special_.unk; }
  std::int32_t pad_id() const override { return special_.pad; }

 protected:
  TableTokenizer(TokenTable tokens, IdOfBytes ids, SpecialIds special)
      : tokens_(std::move(tokens)),
        ids_(std::move(ids)),
        special_(special),
        is_special_(static_cast<std::size_t>(tokens_.size())) {}

  // The token is found in texts: always with parse_special, else only if it is not special.
  void Recognize(const AddedToken& token) {
    all_.Add(token);
    if (!token.special) plain_.Add(token);
  }
  const AddedTokenTrie& Recognized(const EncodeOptions& options) const {
    return options.parse_special ? all_ : plain_;
  }

  TokenTable tokens_;
  IdOfBytes ids_;  // by name
  SpecialIds special_;
  std::vector<bool> is_special_;

 private:
  AddedTokenTrie all_, plain_;
};

}  // namespace mossrt::runtime
