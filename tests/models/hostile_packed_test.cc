// Packed files that lie: every byte of header and manifest changed, every length cut, every number
// of the manifest replaced, behind sums that fit and behind sums that do not.
#include <filesystem>
#include <functional>

#include "base/cat.h"
#include "made_checkpoint.h"
#include "packed_bytes.h"
#include "reference_model.h"

namespace mossrt::runtime {
namespace {

constexpr absl::StatusCode kDamaged = absl::StatusCode::kDataLoss;

absl::Status LoadBytes(const std::string& bytes, LoadOptions options = {}) {
  options.threads = 1;
  auto checkpoint = OpenPacked(std::make_unique<OneFile>(&bytes), "m.mossrt");
  if (!checkpoint.ok()) return checkpoint.status();
  const auto plan = PlanModel(**checkpoint, options);
  if (!plan.ok()) return plan.status();
  return Model::Load(**checkpoint, options, nullptr).status();
}

std::string Packed(const std::string& dtype) {
  std::string folder = (std::filesystem::temp_directory_path() / "mossrt-test-XXXXXX").string();
  EXPECT_NE(mkdtemp(folder.data()), nullptr);
  const ArchSpec spec = SpecNamed("moss");
  const MadeCheckpoint checkpoint(TinyMoss(), &spec);
  const auto model = Model::Load(checkpoint, {.dtype = dtype, .threads = 1}, nullptr);
  EXPECT_TRUE(model.ok()) << model.status();
  const auto files = OpenMemory("made", {{"config.json", checkpoint.config_json()}});
  const absl::Status status = SavePacked(**model, *files, folder + "/m", {}, nullptr);
  EXPECT_TRUE(status.ok()) << status;
  std::string bytes = ReadFileOrDie(folder + "/m");
  std::filesystem::remove_all(folder);
  return bytes;
}

// A model of integers with act-order, so that the file has orders of inputs.
std::string PackedWithOrders() {
  const ReferenceModel reference("llama-gptq");
  std::string folder = (std::filesystem::temp_directory_path() / "mossrt-test-XXXXXX").string();
  EXPECT_NE(mkdtemp(folder.data()), nullptr);
  const auto files = OpenModelFiles(reference.directory);
  const absl::Status status = SavePacked(*reference.Load({}), **files, folder + "/m", {}, nullptr);
  EXPECT_TRUE(status.ok()) << status;
  std::string bytes = ReadFileOrDie(folder + "/m");
  std::filesystem::remove_all(folder);
  return bytes;
}

void ExpectError(const absl::Status& status, absl::StatusCode code, const std::string& part) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_NE(status.message().find(part), absl::string_view::npos)
      << "no \"" << part << "\" in " << status;
}

TEST(HostilePacked, EveryByteOfHeaderAndManifest) {
  std::string file = Packed("int8");
  ASSERT_TRUE(LoadBytes(file).ok()) << LoadBytes(file);
  const std::size_t end = kPackedHeader + HeaderOf(file).manifest_bytes;
  for (std::size_t at = 0; at < end; ++at) {
    for (const int change : {0x01, 0x80, 0xFF}) {
      const char before = file[at];
      file[at] = static_cast<char>(file[at] ^ change);
      EXPECT_FALSE(LoadBytes(file).ok()) << "byte " << at << " ^ " << change;
      file[at] = before;
    }
  }
}

TEST(HostilePacked, EveryByteOfTheSmallFilesAndSomeOfTheWeights) {
  std::string file = Packed("int8");
  const Json manifest = Json::parse(ManifestOf(file));
  const auto flip = [&](std::size_t at) {
    file[at] = static_cast<char>(file[at] ^ 0x10);
    ExpectError(LoadBytes(file), kDamaged, "checksum");
    file[at] = static_cast<char>(file[at] ^ 0x10);
  };
  std::size_t at = PackedAlignUp(kPackedHeader + HeaderOf(file).manifest_bytes, kPackedAlign);
  const auto config = manifest["files"][0]["bytes"].get<std::size_t>();
  for (std::size_t i = 0; i < config; ++i) flip(at + i);
  at = PackedAlignUp(at + config, kPackedAlign);
  const auto vectors = manifest["sections"]["vectors"]["bytes"].get<std::size_t>();
  for (std::size_t i = 0; i < vectors; i += 97) flip(at + i);
  const auto weights = manifest["sections"]["weights"]["bytes"].get<std::size_t>();
  for (std::size_t i = 0; i < weights; i += weights / 20 + 1) flip(kPackedPageAlign + i);
  flip(kPackedPageAlign + weights - 1);
  flip(file.size() - 1);  // of the embedding
  // Without the sums the caller takes what there is.
  file[file.size() - 1] = static_cast<char>(file[file.size() - 1] ^ 1);
  EXPECT_TRUE(LoadBytes(file, {.verify_crc = false}).ok());
}

TEST(HostilePacked, EveryTruncation) {
  const std::string file = Packed("float16");
  const std::size_t dense = kPackedHeader + HeaderOf(file).manifest_bytes + 4096;
  for (std::size_t size = 0; size < file.size(); size += size < dense ? 1 : 9973) {
    EXPECT_FALSE(LoadBytes(file.substr(0, size)).ok()) << size;
  }
  EXPECT_FALSE(LoadBytes(file.substr(0, file.size() - 1)).ok());
  ExpectError(LoadBytes(file + "x"), kDamaged, "where its header says");
}

TEST(HostilePacked, OtherVersionsSayTheCure) {
  const std::string file = Packed("float32");
  const auto with = [&](const std::function<void(PackedHeader*)>& change) {
    std::string bad = file;
    PackedHeader header = HeaderOf(file);
    change(&header);
    SetHeader(header, &bad);
    return LoadBytes(bad);
  };
  constexpr auto kOther = absl::StatusCode::kUnimplemented;
  ExpectError(with([](PackedHeader* h) { h->version = 7; }), kOther, "version 7");
  ExpectError(with([](PackedHeader* h) { h->version = 7; }), kOther, "mossrt convert");
  ExpectError(with([](PackedHeader* h) { h->layout_version = 99; }), kOther, "layout 99");
  ExpectError(with([](PackedHeader* h) { h->layout_version = 99; }), kOther, "mossrt convert");
  ExpectError(with([](PackedHeader* h) { h->byte_order = 0x04030201; }), kOther, "byte order");
  ExpectError(with([](PackedHeader* h) { h->byte_order = 3; }), kDamaged, "byte order");
  ExpectError(with([](PackedHeader* h) { h->manifest_bytes = UINT64_MAX; }), kDamaged, "manifest");
  ExpectError(with([](PackedHeader* h) { h->file_bytes += 1; }), kDamaged, "header says");
  ExpectError(with([](PackedHeader* h) { h->zero2 = 1; }), kDamaged, "header");
  ExpectError(LoadBytes("not at all"), absl::StatusCode::kInvalidArgument, "no packed model");
  ExpectError(LoadBytes(""), absl::StatusCode::kInvalidArgument, "no packed model");
}

// Every number, text and list of the manifest replaced by others.
TEST(HostilePacked, EveryValueOfTheManifest) {
  for (const std::string& file : {Packed("int4"), PackedWithOrders()}) {
    const Json manifest = Json::parse(ManifestOf(file));
    const Json flat = manifest.flatten();
    const Json wrong[] = {nullptr,
                          -1,
                          0,
                          1,
                          17,
                          INT64_MAX,
                          UINT64_MAX,
                          1e300,
                          "x",
                          "int4-g32",
                          true,
                          Json::array(),
                          Json::object(),
                          "ffffffffffffffff"};
    std::size_t refused = 0;
    for (const auto& [pointer, value] : flat.items()) {
      // Tensors are alike; one tells enough.
      if (pointer.starts_with("/model/tensors/") && !pointer.starts_with("/model/tensors/1/")) {
        continue;
      }
      for (const Json& other : wrong) {
        if (other == value) continue;
        Json bad = manifest;
        const Json::json_pointer place(pointer);
        bad[place] = other;
        if (bad == manifest) continue;  // flatten() shows an empty list as null
        const std::string text = bad.dump();
        if (text.size() > ManifestOf(file).size() + 30) continue;
        const absl::Status status = LoadBytes(WithManifest(file, text));
        if (!status.ok()) ++refused;
        // What people read may say anything; all else is compared with something.
        const bool free =
            pointer == "/files/1/name" || pointer.starts_with("/made_by") ||
            pointer.starts_with("/model/made_from") || pointer.starts_with("/model/tensors") ||
            // Without an order, or with another one, it is another matrix.
            pointer.ends_with("order_at") || (pointer.ends_with("order_count") && other == 0);
        EXPECT_TRUE(free || !status.ok()) << pointer << " = " << other;
      }
    }
    EXPECT_GT(refused, 500u);
  }
}

// Orders of inputs that name an input twice, none of them, or one that does not exist.
TEST(HostilePacked, OrdersOutOfRange) {
  const std::string file = PackedWithOrders();
  const Json manifest = Json::parse(ManifestOf(file));
  std::size_t at = kPackedHeader + HeaderOf(file).manifest_bytes;
  for (const Json& part : manifest["files"]) {
    at = PackedAlignUp(at, kPackedAlign) + part["bytes"].get<std::size_t>();
  }
  at =
      PackedAlignUp(at, kPackedAlign) + manifest["sections"]["vectors"]["bytes"].get<std::size_t>();
  at = PackedAlignUp(at, kPackedAlign);
  const auto bytes = manifest["sections"]["orders"]["bytes"].get<std::size_t>();
  ASSERT_GT(bytes, 8u);
  std::int32_t second;
  std::memcpy(&second, file.data() + at + 4, 4);
  for (const std::int32_t number : {second, -1, -2, 1 << 20, INT32_MIN}) {
    std::string bad = file;
    std::memcpy(bad.data() + at, &number, 4);
    ExpectError(LoadBytes(bad), kDamaged, "checksum");
    Json changed = manifest;
    char sum[17];
    std::snprintf(sum, sizeof sum, "%016llx",
                  static_cast<unsigned long long>(
                      Checksum::Of(BytesOf(std::string_view(bad).substr(at, bytes)))));
    changed["sections"]["orders"]["sums"][0] = sum;
    ExpectError(LoadBytes(WithManifest(bad, changed.dump())), kDamaged, "order of inputs names");
  }
}

TEST(HostilePacked, LiesThatFitTheSums) {
  const std::string file = PackedWithOrders();
  const auto with = [&](const std::function<void(Json*)>& change) {
    Json manifest = Json::parse(ManifestOf(file));
    change(&manifest);
    return LoadBytes(WithManifest(file, manifest.dump()));
  };
  const auto matrices = [](Json* m) -> Json& { return (*m)["model"]["matrices"]; };
  ASSERT_TRUE(with([](Json*) {}).ok()) << with([](Json*) {});
  const Json all = Json::parse(ManifestOf(file))["model"]["matrices"];
  std::size_t ordered = 0;
  while (ordered < all.size() && all[ordered]["order_count"] == 0) ++ordered;
  ASSERT_LT(ordered, all.size()) << "the test needs a matrix with an order of inputs";

  ExpectError(with([&](Json* m) { matrices(m).erase(1); }), kDamaged, "the model has");
  ExpectError(with([&](Json* m) { matrices(m) = Json::array(); }), kDamaged, "missing");
  ExpectError(with([&](Json* m) { matrices(m)[ordered]["rows"] = 1; }), kDamaged, "the model has");
  ExpectError(with([&](Json* m) { matrices(m)[ordered]["bytes"] = 64; }), kDamaged, "needs");
  ExpectError(with([&](Json* m) { matrices(m)[ordered]["groups"] = 1; }), kDamaged, "groups");
  ExpectError(with([&](Json* m) { matrices(m)[ordered]["order_at"] = 99999999; }), kDamaged,
              "reaches beyond");
  ExpectError(with([&](Json* m) { matrices(m)[ordered]["order_count"] = 1; }), kDamaged, "order");
  ExpectError(with([](Json* m) { (*m)["files"] = Json::array(); }), kDamaged, "config.json");
  ExpectError(with([](Json* m) { (*m)["files"][0]["name"] = "../x"; }), kDamaged, "config.json");
  ExpectError(with([](Json* m) { (*m)["backend"] = "eigen"; }), absl::StatusCode::kInvalidArgument,
              "eigen");
  ExpectError(with([](Json* m) { (*m)["model"]["architecture"] = "moss"; }),
              absl::StatusCode::kInvalidArgument, "moss");
}

}  // namespace
}  // namespace mossrt::runtime
