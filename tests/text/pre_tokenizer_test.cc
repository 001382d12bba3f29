#include "text/pre_tokenizer.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace mossrt::runtime {
namespace {

std::vector<std::string> Split(std::string_view text) {
  std::vector<std::string> pieces;
  PreTokenizer tokenizer(text);
  for (std::string_view piece; tokenizer.Next(&piece);) pieces.emplace_back(piece);
  return pieces;
}

using Pieces = std::vector<std::string>;

TEST(PreTokenizer, SplitsAsGpt2) {
  EXPECT_EQ(Split("Hello world 42!"), (Pieces{"Hello", " world", " 42", "!"}));
  EXPECT_EQ(Split("it's we'll I'd"), (Pieces{"it", "'s", " we", "'ll", " I", "'d"}));
  EXPECT_EQ(Split("it'S"), (Pieces{"it", "'", "S"}));
  EXPECT_EQ(Split("!'s"), (Pieces{"!'", "s"}));
  EXPECT_EQ(Split("'"), (Pieces{"'"}));
  EXPECT_EQ(Split("'r"), (Pieces{"'", "r"}));
}

TEST(PreTokenizer, RunsOfSpacesGiveTheLastOneAway) {
  EXPECT_EQ(Split("a   b"), (Pieces{"a", "  ", " b"}));
  EXPECT_EQ(Split("a   "), (Pieces{"a", "   "}));
  EXPECT_EQ(Split("a\n\nb"), (Pieces{"a", "\n", "\n", "b"}));
  EXPECT_EQ(Split("a \tb"), (Pieces{"a", " ", "\t", "b"}));
  EXPECT_EQ(Split(" \xE3\x80\x80x"), (Pieces{" ", "\xE3\x80\x80", "x"}));
  EXPECT_EQ(Split("\xC2\x85x"), (Pieces{"\xC2\x85", "x"}));
}

TEST(CharClasses, WhiteSpaceIsNotPythonsIsspace) {
  EXPECT_EQ(CharClasses::Get().Of(0x1C), CharClass::kOther);
  EXPECT_TRUE(IsPythonSpace(0x1C));
  EXPECT_EQ(CharClasses::Get().Of(0x200B), CharClass::kOther);
  EXPECT_EQ(CharClasses::Get().Of(0x2167), CharClass::kNumber);   // Roman numeral eight
  EXPECT_EQ(CharClasses::Get().Of(0x31350), CharClass::kLetter);  // Unicode 15's ideographs
  EXPECT_EQ(CharClasses::Get().Of(0x10FFFF), CharClass::kOther);
}

}  // namespace
}  // namespace mossrt::runtime
