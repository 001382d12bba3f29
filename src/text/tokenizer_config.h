// What stands beside a vocabulary: added_tokens.json, tokenizer_config.json,
// special_tokens_map.json.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mossrt/runtime/byte_source.h"
#include "text/added_tokens.h"
#include "text/byte_bpe.h"

namespace mossrt::runtime {

inline constexpr std::int32_t kMaxTokenId = 10'000'000;

struct TokenizerConfig {
  // A token that some role names. `is_object` where the file says more than its text: transformers
  // 4.25 then deletes only the white space that lstrip and rstrip ask for.
  struct Named {
    std::string role;  // "eos_token", "additional_special_tokens", ...
    std::string name;
    bool is_object = false;
    bool lstrip = false;
    bool rstrip = false;
  };
  struct Added {
    std::string name;
    std::int32_t id = 0;
    std::optional<bool> special;  // as flagged in added_tokens_decoder
  };

  std::string tokenizer_class;
  std::optional<bool> add_bos_token, add_eos_token;
  bool add_prefix_space = false;
  std::vector<Named> named;
  std::vector<Added> added;

  const Named* Role(std::string_view role) const;  // the first with this role, or null
  // All added tokens, each once, with the named ones of `vocab` among them. kInvalidArgument where
  // two files give one name two ids or one id two names.
  absl::StatusOr<std::vector<AddedToken>> Resolve(const IdOfBytes& vocab,
                                                  std::string_view where) const;
};

// Files that are absent say nothing.
absl::StatusOr<TokenizerConfig> ReadTokenizerConfig(const ByteSource& source);

}  // namespace mossrt::runtime
