// The measurements of model_bench one at a time, for a program that interleaves them with others'.
#pragma once

#include <cstdint>
#include <cstdio>
#include <span>

#include "mossrt/runtime/decoder.h"

namespace mossrt::bench {

// The tokens of one sequence in passes of at most kPromptRows, as sessions make them, until the
// logits of the last token exist.
absl::Status ForwardInPasses(const runtime::Model& model, std::span<const std::int32_t> tokens,
                             runtime::KvCache* kv, runtime::Workspace& workspace);

// Prints one line of JSON about the model, then one for every line of `requests`:
//
//   prefill N     N tokens into an empty sequence, until the logits of the last one exist
//   decode N      N steps of one token, after a prompt of 8
//   answer P N    a prompt of P and N tokens after it, all of it: a question with its answer
//   batch B N     N passes with one token each of B sequences, each after a prompt of 8
//
// {"seconds": s, "peak_rss": bytes}, or {"error": sentence} for a request that cannot be met.
int AnswerRequests(const runtime::Model& model, double load_seconds, std::FILE* requests);

}  // namespace mossrt::bench
