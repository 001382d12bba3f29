#include "text/sentencepiece_library.h"

#include <sentencepiece_processor.h>

#include <exception>

namespace mossrt::runtime {
namespace {

class Library final : public SentencePieceLibrary {
 public:
  bool Load(std::string_view model, std::string* error) {
    const auto status = processor_.LoadFromSerializedProto({model.data(), model.size()});
    if (!status.ok()) *error = status.ToString();
    return status.ok();
  }

  bool Encode(std::string_view text, std::vector<std::int32_t>* ids,
              std::string* error) const override {
    try {
      std::vector<int> found;
      const auto status = processor_.Encode({text.data(), text.size()}, &found);
      if (!status.ok()) {
        *error = status.ToString();
        return false;
      }
      ids->insert(ids->end(), found.begin(), found.end());
      return true;
    } catch (const std::exception& e) {
      *error = e.what();
      return false;
    }
  }

 private:
  sentencepiece::SentencePieceProcessor processor_;
};

}  // namespace

std::unique_ptr<SentencePieceLibrary> SentencePieceLibrary::Load(std::string_view model,
                                                                 std::string* error) {
  try {
    auto library = std::make_unique<Library>();
    if (library->Load(model, error)) return library;
  } catch (const std::exception& e) {
    *error = e.what();
  }
  return nullptr;
}

}  // namespace mossrt::runtime
