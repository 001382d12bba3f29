// Generates text in C++: generate <checkpoint directory> <prompt> [max_new_tokens]
#include <cstdlib>
#include <iostream>

#include "mossrt/mossrt.hpp"

int main(int argc, char** argv) {
  if (argc < 3) {
    std::cerr << "usage: " << argv[0] << " <checkpoint directory> <prompt> [max_new_tokens]\n";
    return 2;
  }
  try {
    const auto model = mossrt::Model::Load(argv[1]);
    const mossrt::GenerateOptions options{.max_new_tokens = argc > 3 ? std::atoi(argv[3]) : 64,
                                          .do_sample = false};
    for (const mossrt::Chunk& chunk : model.Generate(argv[2], options, {.parse_special = true})) {
      std::cout << chunk.text << std::flush;
    }
    std::cout << '\n';
  } catch (const mossrt::Error& e) {
    std::cerr << "error " << static_cast<int>(e.code()) << ": " << e.what() << '\n';
    return 1;
  }
}
