#include "models/packed_model.h"

#include <atomic>
#include <cstring>
#include <mutex>
#include <new>

#include "base/cat.h"
#include "base/status.h"
#include "models/packed_manifest.h"

namespace mossrt::runtime {
namespace {

class Loader {
 public:
  Loader(const PackedFile& file, const ModelPlan& plan, const LoadOptions& options,
         GemmBackend& backend, ThreadTeam& team, Monitor* monitor)
      : file_(file),
        plan_(plan),
        options_(options),
        backend_(backend),
        team_(team),
        monitor_(monitor) {
    for (std::size_t i = 0; i < kPackedParts.size(); ++i) {
      total_ += file.section(static_cast<PackedPart>(i)).bytes;
    }
  }

  absl::StatusOr<Weights> Load() {
    MOSSRT_ASSIGN_OR_RETURN(const PackedManifest manifest,
                            PackedManifest::Parse(file_.model(), file_.path()));
    const std::vector<WeightRule> rules = WeightRules(plan_.spec, plan_.params);
    weights_.layers.resize(static_cast<std::size_t>(plan_.params.layers));
    MOSSRT_RETURN_IF_ERROR(ReadVectors(rules));
    MOSSRT_ASSIGN_OR_RETURN(orders_, ReadNumbers<std::int32_t>(PackedPart::kOrders));
    MOSSRT_ASSIGN_OR_RETURN(weights_.packed, Bring(PackedPart::kWeights, options_.huge_pages));
    MOSSRT_ASSIGN_OR_RETURN(weights_.embedding.memory, Bring(PackedPart::kEmbedding, false));
    MOSSRT_RETURN_IF_ERROR(Tick(monitor_, "load", total_, total_));
    MOSSRT_RETURN_IF_ERROR(TakeUp(rules, manifest.matrices));
    weights_.bytes += weights_.packed.size() + weights_.embedding.memory.size();
    return std::move(weights_);
  }

 private:
  // work(slab) for every slab of a section, on all threads.
  template <typename Work>
  absl::Status ForSlabs(PackedPart part, const Work& work) {
    const PackedSection& section = file_.section(part);
    std::atomic<std::size_t> next{0};
    std::atomic<std::uint64_t> done{done_};
    std::atomic<bool> stop{false};
    std::mutex mutex;
    absl::Status first_error;
    team_.ForEachThread([&](int thread, int) {
      while (!stop.load(std::memory_order_relaxed)) {
        const std::size_t slab = next.fetch_add(1, std::memory_order_relaxed);
        if (slab >= section.slabs()) return;
        absl::Status status;
        try {
          status = work(slab);
        } catch (const std::bad_alloc&) {
          status = absl::ResourceExhaustedError(Cat(file_.path(), ": no memory to read it"));
        }
        done.fetch_add(section.SlabBytes(slab), std::memory_order_relaxed);
        if (status.ok() && thread == 0) {
          status = Tick(monitor_, "load", done.load(std::memory_order_relaxed), total_);
        }
        if (status.ok() && Cancelled(monitor_)) {
          status = absl::CancelledError("loading was cancelled");
        }
        if (status.ok()) continue;
        stop.store(true, std::memory_order_relaxed);
        const std::lock_guard lock(mutex);
        if (first_error.ok()) first_error = status;
      }
    });
    done_ += section.bytes;
    return first_error;
  }

  absl::Status Read(PackedPart part, std::byte* to) {
    auto* bytes = reinterpret_cast<std::uint8_t*>(to);
    return ForSlabs(part, [&](std::size_t slab) {
      const auto size = static_cast<std::size_t>(file_.section(part).SlabBytes(slab));
      return file_.ReadSlab(part, slab, options_.verify_crc, {bytes + slab * kPackedSlab, size});
    });
  }

  template <typename T>
  absl::StatusOr<std::vector<T>> ReadNumbers(PackedPart part) {
    const std::uint64_t bytes = file_.section(part).bytes;
    if (bytes % sizeof(T) != 0) {
      return absl::DataLossError(
          Cat(file_.path(), ": a section of ", bytes, " bytes cannot hold numbers of ", sizeof(T)));
    }
    std::vector<T> numbers(static_cast<std::size_t>(bytes / sizeof(T)));
    MOSSRT_RETURN_IF_ERROR(Read(part, reinterpret_cast<std::byte*>(numbers.data())));
    return numbers;
  }

  absl::Status ReadVectors(const std::vector<WeightRule>& rules) {
    MOSSRT_ASSIGN_OR_RETURN(const std::vector<float> all, ReadNumbers<float>(PackedPart::kVectors));
    auto at = all.begin();  // PlanPacked has compared the sum of all lengths
    for (const WeightRule& rule : rules) {
      if (rule.matrix()) continue;
      SlotOf(weights_, rule, plan_.params.tied_head).vector->assign(at, at + rule.rows);
      at += rule.rows;
    }
    weights_.bytes += all.size() * sizeof(float);
    return absl::OkStatus();
  }

  absl::StatusOr<PageBuffer> Bring(PackedPart part, bool huge_pages) {
    const std::uint64_t bytes = file_.section(part).bytes;
    if (bytes == 0) return PageBuffer();
    if (options_.mmap) {
      MOSSRT_ASSIGN_OR_RETURN(auto mapped, file_.Map(part));
      // Not through the mapping: a file that is cut short meanwhile is an error here, and a signal
      // there.
      if (options_.verify_crc) {
        MOSSRT_RETURN_IF_ERROR(
            ForSlabs(part, [&](std::size_t slab) { return file_.VerifySlab(part, slab); }));
      }
      return PageBuffer::ReadOnly(std::move(mapped), static_cast<std::size_t>(bytes));
    }
    MOSSRT_ASSIGN_OR_RETURN(PageBuffer buffer,
                            PageBuffer::Create(static_cast<std::size_t>(bytes), huge_pages));
    MOSSRT_RETURN_IF_ERROR(Read(part, buffer.data()));
    return buffer;
  }

  absl::Status TakeUp(const std::vector<WeightRule>& rules,
                      const std::vector<PackedMatrix>& matrices) {
    auto matrix = matrices.begin();
    const std::byte* at = weights_.packed.data();
    for (const WeightRule& rule : rules) {
      if (!rule.matrix()) continue;
      const PackedMatrix& m = *matrix++;
      const WeightSlot slot = SlotOf(weights_, rule, plan_.params.tied_head);
      if (slot.matrix == nullptr) {
        weights_.embedding.format = m.saved.format;
        weights_.embedding.hidden = m.saved.cols;
        continue;
      }
      SavedWeight saved = m.saved;
      const auto first = orders_.begin() + static_cast<std::ptrdiff_t>(m.order_at);
      saved.order.assign(first, first + static_cast<std::ptrdiff_t>(m.order_count));
      auto weight = backend_.TakeUp(std::move(saved), {at, static_cast<std::size_t>(m.bytes)});
      if (!weight.ok()) {
        return absl::DataLossError(Cat(file_.path(), ": ", m.role, " of layer ", m.layer, ": ",
                                       Message(weight.status()),
                                       "; convert the checkpoint again (mossrt convert)"));
      }
      slot.matrix->weight = *std::move(weight);
      at += (m.bytes + 63) / 64 * 64;
    }
    return absl::OkStatus();
  }

  const PackedFile& file_;
  const ModelPlan& plan_;
  const LoadOptions& options_;
  GemmBackend& backend_;
  ThreadTeam& team_;
  Monitor* monitor_;
  Weights weights_;
  std::vector<std::int32_t> orders_;
  std::uint64_t done_ = 0, total_ = 0;
};

}  // namespace

absl::StatusOr<Weights> LoadPacked(const PackedFile& file, const ModelPlan& plan,
                                   const LoadOptions& options, GemmBackend& backend,
                                   ThreadTeam& team, Monitor* monitor) {
  return Loader(file, plan, options, backend, team, monitor).Load();
}

}  // namespace mossrt::runtime
