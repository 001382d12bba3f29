// A matrix product of one's own: plain loops over rows, registered as backend "loops" and held
// against the native one.
//   custom_backend <checkpoint directory>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "mossrt/runtime/decoder.h"

namespace rt = mossrt::runtime;

namespace {

struct Rows final : rt::PackedWeight {
  using rt::PackedWeight::PackedWeight;
  std::vector<float> data;  // [rows, cols]
};

struct Input final : rt::PreparedInput {
  rt::ConstMatrix x;
};

class Loops final : public rt::GemmBackend {
 public:
  std::string_view name() const override { return "loops"; }
  bool deterministic() const override { return true; }  // one chain per output, whatever the batch
  bool own_threads() const override { return false; }
  rt::WeightFormat HeldAs(const rt::WeightSource&, const rt::WeightFormat&) const override {
    return rt::Dense(rt::DType::kF32);
  }
  std::size_t PackedBytes(const rt::WeightSource&, const rt::WeightFormat&) const override {
    return 0;
  }  // not from the arena
  absl::StatusOr<std::unique_ptr<rt::PackedWeight>> Pack(const rt::PackRequest& request,
                                                         rt::ThreadTeam&) override {
    const rt::WeightSource& source = *request.source;
    if (source.dtype() != rt::DType::kF32)
      return absl::UnimplementedError("this example reads float32 files only");
    auto rows = std::make_unique<Rows>(source.rows(), source.cols(), rt::Dense(rt::DType::kF32));
    rows->data.resize(static_cast<std::size_t>(source.rows() * source.cols()));
    const auto bytes = std::as_writable_bytes(std::span(rows->data));
    const std::span<std::uint8_t> out(reinterpret_cast<std::uint8_t*>(bytes.data()), bytes.size());
    if (absl::Status s = source.ReadSlab(0, source.rows(), out); !s.ok()) return s;
    return rows;
  }
  void ReadRow(const rt::PackedWeight& weight, std::int64_t row, float* out) const override {
    const auto& w = static_cast<const Rows&>(weight);
    for (std::int64_t k = 0; k < w.cols(); ++k)
      out[k] = w.data[static_cast<std::size_t>(row * w.cols() + k)];
  }
  int InputKind(const rt::PackedWeight&) const override { return 0; }
  std::unique_ptr<rt::PreparedInput> CreatePrepared(std::int64_t, std::int64_t) const override {
    return std::make_unique<Input>();
  }
  absl::Status Prepare(rt::ConstMatrix x, int, rt::PreparedInput* out, rt::ThreadTeam&) override {
    static_cast<Input*>(out)->x = x;
    return absl::OkStatus();
  }
  absl::Status Run(std::span<const rt::GemmCall> calls, rt::ThreadTeam& team) override {
    ++runs_;
    for (const rt::GemmCall& call : calls) {
      if (call.epilogue.activation != rt::Activation::kNone &&
          call.epilogue.activation != rt::Activation::kGeluTanh) {
        return absl::UnimplementedError("this example knows MOSS's activation only");
      }
    }
    team.ForEachThread([&](int thread, int threads) {
      for (const rt::GemmCall& call : calls)
        Multiply(call, rt::SplitRange(call.w->rows(), thread, threads));
    });
    return absl::OkStatus();
  }
  std::uint64_t run_count() const override { return runs_; }

 private:
  static void Multiply(const rt::GemmCall& call, rt::Range outputs) {
    const auto& w = static_cast<const Rows&>(*call.w);
    const rt::ConstMatrix x = static_cast<const Input*>(call.x)->x;
    for (std::int64_t i = 0; i < x.rows; ++i) {
      for (std::int64_t j = outputs.begin; j < outputs.end; ++j) {
        const float* row = w.data.data() + j * w.cols();
        float sum = 0;
        for (std::int64_t k = 0; k < w.cols(); ++k) sum += x.Row(i)[k] * row[k];
        if (call.epilogue.bias != nullptr) sum += call.epilogue.bias[j];
        if (call.epilogue.activation == rt::Activation::kGeluTanh) {
          sum *= 0.5f * (1 + std::tanh(0.7978845608f * (sum + 0.044715f * sum * sum * sum)));
        }
        if (call.epilogue.times.data != nullptr) sum *= call.epilogue.times.Row(i)[j];
        call.y.Row(i)[j] = sum;
      }
    }
  }
  std::uint64_t runs_ = 0;
};

absl::StatusOr<std::vector<float>> Logits(const char* directory, const std::string& backend) {
  auto checkpoint = rt::OpenCheckpoint(directory);
  if (!checkpoint.ok()) return checkpoint.status();
  auto model = rt::Model::Load(**checkpoint, {.dtype = "float32", .backend = backend, .threads = 2},
                               nullptr);
  if (!model.ok()) return model.status();
  const rt::HyperParams& p = (*model)->params();
  auto workspace = rt::Workspace::Create(**model, 8);
  if (!workspace.ok()) return workspace.status();
  rt::KvCache kv({p.layers, p.kv_heads, p.head_dim, rt::DType::kF32}, p.max_positions);
  const std::int32_t ids[] = {10, 20, 30, 40, 50};
  const rt::SequenceInput input{.kv = &kv, .tokens = ids};
  auto logits = (*model)->Forward({&input, 1}, {}, **workspace);
  if (!logits.ok()) return logits.status();
  std::printf("%s: %llu products\n", backend.c_str(),
              static_cast<unsigned long long>((*model)->backend().run_count()));
  return std::vector<float>(logits->RowSpan(0).begin(), logits->RowSpan(0).end());
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const absl::Status registered =
      rt::RegisterBackend("loops", [] { return std::make_unique<Loops>(); });
  const auto ours = Logits(argv[1], "loops"), native = Logits(argv[1], "native");
  for (const absl::Status& status : {registered, ours.status(), native.status()}) {
    if (!status.ok()) {
      std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
      return 1;
    }
  }
  double worst = 0;
  for (std::size_t i = 0; i < ours->size(); ++i) {
    worst = std::max(worst, std::abs(double{(*ours)[i]} - double{(*native)[i]}));
  }
  std::printf("largest difference of a logit to the native backend: %g\n", worst);
  return worst < 1e-3 ? 0 : 1;
}
