// The choice of a table happens once per process, so every case runs in a child of its own.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "cpu/simd/float_control.h"
#include "levels.h"

namespace mossrt::cpu {
namespace {

// In a child: sets MOSSRT_ISA and prints what was chosen, or why nothing was.
[[noreturn]] void PrintChoice(const char* forced) {
  if (forced != nullptr) {
    setenv("MOSSRT_ISA", forced, 1);
  } else {
    unsetenv("MOSSRT_ISA");
  }
  const KernelTable* table = Kernels();
  std::fprintf(stderr, "chosen %s; error '%s'\n", table != nullptr ? table->name : "nothing",
               KernelError());
  std::exit(table == Kernels() ? 0 : 3);
}

TEST(Dispatch, BestLevelWithoutMossrtIsa) {
  const KernelTable* best = nullptr;
  for (const KernelTable* table : AvailableTables()) {
    if (best == nullptr || table->rank > best->rank) best = table;
  }
  ASSERT_NE(best, nullptr);
  const std::string want = std::string("chosen ") + best->name + "; error ''";
  EXPECT_EXIT(PrintChoice(nullptr), ::testing::ExitedWithCode(0), want);
  EXPECT_EXIT(PrintChoice(""), ::testing::ExitedWithCode(0), want);
}

TEST(Dispatch, EveryAvailableLevelCanBeForced) {
  for (const KernelTable* table : AvailableTables()) {
    EXPECT_EXIT(PrintChoice(table->name), ::testing::ExitedWithCode(0),
                std::string("chosen ") + table->name + "; error ''");
  }
}

TEST(Dispatch, UnknownLevelIsAnErrorThatListsTheLevels) {
  EXPECT_EXIT(
      PrintChoice("avx3"), ::testing::ExitedWithCode(0),
      "chosen nothing; error 'MOSSRT_ISA=avx3 is not a level of kernels that this build knows; "
      "known levels: scalar.*; available here: scalar.*Set one of these or unset MOSSRT_ISA.'");
}

TEST(Dispatch, TablesAscendAndMissingEntriesComeFromBelow) {
  int count = 0;
  const KernelTable* const* tables = KernelTables(&count);
  ASSERT_GE(count, 2);
  EXPECT_STREQ(tables[0]->name, "scalar");
  for (int i = 0; i < count; ++i) {
    if (i > 0) {
      EXPECT_LT(tables[i - 1]->rank, tables[i]->rank);
    }
#define MOSSRT_KERNEL(kernel, parameters)                                   \
  if (std::strcmp(#kernel, "gemm_bf16_pairs") != 0) {                       \
    EXPECT_TRUE(tables[i]->kernel) << tables[i]->name << " lacks " #kernel; \
  }
#include "mossrt/runtime/kernel_list.inc"
#undef MOSSRT_KERNEL
    const bool pairs = std::strcmp(tables[i]->name, "avx512_bf16") == 0;
    EXPECT_EQ(tables[i]->gemm_bf16_pairs != nullptr, pairs) << tables[i]->name;
  }
}

// The levels of this build; an emulator has to execute them all.
TEST(Dispatch, NamesOfTheLevels) {
  std::string names, available;
  int count = 0;
  const KernelTable* const* tables = KernelTables(&count);
  for (int i = 0; i < count; ++i) {
    const std::string name = tables[i]->name;
    names.append(names.empty() ? "" : " ").append(name);
    if (tables[i]->available()) available.append(available.empty() ? "" : " ").append(name);
  }
  std::printf("levels: %s; available: %s; processor: %s\n", names.c_str(), available.c_str(),
              CpuFeatureNames());
  EXPECT_EQ(names, MOSSRT_EXPECTED_LEVELS);
#if defined(MOSSRT_EMULATED)
  EXPECT_EQ(available, MOSSRT_EXPECTED_LEVELS);
#endif
}

TEST(FloatMode, GuardSetsTheWordOfTheKernelsAndRestoresTheCallers) {
  const std::uint64_t before = ReadFloatControl();
#if defined(__x86_64__)
  const std::uint64_t flushing =
      before | 0x8040 | 0x6000;  // flush to zero, denormals are zero, round to zero
#else
  const std::uint64_t flushing =
      (std::uint64_t{1} << 24) | (std::uint64_t{3} << 22);  // FZ, round to zero
#endif
  volatile float tiny = 0x1p-126f;
  WriteFloatControl(flushing);
  const float flushed = tiny * 0.5f;
  float kept = 0;
  float rounded = 0;
  {
    const FloatModeGuard guard;
    kept = tiny * 0.5f;
    volatile float one = 1.0f;
    rounded = one + 0x1.8p-24f;
  }
  const std::uint64_t after = ReadFloatControl();
  WriteFloatControl(before);
  EXPECT_EQ(flushed, 0.0f);
  EXPECT_EQ(kept, 0x1p-127f);
  EXPECT_EQ(rounded, 0x1.000002p0f);
  const std::uint64_t exceptions_seen = 0x3F;  // sticky bits of MXCSR
  EXPECT_EQ(after & ~exceptions_seen, flushing & ~exceptions_seen);
}

}  // namespace
}  // namespace mossrt::cpu
