// Reads and judges a SentencePiece tokenizer.model before libsentencepiece sees it: the library
// aborts, or reads beyond its arrays, on files that no trainer wrote.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "text/byte_bpe.h"

namespace mossrt::runtime {

enum class PieceType : std::uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

struct SentencePieceModel {
  struct Piece {
    std::string name;
    PieceType type = PieceType::kNormal;
  };
  std::vector<Piece> pieces;
  IdOfBytes ids;
  std::int32_t bos = -1, eos = -1, unk = -1, pad = -1;
  std::string unk_surface = " \xE2\x81\x87 ";  // U+2047 between spaces
  bool add_dummy_prefix = true;
  bool remove_extra_whitespaces = true;
};

// `what` names the file in messages.
absl::StatusOr<SentencePieceModel> ReadSentencePieceModel(std::string_view bytes,
                                                          std::string_view what);

// A precompiled_charsmap: four bytes with the size of a double-array trie, the trie, and the texts
// that its values point at, each ended by a zero byte. Every walk through the trie must stay inside
// it, end, and pass at most 32 rules, which is what the library has room for on its stack.
absl::Status CheckCharsMap(std::string_view blob, std::string_view what);

}  // namespace mossrt::runtime
