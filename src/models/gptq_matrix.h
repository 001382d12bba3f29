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
  // of `rows` rows. All that is pointed to must outlive the source; `ledger` may be null.
  GptqMatrix(const Checkpoint& checkpoint, const GptqTensors& tensors, const GptqGroups* groups,
             std::int64_t rows, const std::vector<std::int64_t>* row_map, CrcLedger* ledger);
  std::string_view name() const override { return tensors_.qweight->name; }
  std::int64_t rows() const override { return rows_; }
  std::int64_t cols() const override { return tensors_.inputs; }
  DType dtype() const override { return DType::kF32; }
  const IntegerEncoding* integers() const override { return &encoding_; }
  absl::Status ReadIntegers(std::int64_t first, std::int64_t count,
                            const IntegerRows& out) const override;
  absl::Status ReadSlab(std::int64_t first, std::int64_t count,
                        std::span<std::uint8_t> out) const override;

 private:
  struct Column {
    std::int64_t column;  // of the file's tensors
    std::int64_t row;     // of the slab
  };
  struct Segment;  // neighbouring columns that are read together

  absl::Status Read(std::int64_t first, std::int64_t count, const IntegerRows& out) const;
  absl::Status ReadBlock(const TensorInfo& tensor, std::int64_t row, std::int64_t rows,
                         std::int64_t column, std::int64_t columns,
                         std::span<std::uint8_t> out) const;
  absl::Status ReadWords(const Segment& segment, std::int64_t count,
                         std::span<std::uint32_t> words) const;
  absl::Status ReadWeights(const Segment& segment, std::span<std::uint8_t> q) const;
  absl::Status ReadZeros(const Segment& segment, std::span<std::uint16_t> zeros) const;
  absl::Status ReadScales(const Segment& segment, std::span<std::uint16_t> scales) const;

  const Checkpoint& checkpoint_;
  GptqTensors tensors_;
  IntegerEncoding encoding_;
  std::int64_t rows_;
  const std::vector<std::int64_t>* row_map_;
};

}  // namespace mossrt::runtime
