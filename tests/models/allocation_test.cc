// The token loop takes nothing from the heap.
#include "generate/counting_allocator.h"
#include "reference_model.h"

namespace mossrt::runtime {
namespace {

TEST(Allocation, DecodingTakesNothingFromTheHeap) {
  for (const std::string name : {"moss", "llama"}) {
    const ReferenceModel reference(name);
    for (const std::string dtype : {"float32", "float16", "bfloat16", "int8", "int4-asym"}) {
      const auto model = reference.Load({.dtype = dtype, .threads = 2});
      ASSERT_NE(model, nullptr);
      for (const DType kv : {DType::kF32, DType::kBF16}) {
        Sequence s(*model, 64, kv);
        const std::span<const std::int32_t> ids(reference.ids);
        ASSERT_TRUE(s.Feed(ids.first(64), SequenceInput::Rows::kLast).ok());
        const HookSet no_hooks;
        float sum = 0;
        const long long before = AllocationCount();
        for (std::size_t step = 0; step < 32; ++step) {
          SequenceInput input;
          input.kv = &s.kv();
          input.tokens = ids.subspan(64 + step, 1);
          const auto logits = model->Forward({&input, 1}, {.hooks = &no_hooks}, s.workspace());
          ASSERT_TRUE(logits.ok()) << logits.status();
          sum += logits->Row(0)[0];
        }
        EXPECT_EQ(AllocationCount() - before, 0) << name << ", " << dtype << ", sum " << sum;
      }
    }
  }
}

// The one exception: a new block of the cache each 256 tokens, and the list of blocks that grows.
TEST(Allocation, ACacheBlockIsAllThatItsBorderTakes) {
  const ReferenceModel reference("moss");
  const std::span<const std::int32_t> ids(reference.ids);
  for (const std::string dtype : {"float32", "int8"}) {
    const auto model = reference.Load({.dtype = dtype, .threads = 2});
    ASSERT_NE(model, nullptr);
    for (const DType kv : {DType::kF32, DType::kBF16, DType::kI8}) {
      Sequence s(*model, 64, kv);
      ASSERT_TRUE(s.Feed(ids.first(1), SequenceInput::Rows::kLast).ok());
      const std::size_t block = s.kv().shape().BlockBytes();
      ASSERT_EQ(s.kv().allocated_bytes(), block);
      const HookSet no_hooks;
      for (std::size_t step = 1; step < 3 * kKvBlockTokens + 2; ++step) {
        SequenceInput input;
        input.kv = &s.kv();
        input.tokens = ids.subspan(step, 1);
        const long long before = AllocationCount();
        const std::size_t held = s.kv().allocated_bytes();
        const auto logits = model->Forward({&input, 1}, {.hooks = &no_hooks}, s.workspace());
        const long long taken = AllocationCount() - before;
        ASSERT_TRUE(logits.ok()) << logits.status();
        const bool border = step % kKvBlockTokens == 0;
        EXPECT_EQ(taken, border ? 2 : 0) << dtype << ", token " << step;
        EXPECT_EQ(s.kv().allocated_bytes() - held, border ? block : 0) << dtype << ", " << step;
      }
    }
  }
}

TEST(Allocation, TheCounterCounts) {
  const long long before = AllocationCount();
  const auto one = std::make_unique<int>(1);
  EXPECT_GE(AllocationCount() - before, *one);
}

}  // namespace
}  // namespace mossrt::runtime
