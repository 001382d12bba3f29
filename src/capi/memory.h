// Memory that belongs to the caller: ids, texts, JSON. See mossrt_set_allocator.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "mossrt/mossrt.h"

namespace mossrt::capi {

// Copies and only then writes the out parameters. A zero byte follows the text.
absl::Status GiveText(std::string_view text, char** out, std::size_t* len);
// `size` bytes that `fill` writes.
absl::Status GiveBytes(std::size_t size,
                       const std::function<absl::Status(std::span<std::uint8_t>)>& fill, void** out,
                       std::size_t* len);
absl::Status GiveIds(std::span<const std::int32_t> ids, std::int32_t** out, std::size_t* n);

}  // namespace mossrt::capi
