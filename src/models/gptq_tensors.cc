#include "models/gptq_tensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/cat.h"
#include "base/status.h"

namespace mossrt::runtime {
namespace {

constexpr int kBits[] = {2, 4, 8};

bool IsMatrix(const TensorInfo& tensor) { return tensor.shape.size() == 2; }

class Checker {
 public:
  Checker(GptqTensors* tensors, std::vector<std::string>* problems)
      : t_(*tensors), problems_(problems) {}

  void Check() {
    CheckWeights();
    CheckScales();
    CheckZeros();
    CheckGroupIndex();
  }

 private:
  void Problem(std::string text) { problems_->push_back(std::move(text)); }

  void Missing(std::string_view suffix, std::string_view shape) {
    Problem(Cat(t_.base, suffix, " ", shape, " is missing, although other tensors of a GPTQ ",
                "matrix ", t_.base, " are there"));
  }

  void WrongType(const TensorInfo& tensor, std::string_view expected) {
    Problem(Cat(tensor.name, ": expected ", expected, ", found ", DTypeName(tensor.dtype)));
  }

  void CheckWeights() {
    if (t_.qweight == nullptr) return Missing(".qweight", Cat("[.., ", t_.outputs, "]"));
    const std::vector<std::int64_t>& shape = t_.qweight->shape;
    if (t_.qweight->dtype != DType::kI32) WrongType(*t_.qweight, "int32");
    std::vector<std::string> possible;
    for (const int bits : kBits) {
      const std::int64_t rows = t_.inputs * bits / 32;
      if (t_.inputs * bits % 32 != 0) continue;
      possible.push_back(Cat("[", rows, ", ", t_.outputs, "] for ", bits, " bits"));
      if (IsMatrix(*t_.qweight) && shape[0] == rows && shape[1] == t_.outputs) t_.bits = bits;
    }
    if (t_.bits != 0) return;
    if (possible.empty()) {
      return Problem(Cat(t_.qweight->name, ": ", t_.inputs, " inputs of 2, 4 or 8 bits do not ",
                         "fill words of 32 bits; found ", ShapeText(shape)));
    }
    std::string text =
        Cat(t_.qweight->name, ": expected ", Join(possible, " or "), ", found ", ShapeText(shape));
    std::int64_t sum = 0;
    if (IsMatrix(*t_.qweight) && shape[1] == t_.outputs &&
        !__builtin_mul_overflow(shape[0], std::int64_t{32}, &sum) && sum % t_.inputs == 0 &&
        sum / t_.inputs <= 32) {
      text +=
          Cat(", which would be ", sum / t_.inputs, " bits; quantise the model in 2, 4 or 8 bits");
    }
    Problem(std::move(text));
  }

  void CheckScales() {
    if (t_.scales == nullptr) return Missing(".scales", Cat("[groups, ", t_.outputs, "]"));
    const DType type = t_.scales->dtype;
    if (type != DType::kF16 && type != DType::kBF16 && type != DType::kF32)
      WrongType(*t_.scales, "float16 (or float32 or bfloat16 that float16 holds exactly)");
    const std::vector<std::int64_t>& shape = t_.scales->shape;
    if (!IsMatrix(*t_.scales) || shape[1] != t_.outputs || shape[0] < 1 || shape[0] > t_.inputs) {
      return Problem(Cat(t_.scales->name, ": expected [groups, ", t_.outputs, "] with 1 to ",
                         t_.inputs, " groups, found ", ShapeText(shape)));
    }
    t_.groups = shape[0];
  }

  void CheckZeros() {
    if (t_.qzeros == nullptr) return Missing(".qzeros", "[groups, ..]");
    if (t_.qzeros->dtype != DType::kI32) WrongType(*t_.qzeros, "int32");
    if (t_.bits == 0 || t_.groups == 0) return;  // complained about already
    if (t_.outputs * t_.bits % 32 != 0) {
      return Problem(Cat(t_.qzeros->name, ": ", t_.outputs, " zero points of ", t_.bits,
                         " bits do not fill words of 32 bits; found ",
                         ShapeText(t_.qzeros->shape)));
    }
    const std::vector<std::int64_t> expected = {t_.groups, t_.outputs * t_.bits / 32};
    if (t_.qzeros->shape == expected) return;
    Problem(Cat(t_.qzeros->name, ": expected ", ShapeText(expected), " (the ", t_.groups,
                " groups of ", t_.scales->name, ", ", t_.outputs, " outputs of ", t_.bits,
                " bits as ", t_.qweight->name, " has them), found ", ShapeText(t_.qzeros->shape)));
  }

  void CheckGroupIndex() {
    if (t_.g_idx == nullptr) return;
    if (t_.g_idx->dtype != DType::kI32 && t_.g_idx->dtype != DType::kI64)
      WrongType(*t_.g_idx, "int32 or int64");
    if (t_.g_idx->shape != std::vector<std::int64_t>{t_.inputs}) {
      Problem(Cat(t_.g_idx->name, ": expected [", t_.inputs, "], the group of each input, found ",
                  ShapeText(t_.g_idx->shape)));
    } else if (!t_.g_idx->contiguous()) {
      // A view may claim far more elements than the file has bytes.
      Problem(Cat(t_.g_idx->name, ": is a view with strides; save it as a plain tensor"));
    }
  }

  GptqTensors& t_;
  std::vector<std::string>* problems_;
};

template <typename T>
absl::Status ReadIndex(const Checkpoint& checkpoint, const GptqTensors& t, CrcLedger* ledger,
                       std::vector<std::int32_t>* group_of) {
  constexpr std::int64_t kPart = 1 << 16;
  std::vector<std::uint8_t> bytes;
  for (std::int64_t first = 0; first < t.inputs; first += kPart) {
    const auto count = static_cast<std::size_t>(std::min(kPart, t.inputs - first));
    bytes.resize(count * sizeof(T));
    MOSSRT_RETURN_IF_ERROR(
        checkpoint.ReadRows(*t.g_idx, first, static_cast<std::int64_t>(count), bytes));
    if (ledger != nullptr) ledger->Add(*t.g_idx, first, bytes);
    for (std::size_t i = 0; i < count; ++i) {
      T group;
      std::memcpy(&group, &bytes[i * sizeof(T)], sizeof(T));
      if (group < 0 || group >= t.groups) {
        return absl::InvalidArgumentError(
            Cat(checkpoint.source().name(), ": ", t.g_idx->name, "[",
                first + static_cast<std::int64_t>(i), "] is ", group, ", expected 0 to ",
                t.groups - 1, ", since ", t.scales->name, " has ", t.groups,
                " groups; the file is damaged or its tensors are not of one model"));
      }
      group_of->push_back(static_cast<std::int32_t>(group));
    }
  }
  return absl::OkStatus();
}

// Inputs of a group where no g_idx tells it.
absl::StatusOr<std::int64_t> SizeByShape(const GptqTensors& t, std::int64_t claimed) {
  if (t.groups == 1) return t.inputs;
  if (claimed > 0 && (t.inputs + claimed - 1) / claimed == t.groups) return claimed;
  const std::int64_t size = t.inputs / t.groups;
  // All writers use powers of two; a tail leaves more than one that would fit.
  if (t.inputs % t.groups == 0 && std::has_single_bit(static_cast<std::uint64_t>(size)))
    return size;
  return absl::InvalidArgumentError(
      Cat(t.base, ": there is no g_idx, and how many of the ", t.inputs,
          " inputs belong to each of the ", t.groups,
          " groups cannot be told; state \"groupsize\" in config.json or \"group_size\" in "
          "quantize_config.json"));
}

}  // namespace

std::optional<GptqTensors> FindGptq(const Checkpoint& checkpoint, const WeightRule& rule,
                                    std::vector<std::string>* problems) {
  constexpr std::string_view kWeight = ".weight";
  // An embedding is no linear layer, and those alone are quantised.
  if (!rule.matrix() || rule.bias || rule.role == Role::kEmbedding) return std::nullopt;
  const auto& tensors = checkpoint.tensors();
  if (!rule.tensor.ends_with(kWeight) || tensors.contains(rule.tensor)) return std::nullopt;
  GptqTensors found;
  found.base = rule.tensor.substr(0, rule.tensor.size() - kWeight.size());
  const auto find = [&](std::string_view suffix) {
    const auto it = tensors.find(Cat(found.base, suffix));
    return it == tensors.end() ? nullptr : &it->second;
  };
  found.qweight = find(".qweight");
  found.qzeros = find(".qzeros");
  found.scales = find(".scales");
  found.g_idx = find(".g_idx");
  if (found.qweight == nullptr && found.qzeros == nullptr && found.scales == nullptr)
    return std::nullopt;
  // GPTQ files hold [in, out] whatever the plain matrix would be.
  found.inputs = rule.cols;
  found.outputs = rule.shape[rule.transposed ? 1 : 0];
  Checker(&found, problems).Check();
  return found;
}

absl::StatusOr<GptqGroups> ReadGptqGroups(const Checkpoint& checkpoint, const GptqTensors& t,
                                          std::int64_t claimed, CrcLedger* ledger) {
  GptqGroups groups;
  groups.group_of.reserve(static_cast<std::size_t>(t.inputs));
  if (t.g_idx == nullptr) {
    const auto size = SizeByShape(t, claimed);
    if (!size.ok()) return Prefix(size.status(), checkpoint.source().name());
    groups.group_size = *size;
    for (std::int64_t k = 0; k < t.inputs; ++k)
      groups.group_of.push_back(static_cast<std::int32_t>(k / groups.group_size));
    return groups;
  }
  MOSSRT_RETURN_IF_ERROR(t.g_idx->dtype == DType::kI64
                             ? ReadIndex<std::int64_t>(checkpoint, t, ledger, &groups.group_of)
                             : ReadIndex<std::int32_t>(checkpoint, t, ledger, &groups.group_of));
  std::vector<std::int64_t> inputs(static_cast<std::size_t>(t.groups));
  for (const std::int32_t group : groups.group_of) ++inputs[static_cast<std::size_t>(group)];
  groups.group_size = *std::max_element(inputs.begin(), inputs.end());
  for (std::int64_t k = 0; k < t.inputs && groups.in_order; ++k)
    groups.in_order = groups.group_of[static_cast<std::size_t>(k)] == k / groups.group_size;
  return groups;
}

}  // namespace mossrt::runtime
