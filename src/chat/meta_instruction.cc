#include "chat/meta_instruction.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <system_error>
#include <utility>

#include "base/meta_file.h"
#include "base/sha256.h"
#include "base/status.h"
#include "base/utf8.h"
#include "mossrt/runtime/byte_source.h"
#include "mossrt/runtime/chat.h"

namespace mossrt::runtime {
namespace {

// The head of OpenMOSS/MOSS's meta_instruction.txt, 983 bytes up to "Capabilities". The text is its
// authors' and not part of mossrt.
constexpr std::string_view kPublishedHead =
    "88807212fcc4bbf336003ab098c7b0f039307f541b5fdf73b6312885772d7451";
constexpr std::string_view kCapabilities = "Capabilities";
constexpr std::string_view kDate = "{date}";  // in a profile's closing

constexpr std::string_view kOwnHead =
    "You are MOSS, an AI assistant (中文名：莫斯).\n"
    "- MOSS talks with people in English, 中文 and other languages, in the language they write.\n"
    "- MOSS is polite, honest and harmless, and refuses to help with anything that may do harm.\n"
    "- MOSS answers thoroughly, keeps to facts, and says so when it does not know.\n"
    "- MOSS uses the tools below when a question needs them, and corrects itself when it erred.\n";

std::string HeadOf(std::string_view file, std::vector<std::string>* notes) {
  const std::size_t at = file.find(kCapabilities);
  const std::string_view head = file.substr(0, at);
  if (at == std::string_view::npos) {
    notes->push_back(Cat(kMetaFile, " has no line that begins with \"", kCapabilities,
                         "\": all of it was taken as the text before the switch lines"));
  }
  if (Sha256Hex(head) != kPublishedHead) {
    notes->push_back(
        Cat(kMetaFile, " is not the one that MOSS was trained with (SHA-256 of its text before \"",
            kCapabilities, "\" is ", Sha256Hex(head).substr(0, 16), "..., not ",
            kPublishedHead.substr(0, 16), "...): its text was used as it is"));
  }
  return std::string(head);
}

bool IsCommandName(std::string_view name) {
  const auto letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
  };
  return !name.empty() && name.size() <= 64 && letter(name.front()) &&
         std::all_of(name.begin(), name.end(),
                     [&](char c) { return letter(c) || (c >= '0' && c <= '9'); });
}

// YYYY-MM-DD, of the calendar.
bool IsDay(std::string_view text) {
  if (text.size() != 10 || text[4] != '-' || text[7] != '-') return false;
  int numbers[3] = {};
  constexpr std::pair<std::size_t, std::size_t> kPlaces[] = {{0, 4}, {5, 2}, {8, 2}};
  for (std::size_t i = 0; i < 3; ++i) {
    for (const char c : text.substr(kPlaces[i].first, kPlaces[i].second)) {
      if (c < '0' || c > '9') return false;
      numbers[i] = 10 * numbers[i] + (c - '0');
    }
  }
  using namespace std::chrono;  // NOLINT: year, month and day
  return year_month_day(year(numbers[0]), month(static_cast<unsigned>(numbers[1])),
                        day(static_cast<unsigned>(numbers[2])))
      .ok();
}

absl::StatusOr<std::string> SwitchLines(const Profile& profile, const MetaRequest& request,
                                        std::vector<std::string>* notes) {
  std::string lines;
  std::vector<std::string> unnamed = request.plugins;
  const FieldSpec* thoughts = profile.Spec(Field::kThoughts);
  for (const Capability& capability : profile.switches) {
    const auto named = std::find(unnamed.begin(), unnamed.end(), capability.command);
    bool on = capability.with_thoughts && thoughts != nullptr && thoughts->by_model;
    if (!capability.command.empty() && named != unnamed.end()) {
      on = true;
      unnamed.erase(named);
    }
    lines += Cat("- ", capability.label, ": ", on ? capability.on : capability.off, "\n");
  }
  for (const std::string& name : unnamed) {
    lines += Cat("- ", name, ": enabled. API: ", name, "(text)\n");
    notes->push_back(Cat("MOSS was not trained with a command ", name,
                         ": a switch line for it was added to the meta instruction"));
  }
  std::string closing = profile.closing;
  if (const std::size_t at = closing.find(kDate); at != std::string::npos) {
    if (request.date.empty()) {
      return absl::InvalidArgumentError(Cat("the profile ", profile.name,
                                            " states the date: give the option \"date\", as in "
                                            "\"2023-04-21\""));
    }
    closing.replace(at, kDate.size(), request.date);
  }
  return lines + closing;
}

}  // namespace

absl::StatusOr<MetaInstruction> ComposeMeta(const Profile& profile, const MetaRequest& request) {
  if (!request.date.empty() && !IsDay(request.date)) {
    return absl::InvalidArgumentError(
        Cat("the option \"date\" must be a day as YYYY-MM-DD, as in \"2023-04-21\", found \"",
            request.date.substr(0, 64), "\""));
  }
  for (const std::string& name : request.plugins) {
    if (!IsCommandName(name)) {
      return absl::InvalidArgumentError(
          Cat("a plugin's name must be a letter and then letters, digits and _, at most 64 in all, "
              "found \"",
              name.substr(0, 64), "\""));
    }
    if (!profile.RunsCommands()) {
      return absl::InvalidArgumentError(Cat("the profile ", profile.name,
                                            " never runs a command, but the plugin ", name,
                                            " was given; the profile moss-plugin runs them"));
    }
  }
  MetaInstruction meta;
  if (request.whole) {
    meta.text = *request.whole;
    meta.source = meta.text.empty() ? "none" : "given";
  } else if (!profile.has_meta) {
    meta.source = "none";
  } else {
    if (profile.head) {
      meta.text = *profile.head;
      meta.source = "profile";
    } else if (request.file) {
      meta.text = HeadOf(*request.file, &meta.notes);
      meta.source = std::string(kMetaFile);
    } else {
      meta.text = kOwnHead;
      meta.source = "own words";
      meta.notes.push_back(
          Cat("the checkpoint has no ", kMetaFile,
              ": a meta instruction in mossrt's own words was used, which MOSS was not trained "
              "with; put OpenMOSS/MOSS's file into its directory, or give one"));
    }
    MOSSRT_ASSIGN_OR_RETURN(const std::string lines, SwitchLines(profile, request, &meta.notes));
    meta.text += profile.capabilities + lines;
    if (profile.indent > 0) {
      std::string indented;
      for (const char c : meta.text) {
        indented.push_back(c);
        if (c == '\n') indented.append(static_cast<std::size_t>(profile.indent), ' ');
      }
      meta.text = std::move(indented);
    }
  }
  const bool dated =
      !request.whole && profile.has_meta && profile.closing.find(kDate) != std::string::npos;
  if (!request.date.empty() && !dated) {
    meta.notes.emplace_back(
        "the option \"date\" is not used: this meta instruction states no date");
  }
  if (const std::size_t at = FindInvalidUtf8(meta.text); at != std::string_view::npos) {
    return absl::InvalidArgumentError(
        Cat("the meta instruction (", meta.source, ") is not UTF-8 at byte ", at));
  }
  return meta;
}

absl::StatusOr<std::optional<std::string>> ReadMetaFile(const ByteSource& files) {
  auto text = ReadAll(files, kMetaFile, kMaxMetaFile);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  if (!text.ok()) return text.status();
  return *std::move(text);
}

absl::StatusOr<std::optional<std::string>> ReadMetaFile(const std::string& checkpoint) {
  std::error_code error;
  std::filesystem::path directory(checkpoint);
  if (!std::filesystem::is_directory(directory, error)) directory = directory.parent_path();
  const auto source = OpenDirectory(directory.empty() ? "." : directory.string());
  if (!source.ok()) return std::nullopt;
  return ReadMetaFile(**source);
}

}  // namespace mossrt::runtime
