// What instruction_counts.py counts:
//
//   instruction_counts_program DIRECTORY DTYPE decode|prefill COUNT
//
// decode: COUNT tokens one by one; prefill: COUNT prompts of 64 tokens, for which kernels take
// the way of many rows. The cache is the one that a session would have. One thread: those that wait
// for work would spin, and spinning is counted too.
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "mossrt/runtime/decoder.h"

namespace mossrt::runtime {
namespace {

absl::Status Run(const std::string& directory, const std::string& dtype, bool prefill, int count) {
  const auto checkpoint = OpenCheckpoint(directory);
  if (!checkpoint.ok()) return checkpoint.status();
  const auto model =
      Model::Load(**checkpoint, {.dtype = dtype, .threads = 1, .verify_crc = false}, nullptr);
  if (!model.ok()) return model.status();
  const HyperParams& p = (*model)->params();
  constexpr int kPrompt = 64;
  const auto workspace = Workspace::Create(**model, kPrompt);
  if (!workspace.ok()) return workspace.status();
  std::vector<std::int32_t> ids;
  for (int i = 0; i < kPrompt; ++i) ids.push_back(static_cast<std::int32_t>(i * 7 % p.vocab));
  KvCache kv({p.layers, p.kv_heads, p.head_dim, (*model)->plan().kv_dtype}, p.max_positions);
  for (int i = 0; i < count; ++i) {
    if (prefill) kv.Rewind(0);
    const SequenceInput input{.kv = &kv,
                              .tokens = std::span(ids).subspan(0, prefill ? ids.size() : 1)};
    const auto logits = (*model)->Forward({&input, 1}, {}, **workspace);
    if (!logits.ok()) return logits.status();
  }
  return absl::OkStatus();
}

}  // namespace
}  // namespace mossrt::runtime

int main(int argc, char** argv) {
  if (argc != 5) return 2;
  const absl::Status status =
      mossrt::runtime::Run(argv[1], argv[2], std::string(argv[3]) == "prefill", std::atoi(argv[4]));
  if (!status.ok()) std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return status.ok() ? 0 : 1;
}
