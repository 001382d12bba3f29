// A cache of bytes against the same attention over keys and values rounded by hand: in a float32
// cache that hooks fill with the nearest of 255 steps per token and head.
#include <gtest/gtest.h>

#include <cmath>

#include "reference_model.h"

namespace mossrt::runtime {
namespace {

// In double, by the definition: steps of largest / 127, ties to even.
void RoundHeads(const HookCall& call, std::int64_t head_dim) {
  for (std::int64_t i = 0; i < call.values.rows; ++i) {
    for (std::int64_t first = 0; first < call.values.cols; first += head_dim) {
      float* head = call.values.Row(i) + first;
      double largest = 0;
      for (std::int64_t d = 0; d < head_dim; ++d)
        largest = std::max(largest, std::abs(static_cast<double>(head[d])));
      if (largest == 0) continue;
      for (std::int64_t d = 0; d < head_dim; ++d) {
        const double steps = std::nearbyint(static_cast<double>(head[d]) * 127 / largest);
        head[d] = static_cast<float>(steps * largest / 127);
      }
    }
  }
}

class KvInt8 : public testing::TestWithParam<std::string> {};

TEST_P(KvInt8, IsAttentionOverRoundedKeysAndValues) {
  const ReferenceModel reference(GetParam());
  const auto model = reference.Load({.dtype = "float32"});
  ASSERT_NE(model, nullptr);
  const auto ids = std::span(reference.ids).first(300);  // more than a block
  HookSet round;
  for (const HookPoint point : {HookPoint::kK, HookPoint::kV}) {
    round.Add(point, HookSet::kAllLayers, [&](const HookCall& call) {
      RoundHeads(call, model->params().head_dim);
      return absl::OkStatus();
    });
  }
  Sequence by_hand(*model, 300), bytes(*model, 300, DType::kI8), exact(*model, 300);
  ASSERT_TRUE(by_hand.Feed(ids, SequenceInput::Rows::kAll, &round).ok());
  ASSERT_TRUE(bytes.Feed(ids, SequenceInput::Rows::kAll).ok());
  ASSERT_TRUE(exact.Feed(ids, SequenceInput::Rows::kAll).ok());
  double difference = 0, rounding = 0, size = 0;
  for (std::size_t i = 0; i < bytes.logits.size(); ++i) {
    const auto square = [i](const Sequence& a, const Sequence& b) {
      const double d = static_cast<double>(a.logits[i]) - static_cast<double>(b.logits[i]);
      return d * d;
    };
    difference += square(bytes, by_hand);
    rounding += square(bytes, exact);
    size += static_cast<double>(exact.logits[i]) * static_cast<double>(exact.logits[i]);
  }
  // What is left are values that fall between two steps one way here and the other way there.
  EXPECT_LT(difference, 0.01 * rounding);
  EXPECT_GT(rounding, 0);
  EXPECT_LT(rounding, 1e-2 * size);
}

INSTANTIATE_TEST_SUITE_P(Models, KvInt8, testing::Values("moss", "llama", "codegen"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(KvInt8Cache, ValuesThatAreNoNumbersStayWithTheirToken) {
  const KvShape shape{.layers = 1, .kv_heads = 1, .head_dim = 6, .dtype = DType::kI8};
  KvCache kv(shape, 300);
  ASSERT_TRUE(kv.Reserve(2).ok());
  const float odd[6] = {1, NAN, 2, -3, 4, 5}, even[6] = {1, -2, 0, 127, 3.5f, 2.5f};
  kv.StoreKey(0, 0, 0, odd);
  kv.StoreKey(1, 0, 0, even);
  const auto* scales = reinterpret_cast<const float*>(kv.Keys(0, 0, 0) + shape.KeyPanelsBytes());
  EXPECT_TRUE(std::isnan(scales[0]));
  EXPECT_EQ(scales[1], 1.0f);
  const auto* bytes = reinterpret_cast<const std::int8_t*>(kv.Keys(0, 0, 0));
  const int want[6] = {1, -2, 0, 127, 4, 2};  // ties to even
  for (int d = 0; d < 6; ++d) EXPECT_EQ(bytes[d * 16 + 1], want[d]) << d;
}

}  // namespace
}  // namespace mossrt::runtime
