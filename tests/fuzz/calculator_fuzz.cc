// The input is an expression. What it gives is one line of ASCII that gives itself again.
#include <cstdlib>
#include <string>

#include "dialogue/calculator.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using mossrt::runtime::Calculate;
  const auto value = Calculate({reinterpret_cast<const char*>(data), size});
  if (!value.ok()) {
    if (value.status().code() != absl::StatusCode::kInvalidArgument) std::abort();
    return 0;
  }
  const auto again = Calculate(*value);
  if (value->size() < 4000 && (!again.ok() || *again != *value)) std::abort();
  return 0;
}
