#include "checkpoint/pickle_machine.h"

#include "checkpoint/checkpoint_testing.h"
#include "checkpoint/file_writers.h"

namespace mossrt::runtime::testing {
namespace {

using absl::StatusCode;

absl::Status PickleError(const std::string& pickle) { return RunPickle(pickle, "p").status(); }

std::string Repeat(std::string_view piece, std::size_t times) {
  std::string text;
  for (std::size_t i = 0; i < times; ++i) text += piece;
  return text;
}

TEST(PickleMachine, ValuesOfEveryKind) {
  const std::string pickle =
      Pickle(Cat("}(") + Text("none") + Cat("N") + Text("true") + Cat("\x88") + Text("byte") +
             Cat("K\xFF") + Text("short") + Cat("M") + U16(65535) + Text("int") + Cat("J") +
             U32(0xFFFFFFFE) + Text("long") + "\x8A\x03" + std::string("\x00\x00\x80", 3) +
             Text("zero") + std::string("\x8A\x00", 2) + Text("huge") + "\x8A\x09" +
             std::string(9, '\x01') + Text("float") + "G" + std::string(8, '\0') + Text("list") +
             "](K\x01K\x02" + "eK\x03" + Cat("a") + Text("tuple") + "K\x01K\x02K\x03\x87" +
             Text("one") + Cat("K\x01\x85") + Text("two") + Cat("K\x01K\x02\x86") + Text("many") +
             "(K\x01t" + Text("ordered") + EmptyOrderedDict() + "u");
  const auto values = RunPickle(pickle, "p");
  ASSERT_TRUE(values.ok()) << values.status();
  std::map<std::string, PickleId, std::less<>> by_key;
  const auto items = values->items(values->root());
  for (std::size_t i = 0; i < items.size(); i += 2) {
    by_key[std::string(values->text(items[i]))] = items[i + 1];
  }
  const auto node = [&](const char* key) { return values->node(by_key.at(key)); };
  EXPECT_EQ(node("none").kind, PickleKind::kNone);
  EXPECT_EQ(node("true").kind, PickleKind::kBool);
  EXPECT_EQ(node("true").number, 1);
  EXPECT_EQ(node("byte").number, 255);
  EXPECT_EQ(node("short").number, 65535);
  EXPECT_EQ(node("int").number, -2);
  EXPECT_EQ(node("long").number, -8388608);
  EXPECT_EQ(node("zero").number, 0);
  EXPECT_EQ(node("huge").kind, PickleKind::kHugeInt);
  EXPECT_EQ(node("float").kind, PickleKind::kFloat);
  EXPECT_EQ(values->items(by_key.at("list")).size(), 3u);
  EXPECT_EQ(values->items(by_key.at("tuple")).size(), 3u);
  EXPECT_EQ(values->items(by_key.at("one")).size(), 1u);
  EXPECT_EQ(values->items(by_key.at("two")).size(), 2u);
  EXPECT_EQ(values->items(by_key.at("many")).size(), 1u);
  EXPECT_TRUE(node("ordered").ordered);
}

TEST(PickleMachine, MemoAndProtocol4) {
  const auto values =
      RunPickle(std::string("\x80\x04\x95", 3) + U64(0) + Cat("\x8C\x01x\x94\x8D") + U64(1) +
                    "y\x94h" + std::string(1, '\0') + "h\x01\x86\x94" + "00h\x02.",
                "p");
  // Popped: the pair and "y"; left "x" below, so the end has one value too many.
  ExpectError(values.status(), StatusCode::kInvalidArgument, {"should end with one value"});
  // The values view the pickle, so it must live on.
  const std::string text =
      std::string("\x80\x04\x8C\x01x\x94\x8C\x01y\x94\x86\x94q\x07j") + U32(7) + "0.";
  const auto pair = RunPickle(text, "p");
  ASSERT_TRUE(pair.ok()) << pair.status();
  EXPECT_EQ(pair->text(pair->items(pair->root())[1]), "y");
}

TEST(PickleMachine, ForeignGlobalsAreRefusedUnrun) {
  ExpectError(PickleError(Pickle(Name("os", "system") + Text("true") + "\x85R")),
              StatusCode::kInvalidArgument,
              {"p, offset 2", "\"os.system\"", "Nothing was executed"});
  ExpectError(PickleError(std::string("\x80\x04\x8C\x05posix\x8C\x06system\x93.", 19)),
              StatusCode::kInvalidArgument, {"offset 17", "\"posix.system\""});
  for (const auto& [module, name] :
       std::vector<std::pair<std::string, std::string>>{{"builtins", "eval"},
                                                        {"torch", "load"},
                                                        {"torch._utils", "_rebuild_tensor"},
                                                        {"torch", "HalfStorage.__init__"},
                                                        {"collections", "OrderedDict.update"},
                                                        {"", ""}}) {
    ExpectError(PickleError(Pickle(Name(module, name))), StatusCode::kInvalidArgument,
                {"Nothing was executed"});
  }
}

TEST(PickleMachine, UnknownOpcodesAreNamed) {
  // INST, OBJ, NEWOBJ, EXT1, PERSID, DUP, and an opcode that does not exist.
  for (const std::string op : {"i", "o", "\x81", "\x82", "P", "2", "\xFF"}) {
    ExpectError(PickleError(Pickle(op)), StatusCode::kInvalidArgument,
                {"p, offset 2", "opcode 0x", "Nothing was executed"});
  }
  ExpectError(PickleError(std::string("\x80\x01N.", 4)), StatusCode::kInvalidArgument,
              {"protocol 1"});
}

TEST(PickleMachine, CallsOfAnythingElse) {
  for (const std::string& body : std::vector<std::string>{
           "N)R", "}N\x86)R", Cat("X") + U32(1) + "a)R", Name("torch", "HalfStorage") + ")R",
           Name("torch", "Size") + "NR", Name("collections", "OrderedDict") + "N\x85R"}) {
    EXPECT_FALSE(PickleError(Pickle(body)).ok()) << body;
  }
  ExpectError(PickleError(Pickle("}}b")), StatusCode::kInvalidArgument, {"no OrderedDict"});
  EXPECT_TRUE(PickleError(Pickle(EmptyOrderedDict() + "}b")).ok());
}

TEST(PickleMachine, MalformedStacksAndMemos) {
  for (const std::string& body : std::vector<std::string>{"",
                                                          "0",
                                                          "1",
                                                          "t",
                                                          "e",
                                                          "u",
                                                          "K\x01"
                                                          "a",
                                                          "s",
                                                          "R",
                                                          "b",
                                                          "Q",
                                                          "\x85",
                                                          "\x86",
                                                          "\x87",
                                                          "\x93",
                                                          "q\x01",
                                                          "\x94",
                                                          "h\x01",
                                                          Cat("j") + U32(0),
                                                          "NN",
                                                          "(",
                                                          "(N",
                                                          "N(",
                                                          "](0",
                                                          "(0",
                                                          "}(Nu",
                                                          "N(NNu",
                                                          "N(Ne",
                                                          "NNa",
                                                          "NNNs",
                                                          "NN\x93",
                                                          "N"
                                                          "r" +
                                                              U32(0xFFFFFFFF),
                                                          Cat("X") + U32(0xFFFFFFFF),
                                                          Cat("\x8D") + U64(~0ull),
                                                          "\x8C\x05"
                                                          "ab",
                                                          Cat("X") + U32(2) + "\xC3\x28",
                                                          "cname",
                                                          "cname\nname",
                                                          "\x8A\xFF",
                                                          "G1234",
                                                          "J12",
                                                          "M1",
                                                          "K"}) {
    ExpectError(PickleError(Pickle(body)), StatusCode::kInvalidArgument, {"p, offset"});
  }
  ExpectError(PickleError(Pickle("N") + "N"), StatusCode::kInvalidArgument, {"after its end"});
  ExpectError(PickleError("\x80\x02N"), StatusCode::kInvalidArgument, {"pickle ends"});
  ExpectError(PickleError(""), StatusCode::kInvalidArgument, {"pickle ends"});
}

TEST(PickleMachine, DeepNestingCostsNoStack) {
  EXPECT_TRUE(PickleError(Pickle(Cat("N") + Repeat("\x85", 1'000'000))).ok());
  EXPECT_TRUE(PickleError(Pickle(Cat("]q\x01") + Repeat("h\x01"
                                                        "a",
                                                        1'000'000)))
                  .ok());  // itself
  // Each list holds the next: built from the outside by memo.
  EXPECT_TRUE(PickleError(Pickle(Repeat("]", 500'000) + Repeat("a", 499'999))).ok());
  ExpectError(PickleError(Pickle(Repeat("(", 20'000))), StatusCode::kInvalidArgument, {"marks"});
}

TEST(PickleMachine, WorkIsBounded) {
  ExpectError(PickleError(Pickle(Repeat("N", 1'000'001))), StatusCode::kInvalidArgument,
              {"on the stack"});
  ExpectError(PickleError(Pickle(Repeat("N0", 4'000'001))), StatusCode::kInvalidArgument,
              {"4000000 values"});
  ExpectError(PickleError(std::string(kMaxPickle + 1, 'N')), StatusCode::kInvalidArgument,
              {"at most"});
}

}  // namespace
}  // namespace mossrt::runtime::testing
