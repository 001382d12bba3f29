#include <algorithm>
#include <cstring>

#include "base/status.h"
#include "base/utf8.h"
#include "text/sentencepiece_model.h"

namespace mossrt::runtime {
namespace {

constexpr std::size_t kMaxCharsMap = std::size_t{4} << 20;  // published ones have 240 KB
constexpr int kMaxRules = 32;

// The units of Darts-clone: a label in bits 0-7 and 31, a leaf bit 8, an offset from bit 10 that is
// shifted left by 8 where bit 9 is set; a leaf's unit holds a 31-bit value.
class Trie {
 public:
  explicit Trie(std::string_view bytes) : units_(bytes.size() / 4) {
    std::memcpy(units_.data(), bytes.data(), units_.size() * 4);
  }
  std::size_t size() const { return units_.size(); }
  std::size_t Base(std::size_t p) const {
    const std::uint32_t u = units_[p];
    return p ^ (std::size_t{u >> 10} << ((u & (1u << 9)) >> 6));
  }
  bool HasLeaf(std::size_t p) const { return (units_[p] >> 8 & 1) != 0; }
  std::uint32_t Label(std::size_t p) const { return units_[p] & (0x80000000u | 0xFFu); }
  std::uint32_t Value(std::size_t p) const { return units_[p] & 0x7FFFFFFFu; }

 private:
  std::vector<std::uint32_t> units_;
};

}  // namespace

absl::Status CheckCharsMap(std::string_view blob, std::string_view what) {
  const auto error = [&](std::string_view problem) {
    return absl::InvalidArgumentError(
        Cat(what, ": ", problem, "; the model is damaged, fetch it again"));
  };
  if (blob.size() > kMaxCharsMap) {
    return error(Cat("has ", blob.size(), " bytes, at most ", kMaxCharsMap, " are expected"));
  }
  std::uint32_t trie_bytes = 0;
  if (blob.size() <= 4) return error(Cat("has only ", blob.size(), " bytes"));
  std::memcpy(&trie_bytes, blob.data(), 4);
  blob.remove_prefix(4);
  if (trie_bytes == 0 || trie_bytes % 4 != 0 || trie_bytes >= blob.size()) {
    return error(Cat("announces a trie of ", trie_bytes, " bytes, but ", blob.size(),
                     " follow and a text must come behind it"));
  }
  const Trie trie(blob.substr(0, trie_bytes));
  const std::string_view texts = blob.substr(trie_bytes);
  if (texts.back() != '\0' || FindInvalidUtf8(texts) != std::string_view::npos) {
    return error("its texts must be valid UTF-8 and end with a zero byte");
  }
  // Depth first from the root. rules[p]: the most rules on a walk that begins at unit p, or a mark.
  constexpr int kNew = -1, kOpen = -2;
  std::vector<int> rules(trie.size(), kNew);
  struct Frame {
    std::size_t unit;
    std::uint32_t next = 0;  // the byte to follow next
    int most = 0;
  };
  std::vector<Frame> stack = {{.unit = 0}};
  rules[0] = kOpen;
  while (!stack.empty()) {
    Frame& frame = stack.back();
    const std::size_t base = trie.Base(frame.unit);
    if (frame.next == 0) {
      if ((base | 0xFF) >= trie.size()) {
        return error(
            Cat("unit ", frame.unit, " points to ", base | 0xFF, " of ", trie.size(), " units"));
      }
      if (trie.HasLeaf(frame.unit)) {
        const std::uint32_t value = trie.Value(base);
        if (value >= texts.size() || (static_cast<unsigned char>(texts[value]) & 0xC0) == 0x80) {
          return error(Cat("unit ", base, " points to byte ", value, " of ", texts.size(),
                           " bytes of text, or into a character"));
        }
      }
    }
    bool descended = false;
    while (frame.next < 256) {
      const std::uint32_t byte = frame.next++;
      const std::size_t child = base ^ byte;
      if (trie.Label(child) != byte) continue;
      if (rules[child] == kOpen) return error(Cat("unit ", child, " leads back to itself"));
      if (rules[child] == kNew) {
        rules[child] = kOpen;
        stack.push_back({.unit = child});
        descended = true;
        break;
      }
      frame.most = std::max(frame.most, rules[child]);
    }
    if (descended) continue;
    const int total = frame.most + (trie.HasLeaf(frame.unit) ? 1 : 0);
    if (total > kMaxRules) {
      return error(Cat("more than ", kMaxRules, " rules begin one another"));
    }
    rules[frame.unit] = total;
    stack.pop_back();
    if (!stack.empty()) stack.back().most = std::max(stack.back().most, total);
  }
  return absl::OkStatus();
}

}  // namespace mossrt::runtime
