// How old turns make room, against a model of the rules that knows nothing of the implementation.
#include "chat/transcript.h"

#include <random>
#include <span>

#include "chat/chat_testing.h"

namespace mossrt::runtime {
namespace {

// One turn of the model: ids by field, results in their place.
struct ModelTurn {
  Ids before, results, after;
  bool dropped = false;
};

struct ModelConversation {
  Ids meta, dropped_results;
  std::vector<ModelTurn> turns;

  Ids All() const {
    Ids all = meta;
    for (const ModelTurn& turn : turns) {
      for (const Ids* part : {&turn.before, &turn.results, &turn.after}) {
        all.insert(all.end(), part->begin(), part->end());
      }
    }
    return all;
  }

  // The rules, one step at a time: results of the oldest turn that has any, then the oldest turn.
  bool Step() {
    for (std::size_t i = 0; i + 1 < turns.size(); ++i) {
      if (!turns[i].dropped && turns[i].results.size() > dropped_results.size()) {
        turns[i].results = dropped_results;
        turns[i].dropped = true;
        return true;
      }
    }
    if (turns.size() < 2) return false;
    turns.erase(turns.begin());
    return true;
  }
  bool Shrink(std::size_t limit) {
    while (All().size() > limit) {
      if (!Step()) return false;
    }
    return true;
  }
};

Ids Fresh(std::size_t n, std::int32_t* next) {
  Ids ids;
  for (std::size_t i = 0; i < n; ++i) ids.push_back((*next)++);
  return ids;
}

TEST(Transcript, ShrinksAsTheRulesSay) {
  std::mt19937 random(3);
  for (int round = 0; round < 5000; ++round) {
    std::int32_t next = 0;
    ModelConversation model;
    Transcript transcript;
    transcript.meta = model.meta = Fresh(random() % 10, &next);
    model.dropped_results = Fresh(random() % 4, &next);
    transcript.dropped_results = model.dropped_results;
    for (std::size_t n = 1 + random() % 7; n > 0; --n) {
      ModelTurn turn;
      turn.before = Fresh(1 + random() % 9, &next);
      if (!model.dropped_results.empty()) turn.results = Fresh(random() % 8, &next);
      turn.after = Fresh(1 + random() % 9, &next);
      TurnRecord record;
      record.fields.push_back({Field::kHuman, turn.before});
      record.fields.push_back({Field::kResults, turn.results});
      record.fields.push_back({Field::kAnswer, turn.after});
      model.turns.push_back(turn);
      transcript.turns.push_back(record);
    }
    const std::size_t before = model.All().size();
    const std::size_t turns_before = model.turns.size();
    const std::size_t limit = random() % (before + 4);
    const bool fits = model.Shrink(limit);
    Cut cut;
    ASSERT_EQ(transcript.Shrink(static_cast<std::int64_t>(limit), &cut), fits) << round;
    ASSERT_EQ(transcript.Ids(), model.All()) << round;
    EXPECT_EQ(cut.tokens, static_cast<std::int64_t>(before - model.All().size()));
    EXPECT_EQ(cut.turns, static_cast<std::int64_t>(turns_before - model.turns.size()));
    EXPECT_EQ(transcript.size(), static_cast<std::int64_t>(model.All().size()));
  }
}

std::string Letters(std::mt19937* random, unsigned most) {
  return std::string(1 + (*random)() % most, static_cast<char>('a' + (*random)() % 26));
}

// A whole conversation: at every point where the model writes, the ids are the rules' ids.
TEST(Transcript, AConversationPastItsContext) {
  std::mt19937 random(4);
  constexpr std::int64_t kContext = 420, kReserve = 60;
  const auto chat = NewChat({.profile = "",
                             .profile_json = "",
                             .plugins = {"Solve"},
                             .meta = "meta",
                             .meta_file = {},
                             .date = "",
                             .context = kContext,
                             .reserve = kReserve});
  ModelConversation model;
  model.meta = ByteIds("meta");
  model.dropped_results = Join({ResultsTag(), {kNone, kEor, kNewline}});
  std::int64_t cut_results = 0, cut_turns = 0;
  for (int turn = 0; turn < 200; ++turn) {
    const std::string human = Letters(&random, 40), thoughts = Letters(&random, 20);
    const std::string result = Letters(&random, 60), answer = Letters(&random, 30);
    ASSERT_TRUE(chat->Send(human).ok());
    model.turns.emplace_back();
    const auto last = [&]() -> ModelTurn& { return model.turns.back(); };
    last().before = Join({HumanTag(), ByteIds(" "), ByteIds(human), {kEoh, kNewline}});
    const auto check = [&](const Ids& more, bool behind_results) {
      Ids& place = behind_results ? last().after : last().before;
      place = Join({place, more});
      const std::size_t turns_before = model.turns.size();
      EXPECT_TRUE(model.Shrink(kContext - kReserve));
      cut_turns += static_cast<std::int64_t>(turns_before - model.turns.size());
      ASSERT_EQ(Ids(chat->ids().begin(), chat->ids().end()), model.All()) << turn;
    };
    check(ThoughtsTag(), false);
    Write(chat.get(), " " + thoughts, kEot);
    check(Join({ByteIds(" "), ByteIds(thoughts), {kEot, kNewline}, CommandsTag()}), false);
    Write(chat.get(), " Solve(\"x\")", kEoc);
    last().before = Join({last().before, ByteIds(" Solve(\"x\")"), {kEoc, kNewline}});
    ASSERT_EQ(chat->commands().size(), 1u);
    const CommandResult solved = {.ok = true, .text = result};
    ASSERT_TRUE(chat->SetResults(std::span(&solved, 1)).ok());
    last().results = Join({ResultsTag(),
                           ByteIds("\nSolve(\"x\") =>\n"),
                           ByteIds(result),
                           ByteIds("\n"),
                           {kEor, kNewline}});
    check(AnswerTag(), true);
    Write(chat.get(), " " + answer, kEom);
    last().after = Join({last().after, ByteIds(" "), ByteIds(answer), {kEom, kNewline}});
    ASSERT_EQ(Ids(chat->ids().begin(), chat->ids().end()), model.All()) << turn;
    const Json report = TurnOf(*chat);
    cut_results += report["cut"]["results"].get<std::int64_t>();
    cut_turns -= report["cut"]["turns"].get<std::int64_t>();
    EXPECT_EQ(report["ended"], "answer");
  }
  EXPECT_EQ(cut_turns, 0);  // every cut was reported
  EXPECT_GT(cut_results, 20);
  EXPECT_LT(model.turns.size(), 10u);
}

}  // namespace
}  // namespace mossrt::runtime
