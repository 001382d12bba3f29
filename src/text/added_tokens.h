// Tokens that are cut out of a text before anything else looks at it.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mossrt::runtime {

struct AddedToken {
  std::string name;  // UTF-8, not empty
  std::int32_t id = 0;
  bool special = false;  // matched only where control tokens are asked for
  // What transformers 4.25 deletes: white space at the end of the text before the token, and at the
  // beginning of the text behind it. Used in AddedTokens::kHf425 only.
  bool strips_before = true;
  bool strips_after = true;
};

// Either a token or the text between two of them.
struct Section {
  std::string_view text;
  std::int32_t id = -1;  // -1: text
};

// A trie over bytes that finds the leftmost, then longest token.
class AddedTokenTrie {
 public:
  static constexpr std::size_t kMaxTokenBytes = 1024;  // bounds the look-ahead of hostile names

  AddedTokenTrie() { first_child_.fill(kNone); }
  void Add(const AddedToken& token);
  bool empty() const { return nodes_.empty(); }
  // The next section at *position, which moves behind it; false at the end.
  bool Next(std::string_view text, std::size_t* position, Section* section) const;
  // The token that is exactly `text`, or null.
  const AddedToken* Find(std::string_view text) const;
  // All sections with white space deleted beside tokens as transformers 4.25 does it, where a token
  // of nothing but white space also vanishes when it stands beside another token.
  std::vector<Section> StripLikeHf425(std::string_view text) const;

 private:
  static constexpr std::uint32_t kNone = UINT32_MAX;
  struct Node {
    unsigned char byte = 0;
    std::uint32_t child = kNone, sibling = kNone;
    std::uint32_t token = kNone;
  };

  std::uint32_t Child(std::uint32_t node, unsigned char byte) const;
  // The longest token that begins text[position..], or null.
  const AddedToken* Match(std::string_view text, std::size_t position) const;

  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_;
  std::array<std::uint32_t, 256> first_child_;  // by the first byte of a token
};

}  // namespace mossrt::runtime
