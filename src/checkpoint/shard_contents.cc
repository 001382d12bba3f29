#include "checkpoint/shard_contents.h"

#include <algorithm>

#include "base/status.h"
#include "checkpoint/bytes.h"

namespace mossrt::runtime {

absl::Status CheckNotPlaceholder(const ByteSource& source, const std::string& file) {
  MOSSRT_ASSIGN_OR_RETURN(const std::uint64_t size, source.Size(file));
  std::string head(std::min<std::uint64_t>(size, 64), '\0');
  MOSSRT_RETURN_IF_ERROR(
      source.Read(file, 0, {reinterpret_cast<std::uint8_t*>(head.data()), head.size()}));
  const std::string path = Cat(source.name(), "/", file);
  if (head.starts_with("version https://git-lfs")) {
    return absl::UnimplementedError(
        Cat(path,
            ": is the pointer that Git LFS leaves in place of the file; run \"git lfs pull\" "
            "in the checkpoint's directory"));
  }
  if (head.starts_with("<!DOCTYPE") || head.starts_with("<!doctype") || head.starts_with("<html")) {
    return absl::UnimplementedError(
        Cat(path, ": is a web page, not the file itself; download the file again"));
  }
  return absl::OkStatus();
}

}  // namespace mossrt::runtime
