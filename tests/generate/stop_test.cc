#include "generate/stop.h"

#include <algorithm>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace mossrt::runtime {
namespace {

// What must come out: the text before the stop string that ends first (the longest of those), and
// whether there is one.
std::pair<std::string, bool> Expected(const std::string& text,
                                      const std::vector<std::string>& stop) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::size_t longest = 0;
    for (const std::string& s : stop) {
      if (s.size() <= end && text.compare(end - s.size(), s.size(), s) == 0) {
        longest = std::max(longest, s.size());
      }
    }
    if (longest > 0) return {text.substr(0, end - longest), true};
  }
  return {text, false};
}

// Feeds `text` cut at the set bits of `cuts`; whatever has come out must always be right already.
void CheckSplit(const std::string& text, const std::vector<std::string>& stop, unsigned cuts) {
  auto matcher = StopMatcher::Create(stop);
  ASSERT_TRUE(matcher.ok()) << matcher.status();
  const auto [wanted, stops] = Expected(text, stop);
  std::string out;
  std::size_t begin = 0;
  bool stopped = false;
  for (std::size_t i = 1; i <= text.size() && !stopped; ++i) {
    if (i < text.size() && (cuts >> (i - 1) & 1u) == 0) continue;
    stopped = matcher->Push(text.substr(begin, i - begin), &out);
    begin = i;
    ASSERT_EQ(out, wanted.substr(0, out.size())) << text << " cuts " << cuts;
    if (!stopped) {
      // Nothing is held back without need: what is held begins a stop string.
      const std::string held = text.substr(out.size(), begin - out.size());
      EXPECT_TRUE(held.empty() || std::any_of(stop.begin(), stop.end(),
                                              [&](const auto& s) {
                                                return s.size() > held.size() &&
                                                       s.compare(0, held.size(), held) == 0;
                                              }))
          << text << " holds " << held;
    }
  }
  if (!stopped) matcher->Flush(&out);
  EXPECT_EQ(stopped, stops) << text;
  EXPECT_EQ(out, wanted) << text << " cuts " << cuts;
}

TEST(Stop, EverySplitOfEveryText) {
  const std::vector<std::vector<std::string>> stops = {
      {"ab"},   {"aab"},    {"abab"}, {"aa", "aab"}, {"bab", "a"}, {"abc", "bc", "c"},
      {"aaaa"}, {"abaabab"}};
  for (const auto& stop : stops) {
    for (unsigned word = 0; word < (1u << 7); ++word) {
      std::string text;
      for (unsigned i = 0; i < 7; ++i) text.push_back((word >> i & 1u) != 0 ? 'a' : 'b');
      text += 'c';
      for (unsigned cuts = 0; cuts < (1u << 7); ++cuts) CheckSplit(text, stop, cuts);
    }
  }
}

TEST(Stop, WholeCodePoints) {
  const std::string text = "你好<eom>再见";
  for (const unsigned cuts : {0u, ~0u, 0x5A5A5A5Au}) {
    CheckSplit(text, {"<eom>"}, cuts);
    CheckSplit(text, {"再见", "好的"}, cuts);
    CheckSplit(text, {"见你"}, cuts);
  }
}

TEST(Stop, NoStopStringsLetAllThrough) {
  auto matcher = StopMatcher::Create({});
  std::string out;
  EXPECT_FALSE(matcher->Push("anything", &out));
  EXPECT_EQ(out, "anything");
}

TEST(Stop, StartsAnewAfterAMatch) {
  auto matcher = StopMatcher::Create({"xy"});
  std::string out;
  EXPECT_TRUE(matcher->Push("1xy2", &out));
  EXPECT_FALSE(matcher->Push("y3x", &out));
  EXPECT_EQ(out, "1y3");
  matcher->Flush(&out);
  EXPECT_EQ(out, "1y3x");
}

TEST(Stop, RefusesWhatCannotOccur) {
  EXPECT_EQ(StopMatcher::Create({"a", ""}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(StopMatcher::Create({"\xFF"}).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace mossrt::runtime
