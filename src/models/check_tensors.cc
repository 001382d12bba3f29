// Do a checkpoint's tensors fit a model?
#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <span>

#include "base/cat.h"
#include "base/status.h"
#include "models/gptq_tensors.h"
#include "models/weight_rules.h"

namespace mossrt::runtime {
namespace {

class TensorChecker {
 public:
  TensorChecker(const ArchSpec& spec, const HyperParams& params,
                const std::vector<WeightRule>& rules, const Checkpoint& checkpoint)
      : spec_(spec), params_(params), rules_(rules), checkpoint_(checkpoint) {}

  absl::Status Check(std::vector<std::string>* ignored, std::vector<std::string>* notes) {
    for (const WeightRule& rule : rules_) {
      if (!known_.insert(rule.tensor).second) continue;  // q, k and v of one fused tensor
      if (!CheckQuantised(rule)) CheckPlain(rule);
    }
    MOSSRT_RETURN_IF_ERROR(CheckRest(ignored));
    if (zero_biases_ > 0) {
      notes->push_back(Cat(zero_biases_, " biases of quantised matrices are zero throughout, and ",
                           "the architecture has none there; they are ignored"));
    }
    return Verdict();
  }

 private:
  void CheckPlain(const WeightRule& rule) {
    const auto it = checkpoint_.tensors().find(rule.tensor);
    if (it == checkpoint_.tensors().end()) {
      missing_.push_back(Cat(rule.tensor, " ", ShapeText(rule.shape)));
    } else if (it->second.shape != rule.shape) {
      misshaped_.push_back(Cat(rule.tensor, ": expected ", ShapeText(rule.shape), ", found ",
                               ShapeText(it->second.shape)));
    } else if (!IsFloat(it->second.dtype)) {
      mistyped_.push_back(Cat(rule.tensor, " is ", DTypeName(it->second.dtype)));
    }
  }

  bool CheckQuantised(const WeightRule& rule) {
    const std::optional<GptqTensors> found = FindGptq(checkpoint_, rule, &quantised_);
    if (!found) return false;
    for (const TensorInfo* tensor : found->all()) {
      if (tensor != nullptr) known_.insert(tensor->name);
    }
    maybe_bias_.emplace(found->base + ".bias", found->outputs);
    return true;
  }

  // GPTQ writers give a bias to every layer; where the model has none they leave zeros.
  absl::Status CheckBias(const TensorInfo& bias, std::int64_t outputs) {
    const bool plain = bias.shape == std::vector<std::int64_t>{outputs} && bias.contiguous();
    if (!plain || !IsFloat(bias.dtype)) {
      unexpected_.push_back(Cat(bias.name, " ", ShapeText(bias.shape)));
      return absl::OkStatus();
    }
    constexpr std::int64_t kPart = 1 << 16;
    const std::size_t size = DTypeSize(bias.dtype);
    std::vector<std::uint8_t> bytes;
    for (std::int64_t first = 0; first < outputs; first += kPart) {
      const std::int64_t count = std::min(kPart, outputs - first);
      bytes.resize(static_cast<std::size_t>(count) * size);
      MOSSRT_RETURN_IF_ERROR(checkpoint_.ReadRows(bias, first, count, bytes));
      for (std::size_t i = 0; i < bytes.size(); ++i) {
        // Minus zero is a zero: the sign is the highest bit of a value's last byte.
        const bool last = i % size == size - 1;
        if ((bytes[i] & (last ? 0x7F : 0xFF)) == 0) continue;
        unexpected_.push_back(Cat(bias.name, " ", ShapeText(bias.shape),
                                  " (a bias of zeros would be ignored, but value ",
                                  first + static_cast<std::int64_t>(i / size), " is none)"));
        return absl::OkStatus();
      }
    }
    ++zero_biases_;
    return absl::OkStatus();
  }

  absl::Status CheckRest(std::vector<std::string>* ignored) {
    std::set<std::string, std::less<>> may_be_there(spec_.tensors.ignore.begin(),
                                                    spec_.tensors.ignore.end());
    for (std::int64_t layer = 0; layer < params_.layers; ++layer) {
      for (const std::string& name : spec_.tensors.ignore_in_layer) {
        may_be_there.insert(LayerPrefix(spec_, layer) + name);
      }
    }
    if (params_.tied_head) may_be_there.insert(spec_.tensors.head + ".weight");
    for (const auto& [name, info] : checkpoint_.tensors()) {
      if (known_.contains(name)) continue;
      if (may_be_there.contains(name)) {
        ignored->push_back(name);
      } else if (const auto it = maybe_bias_.find(name); it != maybe_bias_.end()) {
        const int before = zero_biases_;
        MOSSRT_RETURN_IF_ERROR(CheckBias(info, it->second));
        if (zero_biases_ > before) ignored->push_back(name);
      } else {
        unexpected_.push_back(Cat(name, " ", ShapeText(info.shape)));
      }
    }
    return absl::OkStatus();
  }

  absl::Status Verdict() const {
    if (missing_.empty() && misshaped_.empty() && mistyped_.empty() && quantised_.empty() &&
        unexpected_.empty())
      return absl::OkStatus();
    std::string message = Cat("the checkpoint's tensors are not those of architecture \"",
                              spec_.name, "\" with the sizes of config.json");
    // A config.json may ask for 10000 layers; the first names show what is wrong.
    static constexpr std::size_t kMostNames = 200;
    const auto list = [&message](std::string_view what, const std::vector<std::string>& names) {
      if (names.empty()) return;
      const std::size_t shown = std::min(names.size(), kMostNames);
      message += Cat("\n  ", what, " (", names.size(), "):\n    ",
                     Join(std::span(names).first(shown), "\n    "));
      if (shown < names.size()) message += Cat("\n    and ", names.size() - shown, " more");
    };
    list("missing", missing_);
    list("of another shape", misshaped_);
    list("not of a floating-point type", mistyped_);
    list("wrong about GPTQ matrices", quantised_);
    list("unexpected", unexpected_);
    message +=
        "\n  Take config.json and all weight files as they were published together, or give the "
        "load option \"architecture\"";
    return absl::InvalidArgumentError(message);
  }

  const ArchSpec& spec_;
  const HyperParams& params_;
  const std::vector<WeightRule>& rules_;
  const Checkpoint& checkpoint_;
  std::set<std::string, std::less<>> known_;
  std::map<std::string, std::int64_t, std::less<>> maybe_bias_;  // name, outputs
  std::vector<std::string> missing_, misshaped_, mistyped_, quantised_, unexpected_;
  int zero_biases_ = 0;
};

}  // namespace

absl::Status CheckTensors(const ArchSpec& spec, const HyperParams& params,
                          const std::vector<WeightRule>& rules, const Checkpoint& checkpoint,
                          std::vector<std::string>* ignored, std::vector<std::string>* notes) {
  return TensorChecker(spec, params, rules, checkpoint).Check(ignored, notes);
}

}  // namespace mossrt::runtime
