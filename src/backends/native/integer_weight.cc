#include "backends/native/integer_weight.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <new>

#include "base/cat.h"
#include "base/half.h"
#include "base/status.h"

namespace mossrt::runtime {
namespace {

using cpu::IntegerPanel;
using cpu::kPanelRows;

// Steps of the scale search; twice as many gain nothing (docs/numerics.md).
constexpr std::int64_t kSearchSteps = 24;

// Of words that are read at once, so that they stay in the second cache until they are in panels.
constexpr std::int64_t kWordBytes = std::int64_t{512} << 10;

cpu::IntegerPanel LayoutOf(const WeightFormat& format) {
  return {.bits = format.bits, .group = format.group, .zeros = format.zeros};
}

// Sixteen rows of integers on their way into a panel.
struct PanelRows {
  explicit PanelRows(const ColumnGroups& columns)
      : places(columns.places()),
        q(static_cast<std::size_t>(kPanelRows * places)),
        scales(static_cast<std::size_t>(columns.groups() * kPanelRows)),
        zeros(scales.size()) {}
  std::uint8_t* Row(std::int64_t lane) { return q.data() + lane * places; }

  std::int64_t places;
  std::vector<std::uint8_t> q;        // [16, places]
  std::vector<std::uint16_t> scales;  // [groups, 16], float16
  std::vector<std::uint16_t> zeros;   // [groups, 16]
};

std::uint32_t QuadAt(const std::uint8_t* q) {
  std::uint32_t quad;
  std::memcpy(&quad, q, 4);
  return quad;
}

// Of a group: 16 scales and, where the panel has them, 16 zero points.
void WriteHeader(const IntegerPanel& layout, const std::uint16_t* scales,
                 const std::uint16_t* zeros, std::byte* header) {
  std::memcpy(header, scales, 32);
  if (layout.zeros) std::memcpy(header + 32, zeros, 32);
}

void WritePanel(const IntegerPanel& layout, const PanelRows& rows, std::byte* panel) {
  for (std::int64_t g = 0; g < rows.places / layout.group; ++g) {
    WriteHeader(layout, rows.scales.data() + g * kPanelRows, rows.zeros.data() + g * kPanelRows,
                panel + layout.HeaderOffset(g));
    auto* line = reinterpret_cast<std::uint32_t*>(panel + layout.DataOffset(g));
    const std::uint8_t* from = rows.q.data() + g * layout.group;
    if (layout.bits == 8) {
      for (std::int64_t k = 0; k < layout.group; k += 4) {
        for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
          *line++ = QuadAt(from + lane * rows.places + k);
        }
      }
    } else {
      for (std::int64_t k = 0; k < layout.group; k += 8) {
        for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
          const std::uint8_t* q = from + lane * rows.places + k;
          *line++ = QuadAt(q) | QuadAt(q + 4) << 4;
        }
      }
    }
  }
}

// The reading of one matrix on all threads.
class Packer {
 public:
  Packer(const cpu::KernelTable& kernels, const PackRequest& request, const WeightFormat& held,
         const ColumnGroups& columns, std::byte* data)
      : kernels_(kernels),
        request_(request),
        source_(*request.source),
        held_(held),
        columns_(columns),
        layout_(LayoutOf(held)),
        panel_bytes_(IntegerWeight::PanelBytes(held, columns.groups())),
        data_(data) {}

  absl::Status Run(ThreadTeam& team) {
    if (const IntegerEncoding* integers = source_.integers()) {
      if (AsWords(*integers)) {
        // The scales and zero points of a group, and its words or a part of them.
        const std::int64_t at_once = WordsAtOnce(1),
                           group_bytes = source_.rows() * (at_once + 1) * 4;
        const Slabs slabs{.units = columns_.groups(),
                          .align = 1,
                          .unit_bytes = group_bytes,
                          .slab_bytes = at_once < WordsOfGroup() ? group_bytes : kWordBytes};
        return ForSlabs(request_, slabs, team,
                        [&](std::int64_t first, std::int64_t count, std::span<std::uint8_t> slab) {
                          return TakeWords(first, count, slab);
                        });
      }
      // Slabs of four times the usual size: a file of [inputs, outputs] is read in pieces as long
      // as a slab has rows.
      const Slabs slabs{.units = source_.rows(),
                        .align = kPanelRows,
                        .unit_bytes = source_.cols() + 4 * integers->groups,
                        .slab_bytes = 4 * kSlabBytes};
      return ForSlabs(request_, slabs, team,
                      [&](std::int64_t first, std::int64_t count, std::span<std::uint8_t> slab) {
                        return TakeIntegers(*integers, first, count, slab);
                      });
    }
    const auto row_bytes = source_.cols() * static_cast<std::int64_t>(DTypeSize(source_.dtype()));
    const Slabs slabs{.units = source_.rows(), .align = kPanelRows, .unit_bytes = row_bytes};
    return ForSlabs(request_, slabs, team,
                    [&](std::int64_t first, std::int64_t count, std::span<std::uint8_t> slab) {
                      MOSSRT_RETURN_IF_ERROR(source_.ReadSlab(first, count, slab));
                      return RoundRows(first, count, slab.data(),
                                       static_cast<std::size_t>(row_bytes));
                    });
  }

 private:
  // Words of integers that stay in order differ from a panel's lines within the words only. A slab
  // has room for no more groups of the file than of the panel.
  bool AsWords(const IntegerEncoding& integers) const {
    const auto skips = [](std::int32_t a, std::int32_t b) { return b > a + 1; };
    return integers.bits == layout_.bits && columns_.order.empty() &&
           source_.cols() * layout_.bits % 32 == 0 &&
           std::adjacent_find(columns_.of_file.begin(), columns_.of_file.end(), skips) ==
               columns_.of_file.end();
  }

  std::byte* PanelOf(std::int64_t row) const {
    return data_ + static_cast<std::size_t>(row / kPanelRows) * panel_bytes_;
  }

  absl::Status RoundRows(std::int64_t first, std::int64_t count, const std::uint8_t* bytes,
                         std::size_t row_bytes) const {
    const std::int64_t cols = source_.cols(), group = columns_.group;
    std::vector<float> wide(static_cast<std::size_t>(cols));
    PanelRows rows(columns_);
    for (std::int64_t at = 0; at < count; at += kPanelRows) {
      const std::int64_t lanes = std::min(kPanelRows, count - at);
      for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
        if (lane < lanes) {
          ToFloat(kernels_, source_.dtype(),
                  bytes + static_cast<std::size_t>(at + lane) * row_bytes, cols, wide.data());
        } else {
          std::fill(wide.begin(), wide.end(), 0.0f);
        }
        for (std::int64_t g = 0; g < columns_.groups(); ++g) {
          const auto index = static_cast<std::size_t>(g * kPanelRows + lane);
          kernels_.quantize_group(wide.data() + g * group, std::min(group, cols - g * group),
                                  held_.bits, held_.zeros, held_.search ? kSearchSteps : 0,
                                  rows.Row(lane) + g * group, &rows.scales[index],
                                  &rows.zeros[index]);
          if ((rows.scales[index] & 0x7C00) == 0x7C00) return BadGroup(first + at + lane, g);
        }
      }
      WritePanel(layout_, rows, PanelOf(first + at));
    }
    return absl::OkStatus();
  }

  absl::Status BadGroup(std::int64_t row, std::int64_t g) const {
    return absl::InvalidArgumentError(
        Cat(source_.name(), ": inputs ", g * columns_.group, " to ", (g + 1) * columns_.group - 1,
            " of output ", row,
            " hold NaN, infinities or values beyond the reach of a float16 scale"
            " and cannot be held as ",
            FormatName(held_),
            "; hold this tensor as float32 (option "
            "overrides) or mend the file"));
  }

  absl::Status TakeIntegers(const IntegerEncoding& integers, std::int64_t first, std::int64_t count,
                            std::span<std::uint8_t> slab) const {
    const auto cols = static_cast<std::size_t>(source_.cols()), n = static_cast<std::size_t>(count),
               groups = static_cast<std::size_t>(integers.groups);
    // Scales and zeros stand in front, where they are aligned.
    auto* halves = reinterpret_cast<std::uint16_t*>(slab.data());
    const std::span<std::uint16_t> scales(halves, n * groups),
        zeros(halves + n * groups, n * groups);
    const std::span<std::uint8_t> q = slab.subspan(4 * n * groups);
    MOSSRT_RETURN_IF_ERROR(
        source_.ReadIntegers(first, count, {.q = q, .scales = scales, .zeros = zeros}));
    PanelRows rows(columns_);
    for (std::int64_t at = 0; at < count; at += kPanelRows) {
      const std::int64_t lanes = std::min(kPanelRows, count - at);
      for (std::int64_t lane = 0; lane < kPanelRows; ++lane) {
        const bool there = lane < lanes;
        const auto row = static_cast<std::size_t>(there ? at + lane : 0);
        std::uint8_t* to = rows.Row(lane);
        const std::uint8_t* from = q.data() + row * cols;
        if (!there) {
          std::fill_n(to, columns_.places(), std::uint8_t{0});
        } else if (columns_.order.empty()) {
          std::copy_n(from, cols, to);
        } else {
          for (std::size_t i = 0; i < columns_.order.size(); ++i) {
            const std::int32_t column = columns_.order[i];
            to[i] = column < 0 ? std::uint8_t{0} : from[column];
          }
        }
        for (std::size_t g = 0; g < columns_.of_file.size(); ++g) {
          const std::size_t index = g * kPanelRows + static_cast<std::size_t>(lane);
          const std::size_t in_file = row * groups + static_cast<std::size_t>(columns_.of_file[g]);
          rows.scales[index] = there ? scales[in_file] : std::uint16_t{0};
          rows.zeros[index] = there ? zeros[in_file] : std::uint16_t{0};
        }
      }
      WritePanel(layout_, rows, PanelOf(first + at));
    }
    return absl::OkStatus();
  }

  std::int64_t WordsOfGroup() const { return layout_.group * layout_.bits / 32; }

  // Of every output, of `groups` groups: all of them, or the part of one that is read at once.
  std::int64_t WordsAtOnce(std::int64_t groups) const {
    if (groups > 1) return groups * WordsOfGroup();
    const std::int64_t row_bytes = std::max<std::int64_t>(1, source_.rows()) * 4;
    const std::int64_t most = std::clamp<std::int64_t>(kWordBytes / row_bytes, 1, WordsOfGroup());
    const std::int64_t parts = (WordsOfGroup() + most - 1) / most;
    return (WordsOfGroup() + parts - 1) / parts;
  }

  // Groups [first, first + count) of every panel. As the file has words of all outputs side by
  // side, it is read in long pieces, each once.
  absl::Status TakeWords(std::int64_t first, std::int64_t count,
                         std::span<std::uint8_t> slab) const {
    const std::int64_t rows = source_.rows(), all = source_.cols() * layout_.bits / 32;
    const std::int64_t begin = first * WordsOfGroup(), end = begin + count * WordsOfGroup();
    const std::int64_t first_group = columns_.of_file[static_cast<std::size_t>(first)],
                       last_group = columns_.of_file[static_cast<std::size_t>(first + count - 1)];
    const auto halves = static_cast<std::size_t>((last_group - first_group + 1) * rows);
    auto* scales = reinterpret_cast<std::uint16_t*>(slab.data());
    std::uint16_t* zeros = scales + halves;
    auto* words = reinterpret_cast<std::uint32_t*>(slab.data() + 4 * halves);
    const std::int64_t step = WordsAtOnce(count);
    for (std::int64_t word = begin; word < end; word += step) {
      const std::int64_t wanted = std::min(step, end - word);
      // The inputs behind the file's are zero.
      const std::int64_t there = std::clamp<std::int64_t>(all - word, 0, wanted);
      const std::size_t headers = word == begin ? halves : 0;
      MOSSRT_RETURN_IF_ERROR(
          source_.ReadWords({.first_word = std::min(word, all),
                             .words = {words, static_cast<std::size_t>(there * rows)},
                             .first_group = first_group,
                             .scales = {scales, headers},
                             .zeros = {zeros, headers}}));
      std::fill_n(words + there * rows, (wanted - there) * rows, 0u);
      for (std::int64_t at = word; at < word + wanted;) {
        const std::int64_t g = at / WordsOfGroup(), line = at % WordsOfGroup();
        const std::int64_t lines = std::min(WordsOfGroup() - line, word + wanted - at);
        WriteLines(first, layout_.DataOffset(g) + static_cast<std::size_t>(line) * 64, lines,
                   words + (at - word) * rows);
        at += lines;
      }
    }
    for (std::int64_t g = first; g < first + count; ++g) {
      const std::int64_t of_slab = columns_.of_file[static_cast<std::size_t>(g)] - first_group;
      WriteHeaders(g, scales + of_slab * rows, zeros + of_slab * rows);
    }
    return absl::OkStatus();
  }

  // Lines at `offset` of every panel, from rows of words of all outputs. Each thread starts at its
  // own share of the panels, so that no two touch a page first.
  void WriteLines(std::int64_t first_group, std::size_t offset, std::int64_t lines,
                  const std::uint32_t* words) const {
    const std::int64_t rows = source_.rows(), whole = rows / kPanelRows;
    const std::int64_t start = whole * first_group / columns_.groups();
    const auto write = [&](const std::uint32_t* from, std::int64_t stride, std::int64_t panel,
                           std::int64_t panels) {
      auto* to = PanelOf(panel * kPanelRows) + offset;
      kernels_.pack_w_words(from, stride, lines, layout_.bits, panels,
                            reinterpret_cast<std::uint32_t*>(to),
                            static_cast<std::int64_t>(panel_bytes_));
    };
    write(words + start * kPanelRows, rows, start, whole - start);
    write(words, rows, 0, start);
    if (rows % kPanelRows == 0) return;
    std::vector<std::uint32_t> edge(static_cast<std::size_t>(lines * kPanelRows));
    for (std::int64_t i = 0; i < lines; ++i) {
      std::copy_n(words + i * rows + whole * kPanelRows, rows % kPanelRows,
                  edge.begin() + i * kPanelRows);
    }
    write(edge.data(), kPanelRows, whole, 1);
  }

  // The header of a group in every panel, from the scales and zero points of all outputs.
  void WriteHeaders(std::int64_t group, const std::uint16_t* scales,
                    const std::uint16_t* zeros) const {
    for (std::int64_t row = 0; row < source_.rows(); row += kPanelRows) {
      std::byte* header = PanelOf(row) + layout_.HeaderOffset(group);
      const std::int64_t lanes = std::min(kPanelRows, source_.rows() - row);
      if (lanes == kPanelRows) {
        WriteHeader(layout_, scales + row, zeros + row, header);
        continue;
      }
      std::uint16_t edge_scales[kPanelRows] = {}, edge_zeros[kPanelRows] = {};
      std::copy_n(scales + row, lanes, edge_scales);
      std::copy_n(zeros + row, lanes, edge_zeros);
      WriteHeader(layout_, edge_scales, edge_zeros, header);
    }
  }

  const cpu::KernelTable& kernels_;
  const PackRequest& request_;
  const WeightSource& source_;
  const WeightFormat& held_;
  const ColumnGroups& columns_;
  IntegerPanel layout_;
  std::size_t panel_bytes_;
  std::byte* data_;
};

}  // namespace

ColumnGroups GroupColumns(const WeightSource& source, const WeightFormat& format) {
  ColumnGroups columns{.group = format.group, .of_file = {}, .order = {}};
  const std::int64_t cols = source.cols(), group = format.group;
  const IntegerEncoding* integers = source.integers();
  if (integers == nullptr) {
    for (std::int64_t g = 0; g * group < cols; ++g) {
      columns.of_file.push_back(static_cast<std::int32_t>(g));
    }
    return columns;
  }
  std::vector<std::vector<std::int32_t>> members(static_cast<std::size_t>(integers->groups));
  for (std::int64_t i = 0; i < cols; ++i) {
    members[static_cast<std::size_t>(integers->group_of[static_cast<std::size_t>(i)])].push_back(
        static_cast<std::int32_t>(i));
  }
  bool as_they_come = true;
  for (std::size_t f = 0; f < members.size(); ++f) {
    for (std::size_t i = 0; i < members[f].size(); ++i) {
      if (i % static_cast<std::size_t>(group) == 0) {
        columns.order.resize(static_cast<std::size_t>(columns.places()), -1);
        columns.of_file.push_back(static_cast<std::int32_t>(f));
      }
      as_they_come =
          as_they_come && members[f][i] == static_cast<std::int32_t>(columns.order.size());
      columns.order.push_back(members[f][i]);
    }
  }
  columns.order.resize(static_cast<std::size_t>(columns.places()), -1);
  if (as_they_come) columns.order.clear();
  return columns;
}

IntegerWeight::IntegerWeight(std::int64_t rows, std::int64_t cols, const WeightFormat& format,
                             ColumnGroups columns, const std::byte* data)
    : PackedWeight(rows, cols, format),
      columns_(std::move(columns)),
      layout_(LayoutOf(format)),
      panel_bytes_(PanelBytes(format, columns_.groups())),
      data_(data) {}

std::size_t IntegerWeight::PanelBytes(const WeightFormat& format, std::int64_t groups) {
  return LayoutOf(format).Bytes(groups);
}

void IntegerWeight::ReadRow(std::int64_t row, float* out) const {
  const std::byte* panel = Panel(row / kPanelRows);
  const auto lane = static_cast<std::size_t>(row % kPanelRows);
  for (std::int64_t g = 0; g < columns_.groups(); ++g) {
    const auto* header = reinterpret_cast<const std::uint16_t*>(panel + layout_.HeaderOffset(g));
    const auto* data = reinterpret_cast<const std::uint8_t*>(panel + layout_.DataOffset(g));
    const float scale = F16ToF32(header[lane]);
    const int zero = layout_.zeros ? header[kPanelRows + static_cast<std::int64_t>(lane)]
                                   : 1 << (layout_.bits - 1);
    for (std::int64_t i = 0; i < layout_.group; ++i) {
      const std::int64_t place = g * layout_.group + i;
      const std::int64_t column =
          columns_.order.empty() ? place : columns_.order[static_cast<std::size_t>(place)];
      if (column < 0 || column >= cols()) continue;
      int q;
      if (layout_.bits == 8) {
        q = data[i / 4 * 64 + static_cast<std::int64_t>(lane) * 4 + i % 4];
      } else {
        const std::uint8_t both = data[i / 8 * 64 + static_cast<std::int64_t>(lane) * 4 + i % 4];
        q = i % 8 < 4 ? both & 15 : both >> 4;
      }
      out[column] = static_cast<float>(q - zero) * scale;
    }
  }
}

absl::StatusOr<std::unique_ptr<IntegerWeight>> PackIntegers(const cpu::KernelTable& kernels,
                                                            const PackRequest& request,
                                                            const WeightFormat& held,
                                                            ThreadTeam& team) {
  const WeightSource& source = *request.source;
  try {
    ColumnGroups columns = GroupColumns(source, held);
    const auto panels = static_cast<std::size_t>((source.rows() + kPanelRows - 1) / kPanelRows);
    MOSSRT_ASSIGN_OR_RETURN(
        std::byte * data,
        request.arena->Take(panels * IntegerWeight::PanelBytes(held, columns.groups())));
    MOSSRT_RETURN_IF_ERROR(Packer(kernels, request, held, columns, data).Run(team));
    return std::make_unique<IntegerWeight>(source.rows(), source.cols(), held, std::move(columns),
                                           data);
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(Cat("no memory to pack rows of ", source.name()));
  }
}

}  // namespace mossrt::runtime
