// One kernel replaced: an activation of one's own in a partial table; all other kernels stay the
// best built-in ones.
//   custom_kernels <checkpoint directory>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <string>

#include "mossrt/runtime/decoder.h"
#include "mossrt/runtime/kernel_table.h"

namespace rt = mossrt::runtime;
namespace cpu = mossrt::cpu;

namespace {

std::atomic<int> calls{0};

void MyGelu(float* x, std::int64_t n) {
  ++calls;
  for (std::int64_t i = 0; i < n; ++i) {
    x[i] *= 0.5f * (1 + std::tanh(0.7978845608f * (x[i] + 0.044715f * x[i] * x[i] * x[i])));
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  cpu::KernelTable table{};
  table.name = "my-gelu";
  table.rank = 1000;  // above every built-in level
  table.available = [] { return true; };
  table.gelu_tanh = MyGelu;
  if (const char* why = cpu::RegisterKernelTable(table); why != nullptr) {
    std::fprintf(stderr, "%s\n", why);
    return 1;
  }
  const auto checkpoint = rt::OpenCheckpoint(argv[1]);
  const auto model =
      checkpoint.ok() ? rt::Model::Load(**checkpoint, {}, nullptr) : checkpoint.status();
  if (!model.ok()) {
    std::fprintf(stderr, "%s\n", std::string(model.status().message()).c_str());
    return 1;
  }
  const rt::HyperParams& p = (*model)->params();
  const auto workspace = rt::Workspace::Create(**model, 4);
  rt::KvCache kv({p.layers, p.kv_heads, p.head_dim, rt::DType::kF32}, p.max_positions);
  const std::int32_t ids[] = {1, 2, 3, 4};
  const rt::SequenceInput input{.kv = &kv, .tokens = ids};
  if (!workspace.ok() || !(*model)->Forward({&input, 1}, {}, **workspace).ok()) return 1;
  std::printf("kernels: %s, outside kernels active: %d, my activation ran %d times\n",
              cpu::Kernels()->name, cpu::OutsideKernelsActive(), calls.load());
  return calls > 0 && cpu::OutsideKernelsActive() ? 0 : 1;
}
