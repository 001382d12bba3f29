// Forward: embed, layers, norm, logits.
#include <algorithm>

#include "base/cat.h"
#include "base/status.h"
#include "models/model_impl.h"
#include "mossrt/runtime/kernel_table.h"

namespace mossrt::runtime {
namespace {

std::int64_t RowsOf(const SequenceInput& input) {
  return input.tokens.empty() ? input.embeddings.rows
                              : static_cast<std::int64_t>(input.tokens.size());
}

absl::Status CheckInput(const Model::Impl& m, const SequenceInput& input, std::size_t index) {
  const HyperParams& p = m.params();
  const auto bad = [index](const auto&... pieces) {
    return absl::InvalidArgumentError(Cat("sequence ", index, ": ", pieces...));
  };
  if (input.kv == nullptr) return bad("it has no key/value cache");
  const KvShape& kv = input.kv->shape();
  if (kv.layers != p.layers || kv.kv_heads != p.kv_heads || kv.head_dim != p.head_dim) {
    return bad("its key/value cache was made for another model");
  }
  if (kv.dtype != DType::kF32 && kv.dtype != DType::kBF16 && kv.dtype != DType::kI8) {
    return bad("its key/value cache is of type ", DTypeName(kv.dtype),
               "; a cache holds float32, bfloat16 or int8");
  }
  const std::int64_t rows = RowsOf(input);
  if (rows == 0) return bad("it has no tokens");
  for (const std::int32_t token : input.tokens) {
    if (token < 0 || token >= p.vocab) {
      return bad("token ", token, " is not in the vocabulary [0, ", p.vocab, ")");
    }
  }
  const ConstMatrix& e = input.embeddings;
  if (input.tokens.empty()) {
    if (e.cols != p.hidden) {
      return bad("embeddings have ", e.cols, " columns, the model has ", p.hidden);
    }
    if (rows < 0 || e.data == nullptr || e.stride < e.cols) {
      return bad("embeddings of ", rows, " rows with a stride of ", e.stride,
                 e.data == nullptr ? " and no data" : "", " are no matrix of ", p.hidden,
                 " columns");
    }
  }
  if (rows > p.max_positions - input.kv->length()) {
    return absl::ResourceExhaustedError(Cat("sequence ", index, ": ", input.kv->length(), " + ",
                                            rows, " tokens are more than the ", p.max_positions,
                                            " positions of the model"));
  }
  if (input.want == SequenceInput::Rows::kListed) {
    std::int64_t last = -1;
    for (const std::int32_t row : input.listed) {
      if (row <= last || row >= rows)
        return bad("wanted row ", row, " is not ascending within [0, ", rows, ")");
      last = row;
    }
  }
  return absl::OkStatus();
}

const std::byte* KeysOf(const void* cache, std::int64_t block, std::int64_t layer,
                        std::int64_t head) {
  return static_cast<const KvCache*>(cache)->Keys(block, layer, head);
}
const std::byte* ValuesOf(const void* cache, std::int64_t block, std::int64_t layer,
                          std::int64_t head) {
  return static_cast<const KvCache*>(cache)->Values(block, layer, head);
}

// Fills ws.places, ws.sequences and ws.wanted; returns the number of rows.
std::int64_t PlaceRows(std::span<const SequenceInput> inputs, Workspace::Impl* ws) {
  ws->places.clear();
  ws->sequences.clear();
  ws->wanted.clear();
  ws->due = {};
  std::int64_t at = 0;
  for (std::size_t s = 0; s < inputs.size(); ++s) {
    const SequenceInput& input = inputs[s];
    const std::int64_t rows = RowsOf(input);
    for (std::int64_t i = 0; i < rows; ++i) {
      ws->places.push_back({.sequence = static_cast<int>(s), .position = input.kv->length() + i});
    }
    ws->sequences.push_back({.first_row = at,
                             .rows = rows,
                             .first_position = input.kv->length(),
                             .cache = input.kv,
                             .keys = KeysOf,
                             .values = ValuesOf});
    switch (input.want) {
      case SequenceInput::Rows::kNone:
        break;
      case SequenceInput::Rows::kLast:
        ws->wanted.push_back(at + rows - 1);
        break;
      case SequenceInput::Rows::kAll:
        for (std::int64_t i = 0; i < rows; ++i) ws->wanted.push_back(at + i);
        break;
      case SequenceInput::Rows::kListed:
        for (const std::int32_t row : input.listed) ws->wanted.push_back(at + row);
        break;
    }
    at += rows;
  }
  return at;
}

void Embed(const Pass& pass) {
  std::int64_t at = 0;
  for (const SequenceInput& input : pass.inputs) {
    const std::int64_t rows = RowsOf(input);
    ForRows(rows, *pass.model.team, [&](std::int64_t first, std::int64_t end) {
      for (std::int64_t i = first; i < end; ++i) {
        float* to = pass.ws.resid.Row(at + i);
        if (input.tokens.empty()) {
          std::copy_n(input.embeddings.Row(i), input.embeddings.cols, to);
        } else {
          pass.model.EmbeddingRow(input.tokens[static_cast<std::size_t>(i)], to);
        }
      }
    });
    at += rows;
  }
}

// Wanted rows are dealt among the sequences for hooks after the layers.
absl::Status CallWantedHooks(const Pass& pass, HookPoint point, Matrix values) {
  if (!pass.Hooked(point, -1)) return absl::OkStatus();
  const std::vector<std::int64_t>& wanted = pass.ws.wanted;
  for (std::size_t first = 0; first < wanted.size();) {
    const RowPlace& place = pass.ws.places[static_cast<std::size_t>(wanted[first])];
    std::size_t end = first + 1;
    while (end < wanted.size() &&
           pass.ws.places[static_cast<std::size_t>(wanted[end])].sequence == place.sequence) {
      ++end;
    }
    MOSSRT_RETURN_IF_ERROR(
        pass.hooks->Call({.point = point,
                          .layer = -1,
                          .first_position = place.position,
                          .sequence = place.sequence,
                          .values = values.Rows(static_cast<std::int64_t>(first),
                                                static_cast<std::int64_t>(end - first))}));
    first = end;
  }
  return absl::OkStatus();
}

bool HookedInLayer(const Pass& pass, int layer) {
  for (int p = 0; p < kHookPoints; ++p) {
    const auto point = static_cast<HookPoint>(p);
    if (HookHasLayers(point) && pass.Hooked(point, layer)) return true;
  }
  return false;
}

absl::StatusOr<Matrix> Head(const Pass& pass) {
  const Model::Impl& m = pass.model;
  Workspace::Impl& ws = pass.ws;
  const auto rows = static_cast<std::int64_t>(ws.wanted.size());
  if (rows == 0) return Matrix(nullptr, 0, m.params().vocab);
  MOSSRT_RETURN_IF_ERROR(GrowWanted(m, rows, &ws));
  const Matrix norm = ws.final_norm.Rows(0, rows), logits = ws.logits.Rows(0, rows);
  const auto make = [&](std::int64_t first, std::int64_t end) {
    for (std::int64_t i = first; i < end; ++i) {
      const std::int64_t row = ws.wanted[static_cast<std::size_t>(i)];
      pass.PayDue(row, row + 1);
      ApplyNorm(m.plan.spec.norm, m.weights.final_norm.view(), m.params().norm_eps,
                ws.resid.Rows(row, 1), norm.Rows(i, 1));
    }
  };
  const int kind = m.backend->InputKind(*m.weights.head.weight);
  if (pass.Hooked(HookPoint::kFinalNorm, -1)) {
    ForRows(rows, *m.team, make);
    MOSSRT_RETURN_IF_ERROR(CallWantedHooks(pass, HookPoint::kFinalNorm, norm));
    MOSSRT_RETURN_IF_ERROR(m.backend->Prepare(norm, kind, ws.head_input.get(), *m.team));
  } else {
    MOSSRT_RETURN_IF_ERROR(
        m.backend->MakeAndPrepare(norm, kind, ws.head_input.get(), *m.team, make));
  }
  const GemmCall call{.x = ws.head_input.get(),
                      .w = m.weights.head.weight.get(),
                      .y = logits,
                      .epilogue = {.bias = m.weights.head.bias_or_null()}};
  MOSSRT_RETURN_IF_ERROR(m.backend->Run({&call, 1}, *m.team));
  MOSSRT_RETURN_IF_ERROR(CallWantedHooks(pass, HookPoint::kLogits, logits));
  return logits;
}

}  // namespace

void Pass::PayDue(std::int64_t first, std::int64_t end) const {
  const auto& [sum, more] = ws.due;
  if (sum.data == nullptr) return;
  if (more.data != nullptr) Add(more.Rows(first, end - first), sum.Rows(first, end - first));
  Add(sum.Rows(first, end - first), ws.resid.Rows(first, end - first));
}

absl::Status Pass::CallHooks(HookPoint point, int layer, Matrix values) const {
  if (!Hooked(point, layer)) return absl::OkStatus();
  for (std::size_t s = 0; s < ws.sequences.size(); ++s) {
    const AttentionSequence& sequence = ws.sequences[s];
    MOSSRT_RETURN_IF_ERROR(hooks->Call({.point = point,
                                        .layer = layer,
                                        .first_position = sequence.first_position,
                                        .sequence = static_cast<int>(s),
                                        .values = values.Rows(sequence.first_row, sequence.rows)}));
  }
  return absl::OkStatus();
}

absl::StatusOr<Matrix> Model::Forward(std::span<const SequenceInput> sequences,
                                      const ForwardOptions& options, Workspace& workspace) const {
  const cpu::FloatModeGuard float_mode;
  const Impl& m = *impl_;
  Workspace::Impl& ws = workspace.impl();
  if (sequences.empty()) return absl::InvalidArgumentError("Forward needs at least one sequence");
  if (ws.model != &m) {
    return absl::InvalidArgumentError(
        "the workspace was made for another model; make one with Workspace::Create(this model)");
  }
  if (options.hooks != nullptr) {
    MOSSRT_RETURN_IF_ERROR(options.hooks->Check(static_cast<int>(m.params().layers)));
  }
  std::int64_t rows = 0;
  for (std::size_t i = 0; i < sequences.size(); ++i) {
    MOSSRT_RETURN_IF_ERROR(CheckInput(m, sequences[i], i));
    if (sequences[i].kv->shape().dtype != sequences[0].kv->shape().dtype) {
      return absl::InvalidArgumentError(
          "the sequences of one Forward must keep their caches in one type");
    }
    for (std::size_t other = 0; other < i; ++other) {
      if (sequences[other].kv != sequences[i].kv) continue;
      return absl::InvalidArgumentError(
          Cat("sequence ", i, ": it has the key/value cache of sequence ", other,
              "; give its tokens in one sequence, or fork the cache"));
    }
    rows += RowsOf(sequences[i]);
    if (rows > ws.max_rows) break;
  }
  if (rows > ws.max_rows) {
    return absl::InvalidArgumentError(Cat(rows, " rows or more do not fit a workspace made for ",
                                          ws.max_rows,
                                          "; make a larger one, or run the tokens in pieces"));
  }
  for (const SequenceInput& input : sequences)
    MOSSRT_RETURN_IF_ERROR(input.kv->Reserve(RowsOf(input)));
  PlaceRows(sequences, &ws);
  Pass pass{.model = m,
            .ws = ws,
            .inputs = sequences,
            .hooks = options.hooks,
            .hook_points = options.hooks == nullptr ? 0 : options.hooks->points(),
            .rows = rows};
  Embed(pass);
  MOSSRT_RETURN_IF_ERROR(pass.CallHooks(HookPoint::kEmbed, -1, pass.Rows(ws.resid)));
  const auto layers = static_cast<std::uint64_t>(m.params().layers);
  for (std::uint64_t layer = 0; layer < layers; ++layer) {
    MOSSRT_RETURN_IF_ERROR(Tick(options.monitor, "eval", layer, layers));
    const bool less = layer + 1 == layers && static_cast<std::int64_t>(ws.wanted.size()) < rows &&
                      !HookedInLayer(pass, static_cast<int>(layer));
    MOSSRT_RETURN_IF_ERROR(less ? RunLastLayer(&pass, static_cast<int>(layer))
                                : RunLayer(pass, static_cast<int>(layer)));
  }
  MOSSRT_RETURN_IF_ERROR(Tick(options.monitor, "eval", layers, layers));
  MOSSRT_ASSIGN_OR_RETURN(const Matrix logits, Head(pass));
  for (const SequenceInput& input : sequences) input.kv->Advance(RowsOf(input));
  return logits;
}

}  // namespace mossrt::runtime
