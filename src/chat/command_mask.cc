#include "chat/command_mask.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

namespace mossrt::runtime {
namespace {

constexpr std::uint32_t kNever = std::numeric_limits<std::uint32_t>::max();
constexpr float kImpossible = -std::numeric_limits<float>::infinity();

}  // namespace

CommandMaskState::CommandMaskState(const Tokenizer& tokenizer, std::int32_t end, CommandLines lines,
                                   std::string before)
    : tokenizer_(&tokenizer), end_(end), lines_(std::move(lines)), before_(std::move(before)) {}

std::vector<std::uint32_t> CommandMaskState::Needs(std::span<const std::int32_t> written,
                                                   std::size_t n) const {
  std::vector<std::uint32_t> needs(n, kNever);
  CommandLine line(lines_);
  bool possible = line.Steps(before_);
  for (const std::int32_t id : written) {
    const auto bytes = tokenizer_->TokenBytes(id);
    possible = possible && bytes.ok() && line.Steps(*bytes);
  }
  const auto tokens = std::min<std::size_t>(n, static_cast<std::size_t>(tokenizer_->size()));
  for (std::size_t i = 0; possible && i < tokens; ++i) {
    const auto id = static_cast<std::int32_t>(i);
    if (tokenizer_->IsSpecial(id)) continue;
    const auto bytes = tokenizer_->TokenBytes(id);
    CommandLine after = line;
    if (!bytes.ok() || bytes->empty() || !after.Steps(*bytes)) continue;
    needs[i] = static_cast<std::uint32_t>(after.ToEnd());
  }
  const auto end = static_cast<std::size_t>(end_);
  // A line that is beyond help only grows.
  if (end < n && (!possible || line.Complete())) needs[end] = 0;
  return needs;
}

void CommandMaskState::Apply(std::span<const std::int32_t> written, std::int64_t left,
                             std::span<float> logits) const {
  std::vector<std::uint32_t> needs = Needs(written, logits.size());
  const std::uint32_t fewest =
      needs.empty() ? kNever : *std::min_element(needs.begin(), needs.end());
  if (fewest == kNever) {  // a vocabulary without the bytes of a command
    if (static_cast<std::size_t>(end_) < needs.size()) needs[static_cast<std::size_t>(end_)] = 0;
  }
  // No byte takes more than a token; one more ends the field. Where the room is less than that, the
  // shortest way is the best.
  std::uint32_t most = kNever - 1;
  if (left >= 0) {
    const std::int64_t room = std::clamp<std::int64_t>(left - 2, 0, most);
    most = std::max(static_cast<std::uint32_t>(room), fewest == kNever ? 0 : fewest);
  }
  bool any = false;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    if (needs[i] > most) logits[i] = kImpossible;
    any = any || std::isfinite(logits[i]);
  }
  if (any) return;
  // All that is possible was ruled out before, by another processor or by min_new_tokens.
  for (std::size_t i = 0; i < logits.size(); ++i) {
    logits[i] = needs[i] > most ? kImpossible : 0.0F;
  }
}

}  // namespace mossrt::runtime
