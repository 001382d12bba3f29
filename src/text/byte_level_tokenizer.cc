#include "text/byte_level_tokenizer.h"

#include <algorithm>
#include <utility>

#include "base/json.h"
#include "base/log.h"
#include "base/status.h"
#include "text/byte_bpe.h"
#include "text/encode_input.h"
#include "text/pre_tokenizer.h"
#include "text/table_tokenizer.h"

namespace mossrt::runtime {
namespace {

constexpr std::uint64_t kMaxVocabBytes = std::uint64_t{256} << 20;
// GPT2Tokenizer's own default for bos, eos and unk.
constexpr std::string_view kEndOfText = "<|endoftext|>";

class ByteLevelTokenizer final : public TableTokenizer {
 public:
  ByteLevelTokenizer(ByteBpe bpe, TokenTable tokens, IdOfBytes ids, std::vector<AddedToken> added,
                     SpecialIds special, const TokenizerConfig& config, AddedTokens mode)
      : TableTokenizer(std::move(tokens), std::move(ids), special),
        bpe_(std::move(bpe)),
        mode_(mode),
        add_bos_(config.add_bos_token.value_or(false)),
        add_eos_(config.add_eos_token.value_or(false)),
        add_prefix_space_(config.add_prefix_space) {
    for (const AddedToken& token : added) {
      Recognize(token);
      is_special_[static_cast<std::size_t>(token.id)] = token.special;
    }
  }

  std::string_view kind() const override { return "byte-level-bpe"; }

  absl::Status Encode(std::string_view text, const EncodeOptions& options,
                      std::vector<std::int32_t>* ids) const override {
    std::string storage;
    MOSSRT_ASSIGN_OR_RETURN(text, CheckInput(text, options.invalid, &storage));
    if (add_prefix_space_) {
      std::string prefixed = Cat(" ", text);
      storage.swap(prefixed);
      text = storage;
    }
    if (options.add_special_tokens && add_bos_ && special_.bos >= 0) ids->push_back(special_.bos);
    const std::size_t first = ids->size();
    const AddedTokenTrie& trie = Recognized(options);
    if (trie.empty()) {
      EncodeSection(text, ids);
    } else if (mode_ == AddedTokens::kHf425) {
      for (const Section& section : trie.StripLikeHf425(text)) AddSection(section, ids);
    } else {
      Section section;
      for (std::size_t i = 0; trie.Next(text, &i, &section);) AddSection(section, ids);
    }
    MOSSRT_RETURN_IF_ERROR(ReplaceUnknown(first, ids));
    if (options.add_special_tokens && add_eos_ && special_.eos >= 0) ids->push_back(special_.eos);
    return absl::OkStatus();
  }

  bool StripsLeadingSpace() const override { return false; }

 private:
  void AddSection(const Section& section, std::vector<std::int32_t>* ids) const {
    if (section.id >= 0) {
      ids->push_back(section.id);
    } else {
      EncodeSection(section.text, ids);
    }
  }

  void EncodeSection(std::string_view text, std::vector<std::int32_t>* ids) const {
    PreTokenizer pieces(text);
    for (std::string_view piece; pieces.Next(&piece);) bpe_.Encode(piece, ids);
  }

  // Bytes that the vocabulary lacks become unk where there is one, as in transformers.
  absl::Status ReplaceUnknown(std::size_t first, std::vector<std::int32_t>* ids) const {
    if (bpe_.has_all_bytes()) return absl::OkStatus();
    for (std::size_t i = first; i < ids->size(); ++i) {
      if ((*ids)[i] != ByteBpe::kNoToken) continue;
      if (special_.unk < 0) {
        ids->resize(first);
        return absl::InvalidArgumentError(
            "The text holds a byte for which vocab.json has no token, and no unk_token is named; "
            "use a vocabulary with all 256 bytes or name an unk_token in special_tokens_map.json");
      }
      (*ids)[i] = special_.unk;
    }
    return absl::OkStatus();
  }

  ByteBpe bpe_;
  AddedTokens mode_;
  bool add_bos_, add_eos_, add_prefix_space_;
};

absl::StatusOr<IdOfBytes> ReadVocab(const ByteSource& source) {
  const std::string what = Cat(source.name(), "/vocab.json");
  MOSSRT_ASSIGN_OR_RETURN(const std::string text, ReadAll(source, "vocab.json", kMaxVocabBytes));
  MOSSRT_ASSIGN_OR_RETURN(const Json json, ParseJsonObject(text, what, ""));
  if (json.empty()) return absl::InvalidArgumentError(Cat(what, ": holds no token"));
  IdOfBytes vocab;
  vocab.reserve(json.size());
  const JsonReader reader(json, what);
  for (const auto& [name, value] : json.items()) {
    if (!value.is_number_integer()) return reader.WrongType(name, "the token's id");
    const bool huge = value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX;
    const std::int64_t id = huge ? INT64_MAX : value.get<std::int64_t>();
    if (id < 0 || id >= kMaxTokenId) {
      return reader.WrongType(name, Cat("an id from 0 to ", kMaxTokenId - 1));
    }
    vocab.emplace(name, static_cast<std::int32_t>(id));
  }
  return vocab;
}

// Token bytes by id, holes empty. Two names with one id, or ids far beyond the number of tokens,
// are errors: the second because the table is as large as the largest id.
absl::StatusOr<TokenTable> MakeTable(const IdOfBytes& vocab, const std::vector<AddedToken>& added,
                                     std::string_view where) {
  std::int32_t largest = 0;
  for (const auto& [name, id] : vocab) largest = std::max(largest, id);
  for (const AddedToken& token : added) largest = std::max(largest, token.id);
  const std::size_t count = vocab.size() + added.size();
  if (static_cast<std::size_t>(largest) > count * 16 + 65536) {
    return absl::InvalidArgumentError(Cat(where, ": the largest id is ", largest, " for only ",
                                          count, " tokens; ids should leave few holes"));
  }
  const auto size = static_cast<std::size_t>(largest) + 1;
  std::vector<std::string> bytes(size);
  std::vector<const std::string*> owner(size);
  const auto claim = [&](const std::string& name, std::int32_t id) -> absl::Status {
    const std::string*& old = owner[static_cast<std::size_t>(id)];
    if (old != nullptr && *old != name) {
      return absl::InvalidArgumentError(Cat(where, ": the tokens \"", *old, "\" and \"", name,
                                            "\" have the same id ", id, "; each needs its own"));
    }
    old = &name;
    return absl::OkStatus();
  };
  for (const auto& [name, id] : vocab) {
    MOSSRT_RETURN_IF_ERROR(claim(name, id));
    std::string& token = bytes[static_cast<std::size_t>(id)];
    if (!BytesFromAlphabet(name, &token)) token = name;  // not a merge's token: its text as it is
  }
  for (const AddedToken& token : added) {
    MOSSRT_RETURN_IF_ERROR(claim(token.name, token.id));
    bytes[static_cast<std::size_t>(token.id)] = token.name;
  }
  return TokenTable(bytes);
}

// Classes whose files look the same but whose split rule or added tokens differ.
absl::Status CheckClass(std::string_view name, std::string_view where) {
  if (name.ends_with("Fast")) name.remove_suffix(4);
  for (const std::string_view other :
       {"Qwen2Tokenizer", "CLIPTokenizer", "RobertaTokenizer", "BartTokenizer", "LEDTokenizer",
        "LongformerTokenizer", "MvpTokenizer", "DebertaTokenizer", "WhisperTokenizer",
        "BlenderbotTokenizer"}) {
    if (name == other) {
      return absl::UnimplementedError(
          Cat(where, "/tokenizer_config.json: tokenizer_class is ", name,
              ", which splits text by other rules than GPT-2's; only GPT2Tokenizer and its kin "
              "(CodeGenTokenizer, MossTokenizer) are supported with vocab.json"));
    }
  }
  if (!name.empty() && name != "GPT2Tokenizer" && name != "CodeGenTokenizer" &&
      name != "MossTokenizer" && name != "GPTNeoXTokenizer" && name != "PreTrainedTokenizer") {
    Log(LogLevel::kWarn, Cat(where, "/tokenizer_config.json: tokenizer_class ", name,
                             " is not known; text is split by GPT-2's rule"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadByteLevel(const ByteSource& source,
                                                         const TokenizerConfig& config,
                                                         const TokenizerOptions& options) {
  const std::string where = source.name();
  MOSSRT_RETURN_IF_ERROR(CheckClass(config.tokenizer_class, where));
  MOSSRT_ASSIGN_OR_RETURN(IdOfBytes vocab, ReadVocab(source));
  MOSSRT_ASSIGN_OR_RETURN(const std::string merges, ReadAll(source, "merges.txt", kMaxVocabBytes));
  TokenizerConfig roles = config;
  for (const std::string_view role : {"bos_token", "eos_token", "unk_token"}) {
    if (roles.Role(role) == nullptr && vocab.find(kEndOfText) != vocab.end()) {
      roles.named.push_back(
          {.role = std::string(role), .name = std::string(kEndOfText), .is_object = true});
    }
  }
  MOSSRT_ASSIGN_OR_RETURN(std::vector<AddedToken> added, roles.Resolve(vocab, where));
  MOSSRT_ASSIGN_OR_RETURN(TokenTable tokens, MakeTable(vocab, added, where));
  MOSSRT_ASSIGN_OR_RETURN(ByteBpe bpe, ByteBpe::Create(vocab, merges, where));
  for (const AddedToken& token : added) vocab.emplace(token.name, token.id);
  const auto id_of = [&](std::string_view role) {
    const TokenizerConfig::Named* token = roles.Role(role);
    if (token == nullptr) return -1;
    const auto it = vocab.find(token->name);
    return it == vocab.end() ? -1 : it->second;
  };
  const SpecialIds special = {.bos = id_of("bos_token"),
                              .eos = id_of("eos_token"),
                              .unk = id_of("unk_token"),
                              .pad = id_of("pad_token")};
  if ((roles.add_bos_token.value_or(false) && special.bos < 0) ||
      (roles.add_eos_token.value_or(false) && special.eos < 0)) {
    return absl::InvalidArgumentError(
        Cat(where, "/tokenizer_config.json: ", special.bos < 0 ? "add_bos_token" : "add_eos_token",
            " is true, but the tokenizer's files give that token no id"));
  }
  return std::make_unique<ByteLevelTokenizer>(std::move(bpe), std::move(tokens), std::move(vocab),
                                              std::move(added), special, roles,
                                              options.added_tokens);
}

}  // namespace mossrt::runtime
