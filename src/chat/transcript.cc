#include "chat/transcript.h"

namespace mossrt::runtime {
namespace {

std::int64_t Size(const std::vector<std::int32_t>& ids) {
  return static_cast<std::int64_t>(ids.size());
}

}  // namespace

std::int64_t TurnRecord::size() const {
  std::int64_t total = 0;
  for (const FieldIds& field : fields) total += Size(field.ids);
  return total;
}

FieldIds* TurnRecord::Find(Field wanted) {
  for (FieldIds& field : fields) {
    if (field.field == wanted) return &field;
  }
  return nullptr;
}

std::int64_t Transcript::size() const {
  std::int64_t total = Size(meta);
  for (const TurnRecord& turn : turns) total += turn.size();
  return total;
}

std::vector<std::int32_t> Transcript::Ids() const {
  std::vector<std::int32_t> ids = meta;
  for (const TurnRecord& turn : turns) {
    for (const FieldIds& field : turn.fields) {
      ids.insert(ids.end(), field.ids.begin(), field.ids.end());
    }
  }
  return ids;
}

bool Transcript::Shrink(std::int64_t limit, Cut* cut) {
  const std::int64_t before = size();
  std::int64_t total = before;
  for (std::size_t i = 0; total > limit && i + 1 < turns.size(); ++i) {
    FieldIds* results = turns[i].Find(Field::kResults);
    if (results == nullptr || dropped_results.empty()) continue;
    const std::int64_t gain = Size(results->ids) - Size(dropped_results);
    if (gain <= 0) continue;
    results->ids = dropped_results;
    turns[i].results_dropped = true;
    total -= gain;
    ++cut->results;
  }
  std::size_t oldest = 0;
  while (total > limit && oldest + 1 < turns.size()) {
    total -= turns[oldest].size();
    ++oldest;
    ++cut->turns;
  }
  turns.erase(turns.begin(), turns.begin() + static_cast<std::ptrdiff_t>(oldest));
  cut->tokens += before - total;
  return total <= limit;
}

}  // namespace mossrt::runtime
