// Commands lines that cannot but parse, whatever the logits are.
#include <cmath>
#include <limits>
#include <random>

#include "chat/chat_testing.h"
#include "chat/command_line.h"

namespace mossrt::runtime {
namespace {

constexpr float kImpossible = -std::numeric_limits<float>::infinity();

const Tokenizer& TinyMoss() {
  static const Tokenizer& tokenizer = *[] {
    auto loaded = LoadTokenizer(MOSSRT_SOURCE_DIR "/examples/tiny-moss/model", {});
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded->release();
  }();
  return tokenizer;
}

std::unique_ptr<Chat> Constrained(const Tokenizer& tokenizer, ChatOptions options) {
  options.meta = "";
  options.grammar = CommandGrammar::kConstrained;
  auto chat = Chat::Create(tokenizer, options);
  EXPECT_TRUE(chat.ok()) << chat.status();
  EXPECT_TRUE((*chat)->Send("go on").ok());
  EXPECT_FALSE((*chat)->ConstrainCommands()) << "thoughts are free";
  EXPECT_TRUE((*chat)->Push(tokenizer.TokenId("<eot>")).ok());
  return *std::move(chat);
}

struct Line {
  std::string text;
  std::size_t tokens = 0;
  bool ended = false;  // by its token
};

// The best of random logits, token by token, until the field ends or `left` tokens are written.
Line WriteAtRandom(Chat* chat, const Tokenizer& tokenizer, std::uint32_t seed, std::int64_t left,
                   float for_end = 0) {
  Line line;
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const CommandMask mask = chat->ConstrainCommands();
  EXPECT_TRUE(mask);
  const auto size = static_cast<std::size_t>(tokenizer.size());
  const std::int32_t end = tokenizer.TokenId("<eoc>");
  Ids written;
  for (bool more = true; more && left != 0; ++line.tokens) {
    std::vector<float> logits(size + 7);  // a model's vocabulary may be larger
    for (float& logit : logits) logit = normal(random);
    logits[static_cast<std::size_t>(end)] += for_end;
    mask(written, left, logits);
    const auto best = std::max_element(logits.begin(), logits.end());
    if (!std::isfinite(*best)) {
      ADD_FAILURE() << "nothing is possible behind " << TextOf(tokenizer, written);
      return line;
    }
    written.push_back(static_cast<std::int32_t>(best - logits.begin()));
    left -= left > 0 ? 1 : 0;
    const auto pushed = chat->Push(written.back());
    EXPECT_TRUE(pushed.ok()) << pushed.status();
    more = pushed.ok() && *pushed;
    line.ended = !more;
  }
  if (!line.ended) {
    EXPECT_TRUE(chat->End(ChatEnd::kLength).ok());
  }
  line.text = TurnOf(*chat)["commands_text"];
  return line;
}

TEST(Constrained, EveryLineParses) {
  std::map<std::size_t, int> counts;  // lines by their number of commands
  for (const Tokenizer* tokenizer : {&TinyMoss(), &Moss()}) {
    for (std::uint32_t seed = 0; seed < 40; ++seed) {
      const ChatOptions options = {.plugins = {"Calculate", "Solve", "Search"}, .max_commands = 3};
      const auto chat = Constrained(*tokenizer, options);
      const Line line = WriteAtRandom(chat.get(), *tokenizer, seed, -1);
      const ParsedCommands parsed =
          ParseCommands(line.text, CommandGrammar::kStrict, options.plugins);
      EXPECT_TRUE(line.ended);
      EXPECT_TRUE(parsed.strict) << line.text;
      EXPECT_EQ(parsed.rest, "") << line.text;
      EXPECT_LE(parsed.commands.size(), 3u) << line.text;
      EXPECT_EQ(FindInvalidUtf8(line.text), std::string_view::npos);
      EXPECT_EQ(chat->commands().size(), parsed.commands.size());
      ++counts[parsed.commands.size()];
      EXPECT_EQ(TurnOf(*chat)["repairs"], Json::array()) << line.text;
    }
  }
  EXPECT_GT(counts[0], 10);
  EXPECT_GT(counts[1], 10);
  EXPECT_GT(counts[2] + counts[3], 3);
}

TEST(Constrained, WithinTheRoom) {
  for (const Tokenizer* tokenizer : {&TinyMoss(), &Moss()}) {
    for (std::int64_t left = 1; left < 60; ++left) {
      for (std::uint32_t seed = 0; seed < 4; ++seed) {
        const auto chat = Constrained(*tokenizer, {.plugins = {"Calculate", "Search"}});
        const Line line = WriteAtRandom(chat.get(), *tokenizer, seed, left, -9);
        const ParsedCommands parsed =
            ParseCommands(line.text, CommandGrammar::kStrict, TrainedCommands());
        EXPECT_TRUE(parsed.strict) << left << " tokens: " << line.text;
        // " None" is one token of MOSS's.
        EXPECT_TRUE(line.ended || left < 2) << left << " tokens: " << line.text;
      }
    }
  }
}

TEST(Constrained, WhatOtherProcessorsRuledOut) {
  const auto chat = Constrained(Moss(), {.plugins = {"Calculate"}});
  std::vector<float> logits(static_cast<std::size_t>(Moss().size()), kImpossible);
  logits[kEom] = 1;
  chat->ConstrainCommands()(Ids{kNone}, -1, logits);
  EXPECT_EQ(logits[kEoc], 0);
  EXPECT_EQ(logits[kEom], kImpossible);
  EXPECT_EQ(std::count(logits.begin(), logits.end(), kImpossible), Moss().size() - 1);
}

TEST(Constrained, OnlyWhereCommandsAreWritten) {
  auto chat = Constrained(Moss(), {.plugins = {"Calculate"}});
  EXPECT_TRUE(chat->ConstrainCommands());
  ASSERT_TRUE(chat->Push(kNone).ok());
  EXPECT_TRUE(chat->ConstrainCommands());
  ASSERT_TRUE(chat->Push(kEoc).ok());
  EXPECT_FALSE(chat->ConstrainCommands()) << "answers are free";
  for (const CommandGrammar grammar : {CommandGrammar::kTolerant, CommandGrammar::kStrict}) {
    const auto other = NewChat({.plugins = {"Calculate"}, .meta = "", .grammar = grammar});
    ASSERT_TRUE(other->Send("go on").ok());
    ASSERT_TRUE(other->Push(kEot).ok());
    EXPECT_FALSE(other->ConstrainCommands());
  }
}

// By hand: the bytes that may follow, and how many it takes to the end.
TEST(Constrained, Grammar) {
  const CommandLines lines(" ", {"Calculate", "Count", "No", "not a word", "2x"}, 2, {"<eoc>"});
  const auto follow = [&](std::string_view text) {
    std::string bytes;
    for (int b = 0; b < 256; ++b) {
      CommandLine line(lines);
      EXPECT_TRUE(line.Steps(text)) << text;
      if (line.Step(static_cast<char>(b))) bytes.push_back(static_cast<char>(b));
    }
    return bytes;
  };
  EXPECT_EQ(follow(""), " ");
  EXPECT_EQ(follow(" "), "CN");
  EXPECT_EQ(follow(" C"), "ao");
  EXPECT_EQ(follow(" No"), "(n");
  EXPECT_EQ(follow(" None"), "");
  EXPECT_EQ(follow(" Count"), "(");
  EXPECT_EQ(follow(" Count(\"a\""), ")");
  EXPECT_EQ(follow(" Count(\"a\")"), ",");
  EXPECT_EQ(follow(" Count(\"a\"),"), " ");
  EXPECT_EQ(follow(" Count(\"a\"), "), "CN");
  EXPECT_EQ(follow(" Count(\"a\"), N"), "o") << "None stands alone";
  EXPECT_EQ(follow(" Count(\"a\"), No(\"b\")"), "") << "two are the most";
  EXPECT_EQ(follow(" No(\"<eoc").find('>'), std::string::npos);
  EXPECT_NE(follow(" No(\"eoc").find('>'), std::string::npos);
  EXPECT_EQ(follow(" No(\"" + std::string(400, 'x')), "\"");
  EXPECT_EQ(follow(" No(\"").find('"'), std::string::npos) << "no parser takes Name(\"\")";
  EXPECT_EQ(follow(" No(\"").find('\n'), std::string::npos);

  const auto to_end = [&](std::string_view text) {
    CommandLine line(lines);
    EXPECT_TRUE(line.Steps(text)) << text;
    EXPECT_EQ(line.Complete(), line.ToEnd() == 0);
    return line.ToEnd();
  };
  EXPECT_EQ(to_end(""), std::string_view(" None").size());
  EXPECT_EQ(to_end(" No"), 2u);
  EXPECT_EQ(to_end(" None"), 0u);
  EXPECT_EQ(to_end(" Cou"), std::string_view("nt(\"x\")").size());
  EXPECT_EQ(to_end(" No(\""), 3u);
  EXPECT_EQ(to_end(" No(\"\xE4"), 4u);
  EXPECT_EQ(to_end(" No(\"x"), 2u);
  EXPECT_EQ(to_end(" No(\"x\""), 1u);
  EXPECT_EQ(to_end(" No(\"x\")"), 0u);
  EXPECT_EQ(to_end(" No(\"x\"),"), std::string_view(" No(\"x\")").size());
}

// Every sequence of up to four bytes around the borders, against the decoder of src/base.
TEST(Constrained, ArgumentsAreUtf8) {
  const CommandLines lines(" ", {"No"}, 1, {});
  const std::string some = "\x41\x7F\x80\x8F\x90\x9F\xA0\xBF\xC1\xC2\xDF\xE0\xED\xEF\xF0\xF4\xF5";
  const auto allowed = [&](const std::string& argument) {
    CommandLine line(lines);
    return line.Steps(" No(\"" + argument + "\")");
  };
  for (const char a : some) {
    for (const char b : some) {
      for (const char c : some) {
        for (const char d : some) {
          for (const std::string& text :
               {std::string{a}, std::string{a, b}, std::string{a, b, c}, std::string{a, b, c, d}}) {
            const bool valid = FindInvalidUtf8(text) == std::string_view::npos &&
                               text.find('\x7F') == std::string::npos;
            ASSERT_EQ(allowed(text), valid) << testing::PrintToString(text);
          }
        }
      }
    }
  }
}

TEST(Constrained, NoPluginsNoCommands) {
  const auto chat = Constrained(TinyMoss(), {.profile = "moss-plugin"});
  EXPECT_EQ(WriteAtRandom(chat.get(), TinyMoss(), 1, -1).text, "None");
  const auto none = Constrained(TinyMoss(), {.plugins = {"Calculate"}, .max_commands = 0});
  EXPECT_EQ(WriteAtRandom(none.get(), TinyMoss(), 1, -1).text, "None");
}

}  // namespace
}  // namespace mossrt::runtime
