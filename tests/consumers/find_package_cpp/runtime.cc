// generate.cpp on the header-exposed runtime.
#include <iostream>

#include "mossrt/runtime/session.h"

namespace rt = mossrt::runtime;

int main(int argc, char** argv) {
  if (argc < 4) return 2;
  const auto fail = [](const absl::Status& status) {
    std::cerr << status << '\n';
    return 1;
  };
  const auto checkpoint = rt::OpenCheckpoint(std::string(argv[1]));
  if (!checkpoint.ok()) return fail(checkpoint.status());
  const auto model = rt::Model::Load(**checkpoint, {}, nullptr);
  if (!model.ok()) return fail(model.status());
  const auto tokenizer = rt::LoadTokenizer(std::string(argv[1]), {});
  if (!tokenizer.ok()) return fail(tokenizer.status());
  std::vector<std::int32_t> ids;
  rt::EncodeOptions encode;
  encode.parse_special = true;
  if (auto s = (*tokenizer)->Encode(argv[2], encode, &ids); !s.ok()) return fail(s);
  const auto session = rt::Session::Create(**model, {});
  if (!session.ok()) return fail(session.status());
  if (auto s = (*session)->Eval(ids, {}, nullptr); !s.ok()) return fail(s);
  const auto resolved = rt::ResolveGenerateOptions(
      "{\"do_sample\": false, \"max_new_tokens\": " + std::string(argv[3]) + "}", "",
      (*checkpoint)->config_json(), (*model)->params(), tokenizer->get());
  if (!resolved.ok()) return fail(resolved.status());
  const auto generation =
      rt::Generation::Start(**session, tokenizer->get(), resolved->options, nullptr);
  if (!generation.ok()) return fail(generation.status());
  rt::GenerationStep step;
  while (step.finish == rt::Finish::kNone) {
    if (auto s = (*generation)->Next(&step); !s.ok()) return fail(s);
    std::cout << step.text;
  }
  std::cout << '\n';
}
