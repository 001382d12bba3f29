// A program's own kernels: a partial table of one entry, registered before the first use.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu {
namespace {

bool Always() { return true; }
bool Never() { return false; }

int calls = 0;
void CountingRelu(float* x, int64_t n) {
  ++calls;
  for (int64_t i = 0; i < n; ++i) x[i] = x[i] > 0.0f ? x[i] : 0.0f;
}

// One test, because the choice is made once per process and the order of its steps is what is
// tested.
TEST(CustomTable, IsFilledChosenAndRefusedAfterUse) {
  unsetenv("MOSSRT_ISA");
  KernelTable mine = {.name = "mine", .rank = 1000, .available = Always, .relu = CountingRelu};
  KernelTable nameless = mine;
  nameless.name = nullptr;
  KernelTable without_test = mine;
  without_test.available = nullptr;
  KernelTable twin = mine;
  twin.name = "scalar";
  KernelTable impossible = mine;
  impossible.name = "impossible";
  impossible.rank = 2000;
  impossible.available = Never;
  EXPECT_STREQ(RegisterKernelTable(nameless), "the kernel table has no name");
  EXPECT_STREQ(RegisterKernelTable(without_test), "the kernel table has no function `available`");
  EXPECT_STREQ(RegisterKernelTable(twin), "a kernel table of this name exists already");
  EXPECT_EQ(RegisterKernelTable(mine), nullptr);
  EXPECT_EQ(RegisterKernelTable(impossible), nullptr);

  const KernelTable* chosen = Kernels();
  ASSERT_NE(chosen, nullptr) << KernelError();
  EXPECT_STREQ(chosen->name, "mine");
  EXPECT_TRUE(OutsideKernelsActive());
  int count = 0;
  const KernelTable* const* tables = KernelTables(&count);
  EXPECT_STREQ(tables[count - 1]->name, "impossible");
  EXPECT_STREQ(tables[count - 2]->name, "mine");

  float x[3] = {-1.0f, 0.0f, 2.0f};
  chosen->relu(x, 3);
  EXPECT_EQ(calls, 1);
  EXPECT_EQ(x[0], 0.0f);
  float y[3] = {1.0f, 1.0f, 1.0f};
  chosen->add(x, 3, y);  // from the best built-in level
  EXPECT_EQ(y[2], 3.0f);
  const KernelTable* best = nullptr;
  for (int i = 0; i < count; ++i) {
    if (tables[i]->rank < 1000 && tables[i]->available()) best = tables[i];
  }
  EXPECT_EQ(chosen->add, best->add);

  mine.name = "too late";
  const char* refusal = RegisterKernelTable(mine);
  ASSERT_NE(refusal, nullptr);
  EXPECT_NE(std::string(refusal).find("before the first use"), std::string::npos);
}

}  // namespace
}  // namespace mossrt::cpu
