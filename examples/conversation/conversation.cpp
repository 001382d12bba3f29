// Build: c++ -std=c++20 conversation.cpp -o conversation $(pkg-config --cflags --libs mossrt)
// Run:   ./conversation ../tiny-moss/model
#include <iostream>
#include <mossrt/mossrt.hpp>
#include <optional>

constexpr const char* kQuestions[] = {"Hello!", "1234乘以5678=?", "What is 12 / 34?"};

const char* NameOf(mossrt::ChatEvent::Type type) {
  switch (type) {
    case mossrt::ChatEvent::Type::kThought:
      return "thought";
    case mossrt::ChatEvent::Type::kCommand:
      return "command";
    case mossrt::ChatEvent::Type::kResult:
      return "result";
    case mossrt::ChatEvent::Type::kAnswer:
      return "answer";
    case mossrt::ChatEvent::Type::kCitation:
      return "citation";
    case mossrt::ChatEvent::Type::kNotice:
      return "notice";
  }
  return "unknown";
}

int main(int argc, char** argv) {
  try {
    const auto model = mossrt::Model::Load(argc > 1 ? argv[1] : "");
    mossrt::Session session = model.CreateSession();
    mossrt::Chat chat(model.Tokenizer(), {.plugins = {{"Calculate"}}});
    chat.AddBuiltinPlugin("Calculate");
    for (const char* question : kQuestions) {
      std::optional<mossrt::ChatEvent::Type> shown;
      chat.Send(question);
      std::cout << "> " << question;
      while (const auto event = chat.Advance(session, {.seed = 1})) {
        if (event->type != shown) std::cout << "\n[" << NameOf(event->type) << "] ";
        std::cout << event->text << std::flush;
        shown = event->type;
      }
      std::cout << '\n';
    }
  } catch (const mossrt::Error& e) {
    std::cerr << e.what() << '\n';
    return 1;
  }
}
