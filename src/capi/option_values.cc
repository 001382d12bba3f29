#include "capi/option_values.h"

#include <span>
#include <utility>

#include "base/status.h"

namespace mossrt::capi {
namespace {

using runtime::Json;
using runtime::OptionKind;

// Values have been checked against their table when they were set, so that the conversions of Json
// cannot fail; a key that the table has and this room does not is our mistake.
template <typename Options>
struct Setter {
  const char* key;
  void (*set)(const Json&, Options*);
};

template <typename Options>
absl::StatusOr<Options> Read(const mossrt_options* o, OptionKind kind,
                             std::span<const Setter<Options>> setters) {
  MOSSRT_ASSIGN_OR_RETURN(const Json values, ValuesOf(o, kind));
  Options options;
  for (const auto& [key, value] : values.items()) {
    bool known = false;
    for (const auto& setter : setters) {
      if (key != setter.key) continue;
      setter.set(value, &options);
      known = true;
    }
    if (!known) return absl::InternalError(runtime::Cat("option \"", key, "\" has no effect"));
  }
  return options;
}

// One string stands for a list of it.
std::vector<std::string> Strings(const Json& value) {
  if (value.is_array()) return value.get<std::vector<std::string>>();
  return {value.get<std::string>()};
}

}  // namespace

absl::StatusOr<Json> ValuesOf(const mossrt_options* o, OptionKind kind) {
  if (o == nullptr) return Json::object();
  const Use use(&o->in_use, Use::kShared);
  if (!use.held()) return Busy("options object");
  if (o->kind != kind) {
    return absl::InvalidArgumentError(runtime::Cat(
        CallFrame::Current()->function(), ": options of kind ", static_cast<int>(o->kind),
        " were given where kind ", static_cast<int>(kind), " (MOSSRT_OPTIONS_*) is needed"));
  }
  return o->values;
}

absl::StatusOr<runtime::LoadOptions> LoadOptionsOf(const mossrt_options* o) {
  using Options = runtime::LoadOptions;
  static constexpr Setter<Options> setters[] = {
      {"dtype", [](const Json& v, Options* out) { out->dtype = v.get<std::string>(); }},
      {"overrides", [](const Json& v, Options* out) { out->overrides = Strings(v); }},
      {"backend", [](const Json& v, Options* out) { out->backend = v.get<std::string>(); }},
      {"architecture",
       [](const Json& v, Options* out) { out->architecture = v.get<std::string>(); }},
      {"threads", [](const Json& v, Options* out) { out->threads = v.get<int>(); }},
      {"verify_crc", [](const Json& v, Options* out) { out->verify_crc = v.get<bool>(); }},
      {"huge_pages", [](const Json& v, Options* out) { out->huge_pages = v.get<bool>(); }},
      {"mmap", [](const Json& v, Options* out) { out->mmap = v.get<bool>(); }},
      {"memory_limit",
       [](const Json& v, Options* out) { out->memory_limit = v.get<std::uint64_t>(); }},
  };
  return Read<Options>(o, OptionKind::kLoad, setters);
}

absl::StatusOr<runtime::SessionOptions> SessionOptionsOf(const mossrt_options* o) {
  using Options = runtime::SessionOptions;
  static constexpr Setter<Options> setters[] = {
      {"kv_dtype",
       [](const Json& v, Options* out) {
         const auto name = v.get<std::string>();
         if (name == "float32") out->kv_dtype = runtime::DType::kF32;
         if (name == "bfloat16") out->kv_dtype = runtime::DType::kBF16;
         if (name == "int8") out->kv_dtype = runtime::DType::kI8;
       }},
      {"context", [](const Json& v, Options* out) { out->context = v.get<std::int64_t>(); }},
      {"prefill_chunk",
       [](const Json& v, Options* out) { out->prefill_chunk = v.get<std::int64_t>(); }},
  };
  return Read<Options>(o, OptionKind::kSession, setters);
}

absl::StatusOr<runtime::EvalOptions> EvalOptionsOf(const mossrt_options* o) {
  using Options = runtime::EvalOptions;
  static constexpr Setter<Options> setters[] = {
      {"logits",
       [](const Json& v, Options* out) {
         const auto name = v.get<std::string>();
         out->logits = name == "none"  ? runtime::WantLogits::kNone
                       : name == "all" ? runtime::WantLogits::kAll
                                       : runtime::WantLogits::kLast;
       }},
      {"hidden",
       [](const Json& v, Options* out) {
         out->hidden = v.is_array() ? v.get<std::vector<int>>() : std::vector<int>{v.get<int>()};
       }},
  };
  return Read<Options>(o, OptionKind::kEval, setters);
}

absl::StatusOr<runtime::TokenizerOptions> TokenizerOptionsOf(const mossrt_options* o) {
  using Options = runtime::TokenizerOptions;
  static constexpr Setter<Options> setters[] = {
      {"added_tokens",
       [](const Json& v, Options* out) {
         out->added_tokens = v.get<std::string>() == "hf-4.25" ? runtime::AddedTokens::kHf425
                                                               : runtime::AddedTokens::kLossless;
       }},
  };
  return Read<Options>(o, OptionKind::kTokenizer, setters);
}

absl::StatusOr<runtime::ChatOptions> ChatOptionsOf(const mossrt_options* o) {
  using Options = runtime::ChatOptions;
  static constexpr Setter<Options> setters[] = {
      {"profile", [](const Json& v, Options* out) { out->profile = v.get<std::string>(); }},
      {"profile_json",
       [](const Json& v, Options* out) { out->profile_json = v.get<std::string>(); }},
      {"plugins", [](const Json& v, Options* out) { out->plugins = Strings(v); }},
      {"meta", [](const Json& v, Options* out) { out->meta = v.get<std::string>(); }},
      {"meta_instruction",
       [](const Json& v, Options* out) { out->meta_file = v.get<std::string>(); }},
      {"date", [](const Json& v, Options* out) { out->date = v.get<std::string>(); }},
      {"context", [](const Json& v, Options* out) { out->context = v.get<std::int64_t>(); }},
      {"reserve", [](const Json& v, Options* out) { out->reserve = v.get<std::int64_t>(); }},
      {"on_full",
       [](const Json& v, Options* out) { out->error_when_full = v.get<std::string>() == "error"; }},
      {"commands",
       [](const Json& v, Options* out) {
         const auto name = v.get<std::string>();
         out->grammar = name == "strict"        ? runtime::CommandGrammar::kStrict
                        : name == "constrained" ? runtime::CommandGrammar::kConstrained
                                                : runtime::CommandGrammar::kTolerant;
       }},
      {"max_commands",
       [](const Json& v, Options* out) { out->max_commands = v.get<std::int64_t>(); }},
  };
  return Read<Options>(o, OptionKind::kChat, setters);
}

}  // namespace mossrt::capi
