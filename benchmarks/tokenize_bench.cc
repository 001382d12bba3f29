// Encoding and decoding with the vocabulary of the tests; benchmarks/tokenize_vs_hf.py compares
// with Hugging Face's tokenizers on any vocabulary. MOSSRT_TOKENIZER names another directory.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <string>

#include "mossrt/runtime/tokenizer.h"

namespace {

using namespace mossrt::runtime;

const Tokenizer* Load(benchmark::State& state) {
  static const auto tokenizer = [] {
    const char* directory = std::getenv("MOSSRT_TOKENIZER");
    return LoadTokenizer(
        directory != nullptr ? directory : MOSSRT_SOURCE_DIR "/tests/data/text/moss_like", {});
  }();
  if (tokenizer.ok()) return tokenizer->get();
  state.SkipWithError(tokenizer.status().ToString().c_str());
  return nullptr;
}

std::string Text(int kind) {
  const std::string unit =
      kind == 0 ? "The keeper counted 128 boats each morning; it's what he'd always done.\n"
      : kind == 1 ? "模型读取权重，然后做矩阵乘法；没有别的步骤需要这么长的时间。\n"
      : kind == 2 ? "    for (int i = 0; i < 10; ++i) {\n        numbers.push_back(i * i);\n    }\n"
                  : "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
  std::string text;
  while (text.size() < 1'000'000) text += unit;
  return text;
}

void BM_Encode(benchmark::State& state) {
  const Tokenizer* tokenizer = Load(state);
  if (tokenizer == nullptr) return;
  const std::string text = Text(static_cast<int>(state.range(0)));
  std::vector<std::int32_t> ids;
  for (auto _ : state) {
    ids.clear();
    benchmark::DoNotOptimize(tokenizer->Encode(text, {}, &ids).ok());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(text.size()) * state.iterations());
}
BENCHMARK(BM_Encode)->ArgName("english0_chinese1_code2_letter3")->DenseRange(0, 3);

void BM_Decode(benchmark::State& state) {
  const Tokenizer* tokenizer = Load(state);
  if (tokenizer == nullptr) return;
  const std::string text = Text(static_cast<int>(state.range(0)));
  std::vector<std::int32_t> ids;
  if (!tokenizer->Encode(text, {}, &ids).ok()) return state.SkipWithError("encode");
  std::string decoded;
  for (auto _ : state) {
    decoded.clear();
    benchmark::DoNotOptimize(tokenizer->Decode(ids, {}, &decoded).ok());
  }
  state.SetBytesProcessed(static_cast<std::int64_t>(text.size()) * state.iterations());
}
BENCHMARK(BM_Decode)->ArgName("english0_chinese1_code2")->DenseRange(0, 2);

}  // namespace
