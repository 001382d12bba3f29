"""mossrt chat in a real terminal: keys go in, captured screens are looked at."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import MOSS, TRAINED
from test_cli import COMMAND
from tmux import Tmux

Start = Callable[..., Tmux]
DIM, CYAN, GREEN = "\x1b[2m", "\x1b[36m", "\x1b[32m"
# A long answer, drawn from nearly all tokens alike.
SLOW = ("--backend", "reference", "--threads", "1", "-n", "900", "-o", "min_new_tokens=900",
        "--profile", "opencompass", "--do-sample", "--temperature", "9", "--top-p", "1")  # fmt: skip


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `mossrt chat` with tiny-moss on a screen, waits for its prompt, leaves none behind."""
    started: list[Tmux] = []

    def begin(*options: Any, model: Any = TRAINED, ready: Any = None, **more: Any) -> Tmux:
        given = [*COMMAND, "chat", *([] if model is None else [model, "--greedy"]), *options]
        started.append(Tmux(given, tmp_path, **more))
        started[-1].wait(idle if ready is None else ready)
        return started[-1]

    yield begin
    for one in started:
        one.close()


def idle(screen: str) -> bool:
    """The last line is an empty prompt."""
    return screen.splitlines()[-1:] == [">"]


def prompts(terminal: Tmux) -> int:
    """How many there have been."""
    return sum(line.startswith(">") for line in terminal.screen(history=True).splitlines())


def say(terminal: Tmux, text: str) -> str:
    """Types a message, waits for the next prompt, and gives what stands between."""
    before = prompts(terminal)
    terminal.type(text)
    terminal.press("Enter")
    terminal.wait(lambda seen: idle(seen) and prompts(terminal) > before)
    return after(terminal, text)


def after(terminal: Tmux, text: str) -> str:
    """What stands below the last prompt that holds the text, without the prompt that follows."""
    seen = terminal.screen(history=True)
    found = seen.rsplit(f"> {text}\n", 1)
    assert len(found) == 2, seen
    return found[1].removesuffix("\n>").rstrip("\n")


def between(terminal: Tmux, first: str, second: str) -> str:
    """The escape sequences between two words of the last turn."""
    return terminal.screen(colours=True).rsplit(first, 1)[1].split(second)[0]


def test_a_turn_with_a_plugin(start: Start) -> None:
    terminal = start()
    greeting = terminal.screen()
    assert (
        "moss, 5.52 M parameters, float16\nprofile: moss-plugin; plugins: Calculate, Solve"
        in greeting
    )
    assert "/help lists the commands, Ctrl-C stops an answer, Ctrl-D ends." in greeting
    assert say(terminal, "What is 12 * 34?") == (
        "This is arithmetic, so I use the calculator.\n"
        "Calculate(\"12*34\") => '408'\n"
        "The result is 408."
    )
    coloured = terminal.screen(colours=True)
    assert f"{DIM}This is arithmetic" in coloured
    assert CYAN in between(terminal, "calculator.", "Calculate")
    assert f"{GREEN} => '408'" in coloured
    assert "\x1b[39m" in between(terminal, "'408'", "The result")
    terminal.press("C-d")
    terminal.wait("[ended with 0]")


def test_without_colours_words_tell_what_is_what(start: Start) -> None:
    terminal = start(NO_COLOR="1")
    assert say(terminal, "What is 12 * 34?") == (
        "thinks: This is arithmetic, so I use the calculator.\n"
        "runs: Calculate(\"12*34\") => '408'\n"
        "The result is 408."
    )
    assert say(terminal, "/probabilities").startswith("error: there are no colours here")
    turn = terminal.screen(colours=True).split("What is 12 * 34?")[1]
    assert "\x1b[" not in turn.replace("\x1b[0m", "").replace("\x1b[39m", "").replace(
        "\x1b[49m", ""
    )


def test_chinese_is_edited_and_wrapped(start: Start) -> None:
    terminal = start(columns=40)
    # 38 columns are left in the first line: 19 characters, then 20.
    terminal.type("字" * 30)
    terminal.wait("> " + "字" * 19 + "\n" + "字" * 11)
    terminal.press("C-a", "Right", "Right", "BSpace")
    terminal.type("改")
    terminal.wait("> 字改" + "字" * 17 + "\n" + "字" * 11)
    terminal.press("End", "BSpace", "BSpace")
    terminal.wait(lambda seen: seen.endswith("> 字改" + "字" * 17 + "\n" + "字" * 9))
    terminal.press("C-c")
    terminal.wait(idle)
    assert say(terminal, "请问12乘以34等于几？").splitlines()[1:] == [
        "Calculate(\"12*34\") => '408'",
        "结果是408。",
    ]


def test_long_lines_break_between_words(start: Start) -> None:
    terminal = start(columns=30)
    shown = say(terminal, "Who are you?")
    assert max(map(len, shown.splitlines())) < 30
    wide = start(columns=200)
    assert " ".join(shown.split()) == " ".join(say(wide, "Who are you?").split())
    words = set(" ".join(shown.split()).split(" "))
    assert words == set(" ".join(say(wide, "Who are you?").split()).split(" "))
    # What is typed wraps too, and is sent whole.
    terminal.type("What is the capital of France, please?")
    terminal.wait("> What is the capital of Franc\ne, please?")
    terminal.press("Enter")
    terminal.wait(lambda seen: idle(seen) and "Paris" in seen)


def test_chinese_answers_break_between_characters(start: Start) -> None:
    terminal = start(columns=20)
    shown = say(terminal, "你好！").splitlines()
    assert "".join(shown) == "这是闲聊。你好！我是MOSS，很高兴认识你。"
    assert shown[1:] == ["你好！我是MOSS，很", "高兴认识你。"]
    terminal.resize(14, 24)
    terminal.wait(idle)
    assert say(terminal, "你好！").splitlines()[1:] == ["你好！我是", "MOSS，很高兴", "认识你。"]


def test_several_lines_and_pasted_text(start: Start) -> None:
    terminal = start("--profile", "opencompass")
    terminal.type("one")
    terminal.press("M-Enter")
    terminal.type("二")
    terminal.press("C-j")
    terminal.type("three")
    terminal.wait("> one\n… 二\n… three")
    terminal.press("Enter")
    terminal.wait(lambda seen: idle(seen) and seen.count("three") >= 1)
    terminal.paste("a pasted\ntext of\nthree lines")
    terminal.wait("> a pasted\n… text of\n… three lines")
    terminal.press("Enter")
    terminal.wait(idle)
    stats = say(terminal, "/stats")
    assert "conversation: 2 turns" in stats
    terminal.type("/edit")
    terminal.press("Enter")
    terminal.wait(lambda seen: seen.endswith("> a pasted\n… text of\n… three lines"))


def test_history_is_kept(start: Start, tmp_path: Path) -> None:
    terminal = start()
    terminal.type("Hello!")
    terminal.press("M-Enter")
    terminal.type("你好！")
    terminal.press("Enter")
    terminal.wait(idle)
    say(terminal, "/stats")
    terminal.press("C-d")
    terminal.wait("[ended with 0]")
    file = tmp_path / "state" / "mossrt" / "chat_history"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "你好！" in file.read_text(encoding="utf-8")
    again = start()
    again.press("Up")
    again.wait("> /stats")
    again.press("Up")
    again.wait("> Hello!\n… 你好！")
    again.press("C-c", "C-r")
    again.type("ello")
    again.wait("Hello!")


def test_a_history_that_cannot_be_written(start: Start, tmp_path: Path) -> None:
    (tmp_path / "state").write_text("in the way")
    terminal = start()
    assert "there is no history" in terminal.screen()
    assert "MOSS" in say(terminal, "Hello!")


def test_ctrl_c_stops_an_answer_and_not_the_program(start: Start) -> None:
    terminal = start(*SLOW)
    terminal.type("Hello!")
    terminal.press("Enter")
    terminal.wait(lambda seen: len(seen.partition("> Hello!\n")[2]) > 20)  # it is being written
    pressed = time.monotonic()
    terminal.press("C-c")
    terminal.wait(lambda seen: idle(seen) and "\nstopped; what came stays\n" in seen)
    assert time.monotonic() - pressed < 5.0
    assert "^C" not in terminal.screen()
    assert "conversation: 1 turn," in say(terminal, "/stats")
    terminal.press("C-d")
    terminal.wait("[ended with 0]")


def test_what_is_typed_meanwhile_waits_for_the_prompt(start: Start) -> None:
    terminal = start(*SLOW, "-n", "40", "-o", "min_new_tokens=40")
    terminal.type("Hello!")
    terminal.press("Enter")
    terminal.wait(lambda seen: len(seen.partition("> Hello!\n")[2]) > 5)
    terminal.type("typed ahead")
    seen = terminal.wait(lambda seen: seen.endswith("\n> typed ahead"))
    assert seen.count("typed ahead") == 1


def test_ctrl_c_while_a_plugin_runs(start: Start, tmp_path: Path) -> None:
    tool = tmp_path / "tool.py"
    tool.write_text("import time\ndef slow(text):\n    time.sleep(1000)\n")
    terminal = start("--plugin", f"Calculate={tool}:slow")
    first = say(terminal, "Hello!")
    terminal.type("What is 12 * 34?")
    terminal.press("Enter")
    terminal.wait('Calculate("12*34")')
    terminal.press("C-c")
    terminal.wait(lambda seen: idle(seen) and "the question was taken back" in seen)
    assert "conversation: 1 turn," in say(terminal, "/stats")
    assert say(terminal, "/undo") == "taken back: Hello!"
    assert say(terminal, "Hello!") == first


def test_ctrl_c_before_anything_new_keeps_the_old_turn(start: Start, tmp_path: Path) -> None:
    tool = tmp_path / "tool.py"
    tool.write_text(
        "import os, time\n"
        "def once(text):\n"
        "    if os.path.exists('ran'):\n"
        "        time.sleep(1000)\n"
        "    open('ran', 'w').close()\n"
        "    return '408'\n"
    )
    terminal = start("--plugin", f"Calculate={tool}:once")
    say(terminal, "Hello!")
    say(terminal, "What is 12 * 34?")
    why = say(terminal, "/why")
    terminal.type("/regenerate")
    terminal.press("Enter")
    terminal.wait(lambda seen: 'Calculate("12*34")' in seen.rpartition("/regenerate")[2])
    terminal.press("C-c")
    terminal.wait(lambda seen: idle(seen) and "the last turn stays as it was" in seen)
    assert say(terminal, "/why") == why
    assert "conversation: 2 turns," in say(terminal, "/stats")
    assert say(terminal, "/undo") == "taken back: What is 12 * 34?"


def test_editing_a_question_that_was_taken_back(start: Start, tmp_path: Path) -> None:
    tool = tmp_path / "tool.py"
    tool.write_text("import time\ndef slow(text):\n    time.sleep(1000)\n")
    terminal = start("--plugin", f"Calculate={tool}:slow")
    say(terminal, "Hello!")
    terminal.type("What is 12 * 34?")
    terminal.press("Enter")
    terminal.wait('Calculate("12*34")')
    terminal.press("C-c")
    terminal.wait(lambda seen: idle(seen) and "the question was taken back" in seen)
    terminal.type("/edit")
    terminal.press("Enter")
    terminal.wait(lambda seen: seen.endswith("> What is 12 * 34?"))
    terminal.press("C-u")
    say(terminal, "Who are you?")
    assert "conversation: 2 turns," in say(terminal, "/stats")


def test_ctrl_c_at_the_prompt_clears_it(start: Start) -> None:
    terminal = start()
    terminal.type("never mind")
    terminal.wait("> never mind")
    terminal.press("C-c")
    terminal.wait(lambda seen: seen.endswith("> never mind\nCtrl-D ends\n\n>"))


def test_why_and_branch(start: Start) -> None:
    terminal = start(rows=60)
    assert "no answer to explain" in say(terminal, "/why")
    say(terminal, "What is 12 * 34?")
    table = say(terminal, "/why").splitlines()
    assert table[0] == "thoughts"
    assert table[1].split()[:3] == ["1", "100.0%", '"']
    assert [line for line in table if line[:1].isalpha()] == ["thoughts", "commands", "answer"]
    rows = [line for line in table if line[:4].strip().isdigit()]
    assert [int(row[:4]) for row in rows] == list(range(1, len(rows) + 1))
    assert all("%" in row for row in rows)
    number = next(int(row[:4]) for row in rows if '" result"' in row[:25])
    one = say(terminal, f"/why {number}").splitlines()
    assert one[0] == f'token {number}, " result"'
    assert one[1].startswith("*  1 ")
    assert len(one) == 7
    rank = next(int(line[1:4]) for line in one[1:] if '" solution"' in line)
    branched = say(terminal, f"/branch {number} {rank}").splitlines()
    assert branched[:2] == [
        "This is arithmetic, so I use the calculator.",
        "Calculate(\"12*34\") => '408'",
    ]
    assert branched[2].startswith("The solution")
    assert "1 turn" in say(terminal, "/stats")
    assert say(terminal, f"/why {number}").startswith(f'token {number}, " solution"')
    for wrong in ("/branch", "/branch 1", "/branch 999 1", "/branch 1 9", "/why x", "/why 0"):
        assert say(terminal, wrong).startswith("error: ")


def test_commands(start: Start, tmp_path: Path) -> None:
    terminal = start(columns=300, rows=50)
    first = say(terminal, "What is 12 * 34?")
    assert say(terminal, "/plugins").splitlines() == [
        "Calculate: arithmetic, exactly",
        "Solve: equations and systems of them",
    ]
    assert "- Calculator: enabled. API: Calculate(expression)" in say(terminal, "/system")
    saved = tmp_path / "talk.json"
    assert "needs a file" in say(terminal, "/save")
    assert say(terminal, f"/save {saved}") == f"saved to {saved}"
    say(terminal, "Hello!")
    assert say(terminal, "/save") == f"saved to {saved}"
    assert say(terminal, "/undo") == "taken back: Hello!"
    assert say(terminal, "/undo") == "taken back: What is 12 * 34?"
    assert say(terminal, "/undo") == "error: there is nothing to take back"
    assert say(terminal, f"/load {saved}").splitlines()[:2] == [
        "2 turns, the last one:",
        "> Hello!",
    ]
    assert "conversation: 2 turns" in say(terminal, "/stats")
    assert say(terminal, "/load nowhere.json").startswith("error: ")
    other = tmp_path / "other.json"
    other.write_text("precious")
    assert "exists" in say(terminal, f"/save {other}")
    assert other.read_text() == "precious"
    assert say(terminal, f"/load {other}").startswith("error: ")
    assert say(terminal, "/reset") == "a new conversation"
    assert say(terminal, "What is 12 * 34?") == first
    assert say(terminal, "/regenerate").startswith(first)
    assert "--do-sample" in terminal.screen()
    assert "did you mean /regenerate?" in say(terminal, "/regenrate")
    assert "/help lists them" in say(terminal, "/zzz")
    assert "takes nothing behind it" in say(terminal, "/undo all")
    assert "meta instruction" in say(terminal, "/system You are terse.")
    assert say(terminal, "/system").splitlines()[0] == "You are terse."
    assert "conversation: 0 turns" in say(terminal, "/stats")
    for name in ("/reset", "/why [N]", "/branch N K", "Alt-Enter", "//like this"):
        assert name in say(terminal, "/help")
    said = say(terminal, "//undo is <eoh> a word <|MOSS|>:")
    assert "1 role tags and 1 control tokens in message and results were plain text" in said
    say(terminal, "/undo")
    say(terminal, "//undo is a word")
    terminal.type("/edit")
    terminal.press("Enter")
    terminal.wait(lambda seen: seen.endswith("> //undo is a word"))
    terminal.press("C-c")
    terminal.wait(lambda seen: idle(seen) and "nothing was changed" in seen)
    terminal.type("/ex")
    terminal.press("Tab")
    terminal.wait("> /exit")
    terminal.press("Enter")
    terminal.wait("[ended with 0]")


def test_edit_replaces_the_last_message(start: Start) -> None:
    terminal = start()
    say(terminal, "What is 12 * 34?")
    terminal.type("/edit")
    terminal.press("Enter")
    terminal.wait(lambda seen: seen.endswith("> What is 12 * 34?"))
    terminal.press("BSpace", "BSpace")
    terminal.type("5?")
    terminal.press("Enter")
    terminal.wait(lambda seen: idle(seen) and "The result is 420." in seen)
    assert "conversation: 1 turn," in say(terminal, "/stats")


def test_probabilities_are_colours(start: Start) -> None:
    terminal = start("--probabilities")
    say(terminal, "What is 12 * 34?")
    assert GREEN in between(terminal, "calculator.", "Calculate")
    assert "\x1b[39m" not in between(terminal, "'408'", "The result")
    assert say(terminal, "/probabilities") == "probabilities are no longer shown"
    say(terminal, "What is 12 * 34?")
    assert CYAN in between(terminal, "calculator.", "Calculate")
    assert "\x1b[39m" in between(terminal, "'408'", "The result")
    assert "90 % and more" in say(terminal, "/probabilities")


def test_resume_shows_where_it_stands(start: Start, tmp_path: Path) -> None:
    saved = tmp_path / "talk.json"
    terminal = start(columns=300)
    say(terminal, "What is 12 * 34?")
    say(terminal, f"/save {saved}")
    again = start("--resume", saved, columns=300)
    assert "1 turn, the last one:\n> What is 12 * 34?\nThe result is 408." in again.screen()
    say(again, "Hello!")
    assert say(again, "/save") == f"saved to {saved}"


def test_a_model_is_chosen_by_its_number(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "random").symlink_to(MOSS)
    asked = "Which one (1 to 2; Enter: 1)?"
    options = ("--models", folder, "--greedy")
    terminal = start(*options, model=None, ready=asked, HF_HOME=str(tmp_path))
    assert "1  tiny-moss  moss" in terminal.screen()
    terminal.type("7")
    terminal.press("Enter")
    terminal.wait("'7' is not a number from 1 to 2")
    terminal.press("Enter")
    terminal.wait(idle)
    assert "MOSS" in say(terminal, "Hello!")
    left = start(*options, model=None, ready=asked, HF_HOME=str(tmp_path))
    left.press("C-d")
    left.wait("[ended with 2]")
    broken = start(*options, model=None, ready=asked, HF_HOME=str(tmp_path))
    broken.press("C-c")
    broken.wait("[ended with 130]")


def test_answers_into_a_file(start: Start, tmp_path: Path) -> None:
    """A person types, and only answers go where stdout goes."""
    out = tmp_path / "answers.txt"
    command = " ".join(["exec", *COMMAND, "chat", str(TRAINED), "--greedy", ">", str(out)])
    terminal = Tmux(["sh", "-c", command], tmp_path)
    try:
        terminal.wait(idle)
        shown = say(terminal, "What is 12 * 34?")
        assert "This is arithmetic" in shown
        assert "The result" not in shown
        assert "Ctrl-C stops an answer" in say(terminal, "/help")
        terminal.press("C-d")
        terminal.wait("[ended with 0]")
    finally:
        terminal.close()
    assert out.read_text() == "The result is 408.\n"
