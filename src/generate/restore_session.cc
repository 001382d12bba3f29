#include <algorithm>
#include <cmath>
#include <filesystem>
#include <new>
#include <system_error>
#include <vector>

#include "base/checksum.h"
#include "base/memory_info.h"
#include "base/status.h"
#include "generate/saved_session_layout.h"
#include "generate/session_impl.h"
#include "mossrt/runtime/byte_source.h"

namespace mossrt::runtime {
namespace {

// No model has more dimensions of a kind or positions, so that a head has at most 224 MiB.
constexpr std::uint64_t kMostEntries = std::uint64_t{1} << 24;

struct Source {
  std::string name;  // for messages
  std::uint64_t size = 0;
  std::function<absl::Status(std::uint64_t offset, std::span<std::uint8_t> out)> read;
  Monitor* monitor = nullptr;

  template <typename... Pieces>
  absl::Status Damaged(const Pieces&... pieces) const {
    return absl::DataLossError(
        Cat(name, ": ", pieces..., "; it is damaged or was cut short: take another copy of it"));
  }
};

// Reads from front to back in pieces, and sums all up to the last checksum.
class PieceReader {
 public:
  explicit PieceReader(const Source& source) : source_(source), end_(source.size - kSavedSum) {}

  absl::Status Take(std::span<std::uint8_t> out) {
    while (!out.empty()) {
      if (used_ == piece_.size()) MOSSRT_RETURN_IF_ERROR(Fill());
      const std::size_t n = std::min(out.size(), piece_.size() - used_);
      std::copy_n(piece_.data() + used_, n, out.data());
      used_ += n;
      out = out.subspan(n);
    }
    return absl::OkStatus();
  }
  template <typename T>
  absl::Status Take(std::span<T> out) {
    return Take({reinterpret_cast<std::uint8_t*>(out.data()), out.size_bytes()});
  }
  // After everything has been taken.
  absl::Status CheckSum() {
    std::uint64_t wanted = 0;
    MOSSRT_RETURN_IF_ERROR(
        source_.read(end_, {reinterpret_cast<std::uint8_t*>(&wanted), sizeof wanted}));
    if (wanted == found_) return absl::OkStatus();
    return source_.Damaged("its checksum is ", wanted, ", its contents give ", found_);
  }

 private:
  absl::Status Fill() {
    piece_.resize(std::min<std::uint64_t>(kSavedPiece, end_ - at_));
    MOSSRT_RETURN_IF_ERROR(Tick(source_.monitor, "restore", at_, source_.size));
    MOSSRT_RETURN_IF_ERROR(source_.read(at_, piece_));
    at_ += piece_.size();
    used_ = 0;
    if (at_ < end_) {
      sum_.Add(piece_);
    } else {
      found_ = sum_.Finish(piece_);
    }
    return absl::OkStatus();
  }

  const Source& source_;
  const std::uint64_t end_;  // of what is taken and summed
  std::uint64_t at_ = 0, found_ = 0;
  std::vector<std::uint8_t> piece_;
  std::size_t used_ = 0;
  Checksum sum_;
};

struct Head {
  SavedHeader header;
  std::vector<std::int32_t> tokens;
  std::vector<float> probe, logits;
  std::string shape, numerics;
};

// What says that this is a saved session and how long its head is.
absl::Status CheckHeader(const Source& source, const SavedHeader& h) {
  const std::string_view magic(h.magic.data(), h.magic.size());
  if (magic != kSavedMagic) {
    return absl::DataLossError(Cat(source.name,
                                   ": is no saved session, which begins with \\x8BMOSSSN and a "
                                   "new line; give a file that a session was saved to"));
  }
  if (h.version != kSavedVersion) {
    return absl::UnimplementedError(Cat(
        source.name, ": has version ", h.version, " of saved sessions, this library reads version ",
        kSavedVersion, "; save the session anew with this library"));
  }
  if (h.file_bytes != source.size) {
    return source.Damaged("says that it has ", h.file_bytes, " bytes, but has ", source.size);
  }
  for (const std::uint64_t n : {h.tokens, h.probe, h.logits, h.shape_bytes, h.numerics_bytes}) {
    if (n > std::min(source.size, kMostEntries)) {
      return source.Damaged("says that it has a list of ", n, " entries in ", source.size,
                            " bytes");
    }
  }
  if (h.HeadBytes() > source.size - kSavedSum) {
    return source.Damaged("says that its head has ", h.HeadBytes(), " bytes, but all has ",
                          source.size);
  }
  return absl::OkStatus();
}

absl::StatusOr<Head> ReadHead(const Source& source, PieceReader* in) {
  Head head;
  SavedHeader& h = head.header;
  MOSSRT_RETURN_IF_ERROR(in->Take(std::span(&h, 1)));
  MOSSRT_RETURN_IF_ERROR(CheckHeader(source, h));
  std::vector<std::uint8_t> bytes(h.HeadBytes());
  std::memcpy(bytes.data(), &h, sizeof h);
  MOSSRT_RETURN_IF_ERROR(in->Take(std::span(bytes).subspan(sizeof h)));
  const std::span<const std::uint8_t> summed(bytes.data(), bytes.size() - kSavedSum);
  std::uint64_t sum = 0;
  std::memcpy(&sum, summed.data() + summed.size(), sizeof sum);
  if (const std::uint64_t found = Checksum::Of(summed); found != sum) {
    return source.Damaged("the checksum of its head is ", sum, ", its contents give ", found);
  }
  const std::uint8_t* at = bytes.data() + sizeof h;
  const auto take = [&at](auto* out, std::uint64_t count) {
    if (count == 0) return;
    out->resize(count);
    std::memcpy(out->data(), at, count * sizeof(*out->data()));
    at += count * sizeof(*out->data());
  };
  take(&head.tokens, h.tokens);
  take(&head.probe, h.probe);
  take(&head.logits, h.logits);
  take(&head.shape, h.shape_bytes);
  take(&head.numerics, h.numerics_bytes);
  return head;
}

// Backends whose sums depend on threads give other last bits each time.
constexpr float kTolerance = 1e-3f;

absl::Status CheckWeights(const Source& source, std::span<const float> saved, const Model& model) {
  MOSSRT_ASSIGN_OR_RETURN(const Fingerprint* fingerprint, model.fingerprint(source.monitor));
  const std::vector<float>& ours = fingerprint->probe;
  if (saved.size() != ours.size()) {
    return source.Damaged("has a probe of ", saved.size(), " values, this model's has ",
                          ours.size());
  }
  float largest = 0;
  for (const float value : ours) largest = std::max(largest, std::abs(value));
  const float allowed = kTolerance * largest;
  const bool exact = model.backend().deterministic();
  const auto same = [&](float a, float b) {
    if (std::isnan(a) && std::isnan(b)) return true;
    const bool bits = std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
    return exact ? bits : bits || std::abs(a - b) <= allowed;
  };
  for (std::size_t i = 0; i < ours.size(); ++i) {
    if (same(saved[i], ours[i])) continue;
    return absl::InvalidArgumentError(
        Cat(source.name,
            ": was saved by a model of the same shape with other weights, or by a version of "
            "mossrt whose numerics differ: value ",
            i, " of what a model makes of some fixed tokens is ", saved[i], " there and ", ours[i],
            " here; load the checkpoint that the session belongs to, or save it anew with this "
            "version"));
  }
  return absl::OkStatus();
}

// What comes from the same kind of model, then from the same weights; and what contradicts itself.
absl::Status CheckHead(const Source& source, const Head& head, const Model& model, DType kv_dtype) {
  const SavedHeader& h = head.header;
  const HyperParams& p = model.params();
  if (head.shape != model.shape_text()) {
    return absl::InvalidArgumentError(Cat(source.name, ": was saved by another model: \"",
                                          head.shape, "\", but this one is \"", model.shape_text(),
                                          "\"; load the checkpoint that the session belongs to"));
  }
  if (head.numerics != model.numerics(kv_dtype)) {
    return absl::InvalidArgumentError(Cat(
        source.name, ": was saved under other numeric settings: \"", head.numerics,
        "\", but this model has \"", model.numerics(kv_dtype),
        "\"; load the model with the dtype, overrides and backend of then (bf16=... is chosen by "
        "MOSSRT_ISA)"));
  }
  const KvShape kv{
      .layers = p.layers, .kv_heads = p.kv_heads, .head_dim = p.head_dim, .dtype = kv_dtype};
  const auto is = [](std::uint64_t n, std::int64_t wanted) {
    return n == static_cast<std::uint64_t>(wanted);
  };
  if (!is(h.layers, p.layers) || !is(h.kv_heads, p.kv_heads) || !is(h.head_dim, p.head_dim)) {
    return source.Damaged("says that its cache has ", h.layers, " layers, ", h.kv_heads,
                          " heads and ", h.head_dim, " dimensions, the model has ", p.layers, ", ",
                          p.kv_heads, " and ", p.head_dim);
  }
  if (h.context < 1 || h.context > static_cast<std::uint64_t>(p.max_positions) ||
      h.tokens > h.context || h.evaluated > h.tokens) {
    return source.Damaged("says that it has ", h.tokens, " tokens, ", h.evaluated,
                          " of them evaluated, in a context of ", h.context, " (the model has ",
                          p.max_positions, " positions)");
  }
  const std::uint64_t rows = source.size - h.HeadBytes() - kSavedSum;
  const std::uint64_t of_token = static_cast<std::uint64_t>(2 * p.layers * p.kv_heads) *
                                 static_cast<std::uint64_t>(kv.RowBytes());
  if (rows % of_token != 0 || rows / of_token != h.evaluated) {
    return source.Damaged("has ", rows, " bytes of keys and values, but ", h.evaluated,
                          " evaluated tokens have ", of_token, " each");
  }
  for (std::size_t i = 0; i < head.tokens.size(); ++i) {
    if (head.tokens[i] < 0 || head.tokens[i] >= p.vocab) {
      return source.Damaged("token ", i, " is ", head.tokens[i],
                            ", outside of the model's vocabulary, 0 to ", p.vocab - 1);
    }
  }
  if (h.logits != 0 && (!is(h.logits, p.vocab) || h.evaluated != h.tokens || h.tokens == 0)) {
    return source.Damaged("says that it has ", h.logits, " logits behind ", h.evaluated, " of ",
                          h.tokens, " tokens; the vocabulary has ", p.vocab);
  }
  return CheckWeights(source, head.probe, model);
}

absl::Status CheckMemory(const Source& source, std::uint64_t tokens, const KvShape& shape) {
  const std::uint64_t bytes = (tokens + kKvBlockTokens - 1) / kKvBlockTokens * shape.BlockBytes();
  const MemoryInfo memory = AvailableMemory();
  if (bytes <= memory.available) return absl::OkStatus();
  return absl::ResourceExhaustedError(Cat(source.name, ": its cache of ", tokens, " tokens takes ",
                                          bytes >> 20, " MiB, but ", memory.available >> 20,
                                          " MiB are available (limited by ", memory.limited_by,
                                          "); free some, or raise the limit"));
}

absl::Status ReadRows(PieceReader* in, std::int64_t tokens, KvCache* kv) {
  const KvShape& shape = kv->shape();
  std::vector<std::byte> row(shape.RowBytes());
  for (std::int64_t layer = 0; layer < shape.layers; ++layer) {
    for (std::int64_t head = 0; head < shape.kv_heads; ++head) {
      for (const auto write : {&KvCache::WriteKey, &KvCache::WriteValue}) {
        for (std::int64_t position = 0; position < tokens; ++position) {
          MOSSRT_RETURN_IF_ERROR(in->Take(std::span(row)));
          (kv->*write)(position, layer, head, row.data());
        }
      }
    }
  }
  return absl::OkStatus();
}

// Says what a path leads to if that is no file. A ByteSource would do so too, but for checkpoints.
absl::Status CheckPath(const std::string& path) {
  namespace fs = std::filesystem;
  constexpr std::string_view expected = "expected a file that a session was saved to, found ";
  if (path.empty() || path.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError(Cat("the path of a saved session: ", expected,
                                          path.empty() ? "an empty text" : "a zero byte",
                                          "; give the path of such a file"));
  }
  const auto refuse = [&](const auto&... pieces) {
    return absl::InvalidArgumentError(Cat(path, ": ", expected, pieces...));
  };
  const fs::path whole(path);
  std::error_code error;
  const fs::file_type type = fs::status(whole, error).type();
  if (type == fs::file_type::regular) return absl::OkStatus();
  if (type == fs::file_type::directory) {
    return refuse("a directory; give the path of a file in it");
  }
  if (type == fs::file_type::not_found) {
    if (path.ends_with('/')) {
      return refuse("a name that ends in '/', as those of directories do; write it without");
    }
    const std::string folder = whole.parent_path().string();
    if (fs::exists(folder, error) && !fs::is_directory(folder, error)) {
      return refuse("that ", folder, " is a file and no directory; correct the path");
    }
    const bool link = fs::is_symlink(fs::symlink_status(whole, error));
    return absl::NotFoundError(
        Cat(path, ": ", expected,
            link ? "a symbolic link to a file that does not exist; give the path of the file itself"
                 : "no such file; correct the path, or save the session again"));
  }
  if (type != fs::file_type::none) return refuse("a device, pipe or socket; give another path");
  const bool denied = error == std::errc::permission_denied;
  return absl::Status(
      denied ? absl::StatusCode::kPermissionDenied : absl::StatusCode::kInvalidArgument,
      Cat(path, ": ", expected, "a path that leads nowhere (", error.message(), "); ",
          denied ? "change the permissions of its directories" : "correct the path"));
}

}  // namespace

// Inside of Session, so that it may fill one.
struct Session::Restorer {
  static absl::StatusOr<std::unique_ptr<Session>> Read(const Model& model, const Source& source) {
    if (!kSavedAsInMemory) {
      return absl::UnimplementedError(
          "sessions are restored on little-endian machines alone, and this one is not");
    }
    if (source.size < sizeof(SavedHeader) + 2 * kSavedSum) {
      return absl::DataLossError(
          Cat(source.name, ": has ", source.size, " bytes, but a saved session has at least ",
              sizeof(SavedHeader) + 2 * kSavedSum, "; give a file that a session was saved to"));
    }
    PieceReader in(source);
    MOSSRT_ASSIGN_OR_RETURN(Head head, ReadHead(source, &in));
    const SavedHeader& h = head.header;
    if (h.kv_dtype >= kSavedDTypes.size()) {
      return source.Damaged("has a cache of type ", h.kv_dtype, "; there are 0 to ",
                            kSavedDTypes.size() - 1);
    }
    const DType kv_dtype = kSavedDTypes[h.kv_dtype];
    MOSSRT_RETURN_IF_ERROR(CheckHead(source, head, model, kv_dtype));
    auto created =
        Create(model, {.kv_dtype = kv_dtype, .context = static_cast<std::int64_t>(h.context)});
    if (!created.ok()) return Prefix(created.status(), source.name);
    Impl& s = *(*created)->impl_;
    const KvShape& shape = s.kv->shape();
    MOSSRT_RETURN_IF_ERROR(CheckMemory(source, h.evaluated, shape));
    const auto evaluated = static_cast<std::int64_t>(h.evaluated);
    if (const absl::Status status = s.kv->Reserve(evaluated); !status.ok()) {
      return Prefix(status, source.name);
    }
    MOSSRT_RETURN_IF_ERROR(ReadRows(&in, evaluated, s.kv.get()));
    MOSSRT_RETURN_IF_ERROR(in.CheckSum());
    MOSSRT_RETURN_IF_ERROR(Tick(source.monitor, "restore", source.size, source.size));
    s.kv->Advance(evaluated);
    s.tokens.assign(head.tokens.begin(), head.tokens.end());
    if (h.logits != 0) {
      s.logits = std::move(head.logits);
      s.logits_kind = WantLogits::kLast;
      s.logits_rows = 1;
      s.logits_current = true;
    }
    return created;
  }

  static absl::StatusOr<std::unique_ptr<Session>> Restore(const Model& model,
                                                          const Source& source) {
    try {
      return Read(model, source);
    } catch (const std::bad_alloc&) {
      return absl::ResourceExhaustedError(Cat(source.name, ": no memory for restoring it"));
    }
  }
};

absl::StatusOr<std::unique_ptr<Session>> Session::Restore(const Model& model,
                                                          const std::string& path,
                                                          Monitor* monitor) {
  MOSSRT_RETURN_IF_ERROR(CheckPath(path));
  const std::filesystem::path whole(path);
  const std::string folder = whole.has_parent_path() ? whole.parent_path().string() : ".";
  const std::string file = whole.filename().string();
  MOSSRT_ASSIGN_OR_RETURN(const auto directory, OpenDirectory(folder));
  MOSSRT_ASSIGN_OR_RETURN(const std::uint64_t size, directory->Size(file));
  return Restorer::Restore(
      model,
      {.name = path,
       .size = size,
       .read = [&](std::uint64_t offset, auto out) { return directory->Read(file, offset, out); },
       .monitor = monitor});
}

absl::StatusOr<std::unique_ptr<Session>> Session::RestoreBytes(const Model& model,
                                                               std::span<const std::uint8_t> bytes,
                                                               Monitor* monitor) {
  return Restorer::Restore(model,
                           {.name = Cat("the saved session in memory (", bytes.size(), " bytes)"),
                            .size = bytes.size(),
                            .read =
                                [bytes](std::uint64_t offset, std::span<std::uint8_t> out) {
                                  std::copy_n(bytes.data() + offset, out.size(), out.data());
                                  return absl::OkStatus();
                                },
                            .monitor = monitor});
}

}  // namespace mossrt::runtime
