// Commands as MOSS's training data has them, the malformed ones included.
#include "chat/chat_testing.h"

namespace mossrt::runtime {
namespace {

using Commands = std::vector<Command>;

ParsedCommands Tolerant(std::string_view text) {
  return ParseCommands(text, CommandGrammar::kTolerant, TrainedCommands());
}

TEST(CommandParser, WellFormed) {
  const std::pair<const char*, Commands> cases[] = {
      {"None", {}},
      {" None", {}},
      {"none", {}},
      {"", {}},
      {"Calculate(\"1+2\")", {{"Calculate", "1+2"}}},
      {" Search(\"a\"), Calculate(\"b\")", {{"Search", "a"}, {"Calculate", "b"}}},
      {"Search(\"a\"),Search(\"b\"),   Solve(\"c\")",
       {{"Search", "a"}, {"Search", "b"}, {"Solve", "c"}}},
      {"Search(\"what is \"MOSS\" (2023)\")", {{"Search", "what is \"MOSS\" (2023)"}}},
      {"Text2Image(\"a cat, in \n two lines\")", {{"Text2Image", "a cat, in \n two lines"}}},
      {"Calculate(\"(1+2)*3\")", {{"Calculate", "(1+2)*3"}}},
      {"Search(\"中文，问题\")", {{"Search", "中文，问题"}}}};
  for (const auto& [text, commands] : cases) {
    const ParsedCommands parsed = Tolerant(text);
    EXPECT_EQ(parsed.commands, commands) << text;
    EXPECT_TRUE(parsed.strict) << text;
    EXPECT_EQ(parsed.rest, "") << text;
    EXPECT_EQ(ParseCommands(text, CommandGrammar::kStrict, TrainedCommands()).commands, commands);
  }
}

struct Malformed {
  const char* text;
  Commands commands;
  const char* rest;
};

TEST(CommandParser, MalformedOnesOfTheTrainingData) {
  const Malformed cases[] = {
      {"None.", {}, "None."},
      {"None (This question needs no tool)", {}, "None (This question needs no tool)"},
      {"None. \n\nx = 1, so (2) = \"3\"", {}, "None. \n\nx = 1, so (2) = \"3\""},
      {"Non", {}, "Non"},
      {"Calculate(\"1+2\"), None", {{"Calculate", "1+2"}}, ""},
      {"Calculate(\"1+2\"),", {{"Calculate", "1+2"}}, ""},
      {"Calculate(\"1+2\"),\n", {{"Calculate", "1+2"}}, ""},
      {"1. Calculate(\"1+2\")  # 注释\n2. Calculate(\"3\")",
       {{"Calculate", "1+2"}, {"Calculate", "3"}},
       "1. # 注释\n2."},
      {"Count(\"apples\")", {}, "Count(\"apples\")"},
      {"Calculate(\"(\"+ str(2)+\")\")", {{"Calculate", "(\"+ str(2)+"}}, "\")"},
      {"Calculate(\"1-1\") = 0, Solve(\"x=1\")", {{"Calculate", "1-1"}, {"Solve", "x=1"}}, "= 0"},
      {"Solve(\"x+1=2\"), \"x\" =>", {{"Solve", "x+1=2"}}, "\"x\" =>"},
      {"Calculate( \"1\" )", {{"Calculate", "1"}}, ""},
      {"Calculate(\"\")", {}, "Calculate(\"\")"},
      {"Calculate(1+2)", {}, "Calculate(1+2)"},
      {"Calculate(\"1+2", {}, "Calculate(\"1+2"},
      {"Recalculate(\"1\")", {}, "Recalculate(\"1\")"},
      {"计算Calculate(\"1\")", {{"Calculate", "1"}}, "计算"}};
  for (const Malformed& c : cases) {
    const ParsedCommands parsed = Tolerant(c.text);
    EXPECT_EQ(parsed.commands, c.commands) << c.text;
    EXPECT_EQ(parsed.rest, c.rest) << c.text;
    EXPECT_FALSE(parsed.strict) << c.text;
    const ParsedCommands strict = ParseCommands(c.text, CommandGrammar::kStrict, TrainedCommands());
    EXPECT_TRUE(strict.commands.empty()) << c.text;
    EXPECT_FALSE(strict.rest.empty()) << c.text;
  }
}

TEST(CommandParser, UnknownNames) {
  const ParsedCommands parsed = Tolerant("Count(\"a\"), Search(\"b\")");
  EXPECT_EQ(parsed.commands, (Commands{{"Search", "b"}}));
  EXPECT_EQ(parsed.unknown, std::vector<std::string>{"Count"});
  EXPECT_FALSE(parsed.strict);
  EXPECT_EQ(ParseCommands("Count(\"a\")", CommandGrammar::kStrict, {"Count"}).commands,
            (Commands{{"Count", "a"}}));
}

// Quadratic time would take minutes here.
TEST(CommandParser, LongHostileTexts) {
  constexpr std::size_t kTimes = 300000;
  for (const std::string piece :
       {"a(\"", "Search(\"", "\"", "\" ", "(", "a", "a(\"\")", ")", "\" )"}) {
    std::string text;
    for (std::size_t i = 0; i < kTimes; ++i) text += piece;
    Tolerant(text);
    EXPECT_TRUE(Tolerant("Search(\"" + text).commands.size() <= 1) << piece;
  }
}

}  // namespace
}  // namespace mossrt::runtime
