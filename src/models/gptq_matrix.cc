#include "models/gptq_matrix.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <memory>
#include <new>
#include <span>

#include "base/cat.h"
#include "base/half.h"
#include "base/status.h"
#include "models/weight_sources.h"

namespace mossrt::runtime {
namespace {

static_assert(std::endian::native == std::endian::little);  // words are spread by their bytes

// What is read at once; a thread holds one such piece besides its slab. It stays in the second
// cache until it is unpacked.
constexpr std::int64_t kBlockBytes = std::int64_t{1} << 19;
// A segment's columns: a row of it is a part of a block.
constexpr std::int64_t kMaxColumns = std::int64_t{1} << 16;
// Columns that nobody asked for but that are cheaper to read than to leave out: the rotary order
// takes every second column of a head.
constexpr std::int64_t kMaxGap = 8;
// Columns that are unpacked side by side: a cache line of words.
constexpr std::size_t kTile = 16;

// The fields of a word, lowest first, one byte each.
template <int kBits>
void Spread(std::uint32_t word, std::uint8_t* out) {
  if constexpr (kBits == 8) {
    std::memcpy(out, &word, 4);
  } else if constexpr (kBits == 4) {
    std::uint64_t x = word;
    x = (x | x << 16) & 0x0000FFFF0000FFFFu;
    x = (x | x << 8) & 0x00FF00FF00FF00FFu;
    x = (x | x << 4) & 0x0F0F0F0F0F0F0F0Fu;
    std::memcpy(out, &x, 8);
  } else {
    for (int i = 0; i < 16; ++i) out[i] = static_cast<std::uint8_t>(word >> (2 * i) & 3);
  }
}

using Bytes16 [[gnu::vector_size(16)]] = std::uint8_t;
using Words2 [[gnu::vector_size(16)]] = std::uint64_t;

// The same for four words of 4 bit fields at once: word i to to(i).
template <typename To>
void SpreadNibbles(const std::uint8_t* words, const To& to) {
  Bytes16 both;
  std::memcpy(&both, words, 16);
  const Bytes16 low = both & 0x0F;
  const auto high = reinterpret_cast<Bytes16>(reinterpret_cast<Words2>(both) >> 4) & 0x0F;
  const auto store = [&to](std::size_t first, Bytes16 fields) {
    std::memcpy(to(first), &fields, 8);
    std::memcpy(to(first + 1), reinterpret_cast<const std::uint8_t*>(&fields) + 8, 8);
  };
  store(0,
        __builtin_shufflevector(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23));
  store(2, __builtin_shufflevector(low, high, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30,
                                   15, 31));
}

std::unique_ptr<std::uint8_t[]> Room(std::int64_t bytes) {
  return std::make_unique_for_overwrite<std::uint8_t[]>(static_cast<std::size_t>(bytes));
}

std::uint32_t WordAt(std::span<const std::uint8_t> bytes, std::int64_t index) {
  std::uint32_t word;
  std::memcpy(&word, &bytes[static_cast<std::size_t>(4 * index)], 4);
  return word;
}

// Of kF32 or kBF16.
float FloatAt(DType type, std::span<const std::uint8_t> bytes, std::int64_t index) {
  if (type == DType::kF32) return std::bit_cast<float>(WordAt(bytes, index));
  std::uint16_t half;
  std::memcpy(&half, &bytes[static_cast<std::size_t>(2 * index)], 2);
  return BF16ToF32(half);
}

}  // namespace

struct GptqMatrix::Segment {
  std::span<const Column> columns;
  std::int64_t first() const { return columns.front().column; }
  std::int64_t width() const { return columns.back().column - first() + 1; }
  // Parts of `columns`, which ascend, and work(part) for each until one fails.
  template <typename Work>
  static absl::Status ForEach(std::span<const Column> columns, const Work& work) {
    for (std::size_t begin = 0, end = 0; begin < columns.size(); begin = end) {
      for (end = begin + 1; end < columns.size(); ++end) {
        if (columns[end].column - columns[end - 1].column > kMaxGap) break;
        if (columns[end].column - columns[begin].column >= kMaxColumns) break;
      }
      MOSSRT_RETURN_IF_ERROR(work(Segment{columns.subspan(begin, end - begin)}));
    }
    return absl::OkStatus();
  }
};

GptqMatrix::GptqMatrix(const Checkpoint& checkpoint, const GptqTensors& tensors,
                       const GptqGroups* groups, std::int64_t rows,
                       const std::vector<std::int64_t>* row_map, CrcLedger* ledger,
                       const Monitor* monitor)
    : checkpoint_(checkpoint),
      tensors_(tensors),
      encoding_{.bits = tensors.bits,
                .groups = tensors.groups,
                .group_size = groups->group_size,
                .group_of = groups->group_of},
      rows_(rows),
      row_map_(row_map != nullptr && row_map->empty() ? nullptr : row_map),
      ledger_(ledger),
      monitor_(monitor),
      columns_(Columns(0, rows)),
      as_they_stand_(std::all_of(columns_.begin(), columns_.end(), [this](const Column& c) {
        return c.column - columns_.front().column == c.row;
      })) {
  if (ledger == nullptr) return;
  // Rows of the matrix are columns of the file: where they are read by slabs, pieces may overlap or
  // leave gaps, and none is added. The ledger then reads the tensors once more.
  for (const TensorInfo* tensor : {tensors_.qweight, tensors_.qzeros, tensors_.scales})
    ledger->Add(*tensor, 0, {});
}

absl::Status GptqMatrix::ReadIntegers(std::int64_t first, std::int64_t count,
                                      const IntegerRows& out) const {
  const auto n = static_cast<std::size_t>(count),
             groups = static_cast<std::size_t>(tensors_.groups),
             inputs = static_cast<std::size_t>(tensors_.inputs);
  if (first < 0 || count < 0 || first > rows_ - count || out.q.size() != n * inputs ||
      out.scales.size() != n * groups || out.zeros.size() != n * groups) {
    return absl::InternalError(Cat(name(), ": rows ", first, " to ", first + count, " of ", rows_,
                                   " were asked for, or into spans of other sizes"));
  }
  try {
    return Read(first, count, out);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(Cat("no memory to read ", count, " outputs of ", name()));
  }
}

std::vector<GptqMatrix::Column> GptqMatrix::Columns(std::int64_t first, std::int64_t count) const {
  std::vector<Column> columns;
  columns.reserve(static_cast<std::size_t>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    const std::int64_t row = first + i;
    columns.push_back({row_map_ == nullptr ? row : (*row_map_)[static_cast<std::size_t>(row)], i});
  }
  std::sort(columns.begin(), columns.end(),
            [](const Column& a, const Column& b) { return a.column < b.column; });
  return columns;
}

absl::Status GptqMatrix::Read(std::int64_t first, std::int64_t count,
                              const IntegerRows& out) const {
  const auto by_rows = [this](std::span<std::uint16_t> values) {
    return GroupValues{0, tensors_.groups, values, tensors_.groups, 1};
  };
  return Segment::ForEach(Columns(first, count), [&](const Segment& segment) {
    MOSSRT_RETURN_IF_ERROR(ReadWeights(segment, out.q));
    MOSSRT_RETURN_IF_ERROR(ReadZeros(segment, nullptr, by_rows(out.zeros)));
    return ReadScales(segment, nullptr, by_rows(out.scales));
  });
}

absl::Status GptqMatrix::ReadWords(const IntegerWords& out) const {
  const auto rows = std::max<std::size_t>(1, static_cast<std::size_t>(rows_));
  const auto words = static_cast<std::int64_t>(out.words.size() / rows),
             groups = static_cast<std::int64_t>(out.scales.size() / rows);
  const std::int64_t all = tensors_.inputs * tensors_.bits / 32;
  if (out.words.size() % rows != 0 || out.scales.size() % rows != 0 ||
      out.zeros.size() != out.scales.size() || out.first_word < 0 || out.first_group < 0 ||
      out.first_word > all - words || out.first_group > tensors_.groups - groups) {
    return absl::InternalError(Cat(name(), ": words from ", out.first_word, " and groups from ",
                                   out.first_group,
                                   " were asked for, or into spans of other sizes"));
  }
  const auto by_groups = [&](std::span<std::uint16_t> values) {
    return GroupValues{out.first_group, groups, values, 1, rows_};
  };
  try {
    return Segment::ForEach(columns_, [&](const Segment& segment) {
      MOSSRT_RETURN_IF_ERROR(ReadWords(segment, out.first_word, out.words));
      MOSSRT_RETURN_IF_ERROR(ReadZeros(segment, ledger_, by_groups(out.zeros)));
      return ReadScales(segment, ledger_, by_groups(out.scales));
    });
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(Cat("no memory to read words of ", name()));
  }
}

// Columns [column, column + columns) of rows [row, row + rows) of a tensor, row after row. `ledger`
// (may be null) learns of pieces that lie together in the file.
absl::Status GptqMatrix::ReadBlock(const TensorInfo& tensor, std::int64_t row, std::int64_t rows,
                                   std::int64_t column, std::int64_t columns, CrcLedger* ledger,
                                   std::span<std::uint8_t> out) const {
  TensorInfo part = tensor;
  part.shape = {rows, columns};
  const auto read = [&](std::int64_t from, std::span<std::uint8_t> bytes) {
    part.storage_offset = tensor.storage_offset +
                          static_cast<std::uint64_t>(from * tensor.strides[0]) +
                          static_cast<std::uint64_t>(column * tensor.strides[1]);
    return ReadInParts(checkpoint_, part, 0, part.shape[0], ledger, monitor_, bytes);
  };
  if (part.contiguous() || tensor.strides[1] != 1) return read(row, out);
  part.shape[0] = 1;
  const std::size_t row_bytes = out.size() / static_cast<std::size_t>(rows);
  for (std::int64_t i = 0; i < rows; ++i) {
    MOSSRT_RETURN_IF_ERROR(
        read(row + i, out.subspan(static_cast<std::size_t>(i) * row_bytes, row_bytes)));
  }
  return absl::OkStatus();
}

template <typename Work>
absl::Status GptqMatrix::ForBlocks(const TensorInfo& tensor, std::int64_t first, std::int64_t count,
                                   std::int64_t column, std::int64_t columns, CrcLedger* ledger,
                                   const Work& work) const {
  const std::int64_t row_bytes = columns * static_cast<std::int64_t>(DTypeSize(tensor.dtype));
  const std::int64_t step =
      std::clamp<std::int64_t>(kBlockBytes / row_bytes, 1, std::max<std::int64_t>(1, count));
  const auto bytes = Room(step * row_bytes);
  for (std::int64_t row = first; row < first + count; row += step) {
    const std::int64_t rows = std::min(step, first + count - row);
    const std::span<std::uint8_t> block(bytes.get(), static_cast<std::size_t>(rows * row_bytes));
    MOSSRT_RETURN_IF_ERROR(ReadBlock(tensor, row, rows, column, columns, ledger, block));
    MOSSRT_RETURN_IF_ERROR(work(row, rows, block));
  }
  return absl::OkStatus();
}

namespace {

// Words [rows, width] to the inputs of each column: `to(i)` is where those of columns[i] start.
// By way of a tile in the first cache: rows of the result often lie a multiple of 4 KiB apart, and
// 16 of them written side by side would drive one another out.
template <int kBits, typename Columns, typename To>
void Unpack(std::span<const std::uint8_t> words, std::int64_t rows, std::int64_t width,
            const Columns& columns, const To& to) {
  constexpr std::int64_t kFields = 32 / kBits, kTileRows = 512 / kFields;
  std::uint8_t tile[kTile][512 + 64];
  const std::int64_t first = columns.front().column;
  for (std::size_t begin = 0; begin < columns.size(); begin += kTile) {
    const std::size_t n = std::min(kTile, columns.size() - begin);
    for (std::int64_t row = 0; row < rows; row += kTileRows) {
      const std::int64_t count = std::min(kTileRows, rows - row);
      for (std::int64_t r = 0; r < count; ++r) {
        const std::int64_t line = (row + r) * width - first;
        std::size_t i = 0;
        if constexpr (kBits == 4) {
          for (; i + 4 <= n; i += 4) {
            const std::int64_t column = columns[begin + i].column;
            if (columns[begin + i + 3].column != column + 3) break;  // they ascend
            SpreadNibbles(&words[static_cast<std::size_t>(4 * (line + column))],
                          [&](std::size_t j) { return &tile[i + j][r * kFields]; });
          }
        }
        for (; i < n; ++i) {
          Spread<kBits>(WordAt(words, line + columns[begin + i].column), &tile[i][r * kFields]);
        }
      }
      for (std::size_t i = 0; i < n; ++i) {
        std::memcpy(to(columns[begin + i].row) + row * kFields, tile[i],
                    static_cast<std::size_t>(count * kFields));
      }
    }
  }
}

}  // namespace

// Words [.., rows()] from row `first` of the tensor on.
absl::Status GptqMatrix::ReadWords(const Segment& segment, std::int64_t first,
                                   std::span<std::uint32_t> words) const {
  const TensorInfo& tensor = *tensors_.qweight;
  const std::int64_t count = static_cast<std::int64_t>(words.size()) / rows_;
  const std::int64_t width = segment.width();
  if (as_they_stand_ && width == rows_) {
    return ReadBlock(tensor, first, count, segment.first(), width, ledger_,
                     {reinterpret_cast<std::uint8_t*>(words.data()), words.size_bytes()});
  }
  return ForBlocks(tensor, first, count, segment.first(), width, ledger_,
                   [&](std::int64_t row, std::int64_t rows, std::span<const std::uint8_t> block) {
                     for (std::int64_t i = 0; i < rows; ++i) {
                       std::uint32_t* to = words.data() + (row - first + i) * rows_;
                       for (const Column& column : segment.columns)
                         to[column.row] =
                             WordAt(block, i * width + column.column - segment.first());
                     }
                     return absl::OkStatus();
                   });
}

absl::Status GptqMatrix::ReadWeights(const Segment& segment, std::span<std::uint8_t> q) const {
  const std::int64_t fields = 32 / tensors_.bits, width = segment.width();
  return ForBlocks(*tensors_.qweight, 0, tensors_.inputs / fields, segment.first(), width, nullptr,
                   [&](std::int64_t row, std::int64_t rows, std::span<const std::uint8_t> block) {
                     const auto to = [&](std::int64_t out_row) {
                       return q.data() + out_row * tensors_.inputs + row * fields;
                     };
                     switch (tensors_.bits) {
                       case 2:
                         Unpack<2>(block, rows, width, segment.columns, to);
                         break;
                       case 4:
                         Unpack<4>(block, rows, width, segment.columns, to);
                         break;
                       default:
                         Unpack<8>(block, rows, width, segment.columns, to);
                     }
                     return absl::OkStatus();
                   });
}

absl::Status GptqMatrix::ReadZeros(const Segment& segment, CrcLedger* ledger,
                                   const GroupValues& out) const {
  const std::int64_t fields = 32 / tensors_.bits;
  const std::int64_t first = segment.first() / fields;
  const std::int64_t width = segment.columns.back().column / fields - first + 1;
  const std::uint32_t mask = (1u << tensors_.bits) - 1;
  return ForBlocks(
      *tensors_.qzeros, out.first, out.count, first, width, ledger,
      [&](std::int64_t group, std::int64_t groups, std::span<const std::uint8_t> block) {
        for (std::int64_t i = 0; i < groups; ++i) {
          for (const Column& column : segment.columns) {
            const std::int64_t word = column.column / fields - first;
            const auto shift = static_cast<unsigned>(column.column % fields * tensors_.bits);
            const std::uint32_t field = WordAt(block, i * width + word) >> shift & mask;
            // Stored less one; the sum may be 2^bits and is not masked again.
            out.At(column.row, group + i) = static_cast<std::uint16_t>(field + 1);
          }
        }
        return absl::OkStatus();
      });
}

absl::Status GptqMatrix::ReadScales(const Segment& segment, CrcLedger* ledger,
                                    const GroupValues& out) const {
  const DType type = tensors_.scales->dtype;
  const std::int64_t width = segment.width();
  return ForBlocks(
      *tensors_.scales, out.first, out.count, segment.first(), width, ledger,
      [&](std::int64_t group, std::int64_t groups,
          std::span<const std::uint8_t> block) -> absl::Status {
        for (std::int64_t i = 0; i < groups; ++i) {
          if (type == DType::kF16 && as_they_stand_ && out.row_stride == 1) {
            std::memcpy(&out.At(segment.columns.front().row, group + i),
                        &block[static_cast<std::size_t>(2 * i * width)],
                        static_cast<std::size_t>(2 * width));
            continue;
          }
          for (const Column& column : segment.columns) {
            const std::int64_t at = i * width + column.column - segment.first();
            std::uint16_t& half = out.At(column.row, group + i);
            if (type == DType::kF16) {
              std::memcpy(&half, &block[static_cast<std::size_t>(2 * at)], 2);
              continue;
            }
            const float scale = FloatAt(type, block, at);
            half = F32ToF16(scale);
            if (F16ToF32(half) != scale) {
              return absl::InvalidArgumentError(
                  Cat(checkpoint_.source().name(), ": ", tensors_.scales->name, "[", group + i,
                      ", ", column.column, "] is ", scale, " in ", DTypeName(type),
                      ", which float16 cannot hold exactly, and the integers of a GPTQ file are "
                      "not rounded again; save the scales as float16"));
            }
          }
        }
        return absl::OkStatus();
      });
}

absl::Status GptqMatrix::ReadSlab(std::int64_t first, std::int64_t count,
                                  std::span<std::uint8_t> out) const {
  const auto n = static_cast<std::size_t>(count),
             groups = static_cast<std::size_t>(tensors_.groups),
             inputs = static_cast<std::size_t>(tensors_.inputs);
  std::vector<std::uint8_t> q;
  std::vector<std::uint16_t> scales, zeros;
  std::vector<float> scale, zero, row;
  try {
    q.resize(n * inputs);
    scales.resize(n * groups);
    zeros.resize(n * groups);
    scale.resize(groups);
    zero.resize(groups);
    row.resize(inputs);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(Cat("no memory to read ", count, " outputs of ", name()));
  }
  MOSSRT_RETURN_IF_ERROR(ReadIntegers(first, count, {.q = q, .scales = scales, .zeros = zeros}));
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t g = 0; g < groups; ++g) {
      scale[g] = F16ToF32(scales[i * groups + g]);
      zero[g] = zeros[i * groups + g];
    }
    for (std::size_t k = 0; k < inputs; ++k) {
      const auto g = static_cast<std::size_t>(encoding_.group_of[k]);
      // Nine bits times eleven: exact.
      row[k] = (static_cast<float>(q[i * inputs + k]) - zero[g]) * scale[g];
    }
    std::memcpy(&out[i * inputs * sizeof(float)], row.data(), inputs * sizeof(float));
  }
  return absl::OkStatus();
}

}  // namespace mossrt::runtime
