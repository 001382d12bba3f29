// Byte-pair merges over bytes, as GPT-2's encoder does them.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mossrt::runtime {

// GPT-2 writes each byte as one printable character: itself where it is printable Latin-1, else
// U+0100 and up. Appends the byte of every character of `name`; false if one stands for no byte.
bool BytesFromAlphabet(std::string_view name, std::string* bytes);

// Token texts by id, in one block of memory.
class TokenTable {
 public:
  TokenTable() = default;
  explicit TokenTable(const std::vector<std::string>& tokens);
  std::int32_t size() const { return static_cast<std::int32_t>(begin_.size()) - 1; }
  std::string_view operator[](std::int32_t id) const {
    const auto i = static_cast<std::size_t>(id);
    return std::string_view(bytes_).substr(begin_[i], begin_[i + 1] - begin_[i]);
  }

 private:
  std::string bytes_;
  std::vector<std::size_t> begin_{0};
};

struct BytesHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
};
using IdOfBytes = absl::flat_hash_map<std::string, std::int32_t, BytesHash, std::equal_to<>>;

class ByteBpe {
 public:
  // `vocab`: names as in vocab.json with ids in [0, 10 million); `merges`: the text of merges.txt.
  // `where` names the files' directory in messages.
  static absl::StatusOr<ByteBpe> Create(const IdOfBytes& vocab, std::string_view merges,
                                        std::string_view where);

  // Appends the ids of one piece of fewer than 2^31 bytes. A byte that has no token gives kNoToken.
  static constexpr std::int32_t kNoToken = -1;
  void Encode(std::string_view piece, std::vector<std::int32_t>* ids) const;

  bool has_all_bytes() const {
    return std::find(byte_ids_.begin(), byte_ids_.end(), kNoToken) == byte_ids_.end();
  }

 private:
  struct Merge {
    std::uint32_t rank = kNoRank;
    std::int32_t id = kNoToken;
  };
  static constexpr std::uint32_t kNoRank = UINT32_MAX;
  class LongPiece;

  Merge Find(std::int32_t left, std::int32_t right) const {
    const auto it = merges_.find(Key(left, right));
    return it == merges_.end() ? Merge{} : it->second;
  }
  static std::uint64_t Key(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 |
           static_cast<std::uint32_t>(right);
  }
  absl::Status ReadMerges(const IdOfBytes& vocab, std::string_view merges, std::string_view where);
  void FindWholePieces(const IdOfBytes& vocab);
  void EncodeShort(std::string_view piece, std::vector<std::int32_t>* ids) const;

  std::array<std::int32_t, 256> byte_ids_;
  absl::flat_hash_map<std::uint64_t, Merge> merges_;
  // Pieces whose merges end in one token, which most words of a text are: found before any merging.
  IdOfBytes whole_;
  std::size_t longest_whole_ = 0;
};

}  // namespace mossrt::runtime
