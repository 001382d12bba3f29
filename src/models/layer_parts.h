// What the block is made of: products as one region, and attention over the cache.
#pragma once

#include <array>

#include "base/status.h"
#include "models/model_impl.h"

namespace mossrt::runtime {

// Products as one parallel region. Matrices that read the same rows in the same form share one
// prepared input.
class Products {
 public:
  explicit Products(const Pass& pass) : pass_(pass) { pass_.ws.calls.clear(); }
  // The bias of `epilogue` is that of `linear`.
  absl::Status Add(Matrix x, const Linear& linear, Matrix y, Epilogue epilogue = {}) {
    MOSSRT_ASSIGN_OR_RETURN(const PreparedInput* input, Prepared(x, linear));
    Add(input, linear, y, epilogue);
    return absl::OkStatus();
  }
  void Add(const PreparedInput* input, const Linear& linear, Matrix y, Epilogue epilogue = {}) {
    epilogue.bias = linear.bias_or_null();
    pass_.ws.calls.push_back(
        {.x = input, .w = linear.weight.get(), .y = pass_.Rows(y), .epilogue = epilogue});
  }
  // Run is to prepare the outputs of the product added last, for `reader`. One product may have it.
  void PrepareOutputs(const Linear& reader, PreparedInput* input) {
    prepared_call_ = pass_.ws.calls.size() - 1;
    prepared_kind_ = pass_.model.backend->InputKind(*reader.weight);
    prepared_ = input;
  }
  // Rows of x that `make` writes, each on the thread that then prepares it for `reader`; if hooks
  // look at them, all are written and shown before.
  absl::Status Make(HookPoint point, int layer, Matrix x, const Linear& reader, MakeRows make) {
    if (pass_.Hooked(point, layer)) {
      ForRows(pass_.rows, *pass_.model.team, make);
      return pass_.CallHooks(point, layer, pass_.Rows(x));
    }
    GemmBackend& backend = *pass_.model.backend;
    const int kind = backend.InputKind(*reader.weight);
    MOSSRT_RETURN_IF_ERROR(backend.MakeAndPrepare(pass_.Rows(x), kind, pass_.ws.inputs[used_].get(),
                                                  *pass_.model.team, make));
    known_[used_++] = {x.data, kind};
    return absl::OkStatus();
  }
  absl::Status Run() {
    GemmBackend& backend = *pass_.model.backend;
    ThreadTeam& team = *pass_.model.team;
    if (prepared_ == nullptr) return backend.Run(pass_.ws.calls, team);
    return backend.RunAndPrepare(pass_.ws.calls, prepared_call_, prepared_kind_, prepared_, team);
  }

 private:
  absl::StatusOr<const PreparedInput*> Prepared(Matrix x, const Linear& reader) {
    GemmBackend& backend = *pass_.model.backend;
    const int kind = backend.InputKind(*reader.weight);
    for (std::size_t i = 0; i < used_; ++i) {
      if (known_[i].rows == x.data && known_[i].kind == kind) return pass_.ws.inputs[i].get();
    }
    PreparedInput* input = pass_.ws.inputs[used_].get();
    MOSSRT_RETURN_IF_ERROR(backend.Prepare(pass_.Rows(x), kind, input, *pass_.model.team));
    known_[used_++] = {x.data, kind};
    return input;
  }

  struct Known {
    const float* rows;
    int kind;
  };
  const Pass& pass_;
  std::array<Known, kMostInputs> known_{};
  std::size_t used_ = 0;
  PreparedInput* prepared_ = nullptr;  // by Run, of the outputs of a call
  std::size_t prepared_call_ = 0;
  int prepared_kind_ = 0;
};

// Rotary embedding of the rows' queries, in place.
void RotateQueries(const Pass& pass);
// The same for their keys, which then go to the caches, with the values.
void RotateAndStoreKeys(const Pass& pass, int layer);
// From queries and the cache to ws.attn; `newest` does what is left to do before, if not null.
void Attend(const Pass& pass, int layer, const NewestTokens* newest = nullptr);
// From q, k and v to ws.attn, with the hooks between.
absl::Status RunAttention(const Pass& pass, int layer);

}  // namespace mossrt::runtime
