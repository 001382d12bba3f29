// A machine for the few pickle opcodes that a dict of tensors needs. It knows a handful of names,
// imports nothing and calls nothing: what a name would be called with is only recorded.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "mossrt/runtime/dtype.h"

namespace mossrt::runtime {

enum class PickleKind : std::uint8_t {
  kNone,
  kBool,
  kInt,
  kHugeInt,  // more than 64 bits; its value is not kept
  kFloat,
  kText,
  kTuple,
  kList,
  kDict,  // also an OrderedDict
  kGlobal,
  kCall,        // a known function and its arguments, not called
  kPersistent,  // what torch saves outside the pickle: a storage
};

enum class PickleGlobal : std::uint8_t {
  kOrderedDict,
  kRebuildTensor,
  kRebuildParameter,
  kSize,
  kStorage,
};

// All values live in one array and refer to each other by index: nesting of any depth costs no
// stack, neither when it is built nor when it is destroyed.
using PickleId = std::uint32_t;

struct PickleNode {
  PickleKind kind = PickleKind::kNone;
  PickleGlobal global = PickleGlobal::kOrderedDict;  // of kGlobal and kCall
  DType dtype = DType::kF32;                         // of a kStorage global
  bool ordered = false;                              // a dict that OrderedDict() made
  std::uint32_t at = 0;                              // offset of the opcode that made it
  std::uint32_t begin = 0;  // text, tuple: first byte or item; list, dict: which; else: argument
  std::uint32_t count = 0;  // of bytes or items
  std::int64_t number = 0;  // kInt, kBool
};

class PickleValues {
 public:
  const PickleNode& node(PickleId id) const { return nodes_[id]; }
  std::string_view text(PickleId id) const;            // of a kText
  std::span<const PickleId> items(PickleId id) const;  // tuple, list; dict: key, value, key, ...
  PickleId argument(PickleId id) const { return nodes_[id].begin; }  // of kCall, kPersistent
  PickleId root() const { return root_; }

 private:
  friend class PickleMachine;
  std::string_view pickle_;
  std::vector<PickleNode> nodes_;
  std::vector<PickleId> tuple_items_;
  std::vector<std::vector<PickleId>> containers_;
  PickleId root_ = 0;
};

// Runs `pickle`, which must outlive the values. `where` starts each message. Work and memory are
// linear in the pickle's size, which is limited to kMaxPickle.
inline constexpr std::uint64_t kMaxPickle = 64u << 20;
absl::StatusOr<PickleValues> RunPickle(std::string_view pickle, std::string_view where);

}  // namespace mossrt::runtime
