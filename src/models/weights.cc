#include "models/weights.h"

#include <algorithm>
#include <cstring>
#include <new>

#include "backends/dense_rows.h"
#include "base/cat.h"
#include "base/half.h"
#include "base/status.h"
#include "models/packed_model.h"
#include "models/quantization.h"
#include "models/weight_sources.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::runtime {
namespace {

class BufferArena final : public WeightArena {
 public:
  explicit BufferArena(PageBuffer* buffer) : buffer_(buffer) {}
  absl::StatusOr<std::byte*> Take(std::size_t bytes) override {
    const std::size_t rounded = (bytes + 63) / 64 * 64;
    if (rounded > buffer_->size() - used_) {
      return absl::InternalError(
          Cat("the weight arena of ", buffer_->size(), " bytes is too small"));
    }
    std::byte* piece = buffer_->data() + used_;
    used_ += rounded;
    return piece;
  }

 private:
  PageBuffer* buffer_;
  std::size_t used_ = 0;
};

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const ModelPlan& plan, const LoadOptions& options,
         GemmBackend& backend, ThreadTeam& team, Monitor* monitor, std::int64_t claimed_group_size)
      : checkpoint_(checkpoint),
        plan_(plan),
        options_(options),
        backend_(backend),
        team_(team),
        monitor_(monitor),
        ledger_(checkpoint),
        sources_(checkpoint, claimed_group_size, options.verify_crc ? &ledger_ : nullptr, monitor) {
    for (const char part : {'q', 'k', 'v'}) Map(part) = QkvRowMap(plan.spec, plan.params, part);
  }

  absl::StatusOr<Weights> Load() {
    MOSSRT_ASSIGN_OR_RETURN(weights_.packed,
                            PageBuffer::Create(plan_.need.weights, options_.huge_pages));
    BufferArena arena(&weights_.packed);
    weights_.layers.resize(static_cast<std::size_t>(plan_.params.layers));
    const std::vector<WeightRule> rules = WeightRules(plan_.spec, plan_.params);
    for (const WeightRule& rule : rules) total_ += Bytes(rule);
    for (std::size_t i = 0; i < rules.size(); ++i) {
      const WeightRule& rule = rules[i];
      MOSSRT_RETURN_IF_ERROR(LoadOne(rule, plan_.held[i], arena));
      done_ += Bytes(rule);
      MOSSRT_RETURN_IF_ERROR(Tick(monitor_, "load", done_, total_));
    }
    if (options_.verify_crc) {
      MOSSRT_RETURN_IF_ERROR(ledger_.Check([this](const auto& work) { team_.ForEachThread(work); },
                                           [this] { return Tick(monitor_, "load", done_, total_); },
                                           monitor_));
    }
    weights_.bytes += weights_.packed.size() + weights_.embedding.memory.size();
    return std::move(weights_);
  }

 private:
  std::uint64_t Bytes(const WeightRule& rule) const {
    // Quantised matrices count as the float32 values that they stand for.
    const auto it = checkpoint_.tensors().find(rule.tensor);
    const DType type = it == checkpoint_.tensors().end() ? DType::kF32 : it->second.dtype;
    return static_cast<std::uint64_t>(rule.rows * rule.cols) * DTypeSize(type);
  }

  std::vector<std::int64_t>& Map(char part) {
    return part == 'q' ? q_map_ : part == 'k' ? k_map_ : v_map_;
  }

  absl::Status LoadOne(const WeightRule& rule, const WeightFormat& held, WeightArena& arena) {
    const WeightSlot slot = SlotOf(weights_, rule, plan_.params.tied_head);
    const std::vector<std::int64_t>* map = rule.qkv_part == 0 ? nullptr : &Map(rule.qkv_part);
    if (slot.vector != nullptr) {
      const CheckpointMatrix source(checkpoint_, rule, map,
                                    options_.verify_crc ? &ledger_ : nullptr, monitor_);
      return ReadVector(source, slot.vector);
    }
    MOSSRT_ASSIGN_OR_RETURN(const auto source, sources_.Open(rule, map));
    if (slot.matrix == nullptr) return ReadEmbedding(*source, held);
    PackRequest request{.source = source.get(),
                        .format = held,
                        .arena = &arena,
                        .progress =
                            [this](std::int64_t bytes) {
                              return Tick(monitor_, "load",
                                          done_ + static_cast<std::uint64_t>(bytes), total_);
                            },
                        .monitor = monitor_};
    MOSSRT_ASSIGN_OR_RETURN(slot.matrix->weight, backend_.Pack(request, team_));
    return absl::OkStatus();
  }

  absl::Status ReadVector(const CheckpointMatrix& source, std::vector<float>* out) {
    std::vector<std::uint8_t> bytes(static_cast<std::size_t>(source.rows()) *
                                    DTypeSize(source.dtype()));
    MOSSRT_RETURN_IF_ERROR(source.ReadSlab(0, source.rows(), bytes));
    out->resize(static_cast<std::size_t>(source.rows()));
    ToFloat(*cpu::Kernels(), source.dtype(), bytes.data(), source.rows(), out->data());
    weights_.bytes += out->size() * sizeof(float);
    return absl::OkStatus();
  }

  absl::Status ReadEmbedding(const WeightSource& source, const WeightFormat& held) {
    EmbeddingTable& table = weights_.embedding;
    table.format = held;
    table.hidden = source.cols();
    MOSSRT_ASSIGN_OR_RETURN(table.memory,
                            PageBuffer::Create(EmbeddingTable::Bytes(plan_.params, held), false));
    const PackRequest request{.source = &source,
                              .format = held,
                              .arena = nullptr,
                              .progress =
                                  [this](std::int64_t bytes) {
                                    return Tick(monitor_, "load",
                                                done_ + static_cast<std::uint64_t>(bytes), total_);
                                  },
                              .monitor = monitor_};
    const auto source_row_bytes =
        source.cols() * static_cast<std::int64_t>(DTypeSize(source.dtype()));
    const Slabs slabs{.units = source.rows(), .align = 1, .unit_bytes = source_row_bytes};
    return ForSlabs(request, slabs, team_,
                    [&](std::int64_t first, std::int64_t count, std::span<std::uint8_t> slab) {
                      MOSSRT_RETURN_IF_ERROR(source.ReadSlab(first, count, slab));
                      return table.SetRows(first, count, source.dtype(), slab.data(),
                                           source.name());
                    });
  }

  const Checkpoint& checkpoint_;
  const ModelPlan& plan_;
  const LoadOptions& options_;
  GemmBackend& backend_;
  ThreadTeam& team_;
  Monitor* monitor_;
  CrcLedger ledger_;
  MatrixSources sources_;
  std::vector<std::int64_t> q_map_, k_map_, v_map_;
  Weights weights_;
  std::uint64_t done_ = 0, total_ = 0;
};

}  // namespace

WeightSlot SlotOf(Weights& weights, const WeightRule& rule, bool tied_head) {
  LayerWeights* layer =
      rule.layer < 0 ? nullptr : &weights.layers[static_cast<std::size_t>(rule.layer)];
  const auto linear = [&](Linear& l) {
    return rule.bias ? WeightSlot{.vector = &l.bias} : WeightSlot{.matrix = &l};
  };
  const auto norm = [&](NormVectors& n) {
    return WeightSlot{.vector = rule.bias ? &n.bias : &n.weight};
  };
  switch (rule.role) {
    case Role::kNorm1:
      return norm(layer->norm1);
    case Role::kNorm2:
      return norm(layer->norm2);
    case Role::kFinalNorm:
      return norm(weights.final_norm);
    case Role::kQ:
      return linear(layer->q);
    case Role::kK:
      return linear(layer->k);
    case Role::kV:
      return linear(layer->v);
    case Role::kAttnOut:
      return linear(layer->attn_out);
    case Role::kMlpUp:
      return linear(layer->mlp_up);
    case Role::kMlpGate:
      return linear(layer->mlp_gate);
    case Role::kMlpDown:
      return linear(layer->mlp_down);
    case Role::kEmbedding:
      // A tied head is the embedding packed for products; its rows serve as the table too.
      return tied_head ? linear(weights.head) : WeightSlot{};
    case Role::kHead:
      return linear(weights.head);
  }
  return {};
}

WeightFormat EmbeddingTable::HeldAs(DType file, const WeightFormat& wanted) {
  if (wanted.integers()) return Integers(8, 128);  // 4 bits save little of a table
  if (wanted.dtype == DType::kBF16) return wanted;
  // Widening when a row is read loses nothing.
  return Dense(file == DType::kF64 ? DType::kF32 : file);
}

std::size_t EmbeddingTable::RowBytes(const WeightFormat& format, std::int64_t hidden) {
  const auto n = static_cast<std::size_t>(hidden);
  if (!format.integers()) return n * DTypeSize(format.dtype);
  const auto group = static_cast<std::size_t>(format.group);
  return ((n + group - 1) / group * 2 + n + 1) / 2 * 2;  // scales stay at even addresses
}

std::size_t EmbeddingTable::Bytes(const HyperParams& params, const WeightFormat& held) {
  return static_cast<std::size_t>(params.vocab) * RowBytes(held, params.hidden);
}

absl::Status EmbeddingTable::SetRows(std::int64_t first, std::int64_t count, DType dtype,
                                     const std::uint8_t* bytes, std::string_view name) {
  const cpu::KernelTable& kernels = *cpu::Kernels();
  std::byte* to = memory.data() + static_cast<std::size_t>(first) * row_bytes();
  const std::size_t source_row_bytes = static_cast<std::size_t>(hidden) * DTypeSize(dtype);
  if (format.dtype == dtype) {
    std::memcpy(to, bytes, static_cast<std::size_t>(count) * source_row_bytes);
    return absl::OkStatus();
  }
  std::vector<float> wide(static_cast<std::size_t>(hidden));
  for (std::int64_t row = 0; row < count; ++row, bytes += source_row_bytes, to += row_bytes()) {
    ToFloat(kernels, dtype, bytes, hidden, wide.data());
    if (format.dtype == DType::kF32) {
      std::memcpy(to, wide.data(), row_bytes());
    } else if (format.dtype == DType::kBF16) {
      kernels.f32_to_bf16(wide.data(), hidden, reinterpret_cast<std::uint16_t*>(to));
    } else {
      auto* scales = reinterpret_cast<std::uint16_t*>(to);
      auto* q = reinterpret_cast<std::uint8_t*>(to + row_bytes() -
                                                static_cast<std::size_t>(hidden + hidden % 2));
      for (std::int64_t g = 0; g * format.group < hidden; ++g) {
        const std::int64_t at = g * format.group;
        std::uint16_t zero;
        kernels.quantize_group(wide.data() + at, std::min<std::int64_t>(format.group, hidden - at),
                               8, false, 0, q + at, &scales[g], &zero);
        if ((scales[g] & 0x7C00) != 0x7C00) continue;
        return absl::InvalidArgumentError(
            Cat(name, ": row ", first + row,
                " holds NaN, infinities or values beyond the reach of "
                "a float16 scale and cannot be held as ",
                FormatName(format),
                "; hold this tensor as float32 (option overrides) or mend the file"));
      }
    }
  }
  return absl::OkStatus();
}

void EmbeddingTable::Row(std::int64_t token, float* out) const {
  const std::byte* row = memory.data() + static_cast<std::size_t>(token) * row_bytes();
  if (!format.integers()) {
    ToFloat(*cpu::Kernels(), format.dtype, reinterpret_cast<const std::uint8_t*>(row), hidden, out);
    return;
  }
  const auto* scales = reinterpret_cast<const std::uint16_t*>(row);
  const auto* q = reinterpret_cast<const std::uint8_t*>(
      row + row_bytes() - static_cast<std::size_t>(hidden + hidden % 2));
  for (std::int64_t i = 0; i < hidden; ++i) {
    out[i] = static_cast<float>(int{q[i]} - 128) * F16ToF32(scales[i / format.group]);
  }
}

absl::StatusOr<Weights> LoadWeights(const Checkpoint& checkpoint, const ModelPlan& plan,
                                    const LoadOptions& options, GemmBackend& backend,
                                    ThreadTeam& team, Monitor* monitor) {
  try {
    if (checkpoint.packed() != nullptr) {
      return LoadPacked(*checkpoint.packed(), plan, options, backend, team, monitor);
    }
    MOSSRT_ASSIGN_OR_RETURN(const QuantizationClaims claims, ReadQuantizationClaims(checkpoint));
    return Loader(checkpoint, plan, options, backend, team, monitor, claims.group_size()).Load();
  } catch (const std::bad_alloc&) {
    return absl::ResourceExhaustedError("no memory for the model's tables while loading");
  }
}

}  // namespace mossrt::runtime
