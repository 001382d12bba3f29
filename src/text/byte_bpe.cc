#include "text/byte_bpe.h"

#include <algorithm>
#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "base/utf8.h"
#include "text/pre_tokenizer.h"

namespace mossrt::runtime {
namespace {

// Up to here scanning for the lowest rank beats a heap.
constexpr std::size_t kShortPiece = 64;
// Longer tokens are not worth a place among the whole pieces.
constexpr std::size_t kLongestWhole = 64;

// The byte behind a character of GPT-2's alphabet, or -1.
int ByteOf(char32_t c) {
  const auto printable = [](char32_t b) {
    return (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || (b >= 0xAE && b <= 0xFF);
  };
  if (c < 0x100) return printable(c) ? static_cast<int>(c) : -1;
  static const auto* others = [&] {
    auto* bytes = new std::vector<int>;
    for (int b = 0; b < 256; ++b) {
      if (!printable(static_cast<char32_t>(b))) bytes->push_back(b);
    }
    return bytes;
  }();
  return c - 0x100 < others->size() ? (*others)[c - 0x100] : -1;
}

// Python's str.split(): parts between white space.
std::vector<std::string_view> SplitOnSpace(std::string_view line) {
  std::vector<std::string_view> parts;
  std::size_t start = std::string_view::npos;
  for (std::size_t i = 0; i < line.size();) {
    const DecodedCodePoint c = DecodeUtf8(line.substr(i));
    if (c.valid && IsPythonSpace(c.code_point)) {
      if (start != std::string_view::npos) parts.push_back(line.substr(start, i - start));
      start = std::string_view::npos;
    } else if (start == std::string_view::npos) {
      start = i;
    }
    i += static_cast<std::size_t>(c.bytes);
  }
  if (start != std::string_view::npos) parts.push_back(line.substr(start));
  return parts;
}

std::string Excerpt(std::string_view text) {
  std::string shown;
  AppendReplacingInvalid(text.substr(0, 60), &shown);
  return text.size() > 60 ? shown + "..." : shown;
}

}  // namespace

bool BytesFromAlphabet(std::string_view name, std::string* bytes) {
  for (std::size_t i = 0; i < name.size();) {
    const DecodedCodePoint c = DecodeUtf8(name.substr(i));
    const int byte = c.valid ? ByteOf(c.code_point) : -1;
    if (byte < 0) return false;
    bytes->push_back(static_cast<char>(byte));
    i += static_cast<std::size_t>(c.bytes);
  }
  return true;
}

TokenTable::TokenTable(const std::vector<std::string>& tokens) {
  std::size_t total = 0;
  for (const std::string& token : tokens) total += token.size();
  bytes_.reserve(total);
  begin_.reserve(tokens.size() + 1);
  for (const std::string& token : tokens) {
    bytes_ += token;
    begin_.push_back(bytes_.size());
  }
}

absl::StatusOr<ByteBpe> ByteBpe::Create(const IdOfBytes& vocab, std::string_view merges,
                                        std::string_view where) {
  ByteBpe bpe;
  bpe.byte_ids_.fill(kNoToken);
  for (char32_t c = 0; c < 0x200; ++c) {
    const int byte = ByteOf(c);
    if (byte < 0) continue;
    std::string name;
    AppendUtf8(c, &name);
    if (const auto it = vocab.find(name); it != vocab.end()) {
      bpe.byte_ids_[static_cast<std::size_t>(byte)] = it->second;
    }
  }
  MOSSRT_RETURN_IF_ERROR(bpe.ReadMerges(vocab, merges, where));
  bpe.FindWholePieces(vocab);
  return bpe;
}

// merges.txt.split("\n")[1:-1], each line split on white space: the head line and what stands
// behind the last newline are no merges.
absl::Status ByteBpe::ReadMerges(const IdOfBytes& vocab, std::string_view merges,
                                 std::string_view where) {
  if (const std::size_t bad = FindInvalidUtf8(merges); bad != std::string_view::npos) {
    return absl::InvalidArgumentError(
        Cat(where, "/merges.txt: byte ", bad, " begins no valid UTF-8; the file must be UTF-8"));
  }
  std::uint32_t line_number = 1;
  std::size_t begin = merges.find('\n');
  if (begin == std::string_view::npos) begin = merges.size();
  while (begin < merges.size()) {
    ++begin;
    const std::size_t end = merges.find('\n', begin);
    ++line_number;
    if (end == std::string_view::npos) {
      if (begin < merges.size()) {
        Log(LogLevel::kWarn, Cat(where, "/merges.txt: line ", line_number,
                                 " is left out, as transformers does, because no newline ends it"));
      }
      break;
    }
    const auto malformed = [&](std::string_view what) {
      return absl::InvalidArgumentError(Cat(where, "/merges.txt: line ", line_number, " (\"",
                                            Excerpt(merges.substr(begin, end - begin)), "\") ",
                                            what));
    };
    const std::vector<std::string_view> parts = SplitOnSpace(merges.substr(begin, end - begin));
    if (!parts.empty()) {  // an empty line merges nothing
      if (parts.size() != 2) {
        return malformed(Cat("has ", parts.size(),
                             " parts; two tokens with a space between are "
                             "expected"));
      }
      std::int32_t ids[3];
      const std::string names[3] = {std::string(parts[0]), std::string(parts[1]),
                                    Cat(parts[0], parts[1])};
      for (int i = 0; i < 3; ++i) {
        const auto it = vocab.find(names[i]);
        if (it == vocab.end()) {
          return malformed(Cat("needs the token \"", Excerpt(names[i]),
                               "\", which vocab.json does not have; the two files must belong "
                               "together"));
        }
        ids[i] = it->second;
      }
      // The later of two equal lines counts, as in a Python dict.
      merges_[Key(ids[0], ids[1])] = {line_number, ids[2]};
    }
    begin = end;
  }
  return absl::OkStatus();
}

void ByteBpe::FindWholePieces(const IdOfBytes& vocab) {
  std::vector<std::int32_t> ids;
  std::string bytes;
  for (const auto& [name, id] : vocab) {
    bytes.clear();
    if (!BytesFromAlphabet(name, &bytes) || bytes.empty() || bytes.size() > kLongestWhole) continue;
    ids.clear();
    EncodeShort(bytes, &ids);
    if (ids.size() != 1 || ids[0] != id) continue;
    whole_.emplace(bytes, id);
    longest_whole_ = std::max(longest_whole_, bytes.size());
  }
}

// Each round merges all places of the pair with the lowest rank, from left to right. A pair that a
// round brings about waits for the next one even if its rank is lower: that is what GPT-2 does.
void ByteBpe::EncodeShort(std::string_view piece, std::vector<std::int32_t>* ids) const {
  std::int32_t symbol[kShortPiece];
  Merge pair[kShortPiece];  // pair[i]: symbols i and i + 1
  std::size_t n = piece.size();
  for (std::size_t i = 0; i < n; ++i) symbol[i] = byte_ids_[static_cast<unsigned char>(piece[i])];
  for (std::size_t i = 0; i + 1 < n; ++i) pair[i] = Find(symbol[i], symbol[i + 1]);
  while (n > 1) {
    std::uint32_t lowest = kNoRank;
    for (std::size_t i = 0; i + 1 < n; ++i) lowest = std::min(lowest, pair[i].rank);
    if (lowest == kNoRank) break;
    std::size_t out = 0;
    bool left_is_new = false;
    for (std::size_t i = 0; i < n; ++out) {
      const bool merged = i + 1 < n && pair[i].rank == lowest;
      const std::int32_t id = merged ? pair[i].id : symbol[i];
      const std::size_t next = i + (merged ? 2 : 1);
      const Merge old = next < n ? pair[next - 1] : Merge{};
      symbol[out] = id;
      if (out > 0 && (merged || left_is_new)) pair[out - 1] = Find(symbol[out - 1], id);
      pair[out] = old;
      left_is_new = merged;
      i = next;
    }
    n = out;
  }
  ids->insert(ids->end(), symbol, symbol + n);
}

// The same for pieces of any length in n log n: symbols in a linked list, pairs in a heap.
class ByteBpe::LongPiece {
 public:
  LongPiece(const ByteBpe& bpe, std::string_view piece) : bpe_(bpe), n_(piece.size()) {
    nodes_.resize(n_);
    for (std::size_t i = 0; i < n_; ++i) {
      nodes_[i].id = bpe.byte_ids_[static_cast<unsigned char>(piece[i])];
      nodes_[i].previous = static_cast<std::uint32_t>(i) - 1;  // kEnd before the first
      nodes_[i].next = i + 1 < n_ ? static_cast<std::uint32_t>(i) + 1 : kEnd;
    }
    for (std::size_t i = 0; i + 1 < n_; ++i) FindPair(static_cast<std::uint32_t>(i));
    std::make_heap(heap_.begin(), heap_.end(), std::greater<>());
  }

  void Run(std::vector<std::int32_t>* ids) {
    std::vector<std::uint32_t> places;
    while (!heap_.empty()) {
      const auto rank = static_cast<std::uint32_t>(heap_.front() >> 32);
      places.clear();
      while (!heap_.empty() && heap_.front() >> 32 == rank) {
        std::pop_heap(heap_.begin(), heap_.end(), std::greater<>());
        places.push_back(static_cast<std::uint32_t>(heap_.back()));
        heap_.pop_back();
      }
      const std::size_t old_size = heap_.size();
      for (const std::uint32_t i : places) {
        if (nodes_[i].pair.rank == rank) MergeAt(i);
      }
      for (std::size_t i = old_size; i < heap_.size(); ++i) {
        std::push_heap(heap_.begin(), heap_.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                       std::greater<>());
      }
    }
    for (std::uint32_t i = 0; i != kEnd; i = nodes_[i].next) ids->push_back(nodes_[i].id);
  }

 private:
  static constexpr std::uint32_t kEnd = UINT32_MAX;
  struct Node {
    std::int32_t id;
    std::uint32_t previous, next;
    Merge pair;  // with the next node; kNoRank also where the node is gone
  };

  void FindPair(std::uint32_t i) {
    Node& node = nodes_[i];
    node.pair = node.next == kEnd ? Merge{} : bpe_.Find(node.id, nodes_[node.next].id);
    if (node.pair.rank != kNoRank) heap_.push_back(std::uint64_t{node.pair.rank} << 32 | i);
  }

  void MergeAt(std::uint32_t i) {
    Node& node = nodes_[i];
    Node& gone = nodes_[node.next];
    node.id = node.pair.id;
    node.next = gone.next;
    gone.pair = Merge{};
    if (node.next != kEnd) nodes_[node.next].previous = i;
    FindPair(i);
    if (node.previous != kEnd) FindPair(node.previous);
  }

  const ByteBpe& bpe_;
  std::size_t n_;
  std::vector<Node> nodes_;
  std::vector<std::uint64_t> heap_;  // rank << 32 | place: the lowest rank, then the leftmost
};

void ByteBpe::Encode(std::string_view piece, std::vector<std::int32_t>* ids) const {
  if (piece.size() <= longest_whole_) {
    if (const auto it = whole_.find(piece); it != whole_.end()) {
      ids->push_back(it->second);
      return;
    }
  }
  if (piece.size() <= kShortPiece) {
    EncodeShort(piece, ids);
  } else {
    LongPiece(*this, piece).Run(ids);
  }
}

}  // namespace mossrt::runtime
