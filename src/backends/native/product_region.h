// The products of one parallel region, cut into blocks of panels that threads take.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "backends/native/packed_input.h"
#include "mossrt/runtime/gemm_backend.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::runtime {

// What multiplies a weight, and by what.
struct Product {
  void (*kernel)(const cpu::GemmArgs*);
  const std::byte* data;
  std::size_t panel_bytes;
  std::int64_t k;
};

// Blocks are dealt to threads as contiguous ranges of every matrix, which are the pages that each
// thread touched first (words of GPTQ: huge pages). A thread that has finished its own takes blocks
// of others, whole ones, so that no sum is cut.
//
// All that a thread needs before the weights and inputs themselves lies in here, not behind
// pointers: what the caller has just written takes up to 200 ns to come from another core complex,
// once if it lies together.
class ProductRegion {
 public:
  static constexpr std::size_t kMostProducts = 8;
  static constexpr int kMostThreads = 64;  // beyond, the last threads have no work of their own

  ProductRegion(const cpu::KernelTable& kernels, int threads);

  // `x` is the packed input. `packer`, unless null, packs the outputs, in order; call.y, and the
  // factors if they come from the call before, may hold anything afterwards.
  void Add(const Product& product, const GemmCall& call, const void* x,
           const InputPacker* packer = nullptr);
  bool full() const { return count_ == kMostProducts; }
  void Run(ThreadTeam& team);

 private:
  struct Part {
    void (*kernel)(const cpu::GemmArgs*);
    cpu::GemmArgs args;  // of all panels
    std::int64_t unit;   // panels: ranges and blocks begin at multiples of so many
    std::int64_t block;  // panels
    std::int64_t rows;   // of the matrix
    bool with_next;      // its blocks come with those of the next part, which it multiplies
    Matrix y;
    Epilogue epilogue;
    const InputPacker* packer;
    bool forgotten;  // outputs are, once packed: each thread writes them where it wrote others

    Range PanelsOf(int thread, int threads) const;
  };
  // The next block of each thread's own, by std::atomic_ref: most of them never come into use, and
  // to clear their lines takes as long as to multiply a panel.
  struct alignas(64) Next {
    std::int64_t block;
  };

  void Work(int thread);
  // Each matrix is a stream of its own that the processor must find; it is called before the input
  // has arrived.
  void CallBeginning(const Part& part, int thread) const;
  bool Take(int thread, int owner, std::int64_t block) const;
  // Has y room for a block of each thread?
  bool Forgets(const Part& part) const;
  // Where `thread` writes the outputs of panels of a block.
  static Matrix OutputsOf(const Part& part, Range panels, int thread);
  // The block of a part, and that of the next one if they come together.
  void RunBlock(const Part* part, Range panels, int thread) const;
  static void Multiply(const Part& part, Range panels, Matrix y);

  const cpu::KernelTable& kernels_;
  const int team_size_;
  const int threads_;
  std::size_t count_ = 0;
  std::array<Part, kMostProducts> parts_;
  std::array<Next, kMostThreads> next_;
};

}  // namespace mossrt::runtime
