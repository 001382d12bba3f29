// What comes out while a model writes, whatever the cut into tokens.
#include "chat/field_stream.h"

#include <random>

#include "chat/chat_testing.h"
#include "chat/citations.h"

namespace mossrt::runtime {
namespace {

const std::vector<std::string>& Markers() {
  static const auto& markers = *new std::vector<std::string>{"<|Human|>",    "<|Inner Thoughts|>",
                                                             "<|Commands|>", "<|Results|>",
                                                             "<|MOSS|>",     "<eoh>",
                                                             "<eot>",        "<eoc>",
                                                             "<eor>",        "<eom>"};
  return markers;
}

struct Streamed {
  std::string text;  // of all pieces
  std::vector<StreamPiece> citations;
  std::string marker;
  Ids ids;
};

// No piece may hold half a character, or any beginning of a marker that the whole text completes.
Streamed Stream(const std::vector<std::int32_t>& ids, bool closed) {
  FieldStream stream(Moss(), Markers(), true);
  Streamed all;
  const auto take = [&] {
    for (StreamPiece& piece : stream.TakePieces()) {
      EXPECT_EQ(FindInvalidUtf8(piece.text), std::string_view::npos);
      EXPECT_FALSE(piece.text.empty());
      all.text += piece.text;
      if (piece.citation) all.citations.push_back(std::move(piece));
    }
  };
  for (const std::int32_t id : ids) {
    EXPECT_TRUE(stream.Push(id).ok());
    take();
    if (!stream.marker().empty()) break;
  }
  stream.Finish(closed);
  take();
  EXPECT_EQ(all.text, stream.text());
  all.marker = stream.marker();
  all.ids = stream.ids();
  return all;
}

struct Case {
  const char* written;
  const char* shown;
  const char* marker = "";
};

const Case kCases[] = {
    {" plain text", "plain text"},
    {"\n\n 两个 换行\n", "两个 换行\n"},
    {" a < b <= c <", "a < b <= c <"},
    {" <e <eo <|M <|", "<e <eo <|M <|"},
    {" yes\n<|Human|>: and", "yes\n", "<|Human|>"},
    {" yes<eom", "yes<eom"},
    {" yes<eom>", "yes", "<eom>"},
    {"<|MOSS|>:", "", "<|MOSS|>"},
    {" <|1|> <sup> <sup>x</sup>", "<|1|> <sup> <sup>x</sup>"},
    {" é字😀", "é字😀"},
    {" tall<sup><|1|></sup>, wide<sup><|2|>, <|3|></sup>.",
     "tall<sup><|1|></sup>, wide<sup><|2|>, <|3|></sup>."},
    {" <sup><|1|", "<sup><|1|"},
    {" <sup><|MOSS|>", "<sup>", "<|MOSS|>"},
};

TEST(FieldStream, ByteByByte) {
  for (const Case& c : kCases) {
    const Streamed streamed = Stream(ByteIds(c.written), true);
    EXPECT_EQ(streamed.text, c.shown) << c.written;
    EXPECT_EQ(streamed.marker, c.marker) << c.written;
  }
}

// Tokens of several bytes: here runs of the test's own vocabulary, in every cut of the text.
TEST(FieldStream, EveryCutIntoTwoTexts) {
  for (const Case& c : kCases) {
    const std::string text = c.written;
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
      if (FindInvalidUtf8(text.substr(0, cut)) != std::string_view::npos) continue;
      Ids ids;
      ASSERT_TRUE(Moss().Encode(text.substr(0, cut), {}, &ids).ok());
      ASSERT_TRUE(Moss().Encode(text.substr(cut), {}, &ids).ok());
      const Streamed streamed = Stream(ids, true);
      EXPECT_EQ(streamed.text, c.shown) << text << " cut at " << cut;
      EXPECT_EQ(streamed.marker, c.marker) << text << " cut at " << cut;
    }
  }
}

// Ids from the marker on are gone, and with them a token that reaches into it.
TEST(FieldStream, IdsEndBeforeAMarker) {
  EXPECT_EQ(Stream(ByteIds(" yes<eom>more"), true).ids, ByteIds(" yes"));
  const Ids two_spaces = Join({ByteIds("a"), {106058}, ByteIds("<eom>")});
  EXPECT_EQ(Stream(two_spaces, true).ids, Join({ByteIds("a"), {106058}}));
}

// A text that was broken off does not show half a control token.
TEST(FieldStream, BrokenOff) {
  const std::pair<const char*, const char*> cases[] = {{" yes<eo", "yes"},
                                                       {" yes<|Hu", "yes"},
                                                       {" yes<", "yes<"},
                                                       {" yes<x", "yes<x"},
                                                       {" yes", "yes"}};
  for (const auto& [written, shown] : cases) {
    EXPECT_EQ(Stream(ByteIds(written), false).text, shown) << written;
  }
  EXPECT_EQ(Stream(ByteIds(" yes<eo"), false).ids, ByteIds(" yes"));
}

// Text is shown as soon as it can be nothing else.
TEST(FieldStream, NothingIsHeldBackWithoutNeed) {
  FieldStream stream(Moss(), Markers(), true);
  std::string shown;
  for (const std::int32_t id : ByteIds(" 1 < 2 <eox <supx")) {
    ASSERT_TRUE(stream.Push(id).ok());
    for (const StreamPiece& piece : stream.TakePieces()) shown += piece.text;
  }
  EXPECT_EQ(shown, "1 < 2 <eox <supx");
}

TEST(FieldStream, InvalidBytesAreReplacedAsInOnePiece) {
  std::mt19937 random(2);
  for (int round = 0; round < 2000; ++round) {
    std::string bytes = "x";
    for (std::size_t n = random() % 12; n > 0; --n) {
      const char* pieces[] = {"\xff", "\xe4", "\xbd", "\xa0", "a", "<", "\xf0\x9f", "字"};
      bytes += pieces[random() % std::size(pieces)];
    }
    std::string expected;
    AppendReplacingInvalid(bytes, &expected);
    ASSERT_EQ(Stream(ByteIds(bytes), true).text, expected);
  }
}

TEST(Citations, Variants) {
  const std::pair<const char*, std::vector<std::int64_t>> cases[] = {
      {"<sup><|1|></sup>", {1}},
      {"<sup><|1|>, <|2|></sup>", {1, 2}},
      {"<sup><|1|><|12|></sup>", {1, 12}},
      {"<sup>1</sup>", {1}},
      {"<sup>|1|</sup>", {1}}};
  for (const auto& [text, numbers] : cases) {
    const CitationMatch match = MatchCitation(text);
    EXPECT_EQ(match.kind, CitationMatch::kWhole) << text;
    EXPECT_EQ(match.numbers, numbers) << text;
    EXPECT_EQ(match.size, std::string_view(text).size());
    EXPECT_EQ(MatchCitation(std::string(text) + " more").size, match.size);
    for (std::size_t n = 1; n < match.size; ++n) {
      EXPECT_EQ(MatchCitation(std::string_view(text).substr(0, n)).kind, CitationMatch::kPartial)
          << text << " " << n;
    }
  }
  for (const std::string text : {"<sup></sup>", "<sup>a</sup>", "<sub>1</sub>", "<sup><|1|></sub>",
                                 "<sup>99999</sup>", "sup"}) {
    EXPECT_EQ(MatchCitation(text).kind, CitationMatch::kNone) << text;
  }
  EXPECT_EQ(MatchCitation("<sup>" + std::string(200, ' ')).kind, CitationMatch::kNone);
}

}  // namespace
}  // namespace mossrt::runtime
