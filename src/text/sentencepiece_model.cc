#include "text/sentencepiece_model.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/status.h"
#include "base/utf8.h"
#include "text/protobuf_reader.h"

namespace mossrt::runtime {
namespace {

constexpr std::size_t kMaxPieces = 2'000'000;
constexpr std::size_t kMaxPieceBytes = 1024;  // the library recurses into unused pieces
constexpr float kMaxScore = 1e15f;            // sums over a text stay finite
// The library keeps the matches of user-defined pieces at one place in an array of 64.
constexpr std::size_t kMaxNestedPieces = 64;

struct Specs {
  std::int64_t model_type = 1;
  bool byte_fallback = false;
  bool has_trainer = false, has_normalizer = false, has_denormalizer = false;
  std::int64_t declared_size = -1;
  std::int64_t declared_ids[4] = {0, 1, 2, -1};  // unk, bos, eos, pad
  std::string names[4] = {"<unk>", "<s>", "</s>", "<pad>"};
};

absl::Status ReadPiece(std::string_view bytes, std::size_t offset, std::string_view what,
                       SentencePieceModel* model) {
  ProtobufReader reader(bytes, what, offset);
  SentencePieceModel::Piece piece;
  while (!reader.done()) {
    MOSSRT_ASSIGN_OR_RETURN(const ProtobufReader::Field field, reader.Next());
    if (field.number == 1) {
      MOSSRT_RETURN_IF_ERROR(reader.Expect(field, ProtobufReader::kBytes));
      piece.name = field.bytes;
    } else if (field.number == 2) {
      MOSSRT_RETURN_IF_ERROR(reader.Expect(field, ProtobufReader::kFixed32));
      const auto score = std::bit_cast<float>(static_cast<std::uint32_t>(field.value));
      if (!(std::fabs(score) <= kMaxScore)) {
        return reader.Error(Cat("piece ", model->pieces.size(), " has the score ", score,
                                ", expected a finite number"));
      }
    } else if (field.number == 3) {
      MOSSRT_RETURN_IF_ERROR(reader.Expect(field, ProtobufReader::kVarint));
      if (field.value < 1 || field.value > 6) {
        return reader.Error(Cat("piece ", model->pieces.size(), " has the type ", field.value,
                                ", expected 1 to 6"));
      }
      piece.type = static_cast<PieceType>(field.value);
    }
  }
  if (piece.name.empty() || piece.name.size() > kMaxPieceBytes) {
    return reader.Error(Cat("piece ", model->pieces.size(), " has ", piece.name.size(),
                            " bytes, expected 1 to ", kMaxPieceBytes));
  }
  if (FindInvalidUtf8(piece.name) != std::string_view::npos ||
      piece.name.find('\0') != std::string::npos) {
    return reader.Error(
        Cat("piece ", model->pieces.size(), " is not valid UTF-8 or holds a zero byte"));
  }
  const auto id = static_cast<std::int32_t>(model->pieces.size());
  if (const auto [it, is_new] = model->ids.emplace(piece.name, id); !is_new) {
    return reader.Error(
        Cat("the pieces ", it->second, " and ", id, " are both \"", piece.name, "\""));
  }
  model->pieces.push_back(std::move(piece));
  return absl::OkStatus();
}

absl::Status ReadTrainer(std::string_view bytes, std::size_t offset, std::string_view what,
                         SentencePieceModel* model, Specs* specs) {
  ProtobufReader reader(bytes, what, offset);
  while (!reader.done()) {
    MOSSRT_ASSIGN_OR_RETURN(const ProtobufReader::Field field, reader.Next());
    const auto as_int = static_cast<std::int32_t>(static_cast<std::uint32_t>(field.value));
    switch (field.number) {
      case 3:
      case 4:
      case 35:
      case 40:
      case 41:
      case 42:
      case 43:
        MOSSRT_RETURN_IF_ERROR(reader.Expect(field, ProtobufReader::kVarint));
        break;
      case 44:
      case 45:
      case 46:
      case 47:
      case 48:
        MOSSRT_RETURN_IF_ERROR(reader.Expect(field, ProtobufReader::kBytes));
        if (field.bytes.size() > kMaxPieceBytes ||
            FindInvalidUtf8(field.bytes) != std::string_view::npos) {
          return reader.Error(Cat("field ", field.number,
                                  " of the trainer spec must be valid UTF-8 of at most ",
                                  kMaxPieceBytes, " bytes"));
        }
        break;
      default:
        continue;
    }
    if (field.number == 3) specs->model_type = as_int;
    if (field.number == 4) specs->declared_size = as_int;
    if (field.number == 35) specs->byte_fallback = field.value != 0;
    if (field.number >= 40 && field.number <= 43) specs->declared_ids[field.number - 40] = as_int;
    if (field.number == 44) model->unk_surface = field.bytes;
    if (field.number >= 45) specs->names[field.number - 45] = field.bytes;
  }
  if (specs->model_type < 1 || specs->model_type > 4) {
    return reader.Error(Cat("the model type is ", specs->model_type,
                            ", expected 1 (unigram), 2 (BPE), 3 (word) or 4 (char)"));
  }
  return absl::OkStatus();
}

absl::Status ReadNormalizer(std::string_view bytes, std::size_t offset, std::string_view what,
                            bool denormalizer, SentencePieceModel* model) {
  ProtobufReader reader(bytes, what, offset);
  std::string_view charsmap;
  while (!reader.done()) {
    MOSSRT_ASSIGN_OR_RETURN(const ProtobufReader::Field field, reader.Next());
    if (field.number == 2) {
      MOSSRT_RETURN_IF_ERROR(reader.Expect(field, ProtobufReader::kBytes));
      charsmap = field.bytes;
    } else if (field.number >= 3 && field.number <= 5) {
      MOSSRT_RETURN_IF_ERROR(reader.Expect(field, ProtobufReader::kVarint));
      if (denormalizer) continue;
      if (field.number == 3) model->add_dummy_prefix = field.value != 0;
      if (field.number == 4) model->remove_extra_whitespaces = field.value != 0;
    }
  }
  if (charsmap.empty()) return absl::OkStatus();
  if (denormalizer) {
    return absl::UnimplementedError(
        Cat(what,
            ": the model rewrites decoded text by a denormalizer, which is not supported; use "
            "a model trained without denormalization rules"));
  }
  return CheckCharsMap(charsmap, Cat(what, ": precompiled_charsmap"));
}

// PieceToByte of the library: "<0x00>" to "<0xFF>".
int ByteOfPiece(std::string_view name) {
  if (name.size() != 6 || !name.starts_with("<0x") || name[5] != '>') return -1;
  int value = 0;
  for (const char c : name.substr(3, 2)) {
    if (c >= '0' && c <= '9') {
      value = value * 16 + (c - '0');
    } else if (c >= 'A' && c <= 'F') {
      value = value * 16 + (c - 'A' + 10);
    } else {
      return -1;
    }
  }
  return value;
}

absl::Status CheckPieces(const Specs& specs, std::string_view what, SentencePieceModel* model) {
  const auto error = [&](std::string_view problem) {
    return absl::InvalidArgumentError(Cat(what, ": ", problem, "; fetch the model again"));
  };
  if (model->pieces.empty()) return error("the model has no pieces");
  std::size_t unknown = 0, bytes = 0, usable = 0;
  std::vector<std::string_view> user_defined;
  for (std::size_t i = 0; i < model->pieces.size(); ++i) {
    const SentencePieceModel::Piece& piece = model->pieces[i];
    switch (piece.type) {
      case PieceType::kUnknown:
        ++unknown;
        model->unk = static_cast<std::int32_t>(i);
        break;
      case PieceType::kByte:
        ++bytes;
        if (ByteOfPiece(piece.name) < 0) {
          return error(Cat("piece ", i, " (\"", piece.name,
                           "\") is of type byte, but not <0x00> to "
                           "<0xFF>"));
        }
        break;
      case PieceType::kUserDefined:
        user_defined.push_back(piece.name);
        ++usable;
        break;
      case PieceType::kNormal:
      case PieceType::kUnused:
        ++usable;
        break;
      case PieceType::kControl:
        break;
    }
  }
  if (unknown != 1) return error(Cat("expected one piece of type unknown, found ", unknown));
  if (usable == 0) return error("the model has no normal piece");
  if (bytes != (specs.byte_fallback ? 256u : 0u)) {
    return error(Cat("expected ", specs.byte_fallback ? 256 : 0, " byte pieces, found ", bytes));
  }
  std::sort(user_defined.begin(), user_defined.end());
  std::vector<std::string_view> nested;
  for (const std::string_view name : user_defined) {
    while (!nested.empty() && !name.starts_with(nested.back())) nested.pop_back();
    nested.push_back(name);
    if (nested.size() > kMaxNestedPieces) {
      return error(Cat("more than ", kMaxNestedPieces,
                       " user-defined pieces begin one another, the longest is \"", name, "\""));
    }
  }
  constexpr std::string_view kRoles[4] = {"unk_id", "bos_id", "eos_id", "pad_id"};
  for (std::size_t i = 0; specs.has_trainer && i < 4; ++i) {
    if (specs.declared_ids[i] < -1 ||
        specs.declared_ids[i] >= static_cast<std::int64_t>(model->pieces.size())) {
      return error(Cat("the trainer spec's ", kRoles[i], " is ", specs.declared_ids[i],
                       ", but there are ", model->pieces.size(), " pieces"));
    }
  }
  const auto control = [&](const std::string& name) {
    const auto it = model->ids.find(name);
    if (it == model->ids.end()) return -1;
    const PieceType type = model->pieces[static_cast<std::size_t>(it->second)].type;
    return type == PieceType::kControl ? it->second : -1;
  };
  model->bos = control(specs.names[1]);
  model->eos = control(specs.names[2]);
  model->pad = control(specs.names[3]);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<SentencePieceModel> ReadSentencePieceModel(std::string_view bytes,
                                                          std::string_view what) {
  SentencePieceModel model;
  Specs specs;
  ProtobufReader reader(bytes, what, 0);
  while (!reader.done()) {
    MOSSRT_ASSIGN_OR_RETURN(const ProtobufReader::Field field, reader.Next());
    if (field.number > 5) continue;
    MOSSRT_RETURN_IF_ERROR(reader.Expect(field, ProtobufReader::kBytes));
    const std::size_t offset = reader.OffsetOf(field);
    // Protobuf would merge a message that comes twice; no trainer writes that.
    const auto once = [&](bool* seen, std::string_view name) {
      if (*seen) return reader.Error(Cat("the ", name, " comes twice"));
      *seen = true;
      return absl::OkStatus();
    };
    if (field.number == 1) {
      if (model.pieces.size() == kMaxPieces) {
        return reader.Error(Cat("there are more than ", kMaxPieces, " pieces"));
      }
      MOSSRT_RETURN_IF_ERROR(ReadPiece(field.bytes, offset, what, &model));
    } else if (field.number == 2) {
      MOSSRT_RETURN_IF_ERROR(once(&specs.has_trainer, "trainer spec"));
      MOSSRT_RETURN_IF_ERROR(ReadTrainer(field.bytes, offset, what, &model, &specs));
    } else if (field.number == 3) {
      MOSSRT_RETURN_IF_ERROR(once(&specs.has_normalizer, "normalizer spec"));
      MOSSRT_RETURN_IF_ERROR(ReadNormalizer(field.bytes, offset, what, false, &model));
    } else if (field.number == 5) {
      MOSSRT_RETURN_IF_ERROR(once(&specs.has_denormalizer, "denormalizer spec"));
      MOSSRT_RETURN_IF_ERROR(ReadNormalizer(field.bytes, offset, what, true, &model));
    }
  }
  MOSSRT_RETURN_IF_ERROR(CheckPieces(specs, what, &model));
  return model;
}

}  // namespace mossrt::runtime
