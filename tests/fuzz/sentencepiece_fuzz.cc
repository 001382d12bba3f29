// A tokenizer.model; what our reader lets through, the library must survive.
#include <cstdlib>

#include "base/utf8.h"
#include "mossrt/runtime/tokenizer.h"

using namespace mossrt::runtime;

namespace {

void Require(bool promise) {
  if (!promise) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string model(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = LoadTokenizer(*OpenMemory("fuzz", {{"tokenizer.model", model}}), {});
  if (!tokenizer.ok()) return 0;
  const Tokenizer& t = **tokenizer;
  // The model's own bytes are the text that is likeliest to meet its pieces.
  for (const std::string& text :
       {std::string(" the  cat\nsat \xE4\xB8\xAD\xE6\x96\x87 \xEF\xAC\x81 <s>[tool] a\0b", 38),
        model.substr(0, 200), model.substr(model.size() / 2, 200)}) {
    std::vector<std::int32_t> ids;
    const EncodeOptions options = {.parse_special = true, .invalid = InvalidUtf8::kReplace};
    if (!t.Encode(text, options, &ids).ok()) continue;
    std::string decoded, streamed;
    Require(t.Decode(ids, {}, &decoded).ok());
    Require(FindInvalidUtf8(decoded) == std::string_view::npos);
    IncrementalDecoder decoder(t);
    for (const std::int32_t id : ids) Require(decoder.Push(id, &streamed).ok());
    decoder.Flush(&streamed);
    Require(streamed == decoded);
  }
  return 0;
}
