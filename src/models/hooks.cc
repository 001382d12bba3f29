#include "mossrt/runtime/hooks.h"

#include <algorithm>
#include <array>

#include "base/cat.h"

namespace mossrt::runtime {
namespace {

struct PointInfo {
  std::string_view name;
  bool in_layer;
};
constexpr std::array<PointInfo, kHookPoints> kPoints = {{{"embed", false},
                                                         {"norm1", true},
                                                         {"q", true},
                                                         {"k", true},
                                                         {"v", true},
                                                         {"attn_out", true},
                                                         {"mlp_in", true},
                                                         {"mlp_act", true},
                                                         {"mlp_out", true},
                                                         {"resid", true},
                                                         {"final_norm", false},
                                                         {"logits", false}}};

}  // namespace

std::string_view HookName(HookPoint point) { return kPoints[static_cast<std::size_t>(point)].name; }

std::optional<HookPoint> HookByName(std::string_view name) {
  for (std::size_t i = 0; i < kPoints.size(); ++i) {
    if (kPoints[i].name == name) return static_cast<HookPoint>(i);
  }
  return std::nullopt;
}

bool HookHasLayers(HookPoint point) { return kPoints[static_cast<std::size_t>(point)].in_layer; }

int HookSet::Add(HookPoint point, int layer, HookFn fn) {
  hooks_.push_back({next_id_, HookHasLayers(point) ? layer : kAllLayers, point, std::move(fn)});
  points_ |= 1u << static_cast<unsigned>(point);
  return next_id_++;
}

void HookSet::Remove(int id) {
  const auto it =
      std::find_if(hooks_.begin(), hooks_.end(), [id](const Entry& e) { return e.id == id; });
  if (it == hooks_.end()) return;
  hooks_.erase(it);
  points_ = 0;
  for (const Entry& e : hooks_) points_ |= 1u << static_cast<unsigned>(e.point);
}

bool HookSet::Wanted(HookPoint point, int layer) const {
  return std::any_of(hooks_.begin(), hooks_.end(), [&](const Entry& e) {
    return e.point == point && (e.layer == kAllLayers || e.layer == layer);
  });
}

absl::Status HookSet::Check(int layers) const {
  for (const Entry& e : hooks_) {
    if (e.layer < kAllLayers || e.layer >= layers) {
      return absl::InvalidArgumentError(Cat("a hook at \"", HookName(e.point), "\" wants layer ",
                                            e.layer, ", but the model has layers 0 to ", layers - 1,
                                            " (", kAllLayers, ": all of them)"));
    }
    if (e.fn == nullptr) {
      return absl::InvalidArgumentError(
          Cat("the hook at \"", HookName(e.point), "\" has no function"));
    }
  }
  return absl::OkStatus();
}

absl::Status HookSet::Call(const HookCall& call) const {
  for (const Entry& e : hooks_) {
    if (e.point != call.point || (e.layer != kAllLayers && e.layer != call.layer)) continue;
    if (absl::Status s = e.fn(call); !s.ok()) return s;
  }
  return absl::OkStatus();
}

}  // namespace mossrt::runtime
