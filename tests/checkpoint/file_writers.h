// Writers of the files that the checkpoint room reads, made for the tests alone: they share no code
// with the readers and can be told to lie.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/cat.h"

namespace mossrt::runtime::testing {

template <typename T>
std::string Little(T value) {
  std::string bytes;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    bytes.push_back(static_cast<char>(static_cast<std::uint64_t>(value) >> (8 * i) & 0xFF));
  }
  return bytes;
}
inline std::string U16(std::uint64_t v) { return Little(static_cast<std::uint16_t>(v)); }
inline std::string U32(std::uint64_t v) { return Little(static_cast<std::uint32_t>(v)); }
inline std::string U64(std::uint64_t v) { return Little(v); }

inline std::uint32_t CrcOf(std::string_view bytes) {
  return static_cast<std::uint32_t>(
      crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

// Replaces `size` bytes at `at`.
inline void Overwrite(std::string* text, std::size_t at, std::string_view bytes) {
  text->replace(at, bytes.size(), bytes);
}

struct ZipItem {
  std::string name;
  std::string bytes;
  std::uint16_t method = 0;
  std::uint16_t flags = 0;
};

struct ZipOptions {
  bool zip64_end = true;       // as torch does, always
  bool zip64_entries = false;  // sizes and offsets in extra field 1 although they would fit
  bool sizes_follow = true;    // as torch does: zeros in the local header, flag bit 3
  std::string comment = {};
};

struct ZipLayout {
  std::string file;
  std::size_t directory = 0;  // offset of the central directory
  std::size_t end64 = 0;
  std::size_t end = 0;
  std::vector<std::size_t> locals;    // offsets of local headers
  std::vector<std::size_t> data;      // offsets of the items' bytes
  std::vector<std::size_t> centrals;  // offsets of directory entries
};

inline ZipLayout WriteZip(const std::vector<ZipItem>& items, const ZipOptions& options = {}) {
  ZipLayout zip;
  std::string& out = zip.file;
  for (const ZipItem& item : items) {
    zip.locals.push_back(out.size());
    const std::uint16_t flags =
        static_cast<std::uint16_t>(item.flags | (options.sizes_follow ? 8 : 0));
    const bool zero = options.sizes_follow;
    // Padding in an extra field, so that the bytes start at a multiple of 64.
    const std::size_t fixed = out.size() + 30 + item.name.size() + 4;
    const std::string extra =
        "FB" + U16((64 - fixed % 64) % 64) + std::string((64 - fixed % 64) % 64, 'Z');
    out += U32(0x04034B50) + U16(20) + U16(flags) + U16(item.method) + U32(0);
    out += U32(zero ? 0 : CrcOf(item.bytes)) + U32(zero ? 0 : item.bytes.size()) +
           U32(zero ? 0 : item.bytes.size());
    out += U16(item.name.size()) + U16(extra.size()) + item.name + extra;
    zip.data.push_back(out.size());
    out += item.bytes;
    if (zero) {
      out += U32(0x08074B50) + U32(CrcOf(item.bytes)) + U32(item.bytes.size()) +
             U32(item.bytes.size());
    }
  }
  zip.directory = out.size();
  for (std::size_t i = 0; i < items.size(); ++i) {
    const ZipItem& item = items[i];
    zip.centrals.push_back(out.size());
    const bool wide = options.zip64_entries;
    const std::string extra = wide ? U16(1) + U16(24) + U64(item.bytes.size()) +
                                         U64(item.bytes.size()) + U64(zip.locals[i])
                                   : "";
    const auto flags = static_cast<std::uint16_t>(item.flags | (options.sizes_follow ? 8 : 0));
    out += U32(0x02014B50) + U16(45) + U16(20) + U16(flags) + U16(item.method) + U32(0);
    out += U32(CrcOf(item.bytes)) + U32(wide ? 0xFFFFFFFF : item.bytes.size()) +
           U32(wide ? 0xFFFFFFFF : item.bytes.size());
    out += U16(item.name.size()) + U16(extra.size()) + U16(0) + U16(0) + U16(0) + U32(0);
    out += U32(wide ? 0xFFFFFFFF : zip.locals[i]) + item.name + extra;
  }
  const std::size_t size = out.size() - zip.directory;
  zip.end64 = out.size();
  if (options.zip64_end) {
    out += U32(0x06064B50) + U64(44) + U16(45) + U16(45) + U32(0) + U32(0);
    out += U64(items.size()) + U64(items.size()) + U64(size) + U64(zip.directory);
    out += U32(0x07064B50) + U32(0) + U64(zip.end64) + U32(1);
  }
  zip.end = out.size();
  out += U32(0x06054B50) + U16(0) + U16(0) + U16(items.size()) + U16(items.size());
  out += U32(size) + U32(zip.directory) + U16(options.comment.size()) + options.comment;
  return zip;
}

// ---- pickles: each function gives the opcodes that push one value

inline std::string Text(std::string_view text) { return Cat("X", U32(text.size()), text); }
inline std::string Int(std::int64_t value) {
  if (value >= 0 && value < 256) return Cat("K", static_cast<char>(value));
  return std::string("\x8A\x08", 2) + U64(static_cast<std::uint64_t>(value));
}
inline std::string Ints(const std::vector<std::int64_t>& values) {
  std::string out = "(";
  for (const std::int64_t value : values) out += Int(value);
  return out + "t";
}
inline std::string Name(std::string_view module, std::string_view name) {
  return Cat("c", module, "\n", name, "\n");
}
inline std::string Pickle(std::string_view body) { return Cat("\x80\x02", body, "."); }
inline std::string EmptyOrderedDict() { return Name("collections", "OrderedDict") + ")R"; }

struct PickledTensor {
  std::string name;
  std::string storage_class = "FloatStorage";
  std::string key = "0";
  std::int64_t numel = 0;
  std::int64_t offset = 0;
  std::vector<std::int64_t> shape = {};
  std::vector<std::int64_t> strides = {};
};

inline std::string StorageOf(const PickledTensor& t) {
  return Cat("(", Text("storage"), Name("torch", t.storage_class), Text(t.key), Text("cpu"),
             Int(t.numel), "tQ");
}
inline std::string TensorOf(const PickledTensor& t) {
  return Cat(Name("torch._utils", "_rebuild_tensor_v2"), "(", StorageOf(t), Int(t.offset),
             Ints(t.shape), Ints(t.strides), "\x89", EmptyOrderedDict(), "tR");
}
inline std::string StateDictOf(const std::vector<PickledTensor>& tensors) {
  std::string out = EmptyOrderedDict() + "(";
  for (const PickledTensor& t : tensors) out += Text(t.name) + TensorOf(t);
  return out + "u";
}

// The entries of a file as torch.save writes it.
inline std::vector<ZipItem> TorchItems(std::string_view pickle,
                                       const std::map<std::string, std::string>& storages,
                                       const std::string& prefix = "archive",
                                       const std::string& byteorder = "little") {
  std::vector<ZipItem> items{{prefix + "/data.pkl", std::string(pickle)}};
  if (!byteorder.empty()) items.push_back({prefix + "/byteorder", byteorder});
  for (const auto& [key, bytes] : storages) items.push_back({prefix + "/data/" + key, bytes});
  items.push_back({prefix + "/version", "3\n"});
  items.push_back({prefix + "/.data/serialization_id", "0123456789"});
  return items;
}

inline std::string TorchFile(const std::vector<PickledTensor>& tensors,
                             const std::map<std::string, std::string>& storages) {
  return WriteZip(TorchItems(Pickle(StateDictOf(tensors)), storages)).file;
}

inline std::string Safetensors(std::string_view header, std::string_view data) {
  return U64(header.size()) + std::string(header) + std::string(data);
}

// Bytes 0, 1, 2, ...
inline std::string Counting(std::size_t size) {
  std::string bytes;
  for (std::size_t i = 0; i < size; ++i) bytes.push_back(static_cast<char>(i & 0xFF));
  return bytes;
}

}  // namespace mossrt::runtime::testing
