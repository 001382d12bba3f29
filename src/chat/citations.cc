#include "chat/citations.h"

namespace mossrt::runtime {
namespace {

constexpr std::string_view kOpen = "<sup>", kClose = "</sup>";
constexpr std::size_t kMaxBytes = 128;  // no longer one occurs; so little is ever held back
constexpr std::int64_t kMaxNumber = 9999;

}  // namespace

CitationMatch MatchCitation(std::string_view text) {
  CitationMatch match;
  if (text.size() < kOpen.size()) {
    if (kOpen.starts_with(text)) match.kind = CitationMatch::kPartial;
    return match;
  }
  if (!text.starts_with(kOpen)) return match;
  std::int64_t number = -1;
  for (std::size_t i = kOpen.size(); i < kMaxBytes; ++i) {
    const std::string_view rest = text.substr(i < text.size() ? i : text.size());
    const bool digit = !rest.empty() && rest.front() >= '0' && rest.front() <= '9';
    if (digit) {
      number = (number < 0 ? 0 : number * 10) + (rest.front() - '0');
      if (number > kMaxNumber) return {};
      continue;
    }
    if (number >= 0 && !rest.empty()) {
      match.numbers.push_back(number);
      number = -1;
    }
    if (rest.starts_with(kClose)) {
      if (match.numbers.empty()) return {};
      match.kind = CitationMatch::kWhole;
      match.size = i + kClose.size();
      return match;
    }
    if (kClose.starts_with(rest)) {  // also where nothing is left
      match.kind = CitationMatch::kPartial;
      return match;
    }
    if (std::string_view("<|>, ").find(rest.front()) == std::string_view::npos) return {};
  }
  return {};
}

}  // namespace mossrt::runtime
