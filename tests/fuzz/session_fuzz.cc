// The input is a saved session, as it is and with a length and sums that fit, so that what is
// behind them is reached. What is restored goes on, is saved, and is restored again.
#include <cstdint>
#include <cstdlib>

#include "generate/saved_session_bytes.h"
#include "mossrt/runtime/checkpoint.h"

namespace {

using namespace mossrt::runtime;  // NOLINT

const Model& TheModel() {
  static const Model* model = [] {
    const auto checkpoint = OpenCheckpoint(MOSSRT_SOURCE_DIR "/tests/data/models/moss");
    if (!checkpoint.ok()) std::abort();  // our own mistake
    auto loaded = Model::Load(**checkpoint, {.threads = 1, .huge_pages = false}, nullptr);
    if (!loaded.ok()) std::abort();
    return loaded->release();
  }();
  return *model;
}

void TryRestore(const Bytes& bytes) {
  const auto session = Session::RestoreBytes(TheModel(), bytes);
  if (!session.ok()) return;
  if ((*session)->tokens().size() < static_cast<std::size_t>((*session)->context())) {
    const std::int32_t token = 1;
    if (!(*session)->Eval({&token, 1}, {}, nullptr).ok()) std::abort();
  }
  const auto saved = SaveBytes(**session);
  if (!saved.ok() || !Session::RestoreBytes(TheModel(), *saved).ok()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Bytes bytes(data, data + size);
  TryRestore(bytes);
  if (size < sizeof(SavedHeader)) return 0;
  const std::uint64_t whole = size;
  std::memcpy(bytes.data() + offsetof(SavedHeader, file_bytes), &whole, sizeof whole);
  FixSums(&bytes);
  TryRestore(bytes);
  return 0;
}
