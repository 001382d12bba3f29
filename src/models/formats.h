// Which format each matrix of a model is wanted in: the option dtype, the file's own precision, and
// the overrides.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "models/weight_rules.h"
#include "mossrt/runtime/checkpoint.h"
#include "mossrt/runtime/weight_format.h"

namespace mossrt::runtime {

// "pattern=format" for tensor names; the first match counts.
class FormatOverrides {
 public:
  static absl::StatusOr<FormatOverrides> Parse(const std::vector<std::string>& entries);
  std::optional<WeightFormat> Find(std::string_view tensor);
  // A pattern that matched nothing would be an option without effect.
  absl::Status CheckUsed() const;

 private:
  struct Entry {
    std::string pattern;
    WeightFormat format;
    bool used = false;
  };
  std::vector<Entry> entries_;
};

// Does `name` match `pattern`, in which * stands for any text and ? for any character?
bool MatchesPattern(std::string_view pattern, std::string_view name);

// How a matrix stands in the file: a float type, or for integers the format that keeps them as they
// are: 2 bits in 4, groups of any size in the largest of 32, 64 and 128 inputs that is no larger.
WeightFormat StoredFormat(const WeightSource& source);

// What most matrices are wanted in: `asked`, or for "auto" what most of the file's are. `stored`:
// StoredFormat of each rule's matrix.
absl::StatusOr<WeightFormat> ChooseFormat(const std::string& asked,
                                          const std::vector<WeightRule>& rules,
                                          const std::vector<WeightFormat>& stored,
                                          std::vector<std::string>* notes);

// `asked`, but integers of a file are kept whatever integers are asked for: nothing is quantised
// twice.
WeightFormat KeepIntegers(const WeightFormat& stored, const WeightFormat& asked);

// What a matrix of this role is wanted in where most are in `format`: the embedding and the head
// keep 8 bits.
WeightFormat FormatOfRole(Role role, const WeightFormat& format);

// What most elements of the layers' matrices are held as.
WeightFormat MostFrequent(const std::vector<WeightRule>& rules,
                          const std::vector<WeightFormat>& held);

// "int4-g64 embedding=int8-g128 head=int8-g128": the formats of all matrices, most frequent first.
std::string FormatsText(const std::vector<WeightRule>& rules, const std::vector<WeightFormat>& held,
                        const WeightFormat& most);

}  // namespace mossrt::runtime
