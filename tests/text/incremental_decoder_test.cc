#include "base/utf8.h"
#include "text/text_testing.h"

namespace mossrt::runtime {
namespace {

// Whatever is pushed, each step gives whole code points, and all steps together Decode's text.
void ExpectStreamsLikeDecode(const Tokenizer& tokenizer, const Ids& ids, DecodeOptions options) {
  IncrementalDecoder decoder(tokenizer, options);
  std::string streamed;
  for (const std::int32_t id : ids) {
    std::string part;
    ASSERT_TRUE(decoder.Push(id, &part).ok());
    ASSERT_EQ(FindInvalidUtf8(part), std::string_view::npos);
    streamed += part;
  }
  decoder.Flush(&streamed);
  ASSERT_EQ(streamed, Decode(tokenizer, ids, options));
}

class Streaming : public testing::TestWithParam<const char*> {};

TEST_P(Streaming, EqualsDecodeCutAtEveryToken) {
  const auto tokenizer = LoadOrDie(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  for (const std::string& text : ComparisonTexts()) {
    if (text.size() > 200) continue;
    const Ids ids = Encode(*tokenizer, text, {.parse_special = true});
    for (std::size_t cut = 0; cut <= ids.size(); ++cut) {
      const auto middle = ids.begin() + static_cast<std::ptrdiff_t>(cut);
      ExpectStreamsLikeDecode(*tokenizer, Ids(ids.begin(), middle), {});
      ExpectStreamsLikeDecode(*tokenizer, Ids(middle, ids.end()), {.skip_special_tokens = true});
    }
  }
}

TEST_P(Streaming, AnyIdsStreamLikeDecode) {
  const auto tokenizer = LoadOrDie(GetParam());
  ASSERT_NE(tokenizer, nullptr);
  std::uint32_t state = 1;
  for (int n = 0; n < 2000; ++n) {
    Ids ids(static_cast<std::size_t>(n % 12));
    for (std::int32_t& id : ids) {
      state = state * 1664525 + 1013904223;
      id = static_cast<std::int32_t>((state >> 8) % static_cast<std::uint32_t>(tokenizer->size()));
    }
    ExpectStreamsLikeDecode(*tokenizer, ids, {.skip_special_tokens = n % 2 == 0});
  }
}

INSTANTIATE_TEST_SUITE_P(All, Streaming, testing::Values("moss_like", "sp_bpe", "sp_unigram"));

TEST(IncrementalDecoder, HoldsBytesBackAndStartsAnewAfterFlush) {
  const auto tokenizer = LoadOrDie("sp_bpe");
  const std::int32_t e4 = tokenizer->TokenId("<0xE4>"), b8 = tokenizer->TokenId("<0xB8>");
  const std::int32_t space = tokenizer->TokenId("\xE2\x96\x81");
  ASSERT_GE(std::min({e4, b8, space}), 0);
  IncrementalDecoder decoder(*tokenizer);
  std::string text;
  ASSERT_TRUE(decoder.Push(e4, &text).ok());
  ASSERT_TRUE(decoder.Push(b8, &text).ok());
  EXPECT_EQ(text, "");
  decoder.Flush(&text);
  EXPECT_EQ(text, "\xEF\xBF\xBD\xEF\xBF\xBD");  // one for each byte, as the library does
  text.clear();
  ASSERT_TRUE(decoder.Push(space, &text).ok());
  EXPECT_EQ(text, "");
  ASSERT_TRUE(decoder.Push(space, &text).ok());
  EXPECT_EQ(text, " ");
  EXPECT_FALSE(decoder.Push(tokenizer->size(), &text).ok());
  EXPECT_EQ(text, " ");
}

}  // namespace
}  // namespace mossrt::runtime
