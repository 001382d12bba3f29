// Rows whose lanes are reduced side by side, so that none waits for another.
#pragma once

namespace mossrt::cpu::MOSSRT_ISA {

inline constexpr int kReducedRows = 4;

// reduce(row r) in lane r. Levels with lanes enough have overloads of the two below for
// kReducedRows.
template <int R, class Reduce>
inline F32x16 ReduceEach(const F32x16 (&rows)[R], Reduce reduce) {
  F32x16 all = Set(reduce(rows[R - 1]));
#pragma GCC unroll 4
  for (int r = R - 1; r > 0; --r) all = Select(FirstLanes(r), Set(reduce(rows[r - 1])), all);
  return all;
}

// The largest lane of row r in lane r.
template <int R>
inline F32x16 MaximaOf(const F32x16 (&rows)[R]) {
  return ReduceEach(rows, [](F32x16 row) { return MaxOfLanes(row); });
}

// The sum of the lanes of row r in lane r, by the same tree.
template <int R>
inline F32x16 SumsOf(const F32x16 (&rows)[R]) {
  return ReduceEach(rows, [](F32x16 row) { return Sum(row); });
}

}  // namespace mossrt::cpu::MOSSRT_ISA
