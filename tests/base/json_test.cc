// What is said of texts that are no JSON: place, expected, found, cure; and that no fault is
// missed.
#include "base/json.h"

#include <random>

#include "base/json_fault.h"
#include "gtest/gtest.h"

namespace mossrt::runtime {
namespace {

std::string Refusal(std::string_view text) {
  const auto json = ParseJson(text, "m/config.json", kCorrectFile);
  EXPECT_FALSE(json.ok()) << text;
  return std::string(json.status().message());
}

TEST(Json, MessagesSayWhereWhatAndWhatToDo) {
  const struct {
    std::string_view text, place, expected, found;
  } cases[] = {
      {"", "line 1, column 1", "a value", "the end of the text"},
      {" \n\n", "line 3, column 1", "a value", "the end of the text"},
      {"{\"a\": 1,\n  \"b\": oops}", "line 2, column 8", "a value", "\"oops\""},
      {"{\"temperature\": ", "line 1, column 17", "a value", "the end of the text"},
      {"{\"a\": 1,}", "line 1, column 9", "a key in double quotes", "\"}\""},
      {"{'a': 1}", "line 1, column 2", "a key in double quotes or \"}\"", "\"'a'\""},
      {"{\"a\" 1}", "line 1, column 6", "\":\" after the key", "\"1\""},
      {"{\"a\": 1 \"b\": 2}", "line 1, column 9", "\",\" or \"}\"", "'\"'"},
      {"[1, 2", "line 1, column 6", "\",\" or \"]\"", "the end of the text"},
      {"[1, ]", "line 1, column 5", "a value", "\"]\""},
      {"[True]", "line 1, column 2", "a value or \"]\"", "\"True\""},
      {"[NaN]", "line 1, column 2", "a value or \"]\"", "\"NaN\""},
      {"{} {}", "line 1, column 4", "nothing after the value", "\"{\""},
      {"[01]", "line 1, column 3", "\",\" or \"]\"", "\"1\""},
      {"[1.]", "line 1, column 4", "a digit", "\"]\""},
      {"[1e999]", "line 1, column 2", "at most 1.8e308", "\"1e999\""},
      {"[\"a\nb\"]", "line 1, column 4", "quotation mark", "a line break"},
      {"[\"a\tb\"]", "line 1, column 4", "quotation mark", "the character U+0009"},
      {"[\"abc", "line 1, column 6", "quotation mark", "the end of the text"},
      {"[\"世界\\x\"]", "line 1, column 5", "an escape", "\"\\x\""},
      {"[\"\\ud800\"]", "line 1, column 3", "surrogate pair", "\"\\ud800\""},
      {"[\"a\xFF\"]", "line 1, column 4", "UTF-8", "the byte 0xFF"},
  };
  for (const auto& c : cases) {
    const std::string text = Refusal(c.text);
    EXPECT_TRUE(text.starts_with(std::string("m/config.json, ") + std::string(c.place) + ": "))
        << text;
    for (const std::string_view part :
         {std::string_view("expected "), c.expected, std::string_view("found "), c.found,
          std::string_view("correct the file or download it again")}) {
      EXPECT_NE(text.find(part), std::string::npos) << "no \"" << part << "\" in: " << text;
    }
    EXPECT_EQ(text.find("exception"), std::string::npos) << text;
  }
  EXPECT_NE(Refusal(std::string(65, '[')).find("64 levels"), std::string::npos);
}

TEST(Json, OtherKindsAndTypesAreNamedToo) {
  const auto list = ParseJsonObject("[1, 2]", "m/config.json", kCorrectFile);
  EXPECT_EQ(list.status().message(),
            "m/config.json: expected a JSON object, found [1,2]; correct the file or download it "
            "again");
  const Json object = {{"bits", "x"}};
  EXPECT_EQ(JsonReader(object, "m/q.json", kCorrectFile).Int("bits", 1, 64).status().message(),
            "m/q.json: \"bits\" must be an integer from 1 to 64, found \"x\"; correct the file or "
            "download it again");
}

// A message goes to programs that take it for UTF-8.
TEST(Json, ExcerptsCutNoCodePoint) {
  for (std::size_t n = 0; n < 8; ++n) {
    std::string text(n, 'a');
    for (int i = 0; i < 40; ++i) text += "世";
    const std::string excerpt = Excerpt(text);
    EXPECT_LE(excerpt.size(), 60u);
    EXPECT_TRUE(Json::accept(Json(excerpt).dump()));  // dump() throws at invalid UTF-8
  }
}

// The parser is the reference: a fault is found exactly where it refuses.
TEST(Json, FaultsAreThoseOfTheParser) {
  const std::string seed =
      R"( {"a": [1, -2.5e+3, true, false, null, "x\n\u00e9\ud83d\ude00"], "世": {}, "": [[], {"b": 0}]} )";
  ASSERT_TRUE(Json::accept(seed));
  EXPECT_FALSE(FindJsonFault(seed).has_value());
  std::mt19937 random(1);
  constexpr std::string_view kBytes =
      "{}[],:\"\\/ubn0123456789.eE+-truefalsn \n\t\x01\x7F\x80\xC3\xE4\xFF";
  int refused = 0;
  for (int round = 0; round < 200000; ++round) {
    std::string text = seed;
    for (auto changes = 1 + random() % 3; changes > 0; --changes) {
      const std::size_t at = random() % text.size();
      const char byte = kBytes[random() % kBytes.size()];
      switch (random() % 3) {
        case 0:
          text[at] = byte;
          break;
        case 1:
          text.insert(at, 1, byte);
          break;
        default:
          text.erase(at, 1 + random() % 4);
      }
    }
    const bool accepted = Json::accept(text);
    refused += accepted ? 0 : 1;
    const auto fault = FindJsonFault(text);
    ASSERT_EQ(fault.has_value(), !accepted) << text;
    if (fault) {
      EXPECT_NO_THROW(static_cast<void>(Json(fault->found).dump())) << text;
    }
  }
  EXPECT_GT(refused, 100000);
}

}  // namespace
}  // namespace mossrt::runtime
