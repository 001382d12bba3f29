// Stop strings in a stream of text: found wherever the stream is cut, and never let through, not
// even in part.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace mossrt::runtime {

class StopMatcher {
 public:
  // Stop strings are non-empty and valid UTF-8.
  static absl::StatusOr<StopMatcher> Create(const std::vector<std::string>& stop);

  // Takes the next piece of text and appends to *out what can no longer be part of a stop string.
  // True when a stop string is complete: what stood before it has been released, it and what
  // follows is dropped. Of several the one that ends first counts, then the longest.
  bool Push(std::string_view text, std::string* out);
  // At the end of the stream: releases what was held back.
  void Flush(std::string* out);

 private:
  struct Pattern {
    std::string text;
    // border[i]: length of the longest proper prefix of text[0, i] that ends it (Knuth, Morris and
    // Pratt).
    std::vector<std::size_t> border;
    std::size_t matched = 0;  // so much of the pattern ends the stream so far
  };
  std::vector<Pattern> patterns_;
  std::string held_;
};

}  // namespace mossrt::runtime
