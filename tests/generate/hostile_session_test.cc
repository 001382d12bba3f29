// Saved sessions that lie: cut at every length, every bit turned, every number of the header
// replaced behind sums that fit; and those of other models.
#include <cmath>

#include "base/cat.h"
#include "generate/saved_session_bytes.h"
#include "gtest/gtest.h"
#include "models/made_checkpoint.h"

namespace mossrt::runtime {
namespace {

constexpr absl::StatusCode kDamaged = absl::StatusCode::kDataLoss;
constexpr absl::StatusCode kOther = absl::StatusCode::kInvalidArgument;

std::unique_ptr<Model> Load(const Json& config = TinyMoss(), const LoadOptions& options = {},
                            const std::string& aliased = {}) {
  const ArchSpec spec = SpecNamed("moss");
  MadeCheckpoint checkpoint(config, &spec);
  if (!aliased.empty()) checkpoint.Alias(aliased, "another");
  LoadOptions one = options;
  one.threads = 1;
  auto model = Model::Load(checkpoint, one, nullptr);
  EXPECT_TRUE(model.ok()) << model.status();
  return *std::move(model);
}

const Model& TheModel() {
  static const Model* model = Load().release();
  return *model;
}

// Three tokens of which two are evaluated, or with logits.
Bytes Saved(const Model& model, DType kv_dtype, bool logits) {
  auto session = Session::Create(model, {.kv_dtype = kv_dtype, .context = 20});
  EXPECT_TRUE(session.ok()) << session.status();
  const std::int32_t ids[] = {3, 1, 4};
  EXPECT_TRUE((*session)->Eval(std::span(ids).first(logits ? 3 : 2), {}, nullptr).ok());
  EXPECT_TRUE(logits || (*session)->Append(ids[2]).ok());
  auto bytes = SaveBytes(**session);
  EXPECT_TRUE(bytes.ok()) << bytes.status();
  return *std::move(bytes);
}

absl::Status Restore(const Bytes& bytes, const Model& model = TheModel()) {
  return Session::RestoreBytes(model, bytes).status();
}

void ExpectError(const absl::Status& status, absl::StatusCode code, const std::string& part) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_NE(status.message().find(part), absl::string_view::npos)
      << "no \"" << part << "\" in " << status;
}

TEST(HostileSession, CutAtEveryLength) {
  for (const bool logits : {false, true}) {
    const Bytes saved = Saved(TheModel(), DType::kF32, logits);
    ASSERT_TRUE(Restore(saved).ok()) << Restore(saved);
    for (std::size_t size = 0; size < saved.size(); ++size) {
      const Bytes cut(saved.begin(), saved.begin() + static_cast<std::ptrdiff_t>(size));
      EXPECT_EQ(Restore(cut).code(), kDamaged) << size;
    }
    Bytes longer = saved;
    longer.push_back(0);
    ExpectError(Restore(longer), kDamaged, "bytes, but has");
  }
}

TEST(HostileSession, CutAtEveryLengthBehindSumsThatFit) {
  const Bytes saved = Saved(TheModel(), DType::kI8, true);
  for (std::size_t size = sizeof(SavedHeader); size < saved.size(); ++size) {
    Bytes cut(saved.begin(), saved.begin() + static_cast<std::ptrdiff_t>(size));
    const std::uint64_t whole = size;
    std::memcpy(cut.data() + 16, &whole, sizeof whole);
    FixSums(&cut);
    EXPECT_EQ(Restore(cut).code(), kDamaged) << size;
  }
}

TEST(HostileSession, EveryBitTurned) {
  for (const DType kv_dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    Bytes saved = Saved(TheModel(), kv_dtype, kv_dtype == DType::kBF16);
    for (std::size_t at = 0; at < saved.size(); ++at) {
      for (int bit = 0; bit < 8; ++bit) {
        saved[at] = static_cast<std::uint8_t>(saved[at] ^ 1 << bit);
        const absl::Status status = Restore(saved);
        // Only the version has a word of its own.
        EXPECT_EQ(status.code(), at >= 8 && at < 12 ? absl::StatusCode::kUnimplemented : kDamaged)
            << "byte " << at << ", bit " << bit << ": " << status;
        saved[at] = static_cast<std::uint8_t>(saved[at] ^ 1 << bit);
      }
    }
    ASSERT_TRUE(Restore(saved).ok());
  }
}

TEST(HostileSession, NumbersThatLieBehindSumsThatFit) {
  const Bytes saved = Saved(TheModel(), DType::kF32, true);
  for (std::size_t at = 12; at < sizeof(SavedHeader); at += at == 12 ? 4 : 8) {
    std::uint64_t before = 0;
    const std::size_t width = at == 12 ? 4 : 8;
    std::memcpy(&before, saved.data() + at, width);
    for (const std::uint64_t lie :
         {std::uint64_t{0}, before - 1, before + 1, before * 2, std::uint64_t{0x7FFFFFFF},
          std::uint64_t{1} << 24, std::uint64_t{1} << 32, std::uint64_t{1} << 61,
          std::uint64_t{1} << 62, UINT64_MAX / 4, UINT64_MAX / 2, UINT64_MAX - 7, UINT64_MAX}) {
      if ((width == 4 ? lie & UINT32_MAX : lie) == before) continue;
      Bytes lying = saved;
      std::memcpy(lying.data() + at, &lie, width);
      FixSums(&lying);
      const absl::Status status = Restore(lying);
      // A context is whatever holds the tokens and is held by the model.
      const bool may = at == 48 && lie >= 3 && lie <= 64;
      EXPECT_EQ(status.ok(), may) << "offset " << at << ", " << lie << ": " << status;
      EXPECT_NE(status.code(), absl::StatusCode::kResourceExhausted)
          << "offset " << at << ", " << lie << ": believed before it was compared";
    }
  }
}

TEST(HostileSession, TokensOutsideOfTheVocabulary) {
  for (const std::int32_t token : {-1, 50, INT32_MAX, INT32_MIN}) {
    Bytes saved = Saved(TheModel(), DType::kF32, false);
    std::memcpy(saved.data() + sizeof(SavedHeader) + 8, &token, sizeof token);
    FixSums(&saved);
    ExpectError(Restore(saved), kDamaged, Cat("token 2 is ", token));
  }
}

// Behind sums that fit everything else is taken as it is: no value of a cache can do harm.
TEST(HostileSession, AnyCacheIsRun) {
  for (const DType kv_dtype : {DType::kF32, DType::kBF16, DType::kI8}) {
    for (const int fill : {0x00, 0x7F, 0x80, 0xFF}) {
      Bytes saved = Saved(TheModel(), kv_dtype, false);
      const std::size_t head = HeaderOf(saved).HeadBytes();
      std::fill(saved.begin() + static_cast<std::ptrdiff_t>(head), saved.end(),
                static_cast<std::uint8_t>(fill));
      FixSums(&saved);
      const auto session = Session::RestoreBytes(TheModel(), saved);
      ASSERT_TRUE(session.ok()) << session.status();
      const absl::Status status = (*session)->Eval({}, {}, nullptr);
      EXPECT_TRUE(status.ok()) << status;
    }
  }
}

TEST(OtherModels, AreToldApart) {
  const Bytes saved = Saved(TheModel(), DType::kF32, true);
  EXPECT_TRUE(Restore(saved, *Load()).ok());
  Json config = TinyMoss();
  config["n_layer"] = 3;
  ExpectError(Restore(saved, *Load(config)), kOther, "layers=3");
  ExpectError(Restore(saved, *Load(config)), kOther, "layers=2");
  config = TinyMoss();
  config["layer_norm_epsilon"] = 1e-6;
  ExpectError(Restore(saved, *Load(config)), kOther, "another model");
  // As a float32 it is the same.
  config["layer_norm_epsilon"] = std::nextafter(1e-5, 1.0);
  ExpectError(Restore(saved, *Load(config)), kOther, "norm_eps=1.0000000000000003e-05");
  ExpectError(Restore(saved, *Load(TinyMoss(), {.dtype = "int8"})), kOther, "dtype=int8");
  ExpectError(Restore(saved, *Load(TinyMoss(), {.dtype = "int8"})), kOther, "dtype=float32");
  ExpectError(Restore(saved, *Load(TinyMoss(), {.backend = "reference"})), kOther,
              "backend=reference");
  for (const std::string tensor : {"transformer.wte.weight", "transformer.h.0.attn.qkv_proj.weight",
                                   "transformer.h.1.mlp.fc_out.bias", "transformer.ln_f.weight"}) {
    const absl::Status status = Restore(saved, *Load(TinyMoss(), {}, tensor));
    ExpectError(status, kOther, "other weights");
    ExpectError(status, kOther, "version of mossrt whose numerics differ");
    ExpectError(status, kOther, "save it anew");
  }
}

TEST(OtherModels, AreToldApartWithinATolerance) {
  const LoadOptions options{.backend = "eigen"};
  const auto model = Load(TinyMoss(), options);
  const Bytes saved = Saved(*model, DType::kF32, true);
  const std::size_t probe = sizeof(SavedHeader) + 4 * HeaderOf(saved).tokens;
  const auto changed = [&](float factor) {
    Bytes bytes = saved;
    float values[32 + Fingerprint::kLogits], largest = 0;
    std::memcpy(values, bytes.data() + probe, sizeof values);
    for (const float value : values) largest = std::max(largest, std::abs(value));
    values[5] += factor * largest;
    std::memcpy(bytes.data() + probe, values, sizeof values);
    FixSums(&bytes);
    return bytes;
  };
  EXPECT_TRUE(Restore(changed(0.9e-3f), *model).ok()) << Restore(changed(0.9e-3f), *model);
  ExpectError(Restore(changed(1.1e-3f), *model), kOther, "value 5");
  ExpectError(Restore(saved, *Load(TinyMoss(), options, "transformer.h.1.mlp.fc_in.weight")),
              kOther, "other weights");
}

}  // namespace
}  // namespace mossrt::runtime
