// "<sup><|1|></sup>" and its variants in answers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace mossrt::runtime {

struct CitationMatch {
  enum Kind { kNone, kPartial, kWhole } kind = kNone;  // partial: more text may make it one
  std::size_t size = 0;                                // of a whole one
  std::vector<std::int64_t> numbers;
};

// The citation that `text` begins with. Known are <sup><|1|></sup>, <sup><|1|>, <|2|></sup>,
// <sup><|1|><|2|></sup>, <sup>1</sup> and <sup>|1|</sup>.
CitationMatch MatchCitation(std::string_view text);

}  // namespace mossrt::runtime
