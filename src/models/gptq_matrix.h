// A matrix that a GPTQ checkpoint stores as packed integers, as backends read it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "models/gptq_tensors.h"
#include "mossrt/runtime/checkpoint.h"
#include "mossrt/runtime/gemm_backend.h"

namespace mossrt::runtime {

class GptqMatrix final : public WeightSource {
 public:
  // `row_map` (may be null, or empty: outputs as they stand) gives the output of the file for each
  // of `rows` rows. All that is pointed to must outlive the source; `ledger` and `monitor`
  // may be null.
  GptqMatrix(const Checkpoint& checkpoint, const GptqTensors& tensors, const GptqGroups* groups,
             std::int64_t rows, const std::vector<std::int64_t>* row_map, CrcLedger* ledger,
             const Monitor* monitor);
  std::string_view name() const override { return tensors_.qweight->name; }
  std::int64_t rows() const override { return rows_; }
  std::int64_t cols() const override { return tensors_.inputs; }
  DType dtype() const override { return DType::kF32; }
  const IntegerEncoding* integers() const override { return &encoding_; }
  absl::Status ReadIntegers(std::int64_t first, std::int64_t count,
                            const IntegerRows& out) const override;
  absl::Status ReadWords(const IntegerWords& out) const override;
  absl::Status ReadSlab(std::int64_t first, std::int64_t count,
                        std::span<std::uint8_t> out) const override;

 private:
  struct Column {
    std::int64_t column;  // of the file's tensors
    std::int64_t row;     // of the slab
  };
  struct Segment;  // neighbouring columns that are read together

  // Where groups [first, first + count) of scales or zero points go: that of a row and group
  // to values[row * row_stride + (group - first) * group_stride].
  struct GroupValues {
    std::int64_t first, count;
    std::span<std::uint16_t> values;
    std::int64_t row_stride, group_stride;
    std::uint16_t& At(std::int64_t row, std::int64_t group) const {
      return values[static_cast<std::size_t>(row * row_stride + (group - first) * group_stride)];
    }
  };

  std::vector<Column> Columns(std::int64_t first, std::int64_t count) const;
  absl::Status Read(std::int64_t first, std::int64_t count, const IntegerRows& out) const;
  absl::Status ReadBlock(const TensorInfo& tensor, std::int64_t row, std::int64_t rows,
                         std::int64_t column, std::int64_t columns, CrcLedger* ledger,
                         std::span<std::uint8_t> out) const;
  // Blocks of the rows [first, first + count) of a tensor, as many at a time as stay in a cache:
  // work(row, rows, bytes).
  template <typename Work>
  absl::Status ForBlocks(const TensorInfo& tensor, std::int64_t first, std::int64_t count,
                         std::int64_t column, std::int64_t columns, CrcLedger* ledger,
                         const Work& work) const;
  absl::Status ReadWords(const Segment& segment, std::int64_t first,
                         std::span<std::uint32_t> words) const;
  absl::Status ReadWeights(const Segment& segment, std::span<std::uint8_t> q) const;
  absl::Status ReadZeros(const Segment& segment, CrcLedger* ledger, const GroupValues& out) const;
  absl::Status ReadScales(const Segment& segment, CrcLedger* ledger, const GroupValues& out) const;

  const Checkpoint& checkpoint_;
  GptqTensors tensors_;
  IntegerEncoding encoding_;
  std::int64_t rows_;
  const std::vector<std::int64_t>* row_map_;
  CrcLedger* ledger_;
  const Monitor* monitor_;
  std::vector<Column> columns_;  // of all rows
  bool as_they_stand_;           // successive columns are successive rows
};

}  // namespace mossrt::runtime
