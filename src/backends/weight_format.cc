#include "mossrt/runtime/weight_format.h"

#include <charconv>

#include "base/cat.h"

namespace mossrt::runtime {

std::string FormatName(const WeightFormat& format) {
  if (!format.integers()) return std::string(DTypeName(format.dtype));
  return Cat("int", format.bits, "-g", format.group, format.zeros ? "-asym" : "",
             format.search ? "-search" : "");
}

absl::StatusOr<WeightFormat> ParseWeightFormat(std::string_view name) {
  for (const DType dense : {DType::kF32, DType::kF16, DType::kBF16}) {
    if (name == DTypeName(dense)) return Dense(dense);
  }
  const auto unknown = [name](std::string_view why) {
    return absl::InvalidArgumentError(
        Cat("\"", name, "\" is no weight format", why,
            "; known are float32, float16, bfloat16, int8 and int4, the last two with an optional "
            "group size, \"-asym\" and \"-search\", as in int4-g128-asym"));
  };
  WeightFormat format = name.starts_with("int8") ? Integers(8, 128) : Integers(4, 64);
  if (!name.starts_with("int8") && !name.starts_with("int4")) return unknown("");
  std::string_view rest = name.substr(4);
  while (!rest.empty()) {
    if (rest.starts_with("-g")) {
      const char* end = rest.data() + rest.size();
      const auto parsed = std::from_chars(rest.data() + 2, end, format.group);
      if (parsed.ec != std::errc()) return unknown(": a number must follow -g");
      rest = rest.substr(static_cast<std::size_t>(parsed.ptr - rest.data()));
      const bool fits = format.group == 32 || format.group == 64 || format.group == 128 ||
                        (format.bits == 8 && format.group == 256);
      if (!fits) return unknown(": groups have 32, 64 or 128 inputs, for int8 also 256");
    } else if (rest.starts_with("-asym")) {
      format.zeros = true;
      rest = rest.substr(5);
    } else if (rest.starts_with("-search")) {
      format.search = true;
      rest = rest.substr(7);
    } else {
      return unknown(Cat(": \"", rest, "\" means nothing"));
    }
  }
  return format;
}

}  // namespace mossrt::runtime
