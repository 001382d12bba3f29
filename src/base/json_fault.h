// Where a text stops being JSON, for messages. The parser has refused the text before.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace mossrt::runtime {

struct JsonFault {
  std::size_t line = 1, column = 1;  // from 1; columns are code points
  std::string expected{}, found{};
};

// Nothing if the text is JSON. Judges as the parser does, whose own errors tell neither the place
// where the offending piece begins nor what would have been right there.
std::optional<JsonFault> FindJsonFault(std::string_view text);

}  // namespace mossrt::runtime
