// A tokenizer with MOSS's own ids for everything that its protocol is made of, and helpers.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "base/utf8.h"
#include "mossrt/runtime/chat.h"

namespace mossrt::runtime {

using Ids = std::vector<std::int32_t>;

// From the published vocabulary; bytes have GPT-2's ids, of which MOSS's first 50,256 are.
inline constexpr std::int32_t kEoh = 106067, kEom = 106068, kEot = 106069, kEoc = 106070,
                              kEor = 106071, kEndOfText = 106028, kNewline = 198, kNone = 6045;
inline const Ids& HumanTag() {
  static const Ids& ids = *new Ids{27, 91, 20490, 91, 31175};
  return ids;
}
inline const Ids& ThoughtsTag() {
  static const Ids& ids = *new Ids{27, 91, 818, 1008, 33058, 91, 31175};
  return ids;
}
inline const Ids& CommandsTag() {
  static const Ids& ids = *new Ids{27, 91, 6935, 1746, 91, 31175};
  return ids;
}
inline const Ids& ResultsTag() {
  static const Ids& ids = *new Ids{27, 91, 25468, 91, 31175};
  return ids;
}
inline const Ids& AnswerTag() {
  static const Ids& ids = *new Ids{27, 91, 44, 18420, 91, 31175};
  return ids;
}

// GPT-2's id of a byte: printable ones first, then all others in order.
inline std::int32_t ByteId(unsigned char byte) {
  const auto printable = [](int b) {
    return (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  };
  std::int32_t id = printable(byte) ? 0 : 188;
  for (int b = 0; b < byte; ++b) id += printable(b) == printable(byte) ? 1 : 0;
  return id;
}
inline Ids ByteIds(std::string_view text) {
  Ids ids;
  for (const char c : text) ids.push_back(ByteId(static_cast<unsigned char>(c)));
  return ids;
}
inline Ids Join(std::initializer_list<Ids> parts) {
  Ids all;
  for (const Ids& part : parts) all.insert(all.end(), part.begin(), part.end());
  return all;
}

// The byte as GPT-2's files write it.
inline std::string ByteName(unsigned char byte) {
  const std::int32_t id = ByteId(byte);
  std::string name;
  AppendUtf8(id < 188 ? static_cast<char32_t>(byte) : static_cast<char32_t>(256 + id - 188), &name);
  return name;
}

// Files of a tokenizer that has MOSS's ids for bytes, control tokens, runs of spaces and the words
// of the protocol. Other words stay single bytes.
inline std::map<std::string, std::string> MossFiles() {
  Json vocab = Json::object();
  for (int b = 0; b < 256; ++b) {
    const auto byte = static_cast<unsigned char>(b);
    vocab[ByteName(byte)] = ByteId(byte);
  }
  std::string merges = "#version: 0.2\n";
  std::int32_t made = 300;
  // What becomes one token, in the order of the merges, and its id where the published vocabulary
  // has it; parts of it that no test sees get any other id.
  const std::pair<std::string, std::int32_t> words[] = {
      {" N", 399},    {" No", 1400},        {" Non", 0},    {" None", kNone}, {"Human", 20490},
      {"In", 818},    {" Thoughts", 33058}, {"Comm", 6935}, {"an", 272},      {"and", 392},
      {"ands", 1746}, {"Results", 25468},   {">:", 31175},  {"SS", 0}};
  const auto add = [&](const std::string& left, const std::string& right, std::int32_t id) {
    if (vocab.contains(left + right)) return;
    merges += left + " " + right + "\n";
    vocab[left + right] = id > 0 ? id : made++;
  };
  for (const auto& [word, id] : words) {
    std::string left = ByteName(static_cast<unsigned char>(word[0]));
    for (std::size_t i = 1; i < word.size(); ++i) {
      const std::string right = ByteName(static_cast<unsigned char>(word[i]));
      add(left, right, i + 1 == word.size() ? id : 0);
      left += right;
    }
  }
  add("O", "SS", 18420);
  add("e", "r", 263);
  add("n", "er", 1008);
  vocab["<|endoftext|>"] = kEndOfText;
  // The reader refuses vocabularies of almost nothing but holes.
  for (std::int32_t id = 40000; id < 43000; ++id) vocab["filler" + std::to_string(id)] = id;
  Json added = Json::object();
  for (std::int32_t n = 31; n >= 2; --n) {
    added[std::string(static_cast<std::size_t>(n), ' ')] = 106029 + 31 - n;
  }
  for (std::int32_t n = 9; n >= 2; --n) {
    added[std::string(static_cast<std::size_t>(n), '\t')] = 106059 + 9 - n;
  }
  Json special = Json::array();
  const std::pair<const char*, std::int32_t> controls[] = {
      {"<eoh>", kEoh}, {"<eom>", kEom}, {"<eot>", kEot}, {"<eoc>", kEoc}, {"<eor>", kEor}};
  for (const auto& [name, id] : controls) {
    added[name] = id;
    special.push_back(name);
  }
  return {{"vocab.json", vocab.dump()},
          {"merges.txt", merges},
          {"added_tokens.json", added.dump()},
          {"special_tokens_map.json", Json{{"additional_special_tokens", special},
                                           {"bos_token", "<|endoftext|>"},
                                           {"eos_token", "<eom>"},
                                           {"unk_token", "<|endoftext|>"}}
                                          .dump()},
          {"tokenizer_config.json", R"({"tokenizer_class": "MossTokenizer"})"}};
}

// One for all tests of the program.
inline const Tokenizer& Moss() {
  static const Tokenizer& tokenizer = *[] {
    auto loaded = LoadTokenizer(*OpenMemory("moss", MossFiles()), {});
    EXPECT_TRUE(loaded.ok()) << loaded.status();
    return loaded->release();
  }();
  return tokenizer;
}

inline std::string TextOf(const Tokenizer& tokenizer, std::span<const std::int32_t> ids) {
  std::string text;
  const absl::Status status = tokenizer.DecodeBytes(ids, {}, &text);
  EXPECT_TRUE(status.ok()) << status;
  return text;
}

inline bool Contains(std::span<const std::int32_t> ids, const Ids& part) {
  return std::search(ids.begin(), ids.end(), part.begin(), part.end()) != ids.end();
}

inline std::unique_ptr<Chat> NewChat(const ChatOptions& options) {
  auto chat = Chat::Create(Moss(), options);
  EXPECT_TRUE(chat.ok()) << chat.status();
  return chat.ok() ? *std::move(chat) : nullptr;
}

// What a model writes, as single bytes, then an end token (-1: none).
inline void Write(Chat* chat, std::string_view text, std::int32_t end) {
  bool more = true;
  for (const std::int32_t id : ByteIds(text)) {
    const auto pushed = chat->Push(id);
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    more = *pushed;
    if (!more) break;
  }
  if (more && end >= 0) {
    const auto pushed = chat->Push(end);
    ASSERT_TRUE(pushed.ok()) << pushed.status();
    EXPECT_FALSE(*pushed);
  }
}

inline std::vector<ChatEvent> Events(Chat* chat) {
  std::vector<ChatEvent> events;
  for (ChatEvent event; chat->TakeEvent(&event);) events.push_back(event);
  return events;
}
inline std::string TextOf(const std::vector<ChatEvent>& events, ChatEvent::Type type) {
  std::string text;
  for (const ChatEvent& event : events) {
    if (event.type == type) text += event.text;
  }
  return text;
}
inline Json TurnOf(const Chat& chat) { return Json::parse(chat.TurnJson()); }

inline void ExpectFailure(const absl::Status& status, absl::StatusCode code,
                          std::string_view part) {
  EXPECT_EQ(status.code(), code) << status;
  EXPECT_NE(Message(status).find(part), std::string_view::npos)
      << "\"" << part << "\" is not in: " << status;
}

}  // namespace mossrt::runtime
