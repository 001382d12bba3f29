// Passing errors on. Messages are full sentences that hold the offending value and the cure.
#pragma once

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/cat.h"

#define MOSSRT_RETURN_IF_ERROR(expression)                                  \
  do {                                                                      \
    if (absl::Status status_ = (expression); !status_.ok()) return status_; \
  } while (false)

#define MOSSRT_CONCAT_INNER(a, b) a##b
#define MOSSRT_CONCAT(a, b) MOSSRT_CONCAT_INNER(a, b)

// MOSSRT_ASSIGN_OR_RETURN(auto x, F()): x is F()'s value, or the function returns F()'s error.
#define MOSSRT_ASSIGN_OR_RETURN(lhs, expression) \
  MOSSRT_ASSIGN_OR_RETURN_INNER(MOSSRT_CONCAT(status_or_, __LINE__), lhs, expression)
#define MOSSRT_ASSIGN_OR_RETURN_INNER(temporary, lhs, expression) \
  auto temporary = (expression);                                  \
  if (!temporary.ok()) return std::move(temporary).status();      \
  lhs = *std::move(temporary)

namespace mossrt::runtime {

// The same error with `where` (a file, a tensor, a key) in front of its message.
inline absl::Status Prefix(const absl::Status& status, std::string_view where) {
  return status.ok() ? status : absl::Status(status.code(), Cat(where, ": ", Message(status)));
}

// The same error with `folder` in front of its message if that begins with the name of a file of
// it, as those about the JSON files of a checkpoint do.
inline absl::Status InFolder(const absl::Status& status, std::string_view folder) {
  const std::string_view text = Message(status);
  return text.substr(0, text.find_first_of(":, ")).ends_with(".json")
             ? absl::Status(status.code(), Cat(folder, "/", text))
             : status;
}

}  // namespace mossrt::runtime
