// The input is a whole torch file.
#include "fuzz/open_and_read.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mossrt::runtime::testing;
  OpenAndRead({{"pytorch_model.bin", std::string(reinterpret_cast<const char*>(data), size)}});
  return 0;
}
