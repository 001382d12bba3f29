// libsentencepiece behind standard types: its header declares names in namespace absl that clash
// with abseil's, so no file may include both.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mossrt::runtime {

class SentencePieceLibrary {
 public:
  // `model` must have passed ReadSentencePieceModel. Null, and a message, if the library refuses
  // it.
  static std::unique_ptr<SentencePieceLibrary> Load(std::string_view model, std::string* error);
  virtual ~SentencePieceLibrary() = default;
  // Appends the ids of valid UTF-8; false, and a message, if the library fails.
  virtual bool Encode(std::string_view text, std::vector<std::int32_t>* ids,
                      std::string* error) const = 0;
};

}  // namespace mossrt::runtime
