// The format is described in the README of github.com/huggingface/safetensors.
#include <algorithm>
#include <array>
#include <optional>
#include <set>
#include <utility>

#include "base/json.h"
#include "base/json_fault.h"
#include "base/status.h"
#include "checkpoint/bytes.h"
#include "checkpoint/shard_contents.h"
#include "checkpoint/tensor_layout.h"

namespace mossrt::runtime {
namespace {

// The limit of the reference implementation.
constexpr std::uint64_t kMaxHeader = 100'000'000;
constexpr std::size_t kMaxTensors = 1'000'000;

constexpr std::pair<std::string_view, DType> kDTypes[] = {
    {"F64", DType::kF64}, {"F32", DType::kF32},  {"F16", DType::kF16}, {"BF16", DType::kBF16},
    {"I64", DType::kI64}, {"I32", DType::kI32},  {"I16", DType::kI16}, {"I8", DType::kI8},
    {"U8", DType::kU8},   {"BOOL", DType::kBool}};

struct Entry {
  std::string name;
  std::string dtype;
  std::vector<std::int64_t> shape;
  std::vector<std::int64_t> data_offsets;
  bool has_dtype = false;
  bool has_shape = false;
  bool has_offsets = false;
};

// Takes the header event by event: a header of 100 MB of brackets builds no tree.
class HeaderReader final : public nlohmann::json_sax<Json> {
 public:
  explicit HeaderReader(std::string_view header) : header_(header) {}

  std::vector<Entry> entries;
  std::string error;

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_integer(number_integer_t number) override {
    return Unexpected(Cat("the number ", number));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return Unexpected(Cat("the number ", text.substr(0, 40)));
  }
  bool binary(binary_t&) override { return Unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t number) override {
    if (depth_ != 3 || numbers_ == nullptr) return Unexpected(Cat("the number ", number));
    if (number > static_cast<number_unsigned_t>(INT64_MAX) || numbers_->size() > kMaxRank) {
      return Unexpected(Cat("the number ", number, ", which is too large or one too many"));
    }
    numbers_->push_back(static_cast<std::int64_t>(number));
    return true;
  }

  bool string(string_t& text) override {
    if (depth_ == 2 && metadata_) return true;
    if (depth_ != 2 || field_ != "dtype") return Unexpected(Cat("the text ", Quoted(text)));
    entries.back().dtype = text;
    return Once(&entries.back().has_dtype);
  }

  bool start_object(std::size_t) override {
    if (depth_ > 1) return Unexpected("an object");
    ++depth_;
    return true;
  }

  bool key(string_t& text) override {
    if (depth_ == 1) {
      if (!names_.insert(text).second) return Fail(Cat(Quoted(text), " occurs twice"));
      metadata_ = text == "__metadata__";
      if (metadata_) return true;
      if (entries.size() == kMaxTensors) return Fail(Cat("more than ", kMaxTensors, " tensors"));
      entries.emplace_back();
      entries.back().name = text;
      return true;
    }
    field_ = text;
    if (metadata_ || field_ == "dtype" || field_ == "shape" || field_ == "data_offsets") {
      return true;
    }
    return Fail(
        Cat("tensor ", Quoted(entries.back().name), " has the unknown key ", Quoted(field_)));
  }

  bool end_object() override {
    --depth_;
    return true;
  }

  bool start_array(std::size_t) override {
    if (depth_ != 2 || metadata_) return Unexpected("an array");
    Entry& entry = entries.back();
    const bool shape = field_ == "shape";
    if (!shape && field_ != "data_offsets") return Unexpected("an array");
    numbers_ = shape ? &entry.shape : &entry.data_offsets;
    ++depth_;
    return Once(shape ? &entry.has_shape : &entry.has_offsets);
  }

  bool end_array() override {
    numbers_ = nullptr;
    --depth_;
    return true;
  }

  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception&) override {
    const JsonFault fault =
        FindJsonFault(header_).value_or(JsonFault{.expected = "JSON", .found = "something else"});
    return Fail(Cat("not JSON at line ", fault.line, ", column ", fault.column, ": expected ",
                    fault.expected, ", found ", fault.found));
  }

 private:
  bool Fail(std::string text) {
    if (error.empty()) error = std::move(text);
    return false;
  }

  bool Unexpected(std::string_view what) {
    if (depth_ == 0) return Fail(Cat("expected an object, found ", what));
    if (metadata_) return Fail(Cat("__metadata__ should map texts to texts, found ", what));
    return Fail(Cat("tensor ", Quoted(entries.empty() ? "" : entries.back().name), ": ",
                    "expected \"dtype\" as text, \"shape\" and \"data_offsets\" as lists of "
                    "integers, found ",
                    what));
  }

  bool Once(bool* seen) {
    if (*seen)
      return Fail(Cat("tensor ", Quoted(entries.back().name), " has ", Quoted(field_), " twice"));
    *seen = true;
    return true;
  }

  std::string_view header_;
  int depth_ = 0;  // 1: names, 2: the keys of a tensor, 3: numbers
  bool metadata_ = false;
  std::string field_;
  std::vector<std::int64_t>* numbers_ = nullptr;
  std::set<std::string, std::less<>> names_;
};

class File {
 public:
  File(const ByteSource& source, const std::string& file)
      : source_(source), file_(file), path_(Cat(source.name(), "/", file)) {}

  absl::StatusOr<ShardContents> Read() {
    MOSSRT_ASSIGN_OR_RETURN(const std::string header, ReadHeader());
    HeaderReader reader(header);
    if (!Json::sax_parse(header.begin(), header.end(), &reader)) {
      return Bad(Cat("the header: ", reader.error,
                     "; the file is damaged or was not written as safetensors, download it again"));
    }
    ShardContents contents;
    for (Entry& entry : reader.entries) {
      MOSSRT_RETURN_IF_ERROR(AddTensor(std::move(entry), &contents));
    }
    MOSSRT_RETURN_IF_ERROR(CheckTiling(contents));
    return contents;
  }

 private:
  absl::Status Bad(std::string_view text) const {
    return absl::InvalidArgumentError(Cat(path_, ": ", text));
  }

  absl::StatusOr<std::string> ReadHeader() {
    MOSSRT_ASSIGN_OR_RETURN(const std::uint64_t size, source_.Size(file_));
    MOSSRT_RETURN_IF_ERROR(CheckNotPlaceholder(source_, file_));
    std::array<std::uint8_t, 8> length{};
    if (size < length.size()) {
      return absl::DataLossError(Cat(path_, ": has ", size,
                                     " bytes; a safetensors file starts with 8 bytes of length. "
                                     "Download it again"));
    }
    MOSSRT_RETURN_IF_ERROR(source_.Read(file_, 0, length));
    const auto header_size = LoadLittle<std::uint64_t>(length.data());
    if (header_size > kMaxHeader) {
      return Bad(Cat("the header claims ", header_size, " bytes; at most ", kMaxHeader,
                     " are accepted, so this is probably no safetensors file"));
    }
    if (header_size > size - length.size()) {
      return absl::DataLossError(Cat(path_, ": the header claims ", header_size,
                                     " bytes, but the file ends at ", size,
                                     "; it is cut short, download it again"));
    }
    data_begin_ = length.size() + header_size;
    data_size_ = size - data_begin_;
    std::string header(header_size, '\0');
    MOSSRT_RETURN_IF_ERROR(source_.Read(
        file_, length.size(), {reinterpret_cast<std::uint8_t*>(header.data()), header.size()}));
    return header;
  }

  absl::Status AddTensor(Entry entry, ShardContents* contents) const {
    const std::string where = Cat("tensor ", Quoted(entry.name), ": ");
    if (!entry.has_dtype || !entry.has_shape || !entry.has_offsets) {
      return Bad(Cat(where, "expected \"dtype\", \"shape\" and \"data_offsets\""));
    }
    const auto dtype = std::find_if(std::begin(kDTypes), std::end(kDTypes),
                                    [&](const auto& known) { return known.first == entry.dtype; });
    if (dtype == std::end(kDTypes)) {
      return absl::UnimplementedError(
          Cat(path_, ": ", where, "dtype ", Quoted(entry.dtype),
              " is not supported; known are F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL"));
    }
    if (entry.data_offsets.size() != 2 || entry.data_offsets[0] > entry.data_offsets[1]) {
      return Bad(Cat(where, "data_offsets should be [begin, end], found [",
                     Join(entry.data_offsets, ", "), "]"));
    }
    const auto begin = static_cast<std::uint64_t>(entry.data_offsets[0]);
    const auto end = static_cast<std::uint64_t>(entry.data_offsets[1]);
    if (end > data_size_) {
      return absl::DataLossError(Cat(path_, ": ", where, "ends at byte ", end,
                                     " of the data, of which the file has ", data_size_,
                                     "; it is cut short, download it again"));
    }
    TensorInfo tensor;
    tensor.name = std::move(entry.name);
    tensor.dtype = dtype->second;
    tensor.shape = std::move(entry.shape);
    if (tensor.shape.size() <= kMaxRank) tensor.strides = DenseStrides(tensor.shape);
    tensor.storage = contents->storages.size();
    MOSSRT_RETURN_IF_ERROR(Prefix(CheckLayout(tensor, end - begin), path_));
    const std::uint64_t needed =
        static_cast<std::uint64_t>(tensor.elements()) * DTypeSize(tensor.dtype);
    if (needed != end - begin) {
      return Bad(Cat(where, "shape [", Join(tensor.shape, ", "), "] of ", DTypeName(tensor.dtype),
                     " needs ", needed, " bytes, data_offsets give ", end - begin));
    }
    contents->storages.push_back(
        {.file = file_, .offset = data_begin_ + begin, .size = end - begin});
    contents->tensors.push_back(std::move(tensor));
    return absl::OkStatus();
  }

  // The format allows neither holes nor overlaps, so that a file has no hidden content.
  absl::Status CheckTiling(const ShardContents& contents) const {
    std::vector<const TensorInfo*> order;
    for (const TensorInfo& tensor : contents.tensors) order.push_back(&tensor);
    const auto extent = [&](const TensorInfo* tensor) {
      const StorageInfo& storage = contents.storages[tensor->storage];
      return std::pair(storage.offset, storage.offset + storage.size);
    };
    std::sort(order.begin(), order.end(),
              [&](const TensorInfo* a, const TensorInfo* b) { return extent(a) < extent(b); });
    std::uint64_t end = data_begin_;
    for (const TensorInfo* tensor : order) {
      const auto [first, last] = extent(tensor);
      if (first != end) {
        return Bad(Cat("tensor ", Quoted(tensor->name), " starts at byte ", first,
                       " of the file; expected ", end, ", where the tensor before it ends (",
                       first < end ? "they overlap" : "there is a hole", ")"));
      }
      end = last;
    }
    if (end != data_begin_ + data_size_) {
      return Bad(Cat("the tensors end at byte ", end, ", but the file goes on to ",
                     data_begin_ + data_size_));
    }
    return absl::OkStatus();
  }

  const ByteSource& source_;
  const std::string& file_;
  std::string path_;
  std::uint64_t data_begin_ = 0;
  std::uint64_t data_size_ = 0;
};

}  // namespace

absl::StatusOr<ShardContents> ReadSafetensors(const ByteSource& source, const std::string& file) {
  return File(source, file).Read();
}

}  // namespace mossrt::runtime
