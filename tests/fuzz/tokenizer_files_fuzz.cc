// vocab.json, merges.txt, added_tokens.json, tokenizer_config.json and a text from one input,
// parted by zero bytes. Whatever loads must keep its promises.
#include <algorithm>
#include <cstdlib>

#include "base/utf8.h"
#include "mossrt/runtime/tokenizer.h"

using namespace mossrt::runtime;

namespace {

void Require(bool promise) {
  if (!promise) std::abort();
}

std::string_view NextPart(std::string_view* input) {
  const std::string_view part = input->substr(0, input->find('\0'));
  input->remove_prefix(std::min(input->size(), part.size() + 1));
  return part;
}

void Exercise(const Tokenizer& tokenizer, std::string_view text, bool lossless) {
  for (const bool parse_special : {false, true}) {
    std::vector<std::int32_t> ids;
    const absl::Status status = tokenizer.Encode(text,
                                                 {.add_special_tokens = false,
                                                  .parse_special = parse_special,
                                                  .invalid = InvalidUtf8::kReplace},
                                                 &ids);
    if (!status.ok()) continue;
    std::string decoded, streamed;
    Require(tokenizer.Decode(ids, {}, &decoded).ok());
    Require(FindInvalidUtf8(decoded) == std::string_view::npos);
    IncrementalDecoder decoder(tokenizer);
    for (const std::int32_t id : ids) {
      Require(id >= 0 && id < tokenizer.size());
      Require(decoder.Push(id, &streamed).ok());
    }
    decoder.Flush(&streamed);
    Require(streamed == decoded);
    if (lossless && tokenizer.unk_id() < 0) {
      std::string valid;
      AppendReplacingInvalid(text, &valid);
      Require(decoded == valid);
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view input(reinterpret_cast<const char*>(data), size);
  std::map<std::string, std::string> files;
  for (const char* name :
       {"vocab.json", "merges.txt", "added_tokens.json", "tokenizer_config.json"}) {
    if (const std::string_view part = NextPart(&input); !part.empty()) files[name] = part;
  }
  const bool prefixes = files["tokenizer_config.json"].find("prefix") != std::string::npos;
  if (files["tokenizer_config.json"].empty()) files.erase("tokenizer_config.json");
  const std::unique_ptr<ByteSource> source = OpenMemory("fuzz", std::move(files));
  for (const AddedTokens mode : {AddedTokens::kLossless, AddedTokens::kHf425}) {
    const auto tokenizer = LoadTokenizer(*source, {.added_tokens = mode});
    if (tokenizer.ok()) {
      Exercise(**tokenizer, input, mode == AddedTokens::kLossless && !prefixes);
    }
  }
  return 0;
}
