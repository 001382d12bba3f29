// Backends by name: the one place that knows them all.
#include <map>
#include <mutex>

#include "backends/dense_rows.h"
#include "base/cat.h"
#include "base/status.h"

namespace mossrt::runtime {
namespace {

using Factory = std::function<absl::StatusOr<std::unique_ptr<GemmBackend>>()>;

constexpr std::string_view kCblasPrefix = "cblas:";

struct Registry {
  std::mutex mutex;
  std::map<std::string, Factory, std::less<>> outside;
};

Registry& GetRegistry() {
  static auto* registry = new Registry;
  return *registry;
}

bool BuiltIn(std::string_view name) {
  return name == "native" || name == "openblas" || name == "eigen" || name == "reference" ||
         name.starts_with(kCblasPrefix);
}

absl::Status CannotBeSaved(const GemmBackend& backend) {
  return absl::UnimplementedError(Cat("backend ", backend.name(),
                                      " neither writes nor reads packed weights; load the model "
                                      "with the backend native"));
}

}  // namespace

absl::Status GemmBackend::MakeAndPrepare(ConstMatrix x, int kind, PreparedInput* out,
                                         ThreadTeam& team, MakeRows make) {
  ForRows(x.rows, team, make);
  return Prepare(x, kind, out, team);
}

absl::Status GemmBackend::RunAndPrepare(std::span<const GemmCall> calls, std::size_t which,
                                        int kind, PreparedInput* out, ThreadTeam& team) {
  MOSSRT_RETURN_IF_ERROR(Run(calls, team));
  return Prepare(calls[which].y, kind, out, team);
}

absl::StatusOr<SavedWeight> GemmBackend::Save(const PackedWeight&,
                                              std::span<const std::byte>*) const {
  return CannotBeSaved(*this);
}

absl::StatusOr<std::size_t> GemmBackend::SavedBytes(const SavedWeight&) const {
  return CannotBeSaved(*this);
}

absl::StatusOr<std::unique_ptr<PackedWeight>> GemmBackend::TakeUp(SavedWeight,
                                                                  std::span<const std::byte>) {
  return CannotBeSaved(*this);
}

std::vector<std::string> BackendNames() {
  std::vector<std::string> names = {"native", "openblas", "eigen", "reference"};
  Registry& registry = GetRegistry();
  const std::lock_guard lock(registry.mutex);
  for (const auto& [name, factory] : registry.outside) names.push_back(name);
  return names;
}

absl::StatusOr<std::unique_ptr<GemmBackend>> CreateBackend(std::string_view name) {
  if (cpu::Kernels() == nullptr) return absl::InvalidArgumentError(cpu::KernelError());
  if (name == "native") return CreateNativeBackend();
  if (name == "reference") return CreateReferenceBackend();
  if (name == "eigen") return CreateEigenBackend();
  if (name == "openblas") return CreateCblasBackend(name, "libopenblas.so.0");
  if (name.starts_with(kCblasPrefix))
    return CreateCblasBackend(name, std::string(name.substr(kCblasPrefix.size())));
  Factory factory;
  {
    Registry& registry = GetRegistry();
    const std::lock_guard lock(registry.mutex);
    const auto it = registry.outside.find(name);
    if (it != registry.outside.end()) factory = it->second;
  }
  if (factory) {
    auto backend = factory();
    if (backend.ok() && *backend == nullptr) {
      return absl::InternalError(Cat("the factory of backend \"", name, "\" gave nothing"));
    }
    return backend;
  }
  return absl::InvalidArgumentError(Cat("unknown backend \"", name, "\"; known are ",
                                        Join(BackendNames(), ", "),
                                        " and \"cblas:/path/of/a/cblas/library.so\""));
}

absl::Status RegisterBackend(std::string name, Factory factory) {
  if (name.empty() || BuiltIn(name)) {
    return absl::InvalidArgumentError(
        Cat("a backend cannot be registered as \"", name, "\": the name is taken"));
  }
  if (factory == nullptr) {
    return absl::InvalidArgumentError(Cat("backend \"", name, "\" comes without a factory"));
  }
  Registry& registry = GetRegistry();
  const std::lock_guard lock(registry.mutex);
  if (!registry.outside.emplace(name, std::move(factory)).second) {
    return absl::AlreadyExistsError(Cat("a backend named \"", name, "\" is registered already"));
  }
  return absl::OkStatus();
}

}  // namespace mossrt::runtime
