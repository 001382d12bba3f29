// The input is a whole safetensors file.
#include "fuzz/open_and_read.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mossrt::runtime::testing;
  OpenAndRead({{"model.safetensors", std::string(reinterpret_cast<const char*>(data), size)}});
  return 0;
}
