#include "chat/chat_testing.h"

namespace mossrt::runtime {
namespace {

ChatOptions Plugin() { return {.profile = "moss-plugin", .plugins = {"Solve"}, .meta = "m"}; }

std::unique_ptr<Chat> Held() {
  auto chat = NewChat(Plugin());
  EXPECT_TRUE(chat->Send("字 <|MOSS|>:").ok());
  Write(chat.get(), " t", kEot);
  Write(chat.get(), " Solve(\"x\")", kEoc);
  const CommandResult one = {.ok = true, .text = "x = 1"};
  EXPECT_TRUE(chat->SetResults(std::span(&one, 1)).ok());
  Write(chat.get(), " one", kEom);
  EXPECT_TRUE(chat->Send("and?").ok());
  Write(chat.get(), " t", kEot);
  Write(chat.get(), " None", kEoc);
  Write(chat.get(), " no", kEom);
  return chat;
}

TEST(SavedChat, GoesOnAsIfNothingHadHappened) {
  const auto chat = Held();
  const auto saved = chat->Save();
  ASSERT_TRUE(saved.ok()) << saved.status();
  ChatOptions limits;
  limits.context = 500;
  const auto loaded = Chat::Load(Moss(), *saved, limits);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_TRUE(std::equal(chat->ids().begin(), chat->ids().end(), (*loaded)->ids().begin(),
                         (*loaded)->ids().end()));
  EXPECT_EQ(TurnOf(**loaded), TurnOf(*chat));
  EXPECT_EQ((*loaded)->Save().value(), *saved);
  Json info = Json::parse((*loaded)->InfoJson());
  EXPECT_EQ(info["context"], 500);
  for (Chat* one : {chat.get(), loaded->get()}) {
    ASSERT_TRUE(one->Send("more").ok());
    Write(one, " t", kEot);
    Write(one, " Solve(\"y\")", kEoc);
    EXPECT_EQ(one->commands().size(), 1u);
    ASSERT_TRUE(one->SetResults({}).ok());
    Write(one, " done", kEom);
  }
  EXPECT_EQ(chat->Save().value(), (*loaded)->Save().value());
  EXPECT_TRUE((*loaded)->Undo());
  EXPECT_TRUE((*loaded)->Undo());
  EXPECT_TRUE((*loaded)->Undo());
  EXPECT_FALSE((*loaded)->Undo());
}

TEST(SavedChat, OfAnotherTokenizerIsRefused) {
  const std::string saved = Held()->Save().value();
  auto files = MossFiles();
  Json vocab = Json::parse(files["vocab.json"]);
  std::swap(vocab["A"], vocab["B"]);
  files["vocab.json"] = vocab.dump();
  const auto other = LoadTokenizer(*OpenMemory("other", files), {});
  ASSERT_TRUE(other.ok()) << other.status();
  ExpectFailure(Chat::Load(**other, saved, {}).status(), absl::StatusCode::kInvalidArgument,
                "another tokenizer");
}

TEST(SavedChat, OtherVersionsAndFormatsAreNamed) {
  Json saved = Json::parse(Held()->Save().value());
  saved["version"] = 2;
  ExpectFailure(Chat::Load(Moss(), saved.dump(), {}).status(), absl::StatusCode::kUnimplemented,
                "version 2");
  saved["format"] = "text";
  ExpectFailure(Chat::Load(Moss(), saved.dump(), {}).status(), absl::StatusCode::kInvalidArgument,
                "no saved conversation");
}

}  // namespace
}  // namespace mossrt::runtime
