// Two tokens through a model that was loaded from hostile files.
#pragma once

#include <cstdint>

#include "mossrt/runtime/decoder.h"

namespace mossrt::runtime {

inline void RunOnce(const Model& model) {
  const HyperParams& p = model.params();
  const auto workspace = Workspace::Create(model, 2);
  if (!workspace.ok()) return;
  KvCache kv({p.layers, p.kv_heads, p.head_dim, model.plan().kv_dtype}, p.max_positions);
  const std::int32_t ids[2] = {0, static_cast<std::int32_t>(p.vocab - 1)};
  SequenceInput input;
  input.kv = &kv;
  input.tokens = ids;
  (void)model.Forward({&input, 1}, {}, **workspace);
}

}  // namespace mossrt::runtime
