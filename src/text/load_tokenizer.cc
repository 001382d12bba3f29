#include <exception>

#include "base/status.h"
#include "mossrt/runtime/tokenizer.h"
#include "text/byte_level_tokenizer.h"
#include "text/sentencepiece_tokenizer.h"
#include "text/tokenizer_config.h"

namespace mossrt::runtime {
namespace {

absl::StatusOr<bool> Has(const ByteSource& source, std::string_view file) {
  const absl::Status status = source.Size(file).status();
  if (status.ok()) return true;
  if (status.code() == absl::StatusCode::kNotFound) return false;
  return status;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const ByteSource& source,
                                                const TokenizerOptions& options) {
  MOSSRT_ASSIGN_OR_RETURN(const bool has_vocab, Has(source, "vocab.json"));
  MOSSRT_ASSIGN_OR_RETURN(const bool has_merges, Has(source, "merges.txt"));
  if (has_vocab && has_merges) {
    MOSSRT_ASSIGN_OR_RETURN(const TokenizerConfig config, ReadTokenizerConfig(source));
    return LoadByteLevel(source, config, options);
  }
  MOSSRT_ASSIGN_OR_RETURN(const bool has_model, Has(source, "tokenizer.model"));
  if (has_model) {
    MOSSRT_ASSIGN_OR_RETURN(const TokenizerConfig config, ReadTokenizerConfig(source));
    return LoadSentencePiece(source, config, options);
  }
  MOSSRT_ASSIGN_OR_RETURN(const bool has_json, Has(source, "tokenizer.json"));
  return absl::NotFoundError(Cat(
      source.name(), ": no tokenizer was found; looked for vocab.json (",
      has_vocab ? "found" : "missing", ") with merges.txt (", has_merges ? "found" : "missing",
      "), and tokenizer.model (missing)", has_json ? "; tokenizer.json alone is not read" : "",
      "; put the tokenizer's files beside config.json as they were published, or give token ids "
      "in place of text"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const ByteSource& source,
                                                         const TokenizerOptions& options) {
  try {
    auto tokenizer = Load(source, options);
    if (!absl::IsInvalidArgument(tokenizer.status())) return tokenizer;
    return absl::InvalidArgumentError(
        Cat(Message(tokenizer.status()),
            "; correct the file, or take all of the tokenizer's files as they were published"));
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(Cat(source.name(), ": no memory for the tokenizer"));
  } catch (const std::exception& e) {
    return absl::InternalError(Cat(source.name(), ": reading the tokenizer failed: ", e.what()));
  }
}

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& directory,
                                                         const TokenizerOptions& options) {
  MOSSRT_ASSIGN_OR_RETURN(const std::unique_ptr<ByteSource> source, OpenDirectory(directory));
  return LoadTokenizer(*source, options);
}

}  // namespace mossrt::runtime
