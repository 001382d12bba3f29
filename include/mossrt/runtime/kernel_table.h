// The plug for SIMD kernels: plain functions over raw pointers, one table per level of instruction
// set, chosen once. Owned by src/cpu, which includes no other room and no abseil, so that it
// cross-compiles alone.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mossrt::cpu {

inline constexpr std::int64_t kPanelRows = 16;  // output rows of one weight panel = virtual lanes
inline constexpr std::int64_t kTileRows = 12;   // input rows of one packed tile
inline constexpr std::size_t kGemmScratchBytes = std::size_t{256} << 10;

// y[i][16 p + lane] = sum over k of x[i][k] * w[p][k][lane], for m input rows and `panels` panels.
struct GemmArgs {
  const void* w;              // first panel, 64-byte aligned
  std::size_t w_panel_bytes;  // distance from panel to panel
  const void* x;              // packed input (pack_x_*), `x_k` values deep
  std::int64_t x_k;           // depth the input was packed with (k <= x_k; tiles are x_k deep)
  float* y;                   // row i at y + i * y_stride; all 16 lanes of every panel are stored
  std::int64_t y_stride;
  std::int64_t m;
  std::int64_t k;  // length of the chain: the first k values of x and of each panel
  std::int64_t panels;
  bool accumulate;         // start from y instead of 0
  void* scratch;           // kGemmScratchBytes of this thread's own, 64-byte aligned
  std::int64_t group = 0;  // integers: values of k per scale
  bool zeros = false;      // integers: each group has zero points of its own
};

// One panel of integers is a chain of groups of k. Without zero points of their own, groups come in
// twos: a line of 64 bytes with the float16 scales of both [2][16], then their weights; with them,
// each group is preceded by a line of scales [16] and 16 bit zero points [16].
struct IntegerPanel {
  std::int64_t bits, group;
  bool zeros;
  constexpr std::size_t group_bytes() const {
    return static_cast<std::size_t>(group * kPanelRows * bits / 8);
  }
  constexpr std::size_t HeaderOffset(std::int64_t g) const {
    const auto n = static_cast<std::size_t>(g);
    if (zeros) return n * (64 + group_bytes());
    return n / 2 * (64 + 2 * group_bytes()) + n % 2 * 32;
  }
  constexpr std::size_t DataOffset(std::int64_t g) const {
    const auto n = static_cast<std::size_t>(g);
    if (zeros) return n * (64 + group_bytes()) + 64;
    return n / 2 * (64 + 2 * group_bytes()) + 64 + n % 2 * group_bytes();
  }
  constexpr std::size_t Bytes(std::int64_t groups) const {
    return groups == 0 ? 0 : DataOffset(groups - 1) + group_bytes();
  }
};

// Dwords of one row of an input packed by pack_x_int8: per group the values, a scale and a sum.
constexpr std::int64_t IntegerInputDwords(std::int64_t k, std::int64_t group) {
  return (k + group - 1) / group * (group / 4 + 2);
}

using std::int64_t;
using std::uint16_t;
using std::uint32_t;

struct KernelTable {
  const char* name;     // "scalar", "avx2", "avx512", "avx512_vnni", "avx512_bf16", "neon",
                        // "neon_dotprod", "neon_i8mm", or an outside table's
  int rank;             // the available table with the highest rank is chosen
  bool (*available)();  // does this machine (processor and operating system) execute it?
#define MOSSRT_KERNEL(kernel, parameters) void(*kernel) parameters = nullptr;
#include "mossrt/runtime/kernel_list.inc"
#undef MOSSRT_KERNEL
};

// The table in use, chosen at first call: MOSSRT_ISA's if that variable is set, else the highest
// rank that is available. Null if MOSSRT_ISA names a level that does not exist or cannot run here;
// KernelError() says so.
const KernelTable* Kernels();
const char* KernelError();

// All levels this build knows, ascending by rank, whether available or not; entries that a level
// does not bring itself are filled from the next lower one. `count` receives how many.
const KernelTable* const* KernelTables(int* count);

// Adds an outside table (copied; null entries are filled from the best built-in level). It must
// come before the first call of Kernels(). Returns null, or why it was refused (static text).
const char* RegisterKernelTable(const KernelTable& table);
// Has an outside table been chosen?
bool OutsideKernelsActive();

// What the processor and the system offer, for diagnostics: "avx2 fma f16c avx512f ...". Static
// text.
const char* CpuFeatureNames();

// Sets the floating-point control word that the kernels assume (round to nearest, no flush to zero,
// no traps) and restores the caller's at the end of the scope. Every entry of the library and every
// worker holds one.
class FloatModeGuard {
 public:
  FloatModeGuard();
  ~FloatModeGuard();
  FloatModeGuard(const FloatModeGuard&) = delete;
  FloatModeGuard& operator=(const FloatModeGuard&) = delete;

 private:
  std::uint64_t saved_;
};

}  // namespace mossrt::cpu
