// Results as the training data writes them.
#include "chat/results.h"

#include <fstream>
#include <sstream>

#include "chat/chat_testing.h"
#include "chat/python_repr.h"

namespace mossrt::runtime {
namespace {

Json References() {
  std::ifstream file(MOSSRT_SOURCE_DIR "/tests/data/chat/repr.json");
  EXPECT_TRUE(file.good());
  return Json::parse(file);
}

TEST(PythonRepr, EqualsPython) {
  const Json references = References();
  for (const Json& pair : references["cases"]) {
    EXPECT_EQ(PythonRepr(pair[0].get<std::string>()), pair[1].get<std::string>());
  }
}

// Every code point that Python's version of Unicode knows.
TEST(PythonRepr, PrintableIsWhatPythonPrints) {
  const Json references = References();
  for (const bool printable : {true, false}) {
    for (const Json& range : references[printable ? "printable" : "unprintable"]) {
      for (auto c = range[0].get<std::uint32_t>(); c <= range[1].get<std::uint32_t>(); ++c) {
        std::string text;
        AppendUtf8(c, &text);
        if (text == "\\" || text == "'") continue;
        ASSERT_EQ(PythonRepr(text) == "'" + text + "'" || text == "\"", printable) << c;
      }
    }
  }
}

CommandResult Text(std::string text) { return {.ok = true, .text = std::move(text)}; }
CommandResult Found(std::vector<Snippet> snippets) {
  return {.ok = true, .snippets = std::move(snippets)};
}
std::string Lines(const std::vector<Command>& commands, const std::vector<CommandResult>& results) {
  return RenderResults(commands, results).lines;
}

TEST(Results, OneOfEachKind) {
  EXPECT_EQ(Lines({{"Calculate", "0.1*3"}}, {Text("0.3")}), "Calculate(\"0.1*3\") => '0.3'");
  EXPECT_EQ(Lines({{"Solve", "x+1=2;y=x"}}, {Text("x = 1\ny = 1\n")}),
            "Solve(\"x+1=2;y=x\") =>\nx = 1\ny = 1");
  EXPECT_EQ(Lines({{"Search", "q"}}, {Found({{"", "it's"}, {"", "b"}})}),
            "Search(\"q\") =>\n<|1|>: \"it's\"\n<|2|>: 'b'");
  EXPECT_EQ(Lines({{"Search", "q"}}, {Found({{"Height", "8848 m"}})}),
            "Search(\"q\") =>\n<|1|>: 'Height': '8848 m'");
  EXPECT_EQ(Lines({{"Weather", "x"}}, {Text("sunny")}), "Weather(\"x\") => sunny");
  EXPECT_EQ(Lines({{"Weather", "x"}}, {Text("sunny\nwarm")}), "Weather(\"x\") =>\nsunny\nwarm");
}

TEST(Results, AnImageAloneStandsBehindTheTag) {
  const std::vector<Command> image = {{"Text2Image", "a cat"}};
  const std::vector<CommandResult> made = {Text("cat.png")};
  EXPECT_EQ(Lines(image, made), "Image generated successfully.");
  EXPECT_TRUE(RenderResults(image, made).only_image);
  EXPECT_FALSE(RenderResults(image, {}).only_image);
}

TEST(Results, Failures) {
  for (const char* name : {"Search", "Calculate", "Solve", "Text2Image"}) {
    const std::string expected = std::string(name) + "(\"a\") => No result.";
    EXPECT_EQ(Lines({{name, "a"}}, {CommandResult{}}), expected);
    EXPECT_EQ(Lines({{name, "a"}}, {}), expected);
  }
  EXPECT_EQ(Lines({{"Search", "a"}}, {Found({})}), "Search(\"a\") => No result.");
}

// 1 query: 3 results; 2 queries: 2 each; from 3 on: 1 each. Numbers run on.
TEST(Results, SnippetsAreNumberedThroughTheTurn) {
  const CommandResult five = Found({{"", "a"}, {"", "b"}, {"", "c"}, {"", "d"}, {"", "e"}});
  EXPECT_EQ(Lines({{"Search", "1"}}, {five}),
            "Search(\"1\") =>\n<|1|>: 'a'\n<|2|>: 'b'\n<|3|>: 'c'");
  EXPECT_EQ(Lines({{"Search", "1"}, {"Calculate", "2"}, {"Search", "3"}}, {five, Text("2"), five}),
            "Search(\"1\") =>\n<|1|>: 'a'\n<|2|>: 'b'\nCalculate(\"2\") => '2'\n"
            "Search(\"3\") =>\n<|3|>: 'a'\n<|4|>: 'b'");
  const RenderedResults three =
      RenderResults(std::vector<Command>{{"Search", "1"}, {"Search", "2"}, {"Search", "3"}},
                    std::vector<CommandResult>{five, Found({{"t", "x"}}), five});
  EXPECT_EQ(three.lines,
            "Search(\"1\") =>\n<|1|>: 'a'\nSearch(\"2\") =>\n<|2|>: 't': 'x'\n"
            "Search(\"3\") =>\n<|3|>: 'a'");
  ASSERT_EQ(three.cited.size(), 3u);
  EXPECT_EQ(three.cited[1].title, "t");
}

TEST(Results, SnippetsHaveAtMost400Characters) {
  std::string text, shown;
  for (int i = 0; i < 500; ++i) text += "字";
  for (int i = 0; i < 400; ++i) shown += "字";
  EXPECT_EQ(Lines({{"Search", "q"}}, {Found({{"", text}})}),
            "Search(\"q\") =>\n<|1|>: '" + shown + "'");
}

TEST(Results, BytesThatAreNoTextAreReplaced) {
  EXPECT_EQ(Lines({{"Solve", "q"}}, {Text("a\xff"
                                          "b")}),
            "Solve(\"q\") =>\na\xEF\xBF\xBD"
            "b");
  EXPECT_EQ(Lines({{"Search", "q"}}, {Found({{"", "\xe4\xbd"}})}),
            "Search(\"q\") =>\n<|1|>: '\xEF\xBF\xBD'");
}

}  // namespace
}  // namespace mossrt::runtime
