// The input is an index, before its first zero byte the names of further files, one a line.
#include <algorithm>
#include <string_view>

#include "checkpoint/file_writers.h"
#include "fuzz/open_and_read.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace mossrt::runtime::testing;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  static const std::string shard =
      TorchFile({{.name = "a", .numel = 1, .shape = {1}, .strides = {1}}}, {{"0", "1234"}});
  std::map<std::string, std::string> files;
  std::size_t at = 0;
  const std::size_t names = input.find('\0');
  if (names != std::string_view::npos) {
    while (at < names) {
      const std::size_t end = std::min(input.find('\n', at), names);
      files.try_emplace(std::string(input.substr(at, end - at)), shard);
      at = end + 1;
    }
    at = names + 1;
  }
  if (at < input.size()) files["pytorch_model.bin.index.json"] = std::string(input.substr(at));
  OpenAndRead(std::move(files));
  return 0;
}
