#include <cstring>

#include "text/sentencepiece_model.h"
#include "text/text_testing.h"

namespace mossrt::runtime {
namespace {

class SentencePiece : public testing::TestWithParam<std::string> {};

TEST_P(SentencePiece, IdsAndTextsEqualThePythonPackages) {
  const auto tokenizer = LoadOrDie(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  const std::vector<std::string> texts = ComparisonTexts();
  const Json reference = ReadJson(GetParam() + ".json");
  ASSERT_EQ(reference["ids"].size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const Ids ids = Encode(*tokenizer, texts[i], {.add_special_tokens = false});
    EXPECT_EQ(ids, reference["ids"][i].get<Ids>()) << texts[i];
    const Json& decoded = reference["decoded"][i];
    EXPECT_EQ(Decode(*tokenizer, ids), decoded.is_null() ? texts[i] : decoded.get<std::string>());
  }
  ASSERT_GT(reference["odd"].size(), 0u);
  for (std::size_t i = 0; i < reference["odd"].size(); ++i) {
    EXPECT_EQ(Decode(*tokenizer, reference["odd"][i].get<Ids>()),
              reference["odd_decoded"][i].get<std::string>());
  }
}

INSTANTIATE_TEST_SUITE_P(All, SentencePiece, testing::Values("sp_bpe", "sp_unigram"));

TEST(SentencePieceTokenizer, ControlPiecesAreTextUnlessAsked) {
  const auto tokenizer = LoadOrDie("sp_bpe");
  const Ids plain = Encode(*tokenizer, "<s>");
  ASSERT_GT(plain.size(), 2u);
  EXPECT_EQ(plain[0], tokenizer->bos_id());  // as LLaMA does where no config says otherwise
  EXPECT_EQ(std::count(plain.begin(), plain.end(), tokenizer->bos_id()), 1);
  const Ids parsed =
      Encode(*tokenizer, "<s>", {.add_special_tokens = false, .parse_special = true});
  EXPECT_EQ(parsed, Ids{tokenizer->bos_id()});
  EXPECT_TRUE(tokenizer->IsSpecial(tokenizer->eos_id()));
}

TEST(SentencePieceTokenizer, ConfigAndAddedTokensAreHonoured) {
  const std::string model = ReadFile(DataPath("sp_bpe/tokenizer.model"));
  const auto tokenizer =
      LoadFiles({{"tokenizer.model", model},
                 {"added_tokens.json", R"({"<|Human|>": 700, "    ": 701})"},
                 {"tokenizer_config.json", R"({"add_bos_token": false, "add_eos_token": true})"}});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->size(), 702);
  Ids ids = Encode(**tokenizer, "a    b");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 701), 1);
  EXPECT_EQ(ids.back(), (*tokenizer)->eos_id());
  ids = Encode(**tokenizer, "<|Human|>");
  EXPECT_EQ(std::count(ids.begin(), ids.end(), 700), 0);
  EXPECT_EQ(Encode(**tokenizer, "<|Human|>", {.add_special_tokens = false, .parse_special = true}),
            Ids{700});
  EXPECT_FALSE(LoadFiles({{"tokenizer.model", model}}, AddedTokens::kHf425).ok());
}

// No prefix may load or crash except where the cut leaves whole fields.
TEST(SentencePieceModel, EveryTruncationIsJudged) {
  for (const std::string name : {"sp_bpe", "sp_unigram"}) {
    const std::string model = ReadFile(DataPath(name + "/tokenizer.model"));
    for (std::size_t size = 0; size < model.size(); size += size < 200 ? 1 : 37) {
      const auto read = ReadSentencePieceModel(model.substr(0, size), "cut");
      if (!read.ok()) continue;
      EXPECT_TRUE(LoadFiles({{"tokenizer.model", model.substr(0, size)}}).ok());
    }
  }
}

std::string Varint(std::uint64_t value) {
  std::string bytes;
  for (; value >= 0x80; value >>= 7) bytes.push_back(static_cast<char>(value | 0x80));
  bytes.push_back(static_cast<char>(value));
  return bytes;
}
std::string Bytes(unsigned field, const std::string& value) {
  return Varint(field << 3 | 2) + Varint(value.size()) + value;
}
std::string Int(unsigned field, std::uint64_t value) { return Varint(field << 3) + Varint(value); }
std::string Float(unsigned field, float value) {
  std::string bytes(4, '\0');
  std::memcpy(bytes.data(), &value, 4);
  return Varint(field << 3 | 5) + bytes;
}
std::string Piece(const std::string& name, float score = 0, std::uint64_t type = 1) {
  return Bytes(1, Bytes(1, name) + Float(2, score) + Int(3, type));
}
std::string Small(const std::string& more) {
  return Piece("<unk>", 0, 2) + Piece("<s>", 0, 3) + Piece("a", -1) + more;
}

TEST(SentencePieceModel, HostileModelsAreErrorsThatSayWhy) {
  const auto expect = [](const std::string& model, const std::string& part) {
    ExpectError({{"tokenizer.model", model}}, absl::StatusCode::kInvalidArgument,
                {"tokenizer.model", part});
  };
  const std::string trainer = Bytes(2, Int(3, 2) + Int(41, 1) + Int(42, UINT64_MAX));
  ASSERT_TRUE(LoadFiles({{"tokenizer.model", Small(trainer)}}).ok());
  expect("", "no pieces");
  expect("hello", "wire type");
  expect(Small(Piece("a")), "both \"a\"");
  expect(Small(Piece("b", 0, 7)), "the type 7");
  expect(Small(Piece("b", std::nanf(""))), "score");
  expect(Small(Piece("b", INFINITY)), "score");
  expect(Small(Piece("")), "0 bytes");
  expect(Small(Piece("\xE4\xB8")), "UTF-8");
  expect(Small(Piece(std::string("b\0", 2))), "zero byte");
  expect(Small(Piece("<unk2>", 0, 2)), "one piece of type unknown, found 2");
  expect(Piece("a"), "one piece of type unknown, found 0");
  expect(Piece("<unk>", 0, 2), "no normal piece");
  expect(Small(Piece("<0x41>", 0, 6)), "expected 0 byte pieces, found 1");
  expect(Small(Bytes(2, Int(35, 1))), "expected 256 byte pieces, found 0");
  expect(Small(Bytes(2, Int(3, 9))), "model type is 9");
  expect(Small(Bytes(2, Int(41, 4000))), "bos_id is 4000");
  expect(Small(trainer + trainer), "comes twice");
  expect(Small(Varint(1 << 3 | 2) + Varint(UINT64_MAX)), "are left");
  expect(Small(std::string(11, '\xFF')), "more than 64 bits");
  std::string nested;
  for (std::size_t n = 2; n < 80; ++n) nested += Piece(std::string(n, 'b'), 0, 4);
  expect(Small(nested), "begin one another");
}

// A trie of one block of 256 units whose root leads to itself unless `units` says otherwise.
std::string CharsMap(const std::vector<std::uint32_t>& units, const std::string& texts) {
  std::string blob = Varint(0);
  const auto size = static_cast<std::uint32_t>(units.size() * 4);
  blob.assign(reinterpret_cast<const char*>(&size), 4);
  blob.append(reinterpret_cast<const char*>(units.data()), size);
  return blob + texts;
}

TEST(SentencePieceModel, CharsMapsAreWalkedBeforeTheLibraryDoes) {
  const auto expect = [](const std::string& blob, const std::string& part) {
    const absl::Status status = CheckCharsMap(blob, "map");
    EXPECT_FALSE(status.ok()) << part;
    EXPECT_NE(Message(status).find(part), std::string_view::npos) << status;
    ExpectError({{"tokenizer.model", Small(Bytes(3, Bytes(2, blob)))}},
                absl::StatusCode::kInvalidArgument, {"precompiled_charsmap", part});
  };
  const std::string zero(1, '\0');
  constexpr std::uint32_t kLeaf = 1u << 8, kValue = 1u << 31, kNoLabel = kValue;
  std::vector<std::uint32_t> units(256, kNoLabel);
  units[0] = 1u << 10;  // base 1: the child of byte c stands at 1 ^ c
  EXPECT_TRUE(CheckCharsMap(CharsMap(units, zero), "map").ok());
  expect("abc", "only 3 bytes");
  expect(std::string(8, '\xFF'), "announces");
  expect(CharsMap(units, ""), "announces");
  expect(CharsMap(units, "x"), "end with a zero byte");
  expect(CharsMap(units, "\xE4" + zero), "valid UTF-8");
  auto wild = units;
  wild[0] = 5000u << 10;
  expect(CharsMap(wild, zero), "units");
  auto cycle = units;
  cycle[1 ^ 'a'] = 'a' | std::uint32_t{(1 ^ 'a') ^ 1} << 10;  // its children are the root's
  expect(CharsMap(cycle, zero), "leads back to itself");
  auto leaf = units;
  leaf[0] |= kLeaf;
  leaf[1] = kValue | 9;
  expect(CharsMap(leaf, zero), "points to byte 9");
  leaf[1] = kValue | 0;
  EXPECT_TRUE(CheckCharsMap(CharsMap(leaf, zero), "map").ok());
}

}  // namespace
}  // namespace mossrt::runtime
