// A team of the application's, as mossrt uses it.
#pragma once

#include "base/float_mode.h"
#include "mossrt/runtime/thread_team.h"

namespace mossrt::runtime {

// The application's threads may flush subnormals or round otherwise, so every body runs in our
// floating-point mode (contract 1), as it does on the workers of CreateThreadTeam.
class LentTeam final : public ThreadTeam {
 public:
  explicit LentTeam(ThreadTeam& lender) : lender_(lender) {}
  int size() const override { return lender_.size(); }
  void Run(Body body, void* context) override {
    lender_.ForEachThread([=](int thread, int threads) {
      const FloatMode mode;
      body(context, thread, threads);
    });
  }

 private:
  ThreadTeam& lender_;
};

}  // namespace mossrt::runtime
