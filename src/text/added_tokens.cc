#include "text/added_tokens.h"

#include "base/utf8.h"
#include "text/pre_tokenizer.h"

namespace mossrt::runtime {
namespace {

std::string_view StripLeft(std::string_view text) {
  while (!text.empty()) {
    const DecodedCodePoint c = DecodeUtf8(text);
    if (!c.valid || !IsPythonSpace(c.code_point)) break;
    text.remove_prefix(static_cast<std::size_t>(c.bytes));
  }
  return text;
}

std::string_view StripRight(std::string_view text) {
  while (!text.empty()) {
    std::size_t start = text.size() - 1;
    while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
    const DecodedCodePoint c = DecodeUtf8(text.substr(start));
    if (!c.valid || !IsPythonSpace(c.code_point)) break;
    text = text.substr(0, start);
  }
  return text;
}

}  // namespace

std::uint32_t AddedTokenTrie::Child(std::uint32_t node, unsigned char byte) const {
  std::uint32_t child = nodes_[node].child;
  while (child != kNone && nodes_[child].byte != byte) child = nodes_[child].sibling;
  return child;
}

void AddedTokenTrie::Add(const AddedToken& token) {
  std::uint32_t node = kNone;
  for (const char c : token.name) {
    const auto byte = static_cast<unsigned char>(c);
    std::uint32_t child = node == kNone ? first_child_[byte] : Child(node, byte);
    if (child == kNone) {
      child = static_cast<std::uint32_t>(nodes_.size());
      nodes_.push_back({.byte = byte});
      if (node == kNone) {
        first_child_[byte] = child;
      } else {
        nodes_[child].sibling = nodes_[node].child;
        nodes_[node].child = child;
      }
    }
    node = child;
  }
  if (node == kNone) return;
  nodes_[node].token = static_cast<std::uint32_t>(tokens_.size());
  tokens_.push_back(token);
}

const AddedToken* AddedTokenTrie::Match(std::string_view text, std::size_t position) const {
  std::uint32_t node = first_child_[static_cast<unsigned char>(text[position])];
  const AddedToken* longest = nullptr;
  while (node != kNone) {
    if (nodes_[node].token != kNone) longest = &tokens_[nodes_[node].token];
    if (++position == text.size()) break;
    node = Child(node, static_cast<unsigned char>(text[position]));
  }
  return longest;
}

bool AddedTokenTrie::Next(std::string_view text, std::size_t* position, Section* section) const {
  const std::size_t start = *position;
  if (start >= text.size()) return false;
  std::size_t end = start;
  for (; end < text.size(); ++end) {
    if (first_child_[static_cast<unsigned char>(text[end])] == kNone) continue;
    const AddedToken* token = Match(text, end);
    if (token == nullptr) continue;
    if (end > start) break;
    *section = {text.substr(start, token->name.size()), token->id};
    *position = start + token->name.size();
    return true;
  }
  *section = {text.substr(start, end - start), -1};
  *position = end;
  return true;
}

const AddedToken* AddedTokenTrie::Find(std::string_view text) const {
  if (text.empty()) return nullptr;
  const AddedToken* token = Match(text, 0);
  return token != nullptr && token->name.size() == text.size() ? token : nullptr;
}

// The order of the steps matters: a section that its left neighbour emptied deletes nothing itself.
std::vector<Section> AddedTokenTrie::StripLikeHf425(std::string_view text) const {
  std::vector<Section> sections;
  Section section;
  for (std::size_t position = 0; Next(text, &position, &section);) sections.push_back(section);
  for (std::size_t i = 0; i < sections.size(); ++i) {
    const AddedToken* token = Find(sections[i].text);
    if (token == nullptr) continue;
    if (token->strips_after && i + 1 < sections.size()) {
      sections[i + 1].text = StripLeft(sections[i + 1].text);
    }
    if (token->strips_before && i > 0) sections[i - 1].text = StripRight(sections[i - 1].text);
  }
  std::vector<Section> kept;
  for (const Section& s : sections) {
    if (s.text.empty()) continue;
    const AddedToken* token = Find(s.text);
    kept.push_back({s.text, token == nullptr ? -1 : token->id});
  }
  return kept;
}

}  // namespace mossrt::runtime
