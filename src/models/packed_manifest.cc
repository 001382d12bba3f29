#include "models/packed_manifest.h"

#include "base/cat.h"
#include "base/status.h"

namespace mossrt::runtime {
namespace {

// A list of objects under `key`.
template <typename Visit>
absl::Status ForObjects(const JsonReader& reader, std::string_view key, const Visit& visit) {
  const Json* list = reader.Find(key);
  if (list == nullptr || !list->is_array()) return reader.WrongType(key, "a list");
  for (const Json& item : *list) {
    if (!item.is_object()) return reader.WrongType(key, "a list of objects");
    MOSSRT_RETURN_IF_ERROR(visit(item));
  }
  return absl::OkStatus();
}

absl::Status Take(const JsonReader& reader, std::string_view key, std::string* out) {
  MOSSRT_ASSIGN_OR_RETURN(auto text, reader.String(key));
  if (!text) return reader.WrongType(key, "a string");
  *out = *std::move(text);
  return absl::OkStatus();
}

template <typename T>
absl::Status Take(const JsonReader& reader, std::string_view key, std::int64_t low, T* out) {
  MOSSRT_ASSIGN_OR_RETURN(const auto number, reader.Int(key, low, INT64_MAX));
  if (!number) return reader.WrongType(key, "a number");
  *out = static_cast<T>(*number);
  return absl::OkStatus();
}

absl::Status TakeMatrix(const Json& json, const std::string& what, PackedMatrix* out) {
  const JsonReader reader(json, what);
  std::string format;
  MOSSRT_RETURN_IF_ERROR(Take(reader, "role", &out->role));
  MOSSRT_RETURN_IF_ERROR(Take(reader, "layer", -1, &out->layer));
  MOSSRT_RETURN_IF_ERROR(Take(reader, "rows", 1, &out->saved.rows));
  MOSSRT_RETURN_IF_ERROR(Take(reader, "cols", 1, &out->saved.cols));
  MOSSRT_RETURN_IF_ERROR(Take(reader, "bytes", 0, &out->bytes));
  MOSSRT_RETURN_IF_ERROR(Take(reader, "groups", 0, &out->saved.groups));
  MOSSRT_RETURN_IF_ERROR(Take(reader, "order_at", 0, &out->order_at));
  MOSSRT_RETURN_IF_ERROR(Take(reader, "order_count", 0, &out->order_count));
  MOSSRT_RETURN_IF_ERROR(Take(reader, "format", &format));
  auto parsed = ParseWeightFormat(format);
  if (!parsed.ok()) return Prefix(parsed.status(), what);
  out->saved.format = *parsed;
  return absl::OkStatus();
}

absl::Status TakeTensor(const Json& json, const std::string& what, TensorPlan* out) {
  const JsonReader reader(json, what);
  std::string dtype;
  MOSSRT_RETURN_IF_ERROR(Take(reader, "name", &out->name));
  MOSSRT_RETURN_IF_ERROR(Take(reader, "use", &out->use));
  MOSSRT_RETURN_IF_ERROR(Take(reader, "held", &out->held));
  MOSSRT_RETURN_IF_ERROR(Take(reader, "dtype", &dtype));
  bool known = false;
  for (int type = 0; type <= static_cast<int>(DType::kBool) && !known; ++type) {
    out->file_dtype = static_cast<DType>(type);
    known = DTypeName(out->file_dtype) == dtype;
  }
  if (!known) return reader.WrongType("dtype", "the name of an element type");
  MOSSRT_ASSIGN_OR_RETURN(out->shape, reader.IntOrInts("shape", 0, INT64_MAX));
  // As in checkpoints: eight dimensions, and a product that 64 bits hold.
  std::int64_t bytes = 8;
  bool fits = out->shape.size() <= 8;
  for (const std::int64_t n : out->shape) fits = fits && !__builtin_mul_overflow(bytes, n, &bytes);
  if (!fits) return reader.WrongType("shape", "a shape whose elements can be counted");
  return absl::OkStatus();
}

}  // namespace

Json PackedManifest::ToJson() const {
  Json json = {{"architecture", architecture},
               {"made_from",
                {{"name", origin.name}, {"dtype", origin.dtype}, {"overrides", origin.overrides}}},
               {"matrices", Json::array()},
               {"tensors", Json::array()}};
  for (const PackedMatrix& m : matrices) {
    json["matrices"].push_back({{"role", m.role},
                                {"layer", m.layer},
                                {"rows", m.saved.rows},
                                {"cols", m.saved.cols},
                                {"format", FormatName(m.saved.format)},
                                {"groups", m.saved.groups},
                                {"order_at", m.order_at},
                                {"order_count", m.order_count},
                                {"bytes", m.bytes}});
  }
  for (const TensorPlan& t : tensors) {
    json["tensors"].push_back({{"name", t.name},
                               {"dtype", std::string(DTypeName(t.file_dtype))},
                               {"shape", t.shape},
                               {"use", t.use},
                               {"held", t.held}});
  }
  return json;
}

absl::StatusOr<PackedManifest> PackedManifest::Parse(const Json& model, std::string_view what) {
  const std::string where = Cat(what, ": manifest");
  const JsonReader reader(model, where);
  PackedManifest manifest;
  MOSSRT_RETURN_IF_ERROR(Take(reader, "architecture", &manifest.architecture));
  const Json* origin = reader.Find("made_from");
  if (origin == nullptr || !origin->is_object()) return reader.WrongType("made_from", "an object");
  const JsonReader made_from(*origin, Cat(where, ": made_from"));
  MOSSRT_RETURN_IF_ERROR(Take(made_from, "name", &manifest.origin.name));
  MOSSRT_RETURN_IF_ERROR(Take(made_from, "dtype", &manifest.origin.dtype));
  const Json* overrides = made_from.Find("overrides");
  if (overrides == nullptr || !overrides->is_array()) {
    return made_from.WrongType("overrides", "a list of strings");
  }
  for (const Json& entry : *overrides) {
    if (!entry.is_string()) return made_from.WrongType("overrides", "a list of strings");
    manifest.origin.overrides.push_back(entry.get<std::string>());
  }
  MOSSRT_RETURN_IF_ERROR(ForObjects(reader, "matrices", [&](const Json& item) {
    return TakeMatrix(item, Cat(where, ": matrix ", manifest.matrices.size()),
                      &manifest.matrices.emplace_back());
  }));
  MOSSRT_RETURN_IF_ERROR(ForObjects(reader, "tensors", [&](const Json& item) {
    return TakeTensor(item, Cat(where, ": tensor ", manifest.tensors.size()),
                      &manifest.tensors.emplace_back());
  }));
  return manifest;
}

}  // namespace mossrt::runtime
