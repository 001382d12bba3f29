// The input is the pickle of a torch file, which is built around it with right CRCs.
#include "checkpoint/file_writers.h"
#include "fuzz/open_and_read.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mossrt::runtime::testing;
  const std::string pickle(reinterpret_cast<const char*>(data), size);
  OpenAndRead({{"pytorch_model.bin",
                WriteZip(TorchItems(pickle, {{"0", Counting(24)}, {"1", Counting(12)}})).file}});
  return 0;
}
