#include "chat/field_stream.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "base/utf8.h"
#include "chat/citations.h"

namespace mossrt::runtime {
namespace {

constexpr std::string_view kSpace = " \t\r\n";
// A lone "<" at the end of a text that was broken off is more likely text than a control token.
constexpr std::size_t kShortestPart = 2;

}  // namespace

FieldStream::FieldStream(const Tokenizer& tokenizer, std::vector<std::string> markers,
                         bool citations)
    : tokenizer_(&tokenizer), markers_(std::move(markers)), citations_(citations) {
  for (const std::string& marker : markers_) {
    if (starts_.find(marker.front()) == std::string::npos) starts_.push_back(marker.front());
  }
  if (citations_ && starts_.find('<') == std::string::npos) starts_.push_back('<');
}

absl::Status FieldStream::Push(std::int32_t id) {
  bool at_start = false;  // the field's tag stands before it
  MOSSRT_RETURN_IF_ERROR(
      tokenizer_->AppendToken(id, {.skip_special_tokens = true}, &at_start, &bytes_));
  ids_.push_back(id);
  ends_.push_back(bytes_.size());
  Drain(false);
  return absl::OkStatus();
}

void FieldStream::Finish(bool closed) {
  if (!closed && marker_.empty()) {
    bool hit = false;
    const std::string_view rest = std::string_view(bytes_).substr(done_);
    if (rest.size() >= kShortestPart && Hold(rest, &hit)) CutAt(done_);
  }
  if (marker_.empty()) Drain(true);
}

std::vector<StreamPiece> FieldStream::TakePieces() { return std::exchange(pieces_, {}); }

bool FieldStream::Hold(std::string_view rest, bool* hit) {
  bool hold = false;
  for (const std::string& marker : markers_) {
    if (rest.starts_with(marker)) {
      marker_ = marker;
      *hit = true;
      return true;
    }
    hold = hold || std::string_view(marker).starts_with(rest);
  }
  return hold;
}

void FieldStream::Drain(bool final) {
  const std::string_view bytes = bytes_;
  const std::size_t limit = final ? bytes.size() : done_ + CompleteUtf8Prefix(bytes.substr(done_));
  while (done_ < limit) {
    const std::size_t start = std::min(bytes.find_first_of(starts_, done_), limit);
    if (start > done_) {
      Emit(bytes.substr(done_, start - done_));
      done_ = start;
      continue;
    }
    const std::string_view rest = bytes.substr(done_, limit - done_);
    bool hit = false;
    bool hold = Hold(rest, &hit);
    if (hit) return CutAt(done_);
    if (citations_) {
      CitationMatch match = MatchCitation(rest);
      if (match.kind == CitationMatch::kWhole) {
        EmitCitation(rest.substr(0, match.size), std::move(match.numbers));
        done_ += match.size;
        continue;
      }
      hold = hold || match.kind == CitationMatch::kPartial;
    }
    if (hold && !final) return;
    const auto size = static_cast<std::size_t>(DecodeUtf8(rest).bytes);
    Emit(rest.substr(0, size));
    done_ += size;
  }
}

// A token that reaches into what is cut goes with it.
void FieldStream::CutAt(std::size_t offset) {
  while (!ends_.empty() && ends_.back() > offset) {
    ends_.pop_back();
    ids_.pop_back();
  }
  bytes_.resize(offset);
}

void FieldStream::Emit(std::string_view bytes) {
  std::string piece;
  AppendReplacingInvalid(bytes, &piece);
  if (text_.empty()) piece.erase(0, piece.find_first_not_of(kSpace));
  if (piece.empty()) return;
  text_ += piece;
  if (!pieces_.empty() && !pieces_.back().citation) {
    pieces_.back().text += piece;
  } else {
    pieces_.push_back({.text = std::move(piece), .citation = false, .numbers = {}});
  }
}

void FieldStream::EmitCitation(std::string_view bytes, std::vector<std::int64_t> numbers) {
  text_ += bytes;
  pieces_.push_back({.text = std::string(bytes), .citation = true, .numbers = std::move(numbers)});
}

}  // namespace mossrt::runtime
