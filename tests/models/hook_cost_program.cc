// Decodes tokens for hook_cost.py, which counts the instructions under callgrind.
//
//   hook_cost_program DIRECTORY MODE TOKENS
//
// MODE: none (no HookSet), empty (a HookSet without functions), unused (one function, at a point
// that these calls never reach), used (the same function at every layer's resid). Prints how often
// the function was called.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "mossrt/runtime/decoder.h"

namespace mossrt::runtime {
namespace {

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return 1;
}

int Run(const std::string& directory, const std::string& mode, int tokens) {
  const auto checkpoint = OpenCheckpoint(directory);
  if (!checkpoint.ok()) return Fail(checkpoint.status());
  // One thread: those that wait for work would spin, and spinning is counted too.
  const auto model = Model::Load(**checkpoint, {.dtype = "float32", .threads = 1}, nullptr);
  if (!model.ok()) return Fail(model.status());
  const HyperParams& p = (*model)->params();
  const auto workspace = Workspace::Create(**model, 1);
  if (!workspace.ok()) return Fail(workspace.status());
  KvCache kv({p.layers, p.kv_heads, p.head_dim, DType::kF32}, p.max_positions);

  int calls = 0;
  HookSet hooks;
  const auto count = [&calls](const HookCall&) {
    ++calls;
    return absl::OkStatus();
  };
  // The calls below want no logits, so nothing comes past the final norm.
  if (mode == "unused") hooks.Add(HookPoint::kFinalNorm, HookSet::kAllLayers, count);
  if (mode == "used") hooks.Add(HookPoint::kResid, HookSet::kAllLayers, count);
  const ForwardOptions options{.hooks = mode == "none" ? nullptr : &hooks};
  for (int i = 0; i < tokens; ++i) {
    const auto token = static_cast<std::int32_t>(i % p.vocab);
    SequenceInput input;
    input.kv = &kv;
    input.tokens = {&token, 1};
    input.want = SequenceInput::Rows::kNone;
    const auto logits = (*model)->Forward({&input, 1}, options, **workspace);
    if (!logits.ok()) return Fail(logits.status());
  }
  std::printf("%d\n", calls);
  return 0;
}

}  // namespace
}  // namespace mossrt::runtime

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  return mossrt::runtime::Run(argv[1], argv[2], std::atoi(argv[3]));
}
