// What a model writes into one field: ids in, pieces of text out as soon as nothing that follows
// can make them part of a role tag, a control token or a citation.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "mossrt/runtime/tokenizer.h"

namespace mossrt::runtime {

struct StreamPiece {
  std::string text;
  bool citation = false;
  std::vector<std::int64_t> numbers;  // of a citation
};

class FieldStream {
 public:
  // markers: texts that end the field where the model spells them out.
  FieldStream(const Tokenizer& tokenizer, std::vector<std::string> markers, bool citations);

  absl::Status Push(std::int32_t id);
  // closed: a token ended the field. Otherwise what may be the beginning of a marker is cut off.
  void Finish(bool closed);
  std::vector<StreamPiece> TakePieces();

  // The marker that was spelled out, or empty. Ids and text from it on are gone.
  const std::string& marker() const { return marker_; }
  const std::vector<std::int32_t>& ids() const { return ids_; }
  const std::string& bytes() const { return bytes_; }
  // Without white space at the beginning, invalid bytes replaced.
  const std::string& text() const { return text_; }

 private:
  void Drain(bool final);
  // May `rest` become a marker? *hit: it begins with one.
  bool Hold(std::string_view rest, bool* hit);
  void CutAt(std::size_t offset);
  void Emit(std::string_view bytes);
  void EmitCitation(std::string_view bytes, std::vector<std::int64_t> numbers);

  const Tokenizer* tokenizer_;
  std::vector<std::string> markers_;
  std::string starts_;  // bytes that markers and citations begin with
  bool citations_;
  std::vector<std::int32_t> ids_;
  std::vector<std::size_t> ends_;  // offset in bytes_ behind each id
  std::string bytes_;
  std::size_t done_ = 0;  // bytes_[0, done_) were emitted
  std::string text_;
  std::string marker_;
  std::vector<StreamPiece> pieces_;
};

}  // namespace mossrt::runtime
