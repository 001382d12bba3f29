#include "models/weight_sources.h"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "base/cat.h"
#include "base/status.h"
#include "models/gptq_matrix.h"

namespace mossrt::runtime {
namespace {

// A cancel waits for one read a thread: 50 ms where a disk gives each thread 20 MB/s. Larger reads
// are no faster.
constexpr std::int64_t kReadBytes = 1 << 20;

}  // namespace

absl::Status ReadInParts(const Checkpoint& checkpoint, const TensorInfo& tensor, std::int64_t first,
                         std::int64_t count, CrcLedger* ledger, const Monitor* monitor,
                         std::span<std::uint8_t> out) {
  if (out.empty()) return absl::OkStatus();
  const auto row_bytes = static_cast<std::int64_t>(out.size()) / count;
  // Columns of the file are gathered for all rows at once: each part would read it anew.
  const bool by_rows = tensor.strides.size() < 2 || tensor.strides[0] >= tensor.strides[1];
  const std::int64_t step = by_rows ? std::max<std::int64_t>(1, kReadBytes / row_bytes) : count;
  for (std::int64_t at = 0; at < count; at += step) {
    if (Cancelled(monitor)) return absl::CancelledError("loading was cancelled");
    const std::int64_t n = std::min(step, count - at);
    const auto part = out.subspan(static_cast<std::size_t>(at * row_bytes),
                                  static_cast<std::size_t>(n * row_bytes));
    MOSSRT_RETURN_IF_ERROR(checkpoint.ReadRows(tensor, first + at, n, part));
    if (ledger != nullptr) ledger->Add(tensor, first + at, part);
  }
  return absl::OkStatus();
}

CheckpointMatrix::CheckpointMatrix(const Checkpoint& checkpoint, const WeightRule& rule,
                                   const std::vector<std::int64_t>* row_map, CrcLedger* ledger,
                                   const Monitor* monitor)
    : checkpoint_(checkpoint),
      tensor_(checkpoint.tensors().find(rule.tensor)->second),
      rows_(rule.rows),
      cols_(rule.cols),
      row_map_(row_map != nullptr && row_map->empty() ? nullptr : row_map),
      ledger_(ledger),
      monitor_(monitor) {
  if (rule.transposed) {
    std::swap(tensor_.shape[0], tensor_.shape[1]);
    std::swap(tensor_.strides[0], tensor_.strides[1]);
  }
}

absl::Status CheckpointMatrix::Read(std::int64_t first, std::int64_t count,
                                    std::span<std::uint8_t> out) const {
  return ReadInParts(checkpoint_, tensor_, first, count, ledger_, monitor_, out);
}

absl::Status CheckpointMatrix::ReadSlab(std::int64_t first, std::int64_t count,
                                        std::span<std::uint8_t> out) const {
  if (row_map_ == nullptr) return Read(first, count, out);
  // Runs of successive rows of the tensor are read at once and then dealt out: within a head the
  // rotary order moves rows about, but a slab holds whole heads but for its ends.
  const std::size_t row_bytes = out.size() / static_cast<std::size_t>(count);
  std::vector<std::pair<std::int64_t, std::int64_t>> rows;  // (row of the tensor, row of the slab)
  std::vector<std::uint8_t> run;
  try {
    rows.reserve(static_cast<std::size_t>(count));
    for (std::int64_t i = 0; i < count; ++i)
      rows.emplace_back((*row_map_)[static_cast<std::size_t>(first + i)], i);
    std::sort(rows.begin(), rows.end());
    run.resize(out.size());
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError(
        Cat("no memory to reorder ", count, " rows of ", tensor_.name));
  }
  for (std::size_t i = 0; i < rows.size();) {
    std::size_t n = 1;
    while (i + n < rows.size() && rows[i + n].first == rows[i].first + static_cast<std::int64_t>(n))
      ++n;
    const std::span<std::uint8_t> bytes(run.data(), n * row_bytes);
    MOSSRT_RETURN_IF_ERROR(Read(rows[i].first, static_cast<std::int64_t>(n), bytes));
    for (std::size_t j = 0; j < n; ++j) {
      std::memcpy(out.data() + static_cast<std::size_t>(rows[i + j].second) * row_bytes,
                  run.data() + j * row_bytes, row_bytes);
    }
    i += n;
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<WeightSource>> MatrixSources::Open(
    const WeightRule& rule, const std::vector<std::int64_t>* row_map) {
  std::vector<std::string> problems;
  const std::optional<GptqTensors> quantised = FindGptq(checkpoint_, rule, &problems);
  if (!problems.empty()) return absl::InvalidArgumentError(Join(problems, "; "));
  if (!quantised)
    return std::make_unique<CheckpointMatrix>(checkpoint_, rule, row_map, ledger_, monitor_);
  if (base_ != quantised->base) {
    base_.clear();
    MOSSRT_ASSIGN_OR_RETURN(groups_,
                            ReadGptqGroups(checkpoint_, *quantised, claimed_group_size_, ledger_));
    base_ = quantised->base;
  }
  return std::make_unique<GptqMatrix>(checkpoint_, *quantised, &groups_, rule.rows, row_map,
                                      ledger_, monitor_);
}

}  // namespace mossrt::runtime
