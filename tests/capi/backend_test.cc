// A matrix product backend whose functions come from the program, in plain C terms.
#include <cmath>
#include <cstring>
#include <memory>

#include "capi/capi_testing.h"

namespace mossrt_testing {
namespace {

struct Calls {
  int pack = 0, prepare = 0, run = 0, read_row = 0, free = 0, live = 0;
  int fail_run = 0;
  bool prepares = false;
};

struct Dense {
  bool weight;
  std::size_t cols;
  std::vector<float> values;
};

std::int32_t Pack(void* user, const mossrt_weight* w, const char* name, std::size_t rows,
                  std::size_t cols, void** packed) {
  auto* calls = static_cast<Calls*>(user);
  ++calls->pack;
  ++calls->live;
  EXPECT_STRNE(name, "");
  auto dense = std::make_unique<Dense>(Dense{true, cols, std::vector<float>(rows * cols)});
  // In two parts, as a backend with slabs would.
  const std::size_t half = rows / 2;
  EXPECT_TRUE(Succeeds(mossrt_weight_read(w, 0, half, dense->values.data())));
  EXPECT_TRUE(
      Succeeds(mossrt_weight_read(w, half, rows - half, dense->values.data() + half * cols)));
  float beyond = 0;
  EXPECT_TRUE(FailsWith(mossrt_weight_read(w, rows, 1, &beyond), MOSSRT_E_INVALID_ARGUMENT,
                        std::to_string(rows)));
  *packed = dense.release();
  return 0;
}

std::int32_t Prepare(void* user, const float* x, std::size_t m, std::size_t k, void** prepared) {
  auto* calls = static_cast<Calls*>(user);
  ++calls->prepare;
  if (*prepared == nullptr) {
    *prepared = new Dense{false, k, {}};
    ++calls->live;
  }
  auto* dense = static_cast<Dense*>(*prepared);
  dense->cols = k;
  dense->values.assign(x, x + m * k);
  return 0;
}

std::int32_t RunProduct(void* user, const void* packed, const void* prepared, const float* x,
                        std::size_t m, std::size_t k, float* y, std::size_t n,
                        std::size_t y_stride) {
  auto* calls = static_cast<Calls*>(user);
  ++calls->run;
  if (calls->fail_run != 0) return calls->fail_run;
  const auto* w = static_cast<const Dense*>(packed);
  EXPECT_EQ(prepared != nullptr, calls->prepares);
  if (prepared != nullptr) {
    const auto* p = static_cast<const Dense*>(prepared);
    EXPECT_EQ(p->cols, k);
    EXPECT_EQ(std::memcmp(p->values.data(), x, m * k * sizeof(float)), 0);
  }
  EXPECT_GE(y_stride, n);
  for (std::size_t i = 0; i < m; ++i) {
    for (std::size_t j = 0; j < n; ++j) {
      float sum = 0;
      for (std::size_t c = 0; c < k; ++c) {
        sum = std::fma(x[i * k + c], w->values[j * k + c], sum);
      }
      y[i * y_stride + j] = sum;
    }
  }
  return 0;
}

std::int32_t ReadRow(void* user, const void* packed, std::size_t row, float* out) {
  ++static_cast<Calls*>(user)->read_row;
  const auto* w = static_cast<const Dense*>(packed);
  std::memcpy(out, w->values.data() + row * w->cols, w->cols * sizeof(float));
  return 0;
}

void Free(void* user, void* p) {
  auto* calls = static_cast<Calls*>(user);
  ++calls->free;
  --calls->live;
  delete static_cast<Dense*>(p);
}

void Register(const char* name, Calls* calls, bool prepare, bool read_row) {
  calls->prepares = prepare;
  mossrt_backend* b = nullptr;
  ASSERT_TRUE(Succeeds(mossrt_backend_create(name, &b)));
  ASSERT_TRUE(Succeeds(mossrt_backend_set_pack(b, Pack, calls)));
  ASSERT_TRUE(Succeeds(mossrt_backend_set_run(b, RunProduct, calls)));
  if (prepare) {
    ASSERT_TRUE(Succeeds(mossrt_backend_set_prepare(b, Prepare, calls)));
  }
  if (read_row) {
    ASSERT_TRUE(Succeeds(mossrt_backend_set_read_row(b, ReadRow, calls)));
  }
  EXPECT_TRUE(FailsWith(mossrt_backend_register(b), MOSSRT_E_STATE, "mossrt_backend_set_free"));
  ASSERT_TRUE(Succeeds(mossrt_backend_set_free(b, Free, calls)));
  ASSERT_TRUE(Succeeds(mossrt_backend_register(b)));
  EXPECT_TRUE(FailsWith(mossrt_backend_register(b), MOSSRT_E_INVALID_ARGUMENT, name));
  mossrt_backend_free(b);
}

std::vector<float> Logits(mossrt_session* s) {
  const std::int32_t ids[] = {14, 139, 271, 19};
  EXPECT_TRUE(Succeeds(mossrt_session_eval(s, ids, 4, nullptr, nullptr)));
  const float* data = nullptr;
  std::size_t rows = 0, cols = 0, stride = 0;
  EXPECT_TRUE(Succeeds(mossrt_session_logits(s, &data, &rows, &cols, &stride)));
  return {data, data + cols};
}

// The same chain of fused multiply-adds as the native backend's, hence the same bits.
TEST(Backend, GivesTheNativeBackendsBits) {
  mossrt_model* native = LoadModel(R"({"dtype": "float32"})");
  mossrt_session* s = NewSession(native);
  const std::vector<float> expected = Logits(s);
  mossrt_session_free(s);
  for (const bool prepare : {false, true}) {
    static Calls calls[2];
    Calls& c = calls[prepare ? 1 : 0];
    const std::string name = prepare ? "test-prepared" : "test-plain";
    Register(name.c_str(), &c, prepare, prepare);
    mossrt_model* m = LoadModel(Json{{"backend", name}, {"dtype", "float32"}}.dump());
    EXPECT_GT(c.pack, 2 * 4);
    EXPECT_EQ(c.live, c.pack);
    const char* text = nullptr;
    std::size_t len = 0;
    ASSERT_TRUE(Succeeds(mossrt_model_info(m, &text, &len)));
    const Json info = Json::parse(std::string_view(text, len));
    EXPECT_EQ(info["backend"], name);
    EXPECT_EQ(info["deterministic"], false);

    // Weights are read back through read_row, or from the library's copy.
    const char* head = "lm_head.weight";
    std::size_t count = 0;
    ASSERT_TRUE(Succeeds(mossrt_model_tensor_read(m, head, nullptr, 0, &count)));
    std::vector<float> ours(count), theirs(count);
    ASSERT_TRUE(Succeeds(mossrt_model_tensor_read(m, head, ours.data(), count, &count)));
    ASSERT_TRUE(Succeeds(mossrt_model_tensor_read(native, head, theirs.data(), count, &count)));
    EXPECT_EQ(ours, theirs);
    EXPECT_EQ(c.read_row > 0, prepare);

    s = NewSession(m);
    EXPECT_EQ(c.run, 0);
    EXPECT_EQ(Logits(s), expected);
    // q, k, v, attn_out, mlp up and down in each of 2 layers, and the head.
    EXPECT_EQ(c.run, 2 * 6 + 1);
    EXPECT_EQ(c.prepare > 0, prepare);
    c.fail_run = -31;
    const std::int32_t id = 1;
    const Failure f = Take(mossrt_session_eval(s, &id, 1, nullptr, nullptr));
    EXPECT_EQ(f.code, MOSSRT_E_CALLBACK);
    EXPECT_EQ(f.callback_code, -31);
    mossrt_model_free(m);
    mossrt_session_free(s);
    EXPECT_EQ(c.live, 0);
  }
  mossrt_model_free(native);
}

TEST(Backend, BuiltInNamesAreTaken) {
  static Calls calls;
  for (const char* name : {"native", "reference", ""}) {
    mossrt_backend* b = nullptr;
    ASSERT_TRUE(Succeeds(mossrt_backend_create(name, &b)));
    ASSERT_TRUE(Succeeds(mossrt_backend_set_pack(b, Pack, &calls)));
    ASSERT_TRUE(Succeeds(mossrt_backend_set_run(b, RunProduct, &calls)));
    ASSERT_TRUE(Succeeds(mossrt_backend_set_free(b, Free, &calls)));
    EXPECT_TRUE(FailsWith(mossrt_backend_register(b), MOSSRT_E_INVALID_ARGUMENT, name));
    mossrt_backend_free(b);
  }
}

}  // namespace
}  // namespace mossrt_testing
