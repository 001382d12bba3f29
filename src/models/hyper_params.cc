// The numbers of config.json, each checked, all complaints in one message.
#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

#include "base/cat.h"
#include "base/json.h"
#include "base/status.h"
#include "mossrt/runtime/arch_spec.h"

namespace mossrt::runtime {
namespace {

// Far above any published model; products of two of them fit in 63 bits.
constexpr std::int64_t kMaxDim = std::int64_t{1} << 24;
// A table of 4 GiB: eight million positions of heads of 128.
constexpr std::int64_t kMaxRotaryValues = std::int64_t{1} << 30;

class Reader {
 public:
  explicit Reader(const Json& json) : config_(json, "config.json") {}

  // Required if `fallback` is negative.
  std::int64_t Int(const std::string& key, std::int64_t low, std::int64_t high,
                   std::int64_t fallback) {
    if (key.empty() && fallback >= 0) return fallback;
    if (key.empty()) {
      Blame(key, "the architecture names no key for a size that every model has");
      return low;
    }
    const auto value = config_.Int(key, low, high);
    if (!value.ok()) {
      Blame(key, std::string(Message(value.status())));
      return low;
    }
    if (!value->has_value()) {
      if (fallback >= 0) return fallback;
      Blame(key, Cat("config.json: \"", key, "\" is missing"));
      return low;
    }
    return **value;
  }

  double Number(const std::string& key, double fallback) {
    if (key.empty()) return fallback;
    const auto value = config_.Number(key);
    if (!value.ok()) Blame(key, std::string(Message(value.status())));
    return value.ok() && value->has_value() ? **value : fallback;
  }

  bool Bool(const std::string& key, bool fallback) {
    if (key.empty()) return fallback;
    const auto value = config_.Bool(key);
    if (!value.ok()) problems_.emplace_back(Message(value.status()));
    return value.ok() && value->has_value() ? **value : fallback;
  }

  std::string String(const std::string& key) {
    if (key.empty()) return "";
    const auto value = config_.String(key);
    if (!value.ok()) problems_.emplace_back(Message(value.status()));
    return value.ok() && value->has_value() ? **value : "";
  }

  void Refuse(const std::string& key) {
    const Json* value = config_.Find(key);
    if (value == nullptr || *value == false || *value == 0) return;
    problems_.push_back(Cat("config.json: \"", key, "\" is ", DumpJson(*value),
                            ", which this library does not run"));
  }

  // `of`: the keys that a relation is about. What stands in the place of a value that was
  // complained about says nothing about the others.
  void Require(bool ok, std::string problem, std::initializer_list<std::string_view> of = {}) {
    if (!ok && Sound(of)) problems_.push_back(Cat("config.json: ", problem));
  }
  bool Sound(std::initializer_list<std::string_view> keys) const {
    return std::none_of(keys.begin(), keys.end(),
                        [this](std::string_view key) { return blamed_.contains(key); });
  }

  const Json* Find(const std::string& key) const { return config_.Find(key); }

  absl::Status status() const {
    if (problems_.empty()) return absl::OkStatus();
    return absl::InvalidArgumentError(
        Cat(Join(problems_, "\n"),
            "\nCorrect config.json, or take the one that was published with these weights"));
  }

 private:
  void Blame(const std::string& key, std::string problem) {
    problems_.push_back(std::move(problem));
    blamed_.insert(key);
  }

  JsonReader config_;
  std::vector<std::string> problems_;
  std::set<std::string, std::less<>> blamed_;
};

Activation ActivationByName(const std::string& name, Reader* reader) {
  static constexpr std::pair<std::string_view, Activation> known[] = {
      {"gelu_new", Activation::kGeluTanh},  {"gelu_pytorch_tanh", Activation::kGeluTanh},
      {"gelu_fast", Activation::kGeluTanh}, {"gelu", Activation::kGeluErf},
      {"silu", Activation::kSilu},          {"swish", Activation::kSilu},
      {"relu", Activation::kRelu}};
  std::vector<std::string> names;
  for (const auto& [known_name, activation] : known) {
    if (known_name == name) return activation;
    names.emplace_back(known_name);
  }
  reader->Require(false, Cat("the activation \"", name, "\" is not one of ", Join(names, ", ")));
  return Activation::kNone;
}

// Configs saved by transformers 5 keep rotary settings in "rope_parameters".
void ReadRopeParameters(Reader* reader, HyperParams* p, std::optional<double>* factor) {
  const Json* rope = reader->Find("rope_parameters");
  if (rope == nullptr) return;
  reader->Require(rope->is_object(),
                  Cat("\"rope_parameters\" must be an object, found ", rope->type_name()));
  if (!rope->is_object()) return;
  const auto number = [&](const char* key, auto* out) {
    const auto it = rope->find(key);
    if (it == rope->end() || it->is_null()) return;
    reader->Require(it->is_number(),
                    Cat("rope_parameters.", key, " must be a number, found ", DumpJson(*it)));
    if (it->is_number()) *out = it->get<double>();
  };
  number("rope_theta", &p->rope_theta);
  number("partial_rotary_factor", factor);
  for (const char* key : {"rope_type", "type"}) {
    const auto type = rope->find(key);
    if (type == rope->end() || type->is_null()) continue;
    reader->Require(*type == "default", Cat("rope_parameters.", key, " is ", DumpJson(*type),
                                            "; only \"default\" is known"));
  }
}

std::int64_t RotaryDim(std::int64_t head_dim, double fraction) {
  return static_cast<std::int64_t>(static_cast<double>(head_dim) * std::clamp(fraction, 0.0, 1.0));
}

// Rotary settings that other families have. The family's own code passes over them, and so does
// ours; a value that differs from what is computed would be an expectation that nobody meets.
void RefuseOtherRotary(const ArchSpec& spec, const HyperParams& p,
                       const std::optional<double>& factor, Reader* reader) {
  if (spec.position == Position::kNone) return;
  const ConfigKeys& keys = spec.keys;
  const auto refuse = [&](const char* key, double stated, std::string_view used) {
    reader->Require(false,
                    Cat("\"", key, "\" is ", stated, ", which the architecture \"", spec.name,
                        "\" does not read: it uses ", used),
                    {key, keys.hidden, keys.heads, keys.head_dim, keys.rotary_dim});
  };
  for (const char* key : {"rope_theta", "rotary_emb_base"}) {
    if (key == keys.rope_theta) continue;
    const double stated = reader->Number(key, p.rope_theta);
    if (stated != p.rope_theta) refuse(key, stated, Cat("the base ", p.rope_theta));
  }
  const auto refuse_fraction = [&](const char* key, double stated) {
    if (RotaryDim(p.head_dim, stated) == p.rotary_dim) return;
    refuse(key, stated, Cat(p.rotary_dim, " of the ", p.head_dim, " dimensions of a head"));
  };
  for (const char* key : {"partial_rotary_factor", "rotary_pct"}) {
    if (key == keys.rotary_fraction || reader->Find(key) == nullptr) continue;
    refuse_fraction(key, reader->Number(key, 1.0));
  }
  if (factor) refuse_fraction("rope_parameters.partial_rotary_factor", *factor);
}

}  // namespace

std::string_view ResidualName(Residual residual) {
  switch (residual) {
    case Residual::kSequential:
      return "sequential";
    case Residual::kParallelSharedNorm:
      return "parallel, one norm";
    case Residual::kParallelTwoNorms:
      return "parallel, two norms";
  }
  return "";
}

absl::StatusOr<HyperParams> ReadHyperParams(const ArchSpec& spec, const std::string& config_json) {
  MOSSRT_ASSIGN_OR_RETURN(const Json json,
                          ParseJsonObject(config_json, "config.json", kCorrectFile));
  Reader r(json);
  const ConfigKeys& keys = spec.keys;
  HyperParams p;
  p.architecture = spec.name;
  p.model_type = r.String("model_type");
  p.vocab = r.Int(keys.vocab, 1, kMaxDim, -1);
  p.hidden = r.Int(keys.hidden, 1, kMaxDim, -1);
  p.layers = r.Int(keys.layers, 1, 10000, -1);
  p.heads = r.Int(keys.heads, 1, 65536, -1);
  p.kv_heads = r.Int(keys.kv_heads, 1, 65536, p.heads);
  p.max_positions = r.Int(keys.max_positions, 1, kMaxDim, -1);
  r.Require(p.kv_heads > 0 && p.heads % p.kv_heads == 0,
            Cat("\"", keys.heads, "\" = ", p.heads, " is no multiple of \"", keys.kv_heads,
                "\" = ", p.kv_heads),
            {keys.heads, keys.kv_heads});
  p.head_dim = r.Int(keys.head_dim, 1, 65536, p.hidden / std::max<std::int64_t>(1, p.heads));
  const bool stated_head_dim = !keys.head_dim.empty() && r.Find(keys.head_dim) != nullptr;
  r.Require(stated_head_dim || p.hidden % p.heads == 0,
            Cat("\"", keys.hidden, "\" = ", p.hidden, " is no multiple of \"", keys.heads,
                "\" = ", p.heads),
            {keys.hidden, keys.heads});
  r.Require(
      p.heads * p.head_dim <= kMaxDim && p.heads / std::max<std::int64_t>(1, p.kv_heads) <= 1024,
      Cat(p.heads, " heads of ", p.head_dim, " dimensions are more than any known model has"),
      {keys.hidden, keys.heads, keys.kv_heads, keys.head_dim});
  p.inner = r.Int(keys.inner, 1, kMaxDim,
                  spec.inner_per_hidden > 0 ? p.hidden * spec.inner_per_hidden : -1);
  r.Require(p.inner <= 4 * kMaxDim, Cat("an MLP of ", p.inner, " neurons is too wide"));
  p.norm_eps = r.Number(keys.norm_eps, spec.norm_eps);
  r.Require(p.norm_eps > 0 && p.norm_eps < 1,
            Cat("\"", keys.norm_eps, "\" = ", p.norm_eps, " is not in (0, 1)"));

  p.rope_theta = r.Number(keys.rope_theta, spec.rope_theta);
  double fraction = r.Number(keys.rotary_fraction, 1.0);
  std::optional<double> factor;
  ReadRopeParameters(&r, &p, &factor);
  // Where no key of config.json sets the fraction, none within rope_parameters does.
  if (factor && !keys.rotary_fraction.empty()) fraction = *factor;
  r.Require(!spec.keys.rope_theta.empty() || p.rope_theta == spec.rope_theta,
            Cat("rope_parameters.rope_theta is ", p.rope_theta,
                ", but the rotary base of the architecture \"", spec.name, "\" is always ",
                spec.rope_theta));
  r.Require(p.rope_theta > 1, Cat("the rotary base ", p.rope_theta, " is not above 1"));
  const double stated = factor.value_or(fraction);
  r.Require(stated > 0 && stated <= 1, Cat("the rotary fraction ", stated, " is not in (0, 1]"));
  const bool head_known = r.Sound({keys.hidden, keys.heads, keys.head_dim});
  const std::int64_t most = head_known ? p.head_dim : kMaxDim;
  p.rotary_dim = spec.position == Position::kNone
                     ? 0
                     : r.Int(keys.rotary_dim, 0, most, RotaryDim(p.head_dim, fraction));
  r.Require(p.rotary_dim % 2 == 0, Cat("the rotary dimension ", p.rotary_dim, " is odd"),
            {keys.hidden, keys.heads, keys.head_dim, keys.rotary_fraction});
  RefuseOtherRotary(spec, p, factor, &r);
  r.Require(
      p.rotary_dim * p.max_positions <= kMaxRotaryValues,
      Cat("\"", keys.max_positions, "\" = ", p.max_positions, " is too large for a rotary table"),
      {keys.hidden, keys.heads, keys.head_dim, keys.max_positions});

  p.qkv_groups = 0;
  if (spec.fused_qkv.groups != 0) {
    const std::int64_t by_spec = spec.fused_qkv.groups == FusedQkv::kPerKvHead
                                     ? p.kv_heads
                                     : std::int64_t{spec.fused_qkv.groups};
    p.qkv_groups = static_cast<int>(r.Int(keys.qkv_groups, 1, 65536, by_spec));
    r.Require(p.qkv_groups > 0 && p.kv_heads % p.qkv_groups == 0,
              Cat(p.kv_heads, " heads cannot be split into the ", p.qkv_groups,
                  " groups of the fused QKV matrix"),
              {keys.heads, keys.kv_heads, keys.qkv_groups});
  }
  p.residual = spec.residual;
  if (!keys.parallel_residual.empty() && !r.Bool(keys.parallel_residual, true))
    p.residual = Residual::kSequential;
  const std::string activation = r.String(keys.activation);
  p.activation = activation.empty() ? spec.activation : ActivationByName(activation, &r);
  p.tied_head = r.Bool("tie_word_embeddings", spec.tied_head);
  for (const std::string& key : keys.must_be_off) r.Refuse(key);
  MOSSRT_RETURN_IF_ERROR(r.status());
  return p;
}

}  // namespace mossrt::runtime
