// The matrices of a model as backends read them: rows of checkpoint tensors through the folds.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "models/gptq_tensors.h"
#include "models/weight_rules.h"
#include "mossrt/runtime/checkpoint.h"
#include "mossrt/runtime/gemm_backend.h"
#include "mossrt/runtime/monitor.h"

namespace mossrt::runtime {

// Rows [first, first + count) of a tensor into `out` in reads of at most 1 MiB, or at once
// where they are columns of the file, with a look for a cancel before each and a word to the ledger
// after it. `ledger` and `monitor` may be null.
absl::Status ReadInParts(const Checkpoint& checkpoint, const TensorInfo& tensor, std::int64_t first,
                         std::int64_t count, CrcLedger* ledger, const Monitor* monitor,
                         std::span<std::uint8_t> out);

class CheckpointMatrix final : public WeightSource {
 public:
  // `row_map` may be null (rows as they stand). Both it and `checkpoint` must outlive the source;
  // `ledger` and `monitor` may be null.
  CheckpointMatrix(const Checkpoint& checkpoint, const WeightRule& rule,
                   const std::vector<std::int64_t>* row_map, CrcLedger* ledger,
                   const Monitor* monitor);
  std::string_view name() const override { return tensor_.name; }
  std::int64_t rows() const override { return rows_; }
  std::int64_t cols() const override { return cols_; }
  DType dtype() const override { return tensor_.dtype; }
  absl::Status ReadSlab(std::int64_t first, std::int64_t count,
                        std::span<std::uint8_t> out) const override;

 private:
  absl::Status Read(std::int64_t first, std::int64_t count, std::span<std::uint8_t> out) const;

  const Checkpoint& checkpoint_;
  TensorInfo tensor_;  // transposed by its strides if the file stores [in, out]
  std::int64_t rows_, cols_;
  const std::vector<std::int64_t>* row_map_;
  CrcLedger* ledger_;
  const Monitor* monitor_;
};

// Opens matrices in whatever way the checkpoint stores them.
class MatrixSources {
 public:
  // `claimed_group_size` is for GPTQ files that do not tell (see ReadGptqGroups). What is pointed
  // to must outlive this; `ledger` and `monitor` may be null.
  MatrixSources(const Checkpoint& checkpoint, std::int64_t claimed_group_size, CrcLedger* ledger,
                const Monitor* monitor)
      : checkpoint_(checkpoint),
        claimed_group_size_(claimed_group_size),
        ledger_(ledger),
        monitor_(monitor) {}
  // The source is good until the next Open: groups are kept for the last tensors only, which serve
  // q, k and v of a fused matrix.
  absl::StatusOr<std::unique_ptr<WeightSource>> Open(const WeightRule& rule,
                                                     const std::vector<std::int64_t>* row_map);
  const GptqGroups& groups() const { return groups_; }  // of the source opened last, if quantised

 private:
  const Checkpoint& checkpoint_;
  std::int64_t claimed_group_size_;
  CrcLedger* ledger_;
  const Monitor* monitor_;
  std::string base_;
  GptqGroups groups_;
};

}  // namespace mossrt::runtime
