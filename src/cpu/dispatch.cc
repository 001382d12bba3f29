// The choice of a kernel table, once per process: MOSSRT_ISA's, else the available one of the
// highest rank.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <mutex>
#include <span>
#include <string>
#include <string_view>

#include "mossrt/runtime/kernel_table.h"

namespace mossrt::cpu {

#define MOSSRT_LEVEL(isa)          \
  namespace isa {                  \
  extern const KernelTable kTable; \
  }
#include "cpu/isa/levels.inc"
#undef MOSSRT_LEVEL

namespace {

constexpr const KernelTable* kBuiltIn[] = {
#define MOSSRT_LEVEL(isa) &isa::kTable,
#include "cpu/isa/levels.inc"
#undef MOSSRT_LEVEL
};
constexpr std::size_t kMaxOutside = 8;
constexpr std::size_t kMaxTables = std::size(kBuiltIn) + kMaxOutside;

void FillMissing(const KernelTable& from, KernelTable& table) {
#define MOSSRT_KERNEL(kernel, parameters) \
  if (table.kernel == nullptr) table.kernel = from.kernel;
#include "mossrt/runtime/kernel_list.inc"
#undef MOSSRT_KERNEL
}

class Registry {
 public:
  static Registry& Get() {
    static auto* registry = new Registry;
    return *registry;
  }

  std::span<const KernelTable* const> tables() const { return {sorted_.data(), count_}; }

  const char* Register(const KernelTable& outside) {
    const std::lock_guard lock(mutex_);
    if (chosen_) return "kernel tables must be registered before the first use of any kernel";
    if (outside.name == nullptr || *outside.name == '\0') return "the kernel table has no name";
    if (outside.available == nullptr) return "the kernel table has no function `available`";
    if (Find(outside.name) != nullptr) return "a kernel table of this name exists already";
    if (count_ == kMaxTables) return "too many kernel tables were registered (at most 8)";
    KernelTable& table = storage_[count_];
    table = outside;
    const KernelTable* best = nullptr;
    for (std::size_t i = 0; i < std::size(kBuiltIn); ++i) {
      if (storage_[i].available()) best = &storage_[i];
    }
    FillMissing(*best, table);
    sorted_[count_++] = &table;
    std::stable_sort(sorted_.begin(), sorted_.begin() + static_cast<std::ptrdiff_t>(count_),
                     [](const KernelTable* a, const KernelTable* b) { return a->rank < b->rank; });
    return nullptr;
  }

  const KernelTable* Choose() {
    const std::lock_guard lock(mutex_);
    if (chosen_) return choice_;
    chosen_ = true;
    const char* forced = std::getenv("MOSSRT_ISA");
    if (forced != nullptr && *forced != '\0') {
      choice_ = Find(forced);
      if (choice_ == nullptr) {
        error_ = Refusal(forced, "is not a level of kernels that this build knows");
      } else if (!choice_->available()) {
        choice_ = nullptr;
        error_ = Refusal(forced, "cannot run on this machine");
      }
    } else {
      for (const KernelTable* table : tables()) {
        if (table->available()) choice_ = table;
      }
    }
    return choice_;
  }

  const char* error() const { return error_.c_str(); }
  bool OutsideActive() const {
    return choice_ != nullptr && choice_ >= storage_.data() + std::size(kBuiltIn);
  }

 private:
  Registry() {
    for (const KernelTable* level : kBuiltIn) {
      KernelTable& table = storage_[count_];
      table = *level;
      if (count_ > 0) FillMissing(storage_[count_ - 1], table);
      sorted_[count_++] = &table;
    }
  }

  const KernelTable* Find(std::string_view name) const {
    for (const KernelTable* table : tables()) {
      if (name == table->name) return table;
    }
    return nullptr;
  }

  std::string Refusal(std::string_view forced, std::string_view why) const {
    std::string known;
    std::string available;
    for (const KernelTable* table : tables()) {
      known.append(" ").append(table->name);
      if (table->available()) available.append(" ").append(table->name);
    }
    return std::string("MOSSRT_ISA=")
        .append(forced)
        .append(" ")
        .append(why)
        .append("; known levels:")
        .append(known)
        .append("; available here:")
        .append(available)
        .append(". Set one of these or unset MOSSRT_ISA.");
  }

  std::mutex mutex_;
  std::array<KernelTable, kMaxTables> storage_ = {};
  std::array<const KernelTable*, kMaxTables> sorted_ = {};
  std::size_t count_ = 0;
  bool chosen_ = false;
  const KernelTable* choice_ = nullptr;
  std::string error_;
};

}  // namespace

const KernelTable* Kernels() {
  static const KernelTable* const chosen = Registry::Get().Choose();
  return chosen;
}

const char* KernelError() {
  Kernels();
  return Registry::Get().error();
}

const KernelTable* const* KernelTables(int* count) {
  const auto tables = Registry::Get().tables();
  *count = static_cast<int>(tables.size());
  return tables.data();
}

const char* RegisterKernelTable(const KernelTable& table) {
  return Registry::Get().Register(table);
}

bool OutsideKernelsActive() {
  Kernels();
  return Registry::Get().OutsideActive();
}

}  // namespace mossrt::cpu
