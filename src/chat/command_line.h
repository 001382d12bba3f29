// A commands line as it is being written, byte by byte: what may follow so that the line parses.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mossrt::runtime {

// Which lines there are, in the form of the training data: " None" or
// " Name("argument"), Name("argument")".
struct CommandLines {
  // names: those that are no word a parser finds are left out. forbidden: what no argument may
  // hold.
  CommandLines(std::string_view lead, const std::vector<std::string>& names, std::int64_t most,
               std::vector<std::string> forbidden);

  std::vector<std::string> first;  // " None", " Calculate(\""
  std::vector<std::string> next;   // ", Calculate(\""
  std::int64_t most;
  std::vector<std::string> forbidden;
};

// Small, so that it can be copied and tried for every token of a vocabulary. An argument is valid
// UTF-8 on one line, holds no quote, and ends.
class CommandLine {
 public:
  // The lines must outlive it.
  explicit CommandLine(const CommandLines& lines) : lines_(&lines) {}
  // False: no line goes on so; the object is of no use then.
  bool Step(char c);
  bool Steps(std::string_view bytes);
  bool Complete() const;
  // The fewest bytes to a complete line.
  std::size_t ToEnd() const;

 private:
  enum class At : std::uint8_t { kFirst, kNext, kArgument, kQuote };
  const std::vector<std::string>& Words() const {
    return at_ == At::kFirst ? lines_->first : lines_->next;
  }
  bool StepWord(char c);
  bool StepArgument(char c);
  bool StepCodePoint(unsigned char byte);
  bool IsForbidden(char c) const;

  static constexpr std::size_t kTail = 32;
  const CommandLines* lines_;
  std::int64_t calls_ = 0;
  std::size_t word_ = 0, length_ = 0;       // length_: of the word so far, or of the argument
  std::array<char, kTail> tail_{};          // of the argument
  unsigned char low_ = 0x80, high_ = 0xBF;  // what the next byte of its code point lies between
  std::uint8_t missing_ = 0;                // bytes of that code point
  At at_ = At::kFirst;
};

}  // namespace mossrt::runtime
