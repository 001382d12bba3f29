#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/status.h"
#include "checkpoint/bytes.h"
#include "checkpoint/pickle_machine.h"
#include "checkpoint/shard_contents.h"
#include "checkpoint/tensor_layout.h"
#include "checkpoint/zip_directory.h"

namespace mossrt::runtime {
namespace {

// torch/serialization.py: MAGIC_NUMBER 0x1950a86a20f9469cfc6c as a protocol-2 pickle starts.
constexpr std::string_view kOldMagic = "\x80\x02\x8A\x0A\x6C\xFC\x9C\x46\xF9\x20\x6A\xA8\x50\x19";
constexpr std::string_view kZipMagic = "PK\x03\x04";
constexpr std::uint64_t kTarMagicOffset = 257;
// What people wrap a state dict in.
constexpr std::string_view kWrappers[] = {"state_dict", "model_state_dict", "model", "module"};

class Shard {
 public:
  Shard(const ByteSource& source, const std::string& file)
      : source_(source), file_(file), path_(Cat(source.name(), "/", file)) {}

  absl::StatusOr<ShardContents> Read() {
    MOSSRT_RETURN_IF_ERROR(CheckFormat());
    MOSSRT_ASSIGN_OR_RETURN(zip_, ReadZipDirectory(source_, file_));
    MOSSRT_RETURN_IF_ERROR(FindPrefix());
    MOSSRT_RETURN_IF_ERROR(ReadByteOrder());
    const ZipEntry* pickle = zip_->Find(prefix_ + "data.pkl");
    where_ = Cat(path_, ", entry ", Quoted(pickle->name));
    MOSSRT_ASSIGN_OR_RETURN(pickle_, ReadZipEntry(source_, file_, *pickle, kMaxPickle));
    MOSSRT_ASSIGN_OR_RETURN(values_, RunPickle(pickle_, where_));
    MOSSRT_ASSIGN_OR_RETURN(const PickleId dict, FindStateDict());
    MOSSRT_RETURN_IF_ERROR(ReadStateDict(dict));
    return std::move(contents_);
  }

 private:
  // ---- the archive

  absl::Status CheckFormat() const {
    MOSSRT_ASSIGN_OR_RETURN(const std::uint64_t size, source_.Size(file_));
    std::array<std::uint8_t, 512> head{};
    const std::uint64_t length = std::min<std::uint64_t>(size, head.size());
    MOSSRT_RETURN_IF_ERROR(source_.Read(file_, 0, {head.data(), length}));
    const std::string_view text(reinterpret_cast<const char*>(head.data()), length);
    if (text.starts_with(kZipMagic)) return absl::OkStatus();
    const bool tar = text.substr(std::min(text.size(), kTarMagicOffset)).starts_with("ustar");
    if (text.starts_with(kOldMagic) || tar) {
      return absl::UnimplementedError(
          Cat(path_, ": is in the ", tar ? "tar" : "non-zip", " format that torch wrote before ",
              "version 1.6. Re-save it with a newer torch: torch.save(torch.load(\"", file_,
              "\", weights_only=True), \"", file_, "\")"));
    }
    MOSSRT_RETURN_IF_ERROR(CheckNotPlaceholder(source_, file_));
    return absl::InvalidArgumentError(
        Cat(path_, ": expected a file that torch.save wrote, which starts with \"PK\"; found ",
            size, " bytes that start with ", Quoted(text.substr(0, 16))));
  }

  // torch puts everything below one folder, whose name is the file's or "archive".
  absl::Status FindPrefix() {
    constexpr std::string_view kPickle = "data.pkl";
    std::vector<std::string_view> found;
    for (const ZipEntry& entry : zip_->entries()) {
      const std::string_view name = entry.name;
      const std::size_t slash = name.find('/');
      if (slash != std::string_view::npos && name.substr(slash + 1) == kPickle) {
        found.push_back(name);
      }
    }
    if (found.size() != 1) {
      return absl::InvalidArgumentError(
          Cat(path_, ": expected one entry \"<folder>/data.pkl\", found ", found.size(), " among ",
              zip_->entries().size(), " entries; this is not what torch.save writes"));
    }
    prefix_ = std::string(found[0].substr(0, found[0].size() - kPickle.size()));
    if (zip_->Find(prefix_ + "constants.pkl") != nullptr) {
      return absl::UnimplementedError(
          Cat(path_,
              ": is a TorchScript archive, which holds a program; save the model's "
              "state_dict with torch.save instead"));
    }
    return absl::OkStatus();
  }

  absl::Status ReadByteOrder() {
    const ZipEntry* entry = zip_->Find(prefix_ + "byteorder");  // absent before torch 2.1
    if (entry == nullptr) return absl::OkStatus();
    MOSSRT_ASSIGN_OR_RETURN(const std::string order, ReadZipEntry(source_, file_, *entry, 16));
    if (order == "big") {
      swap_bytes_ = true;
    } else if (order != "little") {
      return absl::InvalidArgumentError(Cat(path_, ": entry ", Quoted(entry->name),
                                            " should say \"little\" or \"big\", found ",
                                            Quoted(order)));
    }
    return absl::OkStatus();
  }

  // ---- the pickle

  absl::Status Bad(PickleId id, std::string_view text) const {
    return absl::InvalidArgumentError(Cat(where_, ", offset ", values_->node(id).at, ": ", text));
  }

  PickleKind KindOf(PickleId id) const { return values_->node(id).kind; }

  // The tensor that a Parameter wraps, or the value itself.
  PickleId Unwrapped(PickleId id) const {
    const PickleNode& node = values_->node(id);
    if (node.kind != PickleKind::kCall || node.global != PickleGlobal::kRebuildParameter) return id;
    const std::span<const PickleId> arguments = values_->items(values_->argument(id));
    return arguments.empty() ? id : arguments[0];
  }

  bool IsTensor(PickleId id) const {
    const PickleNode& node = values_->node(Unwrapped(id));
    return node.kind == PickleKind::kCall && node.global == PickleGlobal::kRebuildTensor;
  }

  bool HoldsTensors(PickleId dict) const {
    const std::span<const PickleId> items = values_->items(dict);
    for (std::size_t i = 1; i < items.size(); i += 2) {
      if (IsTensor(items[i])) return true;
    }
    return false;
  }

  absl::StatusOr<PickleId> FindStateDict() {
    const PickleId root = values_->root();
    if (KindOf(root) != PickleKind::kDict) {
      return Bad(root, "expected a dict of tensors; save the model's state_dict()");
    }
    const std::span<const PickleId> items = values_->items(root);
    if (items.empty() || HoldsTensors(root)) return root;
    std::vector<std::string_view> keys;
    for (std::size_t i = 0; i < items.size(); i += 2) {
      if (KindOf(items[i]) != PickleKind::kText) continue;
      const std::string_view key = values_->text(items[i]);
      keys.push_back(key);
      if (std::find(std::begin(kWrappers), std::end(kWrappers), key) != std::end(kWrappers) &&
          KindOf(items[i + 1]) == PickleKind::kDict && HoldsTensors(items[i + 1])) {
        contents_.notes.push_back(Cat(path_, ": the tensors are taken from the inner dict ",
                                      Quoted(key), "; what stands beside it is ignored"));
        return items[i + 1];
      }
    }
    return Bad(root, Cat("the dict holds no tensors, nor does an inner dict \"state_dict\" or "
                         "\"model\"; its keys are ",
                         QuotedList(keys)));
  }

  absl::Status ReadStateDict(PickleId dict) {
    const std::span<const PickleId> items = values_->items(dict);
    std::set<std::string_view> names;
    std::vector<std::string_view> ignored;
    for (std::size_t i = 0; i < items.size(); i += 2) {
      const PickleId key = items[i];
      const bool named = KindOf(key) == PickleKind::kText;
      if (!IsTensor(items[i + 1])) {
        ignored.push_back(named ? values_->text(key) : "(a key that is no text)");
        continue;
      }
      if (!named) return Bad(key, "a tensor's name is not a text");
      const std::string_view name = values_->text(key);
      if (!names.insert(name).second) {
        return Bad(key, Cat("tensor ", Quoted(name), " occurs twice"));
      }
      TensorInfo tensor;
      tensor.name = std::string(name);
      MOSSRT_RETURN_IF_ERROR(
          Prefix(ReadTensor(Unwrapped(items[i + 1]), &tensor), Cat("tensor ", Quoted(name))));
      contents_.tensors.push_back(std::move(tensor));
    }
    if (!ignored.empty()) {
      contents_.notes.push_back(
          Cat(path_, ": ", ignored.size(),
              " entries that are no tensors are ignored: ", QuotedList(ignored, 5)));
    }
    return absl::OkStatus();
  }

  // _rebuild_tensor_v2(storage, offset, size, stride, requires_grad, backward_hooks[, metadata])
  absl::Status ReadTensor(PickleId id, TensorInfo* tensor) {
    const std::span<const PickleId> arguments = values_->items(values_->argument(id));
    if (arguments.size() < 6 || arguments.size() > 7) {
      return Bad(id, Cat("_rebuild_tensor_v2 takes 6 or 7 arguments, found ", arguments.size()));
    }
    std::int64_t offset = 0;
    MOSSRT_RETURN_IF_ERROR(ReadInt(arguments[1], "the storage offset", &offset));
    tensor->storage_offset = static_cast<std::uint64_t>(offset);
    MOSSRT_RETURN_IF_ERROR(ReadInts(arguments[2], "the size", &tensor->shape));
    MOSSRT_RETURN_IF_ERROR(ReadInts(arguments[3], "the stride", &tensor->strides));
    MOSSRT_RETURN_IF_ERROR(ReadStorage(arguments[0], tensor));
    return Prefix(CheckLayout(*tensor, contents_.storages[tensor->storage].size),
                  Cat(where_, ", offset ", values_->node(id).at));
  }

  absl::Status ReadInt(PickleId id, std::string_view what, std::int64_t* number) const {
    const PickleNode& node = values_->node(id);
    if (node.kind != PickleKind::kInt || node.number < 0) {
      return Bad(id, Cat(what, " should be an integer from 0 to 2^63 - 1"));
    }
    *number = node.number;
    return absl::OkStatus();
  }

  absl::Status ReadInts(PickleId id, std::string_view what,
                        std::vector<std::int64_t>* numbers) const {
    const PickleNode& node = values_->node(id);
    if (node.kind == PickleKind::kCall && node.global == PickleGlobal::kSize) {
      const std::span<const PickleId> arguments = values_->items(values_->argument(id));
      if (arguments.size() != 1) return Bad(id, "torch.Size takes one argument");
      id = arguments[0];
    }
    if (KindOf(id) != PickleKind::kTuple) return Bad(id, Cat(what, " should be a tuple"));
    const std::span<const PickleId> items = values_->items(id);
    if (items.size() > kMaxRank) {
      return Bad(
          id, Cat(what, " has ", items.size(), " dimensions; at most ", kMaxRank, " are accepted"));
    }
    for (const PickleId item : items) {
      std::int64_t number = 0;
      MOSSRT_RETURN_IF_ERROR(ReadInt(item, what, &number));
      numbers->push_back(number);
    }
    return absl::OkStatus();
  }

  // ("storage", torch.HalfStorage, key, device, number of elements); the device is of no matter.
  absl::Status ReadStorage(PickleId id, TensorInfo* tensor) {
    if (KindOf(id) != PickleKind::kPersistent ||
        KindOf(values_->argument(id)) != PickleKind::kTuple) {
      return Bad(id, "the tensor's storage is not one that torch.save writes");
    }
    const std::span<const PickleId> parts = values_->items(values_->argument(id));
    if (parts.size() != 5 || KindOf(parts[0]) != PickleKind::kText ||
        values_->text(parts[0]) != "storage" || KindOf(parts[1]) != PickleKind::kGlobal ||
        values_->node(parts[1]).global != PickleGlobal::kStorage ||
        KindOf(parts[2]) != PickleKind::kText) {
      return Bad(id, "expected a storage as (\"storage\", class, key, device, elements)");
    }
    std::int64_t elements = 0;
    MOSSRT_RETURN_IF_ERROR(ReadInt(parts[4], "the number of elements of a storage", &elements));
    tensor->dtype = values_->node(parts[1]).dtype;
    const std::string key(values_->text(parts[2]));
    const auto [it, added] = storages_.try_emplace(key, contents_.storages.size());
    tensor->storage = it->second;
    if (added) {
      const ZipEntry* entry = zip_->Find(Cat(prefix_, "data/", key));
      if (entry == nullptr) {
        return absl::DataLossError(
            Cat(where_, ", offset ", values_->node(id).at, ": the storage should be entry ",
                Quoted(Cat(prefix_, "data/", key)), ", which the file does not hold"));
      }
      contents_.storages.push_back({.file = file_,
                                    .offset = entry->offset,
                                    .size = entry->size,
                                    .has_crc = true,
                                    .crc = entry->crc,
                                    .swap_bytes = swap_bytes_ && DTypeSize(tensor->dtype) > 1});
      dtypes_.push_back(tensor->dtype);
    }
    if (dtypes_[it->second] != tensor->dtype) {
      return Bad(id, Cat("storage ", Quoted(key), " is used as ", DTypeName(dtypes_[it->second]),
                         " and as ", DTypeName(tensor->dtype)));
    }
    const std::uint64_t size = contents_.storages[it->second].size;
    const std::uint64_t width = DTypeSize(tensor->dtype);
    if (size % width != 0 || size / width != static_cast<std::uint64_t>(elements)) {
      return Bad(id, Cat("the pickle says that storage ", Quoted(key), " has ", elements, " of ",
                         DTypeName(tensor->dtype), ", but its entry has ", size, " bytes"));
    }
    return absl::OkStatus();
  }

  const ByteSource& source_;
  const std::string& file_;
  std::string path_;
  std::string where_;   // path_ and the pickle's entry
  std::string prefix_;  // with the slash
  std::optional<ZipDirectory> zip_;
  std::string pickle_;
  std::optional<PickleValues> values_;  // views pickle_
  bool swap_bytes_ = false;
  std::map<std::string, std::size_t> storages_;  // by key
  std::vector<DType> dtypes_;                    // of each storage
  ShardContents contents_;
};

}  // namespace

absl::StatusOr<ShardContents> ReadTorchPickle(const ByteSource& source, const std::string& file) {
  return Shard(source, file).Read();
}

}  // namespace mossrt::runtime
