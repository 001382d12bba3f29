#include <chrono>
#include <random>
#include <thread>

#include "base/utf8.h"
#include "text/text_testing.h"

namespace mossrt::runtime {
namespace {

std::uint64_t Fnv1a(std::uint64_t state, const Ids& ids) {
  const auto add = [&](std::uint32_t word) {
    for (int i = 0; i < 4; ++i) state = (state ^ (word >> (8 * i) & 0xFF)) * 0x100000001B3u;
  };
  add(static_cast<std::uint32_t>(ids.size()));
  for (const std::int32_t id : ids) add(static_cast<std::uint32_t>(id));
  return state;
}

TEST(ByteLevel, EveryCodePointInFourContextsGivesTheReferencesIds) {
  // Without added tokens: the reference is the merging alone.
  const auto tokenizer = LoadFiles({{"vocab.json", ReadFile(DataPath("moss_like/vocab.json"))},
                                    {"merges.txt", ReadFile(DataPath("moss_like/merges.txt"))}});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const Json hashes = ReadJson("byte_level.json")["code_points"];
  ASSERT_EQ(hashes.size(), 0x110000u / 4096);
  for (char32_t block = 0; block < 0x110000; block += 4096) {
    std::uint64_t state = 0xCBF29CE484222325u;
    for (char32_t c = block; c < block + 4096; ++c) {
      if (c >= 0xD800 && c < 0xE000) continue;
      std::string s;
      AppendUtf8(c, &s);
      for (const std::string& text :
           {s, "a" + s + "b 1" + s + "2", " " + s + " " + s + s, "'" + s + "  " + s + "\n." + s}) {
        const Ids ids = Encode(**tokenizer, text);
        state = Fnv1a(state, ids);
        ASSERT_EQ(Decode(**tokenizer, ids), text);
      }
    }
    char expected[20];
    std::snprintf(expected, sizeof expected, "%016llx", static_cast<unsigned long long>(state));
    EXPECT_EQ(hashes[block / 4096].get<std::string>(), expected)
        << "code points from " << static_cast<unsigned>(block);
  }
}

void Compare(const std::string& file, AddedTokens mode) {
  const auto tokenizer = LoadOrDie("moss_like", mode);
  ASSERT_NE(tokenizer, nullptr);
  const std::vector<std::string> texts = ComparisonTexts();
  const Json reference = ReadJson(file);
  ASSERT_EQ(reference["plain"].size(), texts.size());
  ASSERT_EQ(reference["special"].size(), texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const Ids plain = Encode(*tokenizer, texts[i]);
    const Ids special = Encode(*tokenizer, texts[i], {.parse_special = true});
    EXPECT_EQ(plain, reference["plain"][i].get<Ids>()) << texts[i];
    EXPECT_EQ(special, reference["special"][i].get<Ids>()) << texts[i];
    if (mode == AddedTokens::kLossless) {
      EXPECT_EQ(Decode(*tokenizer, plain), texts[i]);
      EXPECT_EQ(Decode(*tokenizer, special), texts[i]);
    }
  }
}

TEST(ByteLevel, TextsGiveTheReferencesIds) { Compare("byte_level.json", AddedTokens::kLossless); }
TEST(ByteLevel, Hf425GivesTheIdsOfTransformers425) { Compare("hf425.json", AddedTokens::kHf425); }

TEST(ByteLevel, ControlTokensAreTextUnlessAsked) {
  const auto tokenizer = LoadOrDie("moss_like");
  const std::int32_t eom = tokenizer->TokenId("<eom>");
  ASSERT_GT(eom, 0);
  EXPECT_EQ(tokenizer->eos_id(), eom);
  EXPECT_TRUE(tokenizer->IsSpecial(eom));
  EXPECT_TRUE(tokenizer->IsSpecial(tokenizer->TokenId("<|endoftext|>")));
  EXPECT_FALSE(tokenizer->IsSpecial(tokenizer->TokenId("  ")));
  for (const std::string text : {"<eom>", "<|endoftext|>"}) {
    const std::int32_t id = tokenizer->TokenId(text);
    const Ids plain = Encode(*tokenizer, text);
    EXPECT_EQ(std::count(plain.begin(), plain.end(), id), 0);
    EXPECT_EQ(Decode(*tokenizer, plain), text);
    EXPECT_EQ(Encode(*tokenizer, text, {.parse_special = true}), Ids{id});
  }
  const Ids ids = Encode(*tokenizer, "hi<eom>", {.parse_special = true});
  EXPECT_EQ(Decode(*tokenizer, ids), "hi<eom>");
  EXPECT_EQ(Decode(*tokenizer, ids, {.skip_special_tokens = true}), "hi");
}

TEST(ByteLevel, RunsAreTakenLongestFirst) {
  const auto tokenizer = LoadOrDie("moss_like");
  const auto run = [&](std::size_t n) { return tokenizer->TokenId(std::string(n, ' ')); };
  EXPECT_EQ(Encode(*tokenizer, std::string(100, ' ')), (Ids{run(31), run(31), run(31), run(7)}));
}

TEST(ByteLevel, InvalidUtf8IsAnErrorWithItsOffsetOrReplaced) {
  const auto tokenizer = LoadOrDie("moss_like");
  Ids ids;
  const absl::Status status = tokenizer->Encode("abc\xE4\xB8x", {}, &ids);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(Message(status).find("offset 3"), std::string_view::npos) << status;
  ids = Encode(*tokenizer, "abc\xE4\xB8x\xFF", {.invalid = InvalidUtf8::kReplace});
  EXPECT_EQ(Decode(*tokenizer, ids), "abc\xEF\xBF\xBDx\xEF\xBF\xBD");
}

TEST(ByteLevel, UnknownIdsAreErrorsAndHolesAreEmpty) {
  const auto tokenizer =
      LoadFiles({{"vocab.json", R"({"a":0,"b":1,"ab":5})"}, {"merges.txt", "#\na b\n"}});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ((*tokenizer)->size(), 6);
  EXPECT_EQ(Decode(**tokenizer, {0, 3, 5}), "aab");
  std::string text;
  for (const std::int32_t id : {-1, 6, INT32_MAX}) {
    EXPECT_EQ((*tokenizer)->Decode(Ids{id}, {}, &text).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_FALSE((*tokenizer)->TokenBytes(id).ok());
    EXPECT_FALSE((*tokenizer)->IsSpecial(id));
  }
}

TEST(ByteLevel, MissingBytesAreErrorsOrUnk) {
  const std::string vocab = R"({"a":0,"b":1,"?":2})";
  const auto bare = LoadFiles({{"vocab.json", vocab}, {"merges.txt", "#\n"}});
  ASSERT_TRUE(bare.ok()) << bare.status();
  Ids ids = {7};
  EXPECT_FALSE((*bare)->Encode("abc", {}, &ids).ok());
  EXPECT_EQ(ids, Ids{7});
  const auto unk = LoadFiles({{"vocab.json", vocab},
                              {"merges.txt", "#\n"},
                              {"special_tokens_map.json", R"({"unk_token":"?"})"}});
  ASSERT_TRUE(unk.ok()) << unk.status();
  EXPECT_EQ(Encode(**unk, "acb"), (Ids{0, 2, 1}));
}

TEST(ByteLevel, BosAndEosWhereTheConfigAsksForThem) {
  const auto tokenizer = LoadFiles(
      {{"vocab.json", R"({"a":0,"<s>":1,"</s>":2})"},
       {"merges.txt", "#\n"},
       {"tokenizer_config.json",
        R"({"add_bos_token":true,"add_eos_token":true,"bos_token":"<s>","eos_token":"</s>"})"}});
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(Encode(**tokenizer, "a"), (Ids{1, 0, 2}));
  EXPECT_EQ(Encode(**tokenizer, "a", {.add_special_tokens = false}), Ids{0});
}

// A pair that a round of merges brings about waits although its rank is lower: GPT-2's order.
TEST(ByteLevel, RoundsMergeAllPlacesOfOnePairFirst) {
  const Files files = {
      {"vocab.json", R"({"a":0,"b":1,"c":2,"ab":3,"bc":4,"abc":5,"abca":6,"aa":7})"},
      {"merges.txt", "#\nabc a\nb c\na bc\n"}};
  const auto tokenizer = LoadFiles(files);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_EQ(Encode(**tokenizer, "abcabc"), (Ids{5, 5}));
  std::string text;
  for (int i = 0; i < 100; ++i) text += "abc";  // long enough for the heap
  EXPECT_EQ(Encode(**tokenizer, text), Ids(100, 5));
}

// GPT-2's loop as its paper's code has it: all places of the lowest pair, again and again.
std::vector<std::string> MergeNaively(const std::map<std::string, std::size_t>& ranks,
                                      const std::string& word) {
  std::vector<std::string> symbols;
  for (const char c : word) symbols.emplace_back(1, c);
  while (true) {
    std::size_t lowest = SIZE_MAX;
    for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
      const auto it = ranks.find(symbols[i] + " " + symbols[i + 1]);
      if (it != ranks.end()) lowest = std::min(lowest, it->second);
    }
    if (lowest == SIZE_MAX) return symbols;
    std::vector<std::string> next;
    for (std::size_t i = 0; i < symbols.size(); ++i) {
      const auto it =
          i + 1 < symbols.size() ? ranks.find(symbols[i] + " " + symbols[i + 1]) : ranks.end();
      if (it != ranks.end() && it->second == lowest) {
        next.push_back(symbols[i] + symbols[i + 1]);
        ++i;
      } else {
        next.push_back(symbols[i]);
      }
    }
    symbols = std::move(next);
  }
}

TEST(ByteLevel, ShortAndLongPiecesEqualTheNaiveLoop) {
  const auto tokenizer = LoadOrDie("moss_like");
  std::map<std::string, std::size_t> ranks;
  std::istringstream merges(ReadFile(DataPath("moss_like/merges.txt")));
  for (std::string line; std::getline(merges, line);) ranks.emplace(line, ranks.size());
  std::mt19937 random(5);
  for (std::size_t n = 0; n < 400; ++n) {  // up to 64 bytes are scanned, longer ones use a heap
    std::string word;
    while (word.size() < 1 + n % 130) word += "etaonrishdlucmg"[random() % 15];
    Ids expected;
    for (const std::string& name : MergeNaively(ranks, word)) {
      expected.push_back(tokenizer->TokenId(name));
    }
    EXPECT_EQ(Encode(*tokenizer, word), expected) << word;
  }
}

// Quadratic merging would take minutes, the right one takes tenths of a second.
TEST(ByteLevel, OneMegabyteOfOneLetterIsNotQuadratic) {
#ifdef MOSSRT_SANITIZED
  constexpr double kSeconds = 20;
#else
  constexpr double kSeconds = 2;
#endif
  const auto tokenizer = LoadOrDie("moss_like");
  for (const std::string unit : {"a", " ", "\xE4\xB8\xAD", "=-", "\t ", "<"}) {
    std::string text;
    while (text.size() < 1'000'000) text += unit;
    const auto start = std::chrono::steady_clock::now();
    const Ids ids = Encode(*tokenizer, text, {.parse_special = true});
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    EXPECT_LT(seconds.count(), kSeconds) << unit;
    EXPECT_EQ(Decode(*tokenizer, ids), text);
  }
}

TEST(ByteLevel, ManyThreadsAtOnce) {
  const auto tokenizer = LoadOrDie("moss_like");
  const std::vector<std::string> texts = ComparisonTexts();
  std::vector<Ids> expected;
  for (const std::string& text : texts) expected.push_back(Encode(*tokenizer, text));
  std::vector<std::thread> threads;
  std::vector<int> wrong(4);
  for (std::size_t t = 0; t < wrong.size(); ++t) {
    threads.emplace_back([&, t] {
      for (std::size_t i = 0; i < texts.size(); ++i) {
        Ids ids;
        if (!tokenizer->Encode(texts[i], {}, &ids).ok() || ids != expected[i]) ++wrong[t];
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, std::vector<int>(4, 0));
}

}  // namespace
}  // namespace mossrt::runtime
