// SHA-256 (FIPS 180-4): which text a file holds, where the text itself must not be kept.
#pragma once

#include <string>
#include <string_view>

namespace mossrt::runtime {

// 64 lower-case hexadecimal digits.
std::string Sha256Hex(std::string_view bytes);

}  // namespace mossrt::runtime
