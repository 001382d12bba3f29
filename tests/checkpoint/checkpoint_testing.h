// What the tests of the checkpoint room share.
#pragma once

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "mossrt/runtime/checkpoint.h"

namespace mossrt::runtime::testing {

// Expects an error of `code` whose message holds every one of `parts`.
inline void ExpectError(const absl::Status& status, absl::StatusCode code,
                        const std::vector<std::string>& parts) {
  EXPECT_EQ(status.code(), code) << status;
  for (const std::string& part : parts) {
    EXPECT_NE(Message(status).find(part), std::string_view::npos)
        << "no \"" << part << "\" in: " << status;
  }
}

class TempDir {
 public:
  TempDir() {
    std::string path = (std::filesystem::temp_directory_path() / "mossrt-test-XXXXXX").string();
    if (mkdtemp(path.data()) != nullptr) path_ = path;
  }
  ~TempDir() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::string& path() const { return path_; }
  std::string File(std::string_view name) const { return path_ + "/" + std::string(name); }
  void Write(std::string_view name, std::string_view bytes) const {
    std::ofstream(File(name), std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }

 private:
  std::string path_;
};

inline absl::StatusOr<std::unique_ptr<Checkpoint>> OpenFiles(
    std::map<std::string, std::string> files) {
  files.try_emplace("config.json", "{}");
  return OpenCheckpoint(OpenMemory("mem", std::move(files)));
}

// The error of opening one file as pytorch_model.bin.
inline absl::Status TorchError(const std::string& file) {
  return OpenFiles({{"pytorch_model.bin", file}}).status();
}

inline std::int64_t RowCount(const TensorInfo& t) {
  return t.shape.size() < 2 ? t.elements() : t.shape[0];
}

// All rows, read `step` at a time.
inline absl::StatusOr<std::string> ReadTensor(const Checkpoint& checkpoint, const TensorInfo& t,
                                              std::int64_t step = INT64_MAX,
                                              CrcLedger* ledger = nullptr) {
  const std::int64_t rows = RowCount(t);
  const std::int64_t row_bytes =
      rows == 0 ? 0 : t.elements() / rows * static_cast<std::int64_t>(DTypeSize(t.dtype));
  std::string all;
  for (std::int64_t first = 0; first < rows; first += std::min(step, rows - first)) {
    const std::int64_t n = std::min(step, rows - first);
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(n * row_bytes));
    MOSSRT_RETURN_IF_ERROR(checkpoint.ReadRows(t, first, n, bytes));
    if (ledger != nullptr) ledger->Add(t, first, bytes);
    all.append(bytes.begin(), bytes.end());
  }
  return all;
}

inline std::string ReadWholeFile(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline bool HasNote(const Checkpoint& checkpoint, std::string_view part) {
  for (const std::string& note : checkpoint.notes()) {
    if (note.find(part) != std::string::npos) return true;
  }
  return false;
}

}  // namespace mossrt::runtime::testing
