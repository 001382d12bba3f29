#include "models/quantization.h"

#include <algorithm>
#include <functional>
#include <optional>

#include "base/cat.h"
#include "base/json.h"
#include "base/status.h"

namespace mossrt::runtime {
namespace {

constexpr std::string_view kCure =
    "take the unquantised weights of the model, or ones that GPTQ wrote";

class ClaimReader {
 public:
  ClaimReader(const Json& json, std::string place, QuantizationClaims* claims)
      : json_(json, place, kCorrectFile), place_(std::move(place)), claims_(claims) {}

  absl::Status Number(std::string_view key, std::int64_t low, std::int64_t high,
                      std::vector<QuantizationClaims::Claim>* out) const {
    MOSSRT_ASSIGN_OR_RETURN(const std::optional<std::int64_t> value, json_.Int(key, low, high));
    if (value) out->push_back({Where(key), *value});
    return absl::OkStatus();
  }

  // The keys that AutoGPTQ and transformers write.
  absl::Status AutoGptq() const {
    MOSSRT_ASSIGN_OR_RETURN(const std::optional<std::string> method, json_.String("quant_method"));
    if (method && *method != "gptq") {
      return absl::UnimplementedError(
          Cat(Where("quant_method"), " is \"", *method, "\", and only GPTQ is read; ", kCure));
    }
    for (const char* key : {"load_in_8bit", "load_in_4bit", "is_marlin_format"}) {
      const Json* value = json_.Find(key);
      if (value != nullptr && *value == true) {
        return absl::UnimplementedError(
            Cat(Where(key), " is true, and only GPTQ's own layout is read; ", kCure));
      }
    }
    MOSSRT_ASSIGN_OR_RETURN(const std::optional<std::string> layout,
                            json_.String("checkpoint_format"));
    if (layout && *layout != "gptq") {
      return absl::UnimplementedError(
          Cat(Where("checkpoint_format"), " is \"", *layout,
              "\", and of the layouts of GPTQ only the first (\"gptq\") is read; save the model in "
              "that one"));
    }
    MOSSRT_RETURN_IF_ERROR(Number("bits", 1, 64, &claims_->bits));
    MOSSRT_RETURN_IF_ERROR(Number("group_size", -1, INT32_MAX, &claims_->group_sizes));
    MOSSRT_ASSIGN_OR_RETURN(const std::optional<bool> reordered, json_.Bool("desc_act"));
    if (reordered) claims_->reordered.push_back({Where("desc_act"), *reordered ? 1 : 0});
    return absl::OkStatus();
  }

  // The keys of MOSS's own config.
  absl::Status Moss() const {
    MOSSRT_RETURN_IF_ERROR(Number("wbits", 1, 64, &claims_->bits));
    MOSSRT_RETURN_IF_ERROR(Number("groupsize", -1, INT32_MAX, &claims_->group_sizes));
    const Json* other = json_.Find("quantization_bit");
    if (other != nullptr && *other != 0) {
      return absl::UnimplementedError(Cat(Where("quantization_bit"), " is ", DumpJson(*other),
                                          ", a layout that is not read; ", kCure));
    }
    return absl::OkStatus();
  }

 private:
  std::string Where(std::string_view key) const { return Cat(place_, ": \"", key, "\""); }

  JsonReader json_;
  std::string place_;
  QuantizationClaims* claims_;
};

}  // namespace

absl::StatusOr<QuantizationClaims> ReadQuantizationClaims(const Checkpoint& checkpoint) {
  QuantizationClaims claims;
  const std::string file = Cat(checkpoint.source().name(), "/config.json");
  MOSSRT_ASSIGN_OR_RETURN(const Json config,
                          ParseJsonObject(checkpoint.config_json(), file, kCorrectFile));
  MOSSRT_RETURN_IF_ERROR(ClaimReader(config, file, &claims).Moss());
  if (const auto it = config.find("quantization_config"); it != config.end() && !it->is_null()) {
    const std::string place = Cat(file, ", \"quantization_config\"");
    if (!it->is_object()) {
      return absl::InvalidArgumentError(
          Cat(place, " must be an object, found ", Excerpt(*it), "; ", kCorrectFile));
    }
    MOSSRT_RETURN_IF_ERROR(ClaimReader(*it, place, &claims).AutoGptq());
  }
  if (!checkpoint.quantize_config_json().empty()) {
    const std::string beside = Cat(checkpoint.source().name(), "/quantize_config.json");
    MOSSRT_ASSIGN_OR_RETURN(
        const Json json, ParseJsonObject(checkpoint.quantize_config_json(), beside, kCorrectFile));
    MOSSRT_RETURN_IF_ERROR(ClaimReader(json, beside, &claims).AutoGptq());
  }
  return claims;
}

void NoteContradictions(const QuantizationClaims& claims,
                        const std::vector<QuantizationFacts>& matrices,
                        std::vector<std::string>* notes) {
  // The first matrix that contradicts, and how many do.
  const auto note = [&](const QuantizationClaims::Claim& claim,
                        const std::function<bool(const QuantizationFacts&)>& agrees,
                        const std::function<std::string(const QuantizationFacts&)>& fact) {
    const auto first = std::find_if_not(matrices.begin(), matrices.end(), agrees);
    if (first == matrices.end()) return;
    const auto wrong = std::count_if(first, matrices.end(), std::not_fn(agrees));
    notes->push_back(Cat(claim.where, " says ", claim.value, ", but ", fact(*first), " (", wrong,
                         " of ", matrices.size(),
                         " quantised matrices disagree); the tensors are believed"));
  };
  for (const QuantizationClaims::Claim& claim : claims.bits) {
    if (matrices.empty() && claim.value < 16) {
      notes->push_back(Cat(claim.where, " says ", claim.value,
                           ", but no matrix is quantised; the tensors are believed"));
    }
    note(
        claim, [&](const QuantizationFacts& m) { return m.bits == claim.value; },
        [](const QuantizationFacts& m) {
          return Cat("the shape of ", m.tensor, " means ", m.bits, " bits");
        });
  }
  for (const QuantizationClaims::Claim& claim : claims.group_sizes) {
    note(
        claim,
        [&](const QuantizationFacts& m) {
          return m.groups == (claim.value < 1 ? 1 : (m.inputs + claim.value - 1) / claim.value);
        },
        [](const QuantizationFacts& m) {
          return Cat(m.scales, " has ", m.groups, " groups for ", m.inputs, " inputs, up to ",
                     m.group_size, " in one");
        });
  }
  for (const QuantizationClaims::Claim& claim : claims.reordered) {
    if (claim.value != 0) continue;
    note(
        claim, [](const QuantizationFacts& m) { return m.in_order; },
        [](const QuantizationFacts& m) {
          return Cat("the inputs of ", m.tensor, " are grouped in another order");
        });
  }
}

}  // namespace mossrt::runtime
