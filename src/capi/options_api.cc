#include <cmath>
#include <memory>

#include "base/status.h"
#include "capi/handles.h"
#include "mossrt/mossrt.h"

namespace mossrt::capi {
namespace {

using runtime::Json;
using runtime::OptionInfo;
using runtime::OptionKind;

absl::Status KnownKind(std::int32_t kind) {
  switch (kind) {
    case MOSSRT_OPTIONS_LOAD:
    case MOSSRT_OPTIONS_SESSION:
    case MOSSRT_OPTIONS_GENERATE:
    case MOSSRT_OPTIONS_EVAL:
    case MOSSRT_OPTIONS_TOKENIZER:
    case MOSSRT_OPTIONS_CHAT:
      return absl::OkStatus();
    default:
      return absl::InvalidArgumentError(
          runtime::Cat("kind must be one of MOSSRT_OPTIONS_*, found ", kind));
  }
}

const OptionInfo* Find(OptionKind kind, std::string_view key) {
  for (const OptionInfo& row : runtime::OptionTable(kind)) {
    if (row.key == key) return &row;
  }
  return nullptr;
}

// Checks and puts one value; null takes the key out.
absl::Status Put(OptionKind kind, const std::string& key, Json value, Json* values) {
  const OptionInfo* row = Find(kind, key);
  if (row != nullptr && value.is_null()) {
    values->erase(key);
    return absl::OkStatus();
  }
  if (row != nullptr && row->type == runtime::OptionType::kBool && value.is_number_integer() &&
      (value == 0 || value == 1)) {
    value = value == 1;
  }
  MOSSRT_RETURN_IF_ERROR(runtime::CheckOption(kind, key, runtime::DumpJson(value)));
  (*values)[key] = std::move(value);
  return absl::OkStatus();
}

mossrt_error* Set(const char* function, mossrt_options* o, const char* key, Json value) {
  return Guard(function, [&]() -> absl::Status {
    MOSSRT_NEED(o);
    MOSSRT_NEED(key);
    const Use use(&o->in_use, Use::kExclusive);
    if (!use.held()) return Busy("options object");
    return Put(o->kind, key, std::move(value), &o->values);
  });
}

}  // namespace
}  // namespace mossrt::capi

using namespace mossrt::capi;     // NOLINT: the definitions below are the C functions
using namespace mossrt::runtime;  // NOLINT

mossrt_error* mossrt_options_create(int32_t kind, mossrt_options** out) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(out);
    MOSSRT_RETURN_IF_ERROR(KnownKind(kind));
    auto options = std::make_unique<mossrt_options>();
    options->kind = static_cast<OptionKind>(kind);
    *out = options.release();
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_options_set_int(mossrt_options* o, const char* key, int64_t value) {
  return Set(__func__, o, key, value);
}

mossrt_error* mossrt_options_set_float(mossrt_options* o, const char* key, double value) {
  if (!std::isfinite(value)) {
    return Guard(__func__, [&]() -> absl::Status {
      MOSSRT_NEED(o);
      MOSSRT_NEED(key);
      return absl::InvalidArgumentError(
          Cat("option \"", key, "\" must be a finite number, found ", value));
    });
  }
  return Set(__func__, o, key, value);
}

mossrt_error* mossrt_options_set_str(mossrt_options* o, const char* key, const char* value,
                                     size_t len) {
  const char* const function = __func__;
  return Guard(function, [&]() -> absl::Status {
    MOSSRT_NEED(o);
    MOSSRT_NEED(key);
    if (len > 0) MOSSRT_NEED(value);
    const Use use(&o->in_use, Use::kExclusive);
    if (!use.held()) return Busy("options object");
    return Put(o->kind, key, std::string(len == 0 ? "" : value, len), &o->values);
  });
}

mossrt_error* mossrt_options_merge_json(mossrt_options* o, const char* json, size_t len) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(o);
    MOSSRT_NEED(json);
    const Use use(&o->in_use, Use::kExclusive);
    if (!use.held()) return Busy("options object");
    MOSSRT_ASSIGN_OR_RETURN(const Json object,
                            ParseJsonObject(std::string_view(json, len), "options"));
    Json values = o->values;
    for (const auto& [key, value] : object.items()) {
      MOSSRT_RETURN_IF_ERROR(Put(o->kind, key, value, &values));
    }
    o->values = std::move(values);
    return absl::OkStatus();
  });
}

mossrt_error* mossrt_options_describe(int32_t kind, const char** json, size_t* len) {
  return Guard(__func__, [&]() -> absl::Status {
    MOSSRT_NEED(json);
    MOSSRT_NEED(len);
    MOSSRT_RETURN_IF_ERROR(KnownKind(kind));
    const std::string& text = DescribeOptions(static_cast<OptionKind>(kind));
    *json = text.c_str();
    *len = text.size();
    return absl::OkStatus();
  });
}

void mossrt_options_free(mossrt_options* o) {
  GuardVoid(__func__, [&] { delete o; });
}
