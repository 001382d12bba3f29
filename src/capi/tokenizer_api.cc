#include <filesystem>
#include <memory>
#include <system_error>

#include "base/status.h"
#include "base/utf8.h"
#include "capi/memory.h"
#include "capi/option_values.h"
#include "capi/tokenizer_state.h"
#include "mossrt/mossrt.h"
#include "mossrt/runtime/chat.h"
#include "mossrt/runtime/checkpoint.h"

namespace mossrt::capi {

absl::Status BlameFile(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kAlreadyExists:
      return absl::DataLossError(status.message());
    default:
      return status;
  }
}

absl::StatusOr<std::shared_ptr<TokenizerState>> LoadTokenizerState(
    const runtime::ByteSource& source, const runtime::TokenizerOptions& options) {
  auto tokenizer = runtime::LoadTokenizer(source, options);
  if (!tokenizer.ok()) return BlameFile(tokenizer.status());
  auto state = std::make_shared<TokenizerState>();
  state->tokenizer = *std::move(tokenizer);
  const runtime::Tokenizer& t = *state->tokenizer;
  const std::pair<const char*, std::int32_t> roles[] = {
      {"bos", t.bos_id()}, {"eos", t.eos_id()}, {"unk", t.unk_id()}, {"pad", t.pad_id()}};
  for (const auto& [role, id] : roles) {
    std::vector<std::int32_t>& ids = state->special[role];
    if (id >= 0) ids.push_back(id);
  }
  std::vector<std::int32_t>& all = state->special["all"];
  for (std::int32_t id = 0; id < t.size(); ++id) {
    if (t.IsSpecial(id)) all.push_back(id);
  }
  return state;
}

void SetOrigin(const std::string& path, const runtime::ByteSource& files, TokenizerState* state) {
  state->path = std::filesystem::absolute(path).string();
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return;
  state->packed_meta = runtime::ReadMetaFile(files);
  if (!state->packed_meta.ok()) state->packed_meta = BlameFile(state->packed_meta.status());
}

absl::Status KnownFlags(std::uint32_t flags, std::uint32_t known) {
  if ((flags & ~known) == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(runtime::Cat(CallFrame::Current()->function(),
                                                 ": flags hold the unknown bits ", flags & ~known,
                                                 "; known are ", known));
}

runtime::EncodeOptions EncodeOptionsOf(std::uint32_t flags) {
  runtime::EncodeOptions options;
  options.add_special_tokens = (flags & MOSSRT_ENCODE_ADD_SPECIAL) != 0;
  options.parse_special = (flags & MOSSRT_ENCODE_PARSE_SPECIAL) != 0;
  options.invalid = (flags & MOSSRT_ENCODE_REPLACE_INVALID) != 0 ? runtime::InvalidUtf8::kReplace
                                                                 : runtime::InvalidUtf8::kError;
  return options;
}

}  // namespace mossrt::capi

using namespace mossrt::capi;     // NOLINT: the definitions below are the C functions
using namespace mossrt::runtime;  // NOLINT

mossrt_error* mossrt_tokenizer_load(const char* path, const mossrt_options* o,
                                    mossrt_tokenizer** out) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(path);
    MOSSRT_NEED(out);
    MOSSRT_ASSIGN_OR_RETURN(const TokenizerOptions options, TokenizerOptionsOf(o));
    MOSSRT_ASSIGN_OR_RETURN(const auto source, OpenModelFiles(path));
    auto tokenizer = std::make_unique<mossrt_tokenizer>();
    MOSSRT_ASSIGN_OR_RETURN(tokenizer->state, LoadTokenizerState(*source, options));
    SetOrigin(path, *source, tokenizer->state.get());
    *out = tokenizer.release();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_model_tokenizer(const mossrt_model* model, mossrt_tokenizer** out) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(model);
    MOSSRT_NEED(out);
    if (model->state->tokenizer == nullptr) return model->state->tokenizer_status;
    auto tokenizer = std::make_unique<mossrt_tokenizer>();
    tokenizer->state = model->state->tokenizer;
    *out = tokenizer.release();
    return absl::OkStatus();
  });
}

void mossrt_tokenizer_free(mossrt_tokenizer* t) {
  GuardVoid(__func__, [&] { delete t; });
}

size_t mossrt_tokenizer_size(const mossrt_tokenizer* t) {
  size_t size = 0;
  GuardVoid(__func__, [&] {
    if (t != nullptr) size = static_cast<size_t>(t->state->tokenizer->size());
  });
  return size;
}

const char* mossrt_tokenizer_kind(const mossrt_tokenizer* t) {
  const char* kind = "";
  GuardVoid(__func__, [&] {
    if (t == nullptr) return;
    // The runtime's name is a view; what we return must end with a zero byte.
    kind = t->state->tokenizer->kind() == "sentencepiece" ? "sentencepiece" : "byte-level-bpe";
  });
  return kind;
}

mossrt_error* mossrt_tokenizer_encode(const mossrt_tokenizer* t, const char* text, size_t len,
                                      uint32_t flags, int32_t** ids, size_t* n) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(t);
    if (len > 0) MOSSRT_NEED(text);
    MOSSRT_NEED(ids);
    MOSSRT_NEED(n);
    MOSSRT_RETURN_IF_ERROR(KnownFlags(flags, kEncodeFlags));
    std::vector<std::int32_t> result;
    MOSSRT_RETURN_IF_ERROR(
        t->state->tokenizer->Encode(std::string_view(text, len), EncodeOptionsOf(flags), &result));
    return GiveIds(result, ids, n);
  });
}

mossrt_error* mossrt_tokenizer_decode(const mossrt_tokenizer* t, const int32_t* ids, size_t n,
                                      uint32_t flags, char** text, size_t* len) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(t);
    if (n > 0) MOSSRT_NEED(ids);
    MOSSRT_NEED(text);
    MOSSRT_NEED(len);
    MOSSRT_RETURN_IF_ERROR(KnownFlags(flags, MOSSRT_DECODE_SKIP_SPECIAL | MOSSRT_DECODE_RAW_BYTES));
    DecodeOptions options;
    options.skip_special_tokens = (flags & MOSSRT_DECODE_SKIP_SPECIAL) != 0;
    const std::span<const std::int32_t> input(ids, n);
    std::string result;
    MOSSRT_RETURN_IF_ERROR((flags & MOSSRT_DECODE_RAW_BYTES) != 0
                               ? t->state->tokenizer->DecodeBytes(input, options, &result)
                               : t->state->tokenizer->Decode(input, options, &result));
    return GiveText(result, text, len);
  });
}

mossrt_error* mossrt_tokenizer_token_bytes(const mossrt_tokenizer* t, int32_t id,
                                           const char** bytes, size_t* len) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(t);
    MOSSRT_NEED(bytes);
    MOSSRT_NEED(len);
    MOSSRT_ASSIGN_OR_RETURN(const std::string_view found, t->state->tokenizer->TokenBytes(id));
    *bytes = found.data();
    *len = found.size();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_tokenizer_token_id(const mossrt_tokenizer* t, const char* name, size_t len,
                                        int32_t* id) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(t);
    if (len > 0) MOSSRT_NEED(name);
    MOSSRT_NEED(id);
    *id = t->state->tokenizer->TokenId(std::string_view(name, len));
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_tokenizer_special_ids(const mossrt_tokenizer* t, const char* role,
                                           const int32_t** ids, size_t* n) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(t);
    MOSSRT_NEED(role);
    MOSSRT_NEED(ids);
    MOSSRT_NEED(n);
    const auto it = t->state->special.find(std::string_view(role));
    if (it == t->state->special.end()) {
      return absl::InvalidArgumentError(
          Cat("role must be \"bos\", \"eos\", \"unk\", \"pad\" or \"all\", found \"", role, "\""));
    }
    *ids = it->second.data();
    *n = it->second.size();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_detok_create(const mossrt_tokenizer* t, uint32_t flags, mossrt_detok** out) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(t);
    MOSSRT_NEED(out);
    MOSSRT_RETURN_IF_ERROR(KnownFlags(flags, MOSSRT_DECODE_SKIP_SPECIAL));
    DecodeOptions options;
    options.skip_special_tokens = (flags & MOSSRT_DECODE_SKIP_SPECIAL) != 0;
    *out = new mossrt_detok{t->state, IncrementalDecoder(*t->state->tokenizer, options), {}, {}};
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_detok_push(mossrt_detok* d, const int32_t* ids, size_t n, const char** text,
                                size_t* len) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(d);
    if (n > 0) MOSSRT_NEED(ids);
    MOSSRT_NEED(text);
    MOSSRT_NEED(len);
    const Use use(&d->in_use, Use::kExclusive);
    if (!use.held()) return Busy("detok");
    // Pushed into copies, so that an unknown id leaves nothing half done.
    IncrementalDecoder decoder = d->decoder;
    std::string result;
    for (size_t i = 0; i < n; ++i) MOSSRT_RETURN_IF_ERROR(decoder.Push(ids[i], &result));
    d->decoder = std::move(decoder);
    d->text = std::move(result);
    *text = d->text.c_str();
    *len = d->text.size();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_detok_flush(mossrt_detok* d, const char** text, size_t* len) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(d);
    MOSSRT_NEED(text);
    MOSSRT_NEED(len);
    const Use use(&d->in_use, Use::kExclusive);
    if (!use.held()) return Busy("detok");
    d->text.clear();
    d->decoder.Flush(&d->text);
    *text = d->text.c_str();
    *len = d->text.size();
    return absl::OkStatus();
  });
}

void mossrt_detok_free(mossrt_detok* d) {
  GuardVoid(__func__, [&] { delete d; });
}
