// Text as Python's repr() writes it, which is how MOSS's training data quotes results.
#pragma once

#include <string>
#include <string_view>

namespace mossrt::runtime {

// `text` must be UTF-8. Which code points are printable follows Unicode 15.
std::string PythonRepr(std::string_view text);

}  // namespace mossrt::runtime
