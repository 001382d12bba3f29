// Opens files as a checkpoint and reads all of it. A checkpoint that opens must also be readable:
// its layouts were checked against the files.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "mossrt/runtime/checkpoint.h"

namespace mossrt::runtime::testing {

inline void OpenAndRead(std::map<std::string, std::string> files) {
  files.try_emplace("config.json", "{\"torch_dtype\":\"float16\"}");
  const auto checkpoint = OpenCheckpoint(OpenMemory("mem", std::move(files)));
  if (!checkpoint.ok()) return;
  CrcLedger ledger(**checkpoint);
  for (const auto& [name, tensor] : (*checkpoint)->tensors()) {
    const std::int64_t elements = tensor.elements();
    if (elements == 0 || elements > 4096) continue;  // an expanded view may claim any size
    const std::int64_t rows = tensor.shape.size() < 2 ? elements : tensor.shape[0];
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(elements) * DTypeSize(tensor.dtype));
    if (!(*checkpoint)->ReadRows(tensor, 0, rows, bytes).ok()) std::abort();
    ledger.Add(tensor, 0, bytes);
  }
  (void)ledger.Check();
}

}  // namespace mossrt::runtime::testing
