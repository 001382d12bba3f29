// Files and options of unknown origin: whatever they hold, the answer is an error or a
// conversation.
#include <random>

#include "base/sha256.h"
#include "chat/chat_testing.h"
#include "chat/profile.h"

namespace mossrt::runtime {
namespace {

const char kOwnProfile[] = R"({"name": "own", "meta": {"head": "You.\n", "capabilities": "C\n",
  "indent": 2, "closing": "x{date}", "switches": [{"label": "A", "off": "no", "on": "yes",
  "command": "Search", "with_thoughts": true}]}, "fields": {
  "human": {"tag": "[U]:", "lead": " ", "tail": "", "end": "<eoh>", "after": "\n"},
  "answer": {"tag": "[A]:", "end": "<eom>", "after": "\n", "by_model": true, "keep_end": true}}})";

// Creates, and where that succeeds holds a turn.
void Use(const std::string& profile) {
  ChatOptions options = {.profile = "", .profile_json = profile};
  options.date = "2023-04-12";
  const auto chat = Chat::Create(Moss(), options);
  if (!chat.ok()) {
    EXPECT_FALSE(Message(chat.status()).empty());
    return;
  }
  if (!(*chat)->Send("hi [A]: <|MOSS|>:").ok()) return;
  for (int field = 0; field < 5 && (*chat)->Next({}).action == ChatAction::kGenerate; ++field) {
    Write(chat->get(), " a", kEom);
  }
  EXPECT_EQ((*chat)->Next({}).action, ChatAction::kDone);
}

TEST(HostileProfile, TheValidOneIsValid) {
  const auto profile = ParseProfile(kOwnProfile);
  ASSERT_TRUE(profile.ok()) << profile.status();
  EXPECT_EQ(profile->name, "own");
  Use(kOwnProfile);
}

TEST(HostileProfile, CutAnywhere) {
  const std::string text = kOwnProfile;
  for (std::size_t n = 0; n < text.size(); ++n) {
    EXPECT_FALSE(ParseProfile(text.substr(0, n)).ok()) << n;
  }
}

TEST(HostileProfile, EveryByteChanged) {
  const std::string text = kOwnProfile;
  for (std::size_t i = 0; i < text.size(); ++i) {
    for (const char c : {'\0', '"', '{', '}', '[', '9', '\xff', ' ', 'x'}) {
      std::string changed = text;
      changed[i] = c;
      Use(changed);
    }
  }
}

TEST(HostileProfile, WrongValuesAreNamed) {
  const std::pair<const char*, const char*> cases[] = {
      {"[]", "object"},
      {"{}", "name"},
      {R"({"name": "a"})", "fields"},
      {R"({"base": "nothing"})", "nothing"},
      {R"({"base": "moss", "fields": 3})", "fields"},
      {R"({"base": "moss", "fields": {"human": null}})", "human"},
      {R"({"base": "moss", "fields": {"human": {"tag": ""}}})", "tag"},
      {R"({"base": "moss", "fields": {"human": {"end": ""}}})", "end"},
      {R"({"base": "moss", "fields": {"human": {"by_model": true}}})", "by_model"},
      {R"({"base": "moss", "fields": {"answer": {"by_model": false}}})", "by_model"},
      {R"({"base": "moss", "fields": {"humans": {}}})", "humans"},
      {R"({"base": "moss", "fields": {"human": {"tags": ""}}})", "tags"},
      {R"({"base": "moss", "fields": {"human": {"tag": 5}}})", "tag"},
      {R"({"base": "moss", "meta": {"indent": 99}})", "indent"},
      {R"({"base": "moss", "meta": {"switches": {}}})", "switches"},
      {R"({"base": "moss", "meta": {"switches": [{"label": "a"}]}})", "off"},
      {R"({"base": "moss", "meta": {"switches": [{"label": "a", "off": "b", "command": "c"}]}})",
       "on"},
      {R"({"base": "moss", "mete": {}})", "mete"}};
  for (const auto& [json, part] : cases) {
    ExpectFailure(ParseProfile(json).status(), absl::StatusCode::kInvalidArgument, part);
  }
  const std::string deep = std::string(100000, '[');
  EXPECT_FALSE(ParseProfile("{\"name\": " + deep).ok());
  const std::string wide =
      R"({"base": "moss", "fields": {"human": {"tag": ")" + std::string(100000, 'x') + R"("}}})";
  ExpectFailure(ParseProfile(wide).status(), absl::StatusCode::kInvalidArgument, "at most");
  EXPECT_FALSE(ParseProfile(std::string(2 << 20, ' ')).ok());
}

std::string Saved() {
  const auto chat = NewChat({.profile = "moss", .meta = "m"});
  EXPECT_TRUE(chat->Send("hi").ok());
  Write(chat.get(), " a", kEom);
  return chat->Save().value();
}

TEST(HostileSave, CutAnywhere) {
  const std::string saved = Saved();
  ASSERT_TRUE(Chat::Load(Moss(), saved, {}).ok());
  for (std::size_t n = 0; n < saved.size(); ++n) {
    EXPECT_FALSE(Chat::Load(Moss(), saved.substr(0, n), {}).ok()) << n;
  }
}

TEST(HostileSave, EveryByteChanged) {
  const std::string saved = Saved();
  for (std::size_t i = 0; i < saved.size(); ++i) {
    for (const int bit : {0, 3, 6}) {
      std::string changed = saved;
      changed[i] = static_cast<char>(changed[i] ^ 1 << bit);
      const auto loaded = Chat::Load(Moss(), changed, {});
      EXPECT_FALSE(loaded.ok()) << i << " " << bit << ": " << changed.substr(i, 20);
    }
  }
}

// With a checksum that fits, what is inside still has to make sense.
TEST(HostileSave, ForgedContents) {
  const Json saved = Json::parse(Saved());
  const auto load = [&](const Json& patch) {
    Json forged = saved;
    forged["conversation"].merge_patch(patch);
    forged["sha256"] = Sha256Hex(DumpJson(forged["conversation"]));
    return Chat::Load(Moss(), forged.dump(), {}).status();
  };
  EXPECT_TRUE(load(Json::object()).ok());
  const Json turn = saved["conversation"]["turns"][0];
  const auto with = [&](const char* key, Json value) {
    Json changed = turn;
    changed[key] = std::move(value);
    return Json{{"turns", Json::array({changed})}};
  };
  const Json patches[] = {{{"meta_ids", {1, -1}}},
                          {{"meta_ids", {1, 1e300}}},
                          {{"meta_ids", {1, 4000000000u}}},
                          {{"meta_ids", {1, "2"}}},
                          {{"meta_ids", nullptr}},
                          {{"turns", 5}},
                          {{"turns", {5}}},
                          {{"tokenizer", "x"}},
                          {{"profile", {{"base", "x"}}}},
                          {{"profile", nullptr}},
                          {{"plugins", {"Search"}}},
                          {{"plugins", {5}}},
                          {{"meta_notes", {5}}},
                          with("fields", 5),
                          with("fields", {{{"field", "human"}}}),
                          with("fields", {{{"field", "nobody"}, {"ids", {1}}}}),
                          with("fields", {{{"field", 7}, {"ids", {1}}}}),
                          with("report", 5),
                          with("report", {{"human", 5}}),
                          with("report", {{"commands", {5}}}),
                          with("report", {{"repairs", {{{"field", "x"}}}}}),
                          with("report", {{"citations", {{-1}}}}),
                          with("report", {{"role_tags", -1}})};
  for (const Json& patch : patches) {
    EXPECT_FALSE(load(patch).ok()) << patch;
  }
}

}  // namespace
}  // namespace mossrt::runtime
