// The runtime without the C interface: open a checkpoint, run tokens, read logits and hidden
// states, sample by hand.
//   forward_pass <checkpoint directory> <prompt>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "mossrt/runtime/decoder.h"
#include "mossrt/runtime/tokenizer.h"

namespace rt = mossrt::runtime;

namespace {

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", std::string(status.message()).c_str());
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const auto checkpoint = rt::OpenCheckpoint(argv[1]);
  if (!checkpoint.ok()) return Fail(checkpoint.status());
  const auto model = rt::Model::Load(**checkpoint, {}, nullptr);
  if (!model.ok()) return Fail(model.status());
  const auto tokenizer = rt::LoadTokenizer((*checkpoint)->source(), {});
  if (!tokenizer.ok()) return Fail(tokenizer.status());
  std::vector<std::int32_t> ids;
  if (const auto s = (*tokenizer)->Encode(argv[2], {.parse_special = true}, &ids); !s.ok())
    return Fail(s);

  // A hook reads the residual stream after the last layer; what it wrote there would go on to the
  // head.
  const rt::HyperParams& params = (*model)->params();
  rt::HookSet hooks;
  double norm = 0;
  hooks.Add(rt::HookPoint::kResid, static_cast<int>(params.layers) - 1,
            [&norm](const rt::HookCall& call) {
              norm = 0;
              for (const float v : call.values.RowSpan(call.values.rows - 1))
                norm += double{v} * double{v};
              return absl::OkStatus();
            });

  const auto workspace = rt::Workspace::Create(**model, 64);
  if (!workspace.ok()) return Fail(workspace.status());
  rt::KvCache kv({params.layers, params.kv_heads, params.head_dim, rt::DType::kF32},
                 params.max_positions);
  rt::IncrementalDecoder decoder(**tokenizer);
  std::string text;
  for (int step = 0; step < 8; ++step) {
    const rt::SequenceInput input{.kv = &kv, .tokens = ids};
    const auto logits = (*model)->Forward({&input, 1}, {.hooks = &hooks}, **workspace);
    if (!logits.ok()) return Fail(logits.status());
    const auto row = logits->RowSpan(0).first(static_cast<std::size_t>((*tokenizer)->size()));
    const auto best =
        static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin());
    std::printf("position %lld: token %d, logit %.4f, |hidden| %.3f\n",
                static_cast<long long>(kv.length()), best,
                static_cast<double>(row[static_cast<std::size_t>(best)]), std::sqrt(norm));
    if (const auto s = decoder.Push(best, &text); !s.ok()) return Fail(s);
    ids.assign(1, best);
  }
  decoder.Flush(&text);
  std::printf("%s\n", text.c_str());
}
