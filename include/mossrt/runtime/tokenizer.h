// Text to ids and back. Owned by src/text.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mossrt/runtime/byte_source.h"

namespace mossrt::runtime {

enum class InvalidUtf8 : std::uint8_t {
  kError,    // kInvalidArgument naming the byte offset
  kReplace,  // each maximal invalid part becomes U+FFFD
};

struct EncodeOptions {
  bool add_special_tokens = true;  // bos/eos where the tokenizer's config asks for them
  bool parse_special = false;      // control tokens written out in the text become their ids
  InvalidUtf8 invalid = InvalidUtf8::kError;
};

struct DecodeOptions {
  bool skip_special_tokens = false;
};

enum class AddedTokens : std::uint8_t {
  kLossless,  // longest-first, nothing is stripped (default)
  kHf425,     // transformers 4.25: whitespace beside non-special added tokens is deleted
};

struct TokenizerOptions {
  AddedTokens added_tokens = AddedTokens::kLossless;
};

// Immutable after loading; all methods may be called from many threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::string_view kind() const = 0;  // "byte-level-bpe" | "sentencepiece"
  // One more than the largest id, so that logits at and beyond it can be masked.
  virtual std::int32_t size() const = 0;
  virtual absl::Status Encode(std::string_view text, const EncodeOptions& options,
                              std::vector<std::int32_t>* ids) const = 0;
  // Bytes of the tokens, joined; not necessarily whole code points. kInvalidArgument for an unknown
  // id.
  virtual absl::Status DecodeBytes(std::span<const std::int32_t> ids, const DecodeOptions& options,
                                   std::string* bytes) const = 0;
  // Valid UTF-8: invalid parts become U+FFFD.
  virtual absl::Status Decode(std::span<const std::int32_t> ids, const DecodeOptions& options,
                              std::string* text) const = 0;
  // What the token adds to a text when it does not stand first. Ids without text (holes): empty.
  virtual absl::StatusOr<std::string_view> TokenBytes(std::int32_t id) const = 0;
  virtual bool IsSpecial(std::int32_t id) const = 0;
  // The id of a token by its exact name as files write it ("<eom>", "<s>"); -1 if there is none.
  virtual std::int32_t TokenId(std::string_view name) const = 0;
  virtual std::int32_t bos_id() const = 0;  // -1: none
  virtual std::int32_t eos_id() const = 0;
  virtual std::int32_t unk_id() const = 0;
  virtual std::int32_t pad_id() const = 0;
  // Does the text that `ids` begin with drop a leading space when decoded (SentencePiece)?
  virtual bool StripsLeadingSpace() const = 0;
  // Appends the bytes that `id` adds to a text. *at_start says that the text is empty so far and a
  // leading space is still to be dropped; it begins as true and is kept up to date. DecodeBytes is
  // this for one id after another.
  virtual absl::Status AppendToken(std::int32_t id, const DecodeOptions& options, bool* at_start,
                                   std::string* bytes) const;
  // Does Decode write one U+FFFD for each byte of an invalid part (SentencePiece) instead of one
  // for the whole part?
  virtual bool ReplacesEachInvalidByte() const { return false; }
};

// vocab.json + merges.txt (+ added_tokens.json, tokenizer_config.json, special_tokens_map.json) or
// tokenizer.model. kNotFound lists what was looked for.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const ByteSource& source,
                                                         const TokenizerOptions& options);
// Of a directory; a packed file's tokenizer is in what OpenModelFiles gives.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& directory,
                                                         const TokenizerOptions& options);

// Turns ids into text one at a time; what comes out is always whole code points.
class IncrementalDecoder {
 public:
  explicit IncrementalDecoder(const Tokenizer& tokenizer, DecodeOptions options = {})
      : tokenizer_(&tokenizer), options_(options) {}
  // Appends to *text all code points that are complete now. At most 3 bytes are held back.
  absl::Status Push(std::int32_t id, std::string* text);
  // Appends U+FFFD for what is incomplete, and starts anew.
  void Flush(std::string* text);

 private:
  const Tokenizer* tokenizer_;
  DecodeOptions options_;
  std::string pending_;
  bool at_start_ = true;
};

}  // namespace mossrt::runtime
