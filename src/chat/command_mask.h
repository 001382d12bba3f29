// Which tokens may follow in a commands line.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "chat/command_line.h"
#include "mossrt/runtime/tokenizer.h"

namespace mossrt::runtime {

class CommandMaskState {
 public:
  // before: bytes of the field that are there already. end: the token that ends it. The tokenizer
  // must outlive it.
  CommandMaskState(const Tokenizer& tokenizer, std::int32_t end, CommandLines lines,
                   std::string before);
  // As CommandMask (mossrt/runtime/chat.h) says.
  void Apply(std::span<const std::int32_t> written, std::int64_t left,
             std::span<float> logits) const;

 private:
  // By token: the fewest bytes that complete the line behind it; kNever: none do.
  std::vector<std::uint32_t> Needs(std::span<const std::int32_t> written, std::size_t n) const;

  const Tokenizer* tokenizer_;
  std::int32_t end_;
  CommandLines lines_;
  std::string before_;
};

}  // namespace mossrt::runtime
