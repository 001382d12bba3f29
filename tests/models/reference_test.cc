// Correctness against independent references: float64 NumPy written from the facts, transformers in
// float32.
#include <algorithm>

#include "gpt_neox_spec.h"
#include "mossrt/runtime/kernel_table.h"
#include "reference_model.h"

namespace mossrt::runtime {
namespace {

class ReferenceTest : public testing::TestWithParam<std::string> {
 protected:
  static void SetUpTestSuite() { ASSERT_TRUE(RegisterArchitecture(GptNeoxSpec()).ok()); }
};

TEST_P(ReferenceTest, LogitsOfPrefillAreAsNearToFloat64AsTorch) {
  const ReferenceModel reference(GetParam());
  const auto model = reference.Load({.dtype = "float32"});
  ASSERT_NE(model, nullptr);
  const auto rows = reference.json["rows"].get<std::vector<std::int32_t>>();
  Sequence sequence(*model, 512);
  for (std::int32_t at = 0; at < 2048; at += 512) {
    std::vector<std::int32_t> listed;
    for (const std::int32_t row : rows) {
      if (row >= at && row < at + 512) listed.push_back(row - at);
    }
    ASSERT_TRUE(sequence
                    .Feed(std::span(reference.ids).subspan(static_cast<std::size_t>(at), 512),
                          SequenceInput::Rows::kListed, nullptr, listed)
                    .ok());
  }
  const double ours = MaxDifference(sequence.logits, reference.Array("logits_f64").values);
  const double torch = reference.TorchError("logits_f64");
  std::printf("%s: max |difference| to float64 %.3g, torch %.3g\n", reference.name.c_str(), ours,
              torch);
  EXPECT_LE(ours, 2 * torch);
}

TEST_P(ReferenceTest, LogitsOfSingleStepsAtTheEndAreAsNearToFloat64AsTorch) {
  const ReferenceModel reference(GetParam());
  const auto model = reference.Load({.dtype = "float32"});
  ASSERT_NE(model, nullptr);
  const auto rows = reference.json["rows"].get<std::vector<std::int32_t>>();
  const ReferenceArray all = reference.Array("logits_f64");
  const auto vocab = static_cast<std::size_t>(all.shape[1]);
  const std::span<const std::int32_t> ids(reference.ids);
  constexpr std::size_t kTokens = 2048, kSteps = 8;
  ASSERT_EQ(ids.size(), kTokens);
  Sequence sequence(*model, 510);
  for (std::size_t at = 0; at < kTokens - kSteps; at += 510) {
    ASSERT_TRUE(sequence.Feed(ids.subspan(at, 510), SequenceInput::Rows::kNone).ok());
  }
  std::vector<double> want;
  for (std::size_t at = kTokens - kSteps; at < kTokens; ++at) {
    const auto row = std::find(rows.begin(), rows.end(), static_cast<std::int32_t>(at));
    const bool listed = row != rows.end();
    ASSERT_TRUE(sequence
                    .Feed(ids.subspan(at, 1),
                          listed ? SequenceInput::Rows::kLast : SequenceInput::Rows::kNone)
                    .ok());
    if (!listed) continue;
    const auto from = all.values.begin() + (row - rows.begin()) * all.shape[1];
    want.insert(want.end(), from, from + all.shape[1]);
  }
  EXPECT_EQ(want.size(), 3 * vocab);  // the last three rows are stored
  EXPECT_LE(MaxDifference(sequence.logits, want), 2 * reference.TorchError("logits_f64"));
}

TEST_P(ReferenceTest, EveryBackendIsNearFloat64) {
  const ReferenceModel reference(GetParam());
  const ReferenceArray want = reference.Array("hidden_logits");
  for (const std::string backend : {"native", "reference", "eigen", "openblas"}) {
    const auto model = reference.Load({.dtype = "float32", .backend = backend});
    ASSERT_NE(model, nullptr) << backend;
    Sequence sequence(*model, 64);
    ASSERT_TRUE(sequence.Feed(std::span(reference.ids).first(20), SequenceInput::Rows::kAll).ok());
    EXPECT_LE(MaxDifference(sequence.logits, want.values),
              4 * reference.TorchError("hidden_logits") + 1e-6)
        << backend;
    EXPECT_GT(model->backend().run_count(), 0u);
  }
}

TEST_P(ReferenceTest, SingleStepsAndHooksAgree) {
  const ReferenceModel reference(GetParam());
  const auto model = reference.Load({.dtype = "float32"});
  ASSERT_NE(model, nullptr);
  const auto short_ids = std::span(reference.ids).first(reference.json["short"].get<std::size_t>());
  const int last = static_cast<int>(model->params().layers) - 1;
  int compared = 0;
  for (int p = 0; p < kHookPoints; ++p) {
    const auto point = static_cast<HookPoint>(p);
    for (const int layer :
         HookHasLayers(point) ? std::vector<int>{0, last} : std::vector<int>{-1}) {
      std::string key = "hidden_" + std::string(HookName(point));
      if (layer >= 0) key += "_" + std::to_string(layer);
      ASSERT_TRUE(reference.json["arrays"].contains(key)) << key;
      std::vector<float> seen;
      HookSet hooks;
      hooks.Add(point, layer, [&seen](const HookCall& call) {
        for (std::int64_t i = 0; i < call.values.rows; ++i) {
          const auto row = call.values.RowSpan(i);
          seen.insert(seen.end(), row.begin(), row.end());
        }
        return absl::OkStatus();
      });
      Sequence sequence(*model, 4);
      for (const std::int32_t& id : short_ids) {
        ASSERT_TRUE(sequence.Feed({&id, 1}, SequenceInput::Rows::kAll, &hooks).ok());
      }
      const double ours = MaxDifference(seen, reference.Array(key).values);
      // The logits get no slack; elsewhere torch is off by less than a rounding of ours at times.
      const double slack = point == HookPoint::kLogits ? 0 : 2e-6;
      EXPECT_LE(ours, 2 * reference.TorchError(key) + slack) << key;
      ++compared;
    }
  }
  EXPECT_EQ(compared, 2 * 9 + 3);  // points within the first and the last layer, and outside layers
}

TEST_P(ReferenceTest, ZeroedHeadAgrees) {
  const ReferenceModel reference(GetParam());
  const auto model = reference.Load({.dtype = "float32"});
  ASSERT_NE(model, nullptr);
  const std::int64_t head = reference.json["zeroed_head"].get<std::int64_t>(),
                     d = model->params().head_dim;
  HookSet hooks;
  hooks.Add(HookPoint::kAttnOut, reference.json["zeroed_layer"].get<int>(),
            [&](const HookCall& call) {
              for (std::int64_t i = 0; i < call.values.rows; ++i)
                std::fill_n(call.values.Row(i) + head * d, d, 0.0f);
              return absl::OkStatus();
            });
  Sequence sequence(*model, 64);
  ASSERT_TRUE(
      sequence.Feed(std::span(reference.ids).first(20), SequenceInput::Rows::kAll, &hooks).ok());
  EXPECT_LE(MaxDifference(sequence.logits, reference.Array("zeroed_head_logits").values),
            2 * reference.TorchError("zeroed_head_logits"));
}

TEST_P(ReferenceTest, GreedyTokensAreTransformers) {
  const ReferenceModel reference(GetParam());
  const auto model =
      reference.Load({.dtype = "auto"});  // as the file: the same values, so the same tokens
  ASSERT_NE(model, nullptr);
  const bool rounds = model->plan().format.dtype ==
                      DType::kBF16;  // bfloat16 rounds inputs, which torch in float32 does not
  const auto exact = rounds ? reference.Load({.dtype = "float32"}) : nullptr;
  const Model& used = rounds ? *exact : *model;
  std::vector<std::int32_t> ids = reference.json["greedy_prompt"].get<std::vector<std::int32_t>>();
  const auto want = reference.json["greedy_ids"].get<std::vector<std::int32_t>>();
  Sequence sequence(used, 64);
  std::vector<std::int32_t> got;
  while (got.size() < want.size()) {
    sequence.logits.clear();
    ASSERT_TRUE(sequence.Feed(ids, SequenceInput::Rows::kLast).ok());
    const auto best = std::max_element(sequence.logits.begin(), sequence.logits.end());
    got.push_back(static_cast<std::int32_t>(best - sequence.logits.begin()));
    ids.assign(1, got.back());
  }
  EXPECT_EQ(got, want);
}

TEST_P(ReferenceTest, WeightsReadBackAsTheFileHasThem) {
  const ReferenceModel reference(GetParam());
  auto checkpoint = OpenCheckpoint(reference.directory);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const auto model = reference.Load({.dtype = "auto"});
  ASSERT_NE(model, nullptr);
  int compared = 0;
  for (const TensorPlan& tensor : model->plan().tensors) {
    if (tensor.use == "ignored") continue;
    std::vector<std::int64_t> shape;
    const auto values = model->ReadTensor(tensor.name, &shape);
    ASSERT_TRUE(values.ok()) << values.status();
    EXPECT_EQ(shape, tensor.shape) << tensor.name;
    const TensorInfo& info = (*checkpoint)->tensors().at(tensor.name);
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(info.elements()) *
                                    DTypeSize(info.dtype));
    ASSERT_TRUE((*checkpoint)->ReadRows(info, 0, info.shape[0], bytes).ok());
    for (std::size_t i = 0; i < values->size(); ++i) {
      float want;
      if (info.dtype == DType::kF32) {
        std::memcpy(&want, bytes.data() + 4 * i, 4);
      } else {
        std::uint16_t bits;
        std::memcpy(&bits, bytes.data() + 2 * i, 2);
        const auto convert =
            info.dtype == DType::kF16 ? cpu::Kernels()->f16_to_f32 : cpu::Kernels()->bf16_to_f32;
        convert(&bits, 1, &want);
      }
      ASSERT_EQ((*values)[i], want) << tensor.name << " [" << i << "]";
    }
    ++compared;
  }
  EXPECT_GT(compared, 10);
}

INSTANTIATE_TEST_SUITE_P(Models, ReferenceTest,
                         testing::Values("moss", "codegen", "codegen2", "llama", "llama-untied",
                                         "gpt-neox"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace mossrt::runtime
