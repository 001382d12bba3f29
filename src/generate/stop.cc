#include "generate/stop.h"

#include <algorithm>

#include "base/status.h"
#include "base/utf8.h"

namespace mossrt::runtime {

absl::StatusOr<StopMatcher> StopMatcher::Create(const std::vector<std::string>& stop) {
  StopMatcher matcher;
  for (const std::string& text : stop) {
    if (text.empty()) {
      return absl::InvalidArgumentError("stop: an empty string would end every text; leave it out");
    }
    if (const std::size_t at = FindInvalidUtf8(text); at != std::string_view::npos) {
      return absl::InvalidArgumentError(
          Cat("stop: invalid UTF-8 at byte ", at, " of a stop string, which no text can hold"));
    }
    Pattern pattern{.text = text, .border = std::vector<std::size_t>(text.size())};
    for (std::size_t i = 1, length = 0; i < text.size(); ++i) {
      while (length > 0 && text[i] != text[length]) length = pattern.border[length - 1];
      if (text[i] == text[length]) ++length;
      pattern.border[i] = length;
    }
    matcher.patterns_.push_back(std::move(pattern));
  }
  return matcher;
}

bool StopMatcher::Push(std::string_view text, std::string* out) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    std::size_t longest = 0, complete = 0;
    for (Pattern& p : patterns_) {
      while (p.matched > 0 && c != p.text[p.matched]) p.matched = p.border[p.matched - 1];
      if (c == p.text[p.matched]) ++p.matched;
      longest = std::max(longest, p.matched);
      if (p.matched == p.text.size()) complete = std::max(complete, p.matched);
    }
    held_.push_back(c);
    if (complete > 0) {
      out->append(held_, 0, held_.size() - complete);
      held_.clear();
      for (Pattern& p : patterns_) p.matched = 0;
      return true;
    }
    if (held_.size() > longest) {
      out->append(held_, 0, held_.size() - longest);
      held_.erase(0, held_.size() - longest);
    }
  }
  return false;
}

void StopMatcher::Flush(std::string* out) {
  out->append(held_);
  held_.clear();
  for (Pattern& p : patterns_) p.matched = 0;
}

}  // namespace mossrt::runtime
