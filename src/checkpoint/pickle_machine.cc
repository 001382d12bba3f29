// Opcodes as Python's Lib/pickletools.py defines them; torch.save writes protocol 2 and can be
// asked for up to 4 and beyond.
#include "checkpoint/pickle_machine.h"

#include <array>
#include <cstdio>
#include <limits>
#include <optional>
#include <utility>

#include "base/status.h"
#include "base/utf8.h"
#include "checkpoint/bytes.h"

namespace mossrt::runtime {
namespace {

// A shard of 100,000 tensors makes about a million values.
constexpr std::size_t kMaxValues = 4'000'000;
constexpr std::size_t kMaxStack = 1'000'000;
constexpr std::size_t kMaxMarks = 10'000;
constexpr std::size_t kMaxMemo = 4'000'000;
constexpr PickleId kUnset = std::numeric_limits<PickleId>::max();

struct KnownGlobal {
  std::string_view module;
  std::string_view name;
  PickleGlobal global;
  DType dtype = DType::kF32;
};

constexpr KnownGlobal kKnown[] = {
    {"collections", "OrderedDict", PickleGlobal::kOrderedDict},
    {"torch._utils", "_rebuild_tensor_v2", PickleGlobal::kRebuildTensor},
    {"torch._utils", "_rebuild_parameter", PickleGlobal::kRebuildParameter},
    {"torch", "Size", PickleGlobal::kSize},
    {"torch", "DoubleStorage", PickleGlobal::kStorage, DType::kF64},
    {"torch", "FloatStorage", PickleGlobal::kStorage, DType::kF32},
    {"torch", "HalfStorage", PickleGlobal::kStorage, DType::kF16},
    {"torch", "BFloat16Storage", PickleGlobal::kStorage, DType::kBF16},
    {"torch", "LongStorage", PickleGlobal::kStorage, DType::kI64},
    {"torch", "IntStorage", PickleGlobal::kStorage, DType::kI32},
    {"torch", "ShortStorage", PickleGlobal::kStorage, DType::kI16},
    {"torch", "CharStorage", PickleGlobal::kStorage, DType::kI8},
    {"torch", "ByteStorage", PickleGlobal::kStorage, DType::kU8},
    {"torch", "BoolStorage", PickleGlobal::kStorage, DType::kBool},
};

enum Op : std::uint8_t {
  kMark = '(',
  kStop = '.',
  kPop = '0',
  kPopMark = '1',
  kBinFloat = 'G',
  kBinInt = 'J',
  kBinInt1 = 'K',
  kBinInt2 = 'M',
  kNoneOp = 'N',
  kBinPersId = 'Q',
  kReduce = 'R',
  kBinUnicode = 'X',
  kAppend = 'a',
  kBuild = 'b',
  kGlobalOp = 'c',
  kAppends = 'e',
  kBinGet = 'h',
  kLongBinGet = 'j',
  kBinPut = 'q',
  kLongBinPut = 'r',
  kSetItem = 's',
  kTupleOp = 't',
  kSetItems = 'u',
  kEmptyTuple = ')',
  kEmptyList = ']',
  kEmptyDict = '}',
  kProto = 0x80,
  kTuple1 = 0x85,
  kTuple2 = 0x86,
  kTuple3 = 0x87,
  kNewTrue = 0x88,
  kNewFalse = 0x89,
  kLong1 = 0x8A,
  kShortBinUnicode = 0x8C,
  kBinUnicode8 = 0x8D,
  kStackGlobal = 0x93,
  kMemoize = 0x94,
  kFrame = 0x95,
};

}  // namespace

class PickleMachine {
 public:
  PickleMachine(std::string_view pickle, std::string_view where) : where_(where) {
    values_.pickle_ = pickle;
  }

  absl::StatusOr<PickleValues> Run() {
    if (values_.pickle_.size() > kMaxPickle) {
      return absl::InvalidArgumentError(Cat(where_, ": the pickle has ", values_.pickle_.size(),
                                            " bytes; at most ", kMaxPickle, " are accepted"));
    }
    while (!stopped_) {
      at_ = next_;
      MOSSRT_RETURN_IF_ERROR(Step());
      if (values_.nodes_.size() > kMaxValues || stack_.size() > kMaxStack ||
          marks_.size() > kMaxMarks) {
        return Bad(Cat("the pickle makes more than ", kMaxValues, " values, ", kMaxStack,
                       " on the stack or ", kMaxMarks, " marks; no checkpoint needs as many"));
      }
    }
    if (next_ != values_.pickle_.size()) {
      at_ = next_;
      return Bad("the pickle goes on after its end");
    }
    return std::move(values_);
  }

 private:
  absl::Status Bad(std::string_view text) const {
    return absl::InvalidArgumentError(Cat(where_, ", offset ", at_, ": ", text));
  }

  // ---- input

  absl::Status Take(std::uint64_t size, std::string_view* bytes) {
    if (size > values_.pickle_.size() - next_) {
      return Bad(Cat("an opcode needs ", size, " more bytes, but the pickle ends after ",
                     values_.pickle_.size() - next_));
    }
    *bytes = values_.pickle_.substr(next_, size);
    next_ += size;
    return absl::OkStatus();
  }

  template <typename T>
  absl::Status TakeNumber(T* number) {
    std::string_view bytes;
    MOSSRT_RETURN_IF_ERROR(Take(sizeof(T), &bytes));
    *number = LoadLittle<T>(AsBytes(bytes));
    return absl::OkStatus();
  }

  absl::Status TakeLine(std::string_view* line) {
    const std::size_t end = values_.pickle_.find('\n', next_);
    if (end == std::string_view::npos) return Bad("a name has no end");
    *line = values_.pickle_.substr(next_, end - next_);
    next_ = end + 1;
    return absl::OkStatus();
  }

  // ---- stack and memo

  absl::Status Push(PickleNode node) {
    node.at = static_cast<std::uint32_t>(at_);
    stack_.push_back(static_cast<PickleId>(values_.nodes_.size()));
    values_.nodes_.push_back(node);
    return absl::OkStatus();
  }

  absl::Status PushInt(std::int64_t number, PickleKind kind = PickleKind::kInt) {
    PickleNode node{.kind = kind};
    node.number = number;
    return Push(node);
  }

  // Values above the last mark; those below it are out of reach until the mark is used up.
  std::size_t Reachable() const { return stack_.size() - (marks_.empty() ? 0 : marks_.back()); }

  absl::Status Need(std::size_t count) const {
    if (Reachable() >= count) return absl::OkStatus();
    return Bad(Cat("the opcode needs ", count, " values, but ", Reachable(), " are there"));
  }

  PickleId PopId() {
    const PickleId id = stack_.back();
    stack_.pop_back();
    return id;
  }

  absl::Status PopMark(std::vector<PickleId>* items) {
    if (marks_.empty()) return Bad("the opcode needs a mark, but there is none");
    items->assign(stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back()), stack_.end());
    stack_.resize(marks_.back());
    marks_.pop_back();
    return absl::OkStatus();
  }

  absl::Status PushTuple(std::span<const PickleId> items) {
    PickleNode node{.kind = PickleKind::kTuple};
    node.begin = static_cast<std::uint32_t>(values_.tuple_items_.size());
    node.count = static_cast<std::uint32_t>(items.size());
    values_.tuple_items_.insert(values_.tuple_items_.end(), items.begin(), items.end());
    return Push(node);
  }

  absl::Status TupleOf(std::size_t count) {
    MOSSRT_RETURN_IF_ERROR(Need(count));
    std::array<PickleId, 3> items;
    for (std::size_t i = count; i-- > 0;) items[i] = PopId();
    return PushTuple({items.data(), count});
  }

  absl::Status PushContainer(PickleKind kind, bool ordered = false) {
    PickleNode node{.kind = kind};
    node.ordered = ordered;
    node.begin = static_cast<std::uint32_t>(values_.containers_.size());
    values_.containers_.emplace_back();
    return Push(node);
  }

  // Adds to the container on top of the stack.
  absl::Status Extend(PickleKind kind, std::span<const PickleId> items) {
    MOSSRT_RETURN_IF_ERROR(Need(1));
    const PickleNode& target = values_.nodes_[stack_.back()];
    if (target.kind != kind) {
      return Bad(kind == PickleKind::kList ? "the opcode adds to a list, but there is none"
                                           : "the opcode adds to a dict, but there is none");
    }
    if (kind == PickleKind::kDict && items.size() % 2 != 0) {
      return Bad("a key of a dict comes without a value");
    }
    std::vector<PickleId>& held = values_.containers_[target.begin];
    held.insert(held.end(), items.begin(), items.end());
    return absl::OkStatus();
  }

  absl::Status Put(std::uint64_t index) {
    MOSSRT_RETURN_IF_ERROR(Need(1));
    if (index >= kMaxMemo) {
      return Bad(Cat("memo number ", index, " is beyond the limit of ", kMaxMemo));
    }
    if (index >= memo_.size()) memo_.resize(index + 1, kUnset);
    if (memo_[index] == kUnset) ++memoized_;
    memo_[index] = stack_.back();
    return absl::OkStatus();
  }

  absl::Status Get(std::uint64_t index) {
    if (index >= memo_.size() || memo_[index] == kUnset) {
      return Bad(Cat("memo number ", index, " is used before it is set"));
    }
    stack_.push_back(memo_[index]);
    return absl::OkStatus();
  }

  // ---- opcodes

  absl::Status PushText(std::uint64_t size) {
    std::string_view text;
    PickleNode node{.kind = PickleKind::kText};
    node.begin = static_cast<std::uint32_t>(next_);
    MOSSRT_RETURN_IF_ERROR(Take(size, &text));
    if (FindInvalidUtf8(text) != std::string_view::npos) return Bad("a text is not valid UTF-8");
    node.count = static_cast<std::uint32_t>(size);
    return Push(node);
  }

  absl::Status PushLong(std::uint8_t size) {
    std::string_view bytes;
    MOSSRT_RETURN_IF_ERROR(Take(size, &bytes));
    if (size > 8) return PushInt(0, PickleKind::kHugeInt);
    std::uint64_t number = 0;
    for (std::size_t i = 0; i < size; ++i) {
      number |= std::uint64_t{static_cast<std::uint8_t>(bytes[i])} << (8 * i);
    }
    if (size > 0 && size < 8 && (bytes[size - 1u] & 0x80) != 0) {
      number |= ~std::uint64_t{0} << (8 * size);  // two's complement: extend the sign
    }
    return PushInt(static_cast<std::int64_t>(number));
  }

  absl::Status PushGlobal(std::string_view module, std::string_view name) {
    for (const KnownGlobal& known : kKnown) {
      if (module != known.module || name != known.name) continue;
      PickleNode node{.kind = PickleKind::kGlobal};
      node.global = known.global;
      node.dtype = known.dtype;
      return Push(node);
    }
    return Bad(Cat("the pickle asks for the global ", Quoted(Cat(module, ".", name)),
                   ", which is not among the few that a dict of plain tensors needs. Nothing was "
                   "executed. If you trust the file, load it with torch and save only the "
                   "state_dict, its tensors in a usual dtype"));
  }

  absl::Status StackGlobal() {
    MOSSRT_RETURN_IF_ERROR(Need(2));
    const PickleId name = PopId();
    const PickleId module = PopId();
    if (values_.nodes_[name].kind != PickleKind::kText ||
        values_.nodes_[module].kind != PickleKind::kText) {
      return Bad("the name of a global is not a text");
    }
    return PushGlobal(values_.text(module), values_.text(name));
  }

  absl::Status Reduce() {
    MOSSRT_RETURN_IF_ERROR(Need(2));
    const PickleId arguments = PopId();
    const PickleNode& callable = values_.nodes_[PopId()];
    if (callable.kind != PickleKind::kGlobal || callable.global == PickleGlobal::kStorage ||
        values_.nodes_[arguments].kind != PickleKind::kTuple) {
      return Bad("the pickle calls something that is no known function. Nothing was executed");
    }
    if (callable.global == PickleGlobal::kOrderedDict) {
      if (values_.nodes_[arguments].count != 0) return Bad("OrderedDict() is given arguments");
      return PushContainer(PickleKind::kDict, true);
    }
    PickleNode node{.kind = PickleKind::kCall};
    node.global = callable.global;
    node.begin = arguments;
    return Push(node);
  }

  // torch's Module.state_dict() hangs "_metadata" on its OrderedDict; the state is left aside.
  absl::Status Build() {
    MOSSRT_RETURN_IF_ERROR(Need(2));
    PopId();
    const PickleNode& target = values_.nodes_[stack_.back()];
    if (target.kind == PickleKind::kDict && target.ordered) return absl::OkStatus();
    return Bad(
        "the pickle sets the state of something that is no OrderedDict. Nothing was "
        "executed");
  }

  absl::Status PersistentId() {
    MOSSRT_RETURN_IF_ERROR(Need(1));
    PickleNode node{.kind = PickleKind::kPersistent};
    node.begin = PopId();
    return Push(node);
  }

  absl::Status Stop() {
    if (!marks_.empty() || stack_.size() != 1) {
      return Bad(Cat("the pickle should end with one value, found ", stack_.size(), " and ",
                     marks_.size(), " marks"));
    }
    values_.root_ = stack_.back();
    stopped_ = true;
    return absl::OkStatus();
  }

  absl::Status Protocol() {
    std::uint8_t version = 0;
    MOSSRT_RETURN_IF_ERROR(TakeNumber(&version));
    if (version >= 2 && version <= 5) return absl::OkStatus();
    return Bad(Cat("pickle protocol ", version, " is not known; torch writes 2 to 5"));
  }

  template <typename T>
  absl::Status WithNumber(absl::Status (PickleMachine::*use)(std::uint64_t)) {
    T number = 0;
    MOSSRT_RETURN_IF_ERROR(TakeNumber(&number));
    return (this->*use)(number);
  }

  template <typename Unsigned, typename Value>
  absl::Status NumberOp() {
    Unsigned number = 0;
    MOSSRT_RETURN_IF_ERROR(TakeNumber(&number));
    return PushInt(static_cast<Value>(number));
  }

  absl::Status GlobalLine() {
    std::string_view module;
    std::string_view name;
    MOSSRT_RETURN_IF_ERROR(TakeLine(&module));
    MOSSRT_RETURN_IF_ERROR(TakeLine(&name));
    return PushGlobal(module, name);
  }

  absl::Status SetItem() {
    MOSSRT_RETURN_IF_ERROR(Need(3));
    const PickleId value = PopId();
    const PickleId key = PopId();
    return Extend(PickleKind::kDict, std::array{key, value});
  }

  absl::Status Append() {
    MOSSRT_RETURN_IF_ERROR(Need(2));
    const PickleId value = PopId();
    return Extend(PickleKind::kList, {&value, 1});
  }

  absl::Status MarkedItems(PickleKind kind) {
    std::vector<PickleId> items;
    MOSSRT_RETURN_IF_ERROR(PopMark(&items));
    return kind == PickleKind::kTuple ? PushTuple(items) : Extend(kind, items);
  }

  absl::Status Skip(std::uint64_t size) {
    std::string_view bytes;
    return Take(size, &bytes);
  }

  absl::Status Step() {
    std::uint8_t op = 0;
    MOSSRT_RETURN_IF_ERROR(TakeNumber(&op));
    switch (op) {
      case kProto:
        return Protocol();
      case kFrame:  // says how many bytes follow, which changes nothing
        return Skip(8);
      case kStop:
        return Stop();
      case kMark:
        marks_.push_back(stack_.size());
        return absl::OkStatus();
      case kPop:
        MOSSRT_RETURN_IF_ERROR(Need(1));
        PopId();
        return absl::OkStatus();
      case kPopMark: {
        std::vector<PickleId> items;
        return PopMark(&items);
      }
      case kNoneOp:
        return Push({.kind = PickleKind::kNone});
      case kNewTrue:
        return PushInt(1, PickleKind::kBool);
      case kNewFalse:
        return PushInt(0, PickleKind::kBool);
      case kBinInt:
        return NumberOp<std::uint32_t, std::int32_t>();
      case kBinInt1:
        return NumberOp<std::uint8_t, std::uint8_t>();
      case kBinInt2:
        return NumberOp<std::uint16_t, std::uint16_t>();
      case kLong1: {
        std::uint8_t size = 0;
        MOSSRT_RETURN_IF_ERROR(TakeNumber(&size));
        return PushLong(size);
      }
      case kBinFloat:
        MOSSRT_RETURN_IF_ERROR(Skip(8));
        return Push({.kind = PickleKind::kFloat});
      case kShortBinUnicode:
        return WithNumber<std::uint8_t>(&PickleMachine::PushText);
      case kBinUnicode:
        return WithNumber<std::uint32_t>(&PickleMachine::PushText);
      case kBinUnicode8:
        return WithNumber<std::uint64_t>(&PickleMachine::PushText);
      case kEmptyTuple:
        return PushTuple({});
      case kTuple1:
        return TupleOf(1);
      case kTuple2:
        return TupleOf(2);
      case kTuple3:
        return TupleOf(3);
      case kTupleOp:
        return MarkedItems(PickleKind::kTuple);
      case kEmptyList:
        return PushContainer(PickleKind::kList);
      case kAppend:
        return Append();
      case kAppends:
        return MarkedItems(PickleKind::kList);
      case kEmptyDict:
        return PushContainer(PickleKind::kDict);
      case kSetItem:
        return SetItem();
      case kSetItems:
        return MarkedItems(PickleKind::kDict);
      case kBinPut:
        return WithNumber<std::uint8_t>(&PickleMachine::Put);
      case kLongBinPut:
        return WithNumber<std::uint32_t>(&PickleMachine::Put);
      case kMemoize:
        return Put(memoized_);
      case kBinGet:
        return WithNumber<std::uint8_t>(&PickleMachine::Get);
      case kLongBinGet:
        return WithNumber<std::uint32_t>(&PickleMachine::Get);
      case kGlobalOp:
        return GlobalLine();
      case kStackGlobal:
        return StackGlobal();
      case kReduce:
        return Reduce();
      case kBuild:
        return Build();
      case kBinPersId:
        return PersistentId();
      default:
        return UnknownOp(op);
    }
  }

  absl::Status UnknownOp(std::uint8_t op) const {
    char hex[8];
    std::snprintf(hex, sizeof hex, "0x%02X", op);
    return Bad(Cat("the pickle uses opcode ", hex,
                   ", which a dict of tensors does not need. Nothing was executed. If you trust "
                   "the file, load it with torch and save only the state_dict"));
  }

  std::string_view where_;
  PickleValues values_;
  std::vector<PickleId> stack_;
  std::vector<std::size_t> marks_;  // heights of the stack
  std::vector<PickleId> memo_;
  std::uint64_t memoized_ = 0;  // MEMOIZE takes the number of values kept so far
  std::uint64_t at_ = 0;        // of the opcode that runs
  std::uint64_t next_ = 0;
  bool stopped_ = false;
};

std::string_view PickleValues::text(PickleId id) const {
  return pickle_.substr(nodes_[id].begin, nodes_[id].count);
}

std::span<const PickleId> PickleValues::items(PickleId id) const {
  const PickleNode& node = nodes_[id];
  if (node.kind == PickleKind::kTuple) return {tuple_items_.data() + node.begin, node.count};
  return containers_[node.begin];
}

absl::StatusOr<PickleValues> RunPickle(std::string_view pickle, std::string_view where) {
  return PickleMachine(pickle, where).Run();
}

}  // namespace mossrt::runtime
