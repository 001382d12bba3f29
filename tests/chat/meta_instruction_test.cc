#include "chat/meta_instruction.h"

#include <filesystem>
#include <fstream>

#include "chat/chat_testing.h"

namespace mossrt::runtime {
namespace {

constexpr std::string_view kFile =
    "A head.\n- Of two lines.\nCapabilities and tools that MOSS can possess.\n- Old: disabled.\n";

MetaInstruction Compose(const std::string& profile, const MetaRequest& request) {
  const auto found = FindProfile(profile);
  EXPECT_TRUE(found.ok()) << found.status();
  auto meta = ComposeMeta(*found, request);
  EXPECT_TRUE(meta.ok()) << meta.status();
  return meta.ok() ? *std::move(meta) : MetaInstruction();
}

TEST(MetaInstruction, SwitchLinesOfTheTrainingData) {
  const MetaInstruction all =
      Compose("moss-plugin", {.whole = {},
                              .file = std::string(kFile),
                              .plugins = {"Text2Image", "Search", "Solve", "Calculate"},
                              .date = ""});
  EXPECT_EQ(all.text,
            "A head.\n- Of two lines.\n"
            "Capabilities and tools that MOSS can possess.\n"
            "- Inner thoughts: enabled.\n"
            "- Web search: enabled. API: Search(query)\n"
            "- Calculator: enabled. API: Calculate(expression)\n"
            "- Equation solver: enabled. API: Solve(equation)\n"
            "- Text-to-image: enabled. API: Text2Image(description)\n"
            "- Image edition: disabled.\n"
            "- Text-to-speech: disabled.\n");
  EXPECT_EQ(all.source, "meta_instruction.txt");
  const MetaInstruction none = Compose("moss", {.file = std::string(kFile)});
  EXPECT_EQ(none.text,
            "A head.\n- Of two lines.\n"
            "Capabilities and tools that MOSS can possess.\n"
            "- Inner thoughts: disabled.\n"
            "- Web search: disabled.\n"
            "- Calculator: disabled.\n"
            "- Equation solver: disabled.\n"
            "- Text-to-image: disabled.\n"
            "- Image edition: disabled.\n"
            "- Text-to-speech: disabled.\n");
}

// The published file ends in these lines, with a space behind the second; the demos' copy is
// indented as in their source.
TEST(MetaInstruction, ReadmeDemoAndVortex) {
  const std::string lines =
      "- Web search: disabled. \n- Calculator: disabled.\n- Equation solver: disabled.\n"
      "- Text-to-image: disabled.\n- Image edition: disabled.\n- Text-to-speech: disabled.\n";
  const std::string head =
      "A head.\n- Of two lines.\nCapabilities and tools that MOSS can possess.\n";
  const std::string file(kFile);
  EXPECT_EQ(Compose("readme", {.file = file}).text, head + lines);
  EXPECT_EQ(Compose("vortex", {.file = file, .plugins = {}, .date = "2023-04-12"}).text,
            head + lines + "- Current date: 2023-04-12.\n");
  EXPECT_EQ(
      Compose("demo", {.file = file}).text,
      "A head.\n    - Of two lines.\n    Capabilities and tools that MOSS can possess.\n    ");
  EXPECT_EQ(Compose("opencompass", {.file = file}).text, "");
}

TEST(MetaInstruction, WhatWasUsedIsSaid) {
  const MetaInstruction own = Compose("moss", {});
  EXPECT_EQ(own.source, "own words");
  ASSERT_EQ(own.notes.size(), 1u);
  EXPECT_NE(own.notes[0].find("meta_instruction.txt"), std::string::npos);
  const MetaInstruction other = Compose("moss", {.file = std::string(kFile)});
  ASSERT_EQ(other.notes.size(), 1u);
  EXPECT_NE(other.notes[0].find("SHA-256"), std::string::npos);
  const MetaInstruction no_switches = Compose("moss", {.file = "Only prose.\n"});
  EXPECT_EQ(no_switches.notes.size(), 2u);
  EXPECT_TRUE(no_switches.text.starts_with("Only prose.\nCapabilities and"));
  const MetaInstruction given = Compose("moss", {.whole = "My own.", .file = std::string(kFile)});
  EXPECT_EQ(given.text, "My own.");
  EXPECT_EQ(given.source, "given");
  EXPECT_TRUE(given.notes.empty());
  EXPECT_EQ(Compose("moss", {.whole = ""}).source, "none");
}

// Ours must not become theirs by accident.
TEST(MetaInstruction, OwnWordsAreNotThePublishedText) {
  const std::string text = Compose("moss", {}).text;
  EXPECT_EQ(text.find("mutiple"), std::string::npos);
  EXPECT_EQ(text.find("Fudan"), std::string::npos);
}

TEST(MetaInstruction, PluginsOfOnesOwnGetALine) {
  const MetaInstruction meta = Compose(
      "moss-plugin", {.file = std::string(kFile), .plugins = {"Weather", "Search"}, .date = ""});
  EXPECT_TRUE(
      meta.text.ends_with("- Text-to-speech: disabled.\n- Weather: enabled. API: Weather(text)\n"));
  EXPECT_EQ(meta.notes.size(), 2u);
}

TEST(MetaInstruction, WrongRequests) {
  const std::pair<ChatOptions, const char*> cases[] = {
      {{.profile = "moss", .plugins = {"Search"}}, "never runs a command"},
      {{.profile = "moss-plugin", .plugins = {"Se arch"}}, "name must be"},
      {{.profile = "vortex"}, "date"},
      {{.profile = "vortex", .date = "today"}, "YYYY-MM-DD"},
      {{.profile = "vortex", .date = "2023-02-29"}, "found \"2023-02-29\""},
      {{.profile = "vortex", .date = "2023-4-01"}, "YYYY-MM-DD"},
      {{.profile = "moss", .date = "12023-04-1"}, "YYYY-MM-DD"},
      {{.profile = "mos"}, "moss-plugin"},
      {{.profile = "moss", .meta = "a\xff"}, "not UTF-8 at byte 1"},
      {{.profile = "moss", .profile_json = "{}"}, "give one"}};
  for (const auto& [options, part] : cases) {
    ExpectFailure(Chat::Create(Moss(), options).status(), absl::StatusCode::kInvalidArgument, part);
  }
}

TEST(MetaInstruction, ADateThatIsNotStatedIsNoted) {
  const auto notes = [](const char* profile, const char* date) {
    return Join(Compose(profile, {.file = std::string(kFile), .plugins = {}, .date = date}).notes,
                "\n");
  };
  EXPECT_NE(notes("moss", "2024-02-29").find("\"date\" is not used"), std::string::npos);
  EXPECT_EQ(notes("moss", "").find("date"), std::string::npos);
  EXPECT_EQ(notes("vortex", "2024-02-29").find("date"), std::string::npos);
}

TEST(MetaInstruction, IsReadFromTheSmallFilesOfACheckpoint) {
  const auto none = ReadMetaFile(*OpenMemory("files", {{"config.json", "{}"}}));
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_FALSE(none->has_value());
  const auto found =
      ReadMetaFile(*OpenMemory("files", {{"meta_instruction.txt", std::string(kFile)}}));
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(*found, kFile);
  const std::string large(1 << 20, 'x');
  EXPECT_FALSE(ReadMetaFile(*OpenMemory("files", {{"meta_instruction.txt", large}})).ok());
}

TEST(MetaInstruction, IsWantedWhereNothingElseSaysIt) {
  const auto wanted = [](const ChatOptions& options) {
    const auto found = WantsMetaFile(options);
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() && *found;
  };
  EXPECT_TRUE(wanted({}));
  EXPECT_TRUE(wanted({.plugins = {"Calculate"}}));
  for (const char* profile : {"moss", "moss-plugin", "readme", "demo", "vortex"}) {
    EXPECT_TRUE(wanted({.profile = profile})) << profile;
  }
  EXPECT_FALSE(wanted({.profile = "opencompass"}));
  EXPECT_FALSE(wanted({.profile_json = R"({"base": "moss", "meta": null})"}));
  EXPECT_FALSE(wanted({.profile_json = R"({"base": "moss", "meta": {"head": "A head."}})"}));
  EXPECT_FALSE(wanted({.meta = ""}));
  EXPECT_FALSE(wanted({.meta_file = "text"}));
  EXPECT_FALSE(WantsMetaFile({.profile = "none such"}).ok());
}

TEST(MetaInstruction, LiesBesideTheCheckpoint) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / "mossrt_meta_instruction";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  std::ofstream(folder / "model.packed") << "x";
  for (const auto& path : {folder, folder / "model.packed", folder / "nothing" / "there"}) {
    const auto none = ReadMetaFile(path.string());
    ASSERT_TRUE(none.ok()) << none.status();
    EXPECT_FALSE(none->has_value());
  }
  std::ofstream(folder / "meta_instruction.txt") << kFile;
  for (const auto& path : {folder, folder / "model.packed"}) {
    const auto found = ReadMetaFile(path.string());
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(*found, kFile);
  }
  std::ofstream(folder / "meta_instruction.txt") << std::string(1 << 20, 'x');
  EXPECT_FALSE(ReadMetaFile(folder.string()).ok());
}

}  // namespace
}  // namespace mossrt::runtime
