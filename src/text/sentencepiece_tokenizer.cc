#include "text/sentencepiece_tokenizer.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/status.h"
#include "text/encode_input.h"
#include "text/sentencepiece_library.h"
#include "text/sentencepiece_model.h"
#include "text/table_tokenizer.h"

namespace mossrt::runtime {
namespace {

constexpr std::uint64_t kMaxModelBytes = std::uint64_t{256} << 20;
constexpr std::string_view kSpaceSymbol = "\xE2\x96\x81";  // U+2581

// What encoding adds.
struct Ends {
  bool add_bos, add_eos;
};

class SentencePieceTokenizer final : public TableTokenizer {
 public:
  SentencePieceTokenizer(std::unique_ptr<SentencePieceLibrary> library, SentencePieceModel model,
                         const std::vector<AddedToken>& added, SpecialIds special, Ends ends)
      : TableTokenizer({}, std::move(model.ids), special),
        library_(std::move(library)),
        ends_(ends),
        strips_(model.add_dummy_prefix || model.remove_extra_whitespaces),
        strips_all_(model.remove_extra_whitespaces) {
    std::size_t size = model.pieces.size();
    for (const AddedToken& token : added) {
      size = std::max(size, static_cast<std::size_t>(token.id) + 1);
    }
    std::vector<std::string> bytes(size);
    begins_with_space_.resize(size);
    is_special_.resize(size);
    for (std::size_t i = 0; i < model.pieces.size(); ++i) {
      const SentencePieceModel::Piece& piece = model.pieces[i];
      switch (piece.type) {
        case PieceType::kControl:
        case PieceType::kUnknown:
          if (piece.type == PieceType::kUnknown) bytes[i] = model.unk_surface;
          is_special_[i] = true;
          Recognize({.name = piece.name, .id = static_cast<std::int32_t>(i), .special = true});
          break;
        case PieceType::kByte: {
          unsigned value = 0;  // "<0x1F>", as the model was checked
          std::from_chars(piece.name.data() + 3, piece.name.data() + 5, value, 16);
          bytes[i].assign(1, static_cast<char>(value));
          break;
        }
        case PieceType::kNormal:
        case PieceType::kUserDefined:
        case PieceType::kUnused:
          bytes[i] = WithSpaces(piece.name);
          begins_with_space_[i] = piece.name.starts_with(kSpaceSymbol);
          break;
      }
    }
    for (const AddedToken& token : added) {
      const auto i = static_cast<std::size_t>(token.id);
      if (i >= model.pieces.size()) {
        bytes[i] = token.name;
        is_special_[i] = token.special;
        ids_.emplace(token.name, token.id);
      } else if (is_special_[i]) {
        continue;  // a control piece that tokenizer_config.json lists once more
      } else {
        is_special_[i] = token.special;
      }
      Recognize(token);
    }
    tokens_ = TokenTable(bytes);
  }

  std::string_view kind() const override { return "sentencepiece"; }

  absl::Status Encode(std::string_view text, const EncodeOptions& options,
                      std::vector<std::int32_t>* ids) const override {
    std::string storage;
    MOSSRT_ASSIGN_OR_RETURN(text, CheckInput(text, options.invalid, &storage));
    if (options.add_special_tokens && ends_.add_bos) ids->push_back(special_.bos);
    const AddedTokenTrie& trie = Recognized(options);
    Section section{.text = text};
    std::size_t position = 0;
    while (trie.empty() ? position == 0 : trie.Next(text, &position, &section)) {
      if (section.id >= 0) {
        ids->push_back(section.id);
      } else if (std::string error; !library_->Encode(section.text, ids, &error)) {
        return absl::InternalError(
            Cat("The sentencepiece library cannot encode the text: ", error));
      }
      if (trie.empty()) break;
    }
    if (options.add_special_tokens && ends_.add_eos) ids->push_back(special_.eos);
    return absl::OkStatus();
  }

  // The space that the encoder put before the text is dropped from the first piece that has text;
  // where the model removes extra white space, from all pieces until there is text.
  absl::Status AppendToken(std::int32_t id, const DecodeOptions& options, bool* at_start,
                           std::string* bytes) const override {
    MOSSRT_ASSIGN_OR_RETURN(std::string_view token, TokenBytes(id));
    if (options.skip_special_tokens && IsSpecial(id)) return absl::OkStatus();
    if (*at_start && strips_ && begins_with_space_[static_cast<std::size_t>(id)]) {
      token.remove_prefix(1);
      *at_start = strips_all_;
    }
    if (!token.empty()) *at_start = false;
    bytes->append(token);
    return absl::OkStatus();
  }

  bool StripsLeadingSpace() const override { return strips_; }
  bool ReplacesEachInvalidByte() const override { return true; }

 private:
  static std::string WithSpaces(std::string_view name) {
    std::string text;
    while (!name.empty()) {
      const bool space = name.starts_with(kSpaceSymbol);
      text.push_back(space ? ' ' : name.front());
      name.remove_prefix(space ? kSpaceSymbol.size() : 1);
    }
    return text;
  }

  std::unique_ptr<SentencePieceLibrary> library_;
  Ends ends_;
  std::vector<bool> begins_with_space_;
  bool strips_, strips_all_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> LoadSentencePiece(const ByteSource& source,
                                                             const TokenizerConfig& config,
                                                             const TokenizerOptions& options) {
  const std::string what = Cat(source.name(), "/tokenizer.model");
  if (options.added_tokens == AddedTokens::kHf425) {
    return absl::InvalidArgumentError(
        Cat(what,
            ": added_tokens \"hf-4.25\" is known for vocab.json with merges.txt only; leave it "
            "at \"lossless\""));
  }
  MOSSRT_ASSIGN_OR_RETURN(const std::string bytes,
                          ReadAll(source, "tokenizer.model", kMaxModelBytes));
  MOSSRT_ASSIGN_OR_RETURN(SentencePieceModel model, ReadSentencePieceModel(bytes, what));
  MOSSRT_ASSIGN_OR_RETURN(const std::vector<AddedToken> added,
                          config.Resolve(model.ids, source.name()));
  const auto count = static_cast<std::int32_t>(model.pieces.size());
  for (const AddedToken& token : added) {
    if (token.id < count && model.ids.find(token.name) == model.ids.end()) {
      return absl::InvalidArgumentError(Cat(source.name(), ": the added token \"", token.name,
                                            "\" has the id ", token.id, ", which is \"",
                                            model.pieces[static_cast<std::size_t>(token.id)].name,
                                            "\" in tokenizer.model; each needs its own"));
    }
    if (static_cast<std::size_t>(token.id) > (model.pieces.size() + added.size()) * 16 + 65536) {
      return absl::InvalidArgumentError(Cat(source.name(), ": the added token \"", token.name,
                                            "\" has the id ", token.id, ", far beyond the ", count,
                                            " pieces of tokenizer.model"));
    }
  }
  const auto id_of = [&](std::string_view role, std::int32_t fallback) {
    const TokenizerConfig::Named* named = config.Role(role);
    if (named == nullptr) return fallback;
    if (const auto it = model.ids.find(named->name); it != model.ids.end()) return it->second;
    for (const AddedToken& token : added) {
      if (token.name == named->name) return token.id;
    }
    return fallback;
  };
  const SpecialIds special = {.bos = id_of("bos_token", model.bos),
                              .eos = id_of("eos_token", model.eos),
                              .unk = id_of("unk_token", model.unk),
                              .pad = id_of("pad_token", model.pad)};
  Ends ends = {.add_bos = config.add_bos_token.value_or(true),
               .add_eos = config.add_eos_token.value_or(false)};
  const auto missing = [&](std::string_view key) {
    return absl::InvalidArgumentError(Cat(source.name(), "/tokenizer_config.json: ", key,
                                          " is true, but tokenizer.model has no such token"));
  };
  if (special.bos < 0) {
    if (config.add_bos_token.value_or(false)) return missing("add_bos_token");
    ends.add_bos = false;
  }
  if (special.eos < 0 && ends.add_eos) return missing("add_eos_token");
  std::string error;
  std::unique_ptr<SentencePieceLibrary> library = SentencePieceLibrary::Load(bytes, &error);
  if (library == nullptr) {
    return absl::InvalidArgumentError(Cat(what, ": the sentencepiece library refuses it: ", error));
  }
  return std::make_unique<SentencePieceTokenizer>(std::move(library), std::move(model), added,
                                                  special, ends);
}

}  // namespace mossrt::runtime
