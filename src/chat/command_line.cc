#include "chat/command_line.h"

#include <algorithm>
#include <utility>

namespace mossrt::runtime {
namespace {

constexpr std::string_view kNone = "None";
constexpr std::string_view kOpen = "(\"";
constexpr std::string_view kClose = "\")";
// Bytes of an argument, about what the longest of the training data has: one that went on until the
// room for tokens ended would not parse.
constexpr std::size_t kLongest = 400;

bool IsWord(std::string_view name) {
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !name.empty() && is_letter(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return is_letter(c) || (c >= '0' && c <= '9'); });
}

}  // namespace

CommandLines::CommandLines(std::string_view lead, const std::vector<std::string>& names,
                           std::int64_t most_calls, std::vector<std::string> never)
    : most(most_calls), forbidden(std::move(never)) {
  std::erase(forbidden, "");
  first.push_back(std::string(lead).append(kNone));
  for (const std::string& name : names) {
    if (most == 0 || !IsWord(name)) continue;
    first.push_back(std::string(lead).append(name).append(kOpen));
    next.push_back(std::string(", ").append(name).append(kOpen));
  }
}

bool CommandLine::Steps(std::string_view bytes) {
  return std::all_of(bytes.begin(), bytes.end(), [this](char c) { return Step(c); });
}

bool CommandLine::Step(char c) {
  switch (at_) {
    case At::kFirst:
    case At::kNext:
      return StepWord(c);
    case At::kArgument:
      return StepArgument(c);
    case At::kQuote:
      at_ = At::kNext;
      word_ = length_ = 0;
      ++calls_;
      return c == kClose[1];
  }
  return false;
}

bool CommandLine::StepWord(char c) {
  const std::vector<std::string>& words = Words();
  if (at_ == At::kNext && (words.empty() || calls_ >= lines_->most)) return false;
  const std::string_view so_far = std::string_view(words[word_]).substr(0, length_);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const std::string_view word = words[i];
    if (length_ >= word.size() || word[length_] != c || !word.starts_with(so_far)) continue;
    word_ = i;
    ++length_;
    if (length_ == word.size() && word.ends_with(kOpen)) {
      at_ = At::kArgument;
      length_ = 0;
      tail_ = {};
    }
    return true;
  }
  return false;
}

bool CommandLine::StepArgument(char c) {
  const auto byte = static_cast<unsigned char>(c);
  if (c == kClose[0] && missing_ == 0) {
    at_ = At::kQuote;
    return length_ > 0;
  }
  if (byte < 0x20 || byte == 0x7F || (missing_ == 0 && length_ >= kLongest)) return false;
  if (!StepCodePoint(byte) || IsForbidden(c)) return false;
  std::copy(tail_.begin() + 1, tail_.end(), tail_.begin());
  tail_.back() = c;
  ++length_;
  return true;
}

// Table 3-7 of the Unicode standard: well-formed byte sequences.
bool CommandLine::StepCodePoint(unsigned char byte) {
  if (missing_ > 0) {
    if (byte < low_ || byte > high_) return false;
    low_ = 0x80;
    high_ = 0xBF;
    --missing_;
    return true;
  }
  if (byte < 0x80) return true;
  if (byte < 0xC2 || byte > 0xF4) return false;
  missing_ = byte < 0xE0 ? 1 : byte < 0xF0 ? 2 : 3;
  if (byte == 0xE0) low_ = 0xA0;
  if (byte == 0xED) high_ = 0x9F;
  if (byte == 0xF0) low_ = 0x90;
  if (byte == 0xF4) high_ = 0x8F;
  return true;
}

bool CommandLine::IsForbidden(char c) const {
  return std::any_of(
      lines_->forbidden.begin(), lines_->forbidden.end(), [&](const std::string& text) {
        if (text.back() != c) return false;
        const std::size_t before = std::min(text.size() - 1, kTail);
        return std::equal(tail_.end() - static_cast<std::ptrdiff_t>(before), tail_.end(),
                          text.end() - 1 - static_cast<std::ptrdiff_t>(before));
      });
}

bool CommandLine::Complete() const { return ToEnd() == 0; }

std::size_t CommandLine::ToEnd() const {
  constexpr std::size_t kShortest = 1 + kClose.size();  // an argument of one byte
  switch (at_) {
    case At::kArgument:
      return missing_ + (length_ == 0 ? 1 : 0) + kClose.size();
    case At::kQuote:
      return 1;
    case At::kFirst:
    case At::kNext:
      break;
  }
  if (at_ == At::kNext && length_ == 0) return 0;
  const std::vector<std::string>& words = Words();
  const std::string_view so_far = std::string_view(words[word_]).substr(0, length_);
  std::size_t fewest = std::string::npos;
  for (const std::string& word : words) {
    if (!word.starts_with(so_far)) continue;
    const std::size_t rest = word.size() - length_;
    fewest = std::min(fewest, word.ends_with(kOpen) ? rest + kShortest : rest);
  }
  return fewest;
}

}  // namespace mossrt::runtime
