"""mossrt chat by pipes: results on stdout, all else on stderr, exit codes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

import mossrt
from conftest import LLAMA, MOSS, ROOT, TRAINED
from mossrt.chat import Conversation, Event, Turn
from mossrt.cli.chat.continuation import Continuation
from mossrt.cli.chat.render import Renderer
from mossrt.cli.chat.screen import Screen
from mossrt.cli.chat.turns import close
from mossrt.plugins import calculate, solve
from test_cli import COMMAND, run

CODEGEN = MOSS.parent / "codegen"
GREEDY = ("chat", TRAINED, "--greedy", "--quiet")


def lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_answers_alone_go_to_stdout() -> None:
    asked = ["What is 12 * 34?", "", "你好！", "/help is no command here", "Hello!"]
    out, err = run(*GREEDY, stdin="\n".join(asked))
    assert err == ""
    model = mossrt.Model.from_pretrained(TRAINED)
    with Conversation(model, plugins=[calculate_plugin(), solve_plugin()], do_sample=False) as talk:
        assert out.splitlines() == [talk.send(text).answer for text in asked if text]
    assert out.startswith("The result is 408.\n")
    shown, err = run(*GREEDY, "--thoughts", stdin=asked[0])
    assert shown == "The result is 408.\n"
    assert err == (
        "thinks: This is arithmetic, so I use the calculator.\nruns: Calculate(\"12*34\") => '408'\n"
    )


def calculate_plugin() -> mossrt.chat.Plugin:
    return mossrt.chat.Plugin("Calculate", calculate)


def solve_plugin() -> mossrt.chat.Plugin:
    return mossrt.chat.Plugin("Solve", solve)


def test_json_is_an_event_a_line() -> None:
    out, err = run(*GREEDY, "--json", "-o", "top_logprobs=2",
                   stdin="What is 12 * 34?\nHello!\n")  # fmt: skip
    assert err == ""
    found = lines(out)
    ends = [one for one in found if one["event"] == "turn"]
    first = found[: found.index(ends[0])]
    joined = {
        kind: "".join(one["text"] for one in first if one["event"] == kind)
        for kind in ("thought", "command", "result", "answer")
    }
    assert [one["human"] for one in ends] == ["What is 12 * 34?", "Hello!"]
    turn = ends[0]
    assert joined == {
        "thought": turn["thoughts"],
        "command": 'Calculate("12*34")',
        "result": "Calculate(\"12*34\") => '408'",
        "answer": "The result is 408.",
    }
    assert turn["answer"] == joined["answer"]
    assert turn["commands"] == [
        {"name": "Calculate", "argument": "12*34", "result": joined["result"], "ok": True}
    ]
    assert (turn["ended"], turn["notices"], turn["role_tags"]) == ("answer", [], 0)
    assert turn["stats"]["new_tokens"] == len(turn["tokens"]) > 20
    assert all(len(token["top"]) == 2 for token in turn["tokens"])
    assert {token["field"] for token in turn["tokens"]} == {"thought", "command", "answer"}


def test_citations_are_numbers() -> None:
    """tiny-moss was not trained to cite."""
    out, err = io.StringIO(), io.StringIO()
    renderer = Renderer(Screen(out, err), everything=False)
    renderer.begin()
    talk: Any = None
    renderer.show(Event("thought", "I search."), talk)
    renderer.show(Event("answer", "Paris"), talk)
    renderer.show(Event("citation", "<sup><|1|></sup>", (1,)), talk)
    renderer.show(Event("notice", "Something was repaired."), talk)
    renderer.show(Event("answer", " it is."), talk)
    renderer.end(None)
    assert out.getvalue() == "Paris[1]\n it is.\n"
    assert err.getvalue() == "note: Something was repaired.\n"


def test_sources_of_citations_are_listed() -> None:
    sources = (("a.txt", "Paris is the capital."), ("", "long " * 100), ("c", "never cited"))
    turn = Turn("?", "", (), "", "Paris", sources, ((2, 1), (1,), (9,)), (), (), 0, 0, 0)
    out, err = io.StringIO(), io.StringIO()
    renderer = Renderer(Screen(out, err), everything=True)
    renderer.begin()
    renderer.end(turn)
    first, second = err.getvalue().splitlines()
    assert first == "[1] a.txt: Paris is the capital."
    assert second.startswith("[2] long long")
    assert len(second) == 300


def test_fields_that_say_nothing_are_left_out() -> None:
    def shown(*events: tuple[str, str]) -> str:
        err = io.StringIO()
        renderer = Renderer(Screen(io.StringIO(), err), everything=True)
        renderer.begin()
        for kind, text in events:
            renderer.show(Event(kind, text), None)  # type: ignore[arg-type]
        renderer.end(None)
        return err.getvalue()

    assert shown(("thought", "No"), ("thought", "ne"), ("command", "None"), ("answer", "Hi")) == ""
    assert shown(("thought", "No"), ("command", "None"), ("answer", "Hi")) == "thinks: No\n"
    assert shown(("thought", "No"), ("thought", "body knows")) == "thinks: Nobody knows\n"
    two = (
        ("command", "A(1), "),
        ("command", "B(2)"),
        ("result", "A(1) => 3"),
        ("result", "B(2) => 4"),
    )
    assert shown(*two) == "runs: A(1), B(2)\nA(1) => 3\nB(2) => 4\n"


def test_the_whole_input_as_one_message() -> None:
    text = "What is\n12 * 34?\n"
    turn = lines(run(*GREEDY, "--json", "--whole", stdin=text)[0])[-1]
    assert turn["human"] == text.rstrip("\n")
    assert run(*GREEDY, "--whole", stdin="")[0] == ""


def test_plugins_by_options(tmp_path: Path) -> None:
    def plugins_of(*options: Any) -> str:
        """What the meta instruction offers."""
        program = (
            "import sys, typer, mossrt.cli.chat.command as c\n"
            "c._hold = lambda setup, *rest: print(setup.open().info['plugins'])\n"
            "app = typer.Typer(); app.command()(c.run); app()\n"
        )
        done = subprocess.run(
            [COMMAND[0], "-c", program, str(TRAINED), *map(str, options)],
            capture_output=True, text=True, input="",
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "a.txt").write_text("Paris is the capital of France.", encoding="utf-8")
    tool = tmp_path / "tool.py"
    tool.write_text('def count(text):\n    "how long a text is"\n    return len(text)\n')
    assert plugins_of() == "['Calculate', 'Solve']"
    assert plugins_of("--no-plugins") == "[]"
    assert plugins_of("--no-plugins", "--plugin", "Solve") == "['Solve']"
    assert plugins_of("--search-folder", texts) == "['Calculate', 'Solve', 'Search']"
    assert plugins_of("--searxng", "http://localhost:1") == "['Calculate', 'Solve', 'Search']"
    assert plugins_of("--plugin", f"Count={tool}:count", "--no-plugins") == "['Count']"
    assert plugins_of("--plugin", "Calculate=math:sqrt") == "['Solve', 'Calculate']"
    assert plugins_of("--profile", "readme") == "[]"
    # Too little room is no reason to leave plugins out.
    assert "tokens" in run(*GREEDY, "--context", 150, stdin="Hello!", code=1)[1]
    # What fails is told in a line.
    tool.write_text("def fails(text):\n    raise OSError('no network')\n")
    out, err = run(*GREEDY, "--plugin", f"Calculate={tool}:fails", stdin="What is 12 * 34?")
    assert err == "note: Calculate('12*34') failed: OSError: no network\n"
    # One's own really runs, and beats the built-in one.
    tool.write_text("def answer(text):\n    return '9' + text[:1]\n")
    out, _ = run(
        *GREEDY, "--json", "--plugin", f"Calculate={tool}:answer", stdin="What is 12 * 34?"
    )
    assert lines(out)[-1]["commands"][0]["result"] == "Calculate(\"12*34\") => '91'"


def test_profiles_and_meta(tmp_path: Path) -> None:
    model = mossrt.Model.from_pretrained(TRAINED)
    meta = tmp_path / "meta.txt"
    meta.write_text("You are MOSS.\n", encoding="utf-8")
    own = tmp_path / "own.json"
    own.write_text(
        '{"base": "readme", "name": "terse", "meta": {"head": "Be brief.\\n", "switches": []}}'
    )
    options: dict[str, Any] = {"profile": "opencompass"}
    with Conversation(model, do_sample=False, **options) as talk:
        expected = talk.send("Hello!").answer
    out, err = run(*GREEDY, "--profile", "opencompass", stdin="Hello!")
    assert (out, err) == (expected + "\n", "")
    run(*GREEDY, "--profile", own, stdin="Hello!")
    assert "readme" in run(*GREEDY, "--profile", "readmee", stdin="Hello!", code=2)[1]
    assert "date" in run(*GREEDY, "--profile", "vortex", stdin="Hello!", code=2)[1]
    run(*GREEDY, "--profile", "vortex", "--date", "2023-04-21", stdin="Hello!")

    def prompt_tokens(*options: Any) -> int:
        found = lines(run(*GREEDY, "--json", *options, stdin="Hello!")[0])
        return int(found[-1]["stats"]["prompt_tokens"])

    none = tmp_path / "none.txt"
    none.write_text("")
    extra = len(model.tokenizer.encode("You are MOSS.\n"))
    assert prompt_tokens("--meta", meta) == prompt_tokens("--meta", none) + extra


def test_resume(tmp_path: Path) -> None:
    model = mossrt.Model.from_pretrained(TRAINED)
    saved = tmp_path / "talk.json"
    plugins = {"Calculate": calculate}
    with Conversation(model, plugins=plugins, do_sample=False) as talk:
        talk.send("What is 12 * 34?")
        talk.save(saved)
        expected = talk.send("Hello!").answer
    assert run(*GREEDY, "--resume", saved, stdin="Hello!")[0] == expected + "\n"
    assert "nowhere.json" in run(*GREEDY, "--resume", "nowhere.json", code=2)[1]
    assert "Calculate" in run(*GREEDY, "--no-plugins", "--resume", saved, stdin="Hi", code=2)[1]
    saved.write_text(saved.read_text().replace("408", "409"))
    assert "damaged" in run(*GREEDY, "--resume", saved, stdin="Hello!", code=2)[1]
    assert "turns" in run("chat", CODEGEN, "--resume", saved, stdin="Hello!", code=2)[1]


def test_other_models_continue() -> None:
    out, err = run("chat", CODEGEN, "--greedy", "-n", 3, "--json", stdin="hello\n\nagain\n")
    assert err == ""
    first, second = (one for one in lines(out) if one["event"] == "turn")
    model = mossrt.Model.from_pretrained(CODEGEN)
    expected = model.generate("hello", 3, False)
    assert [token["token"] for token in first["tokens"]] == expected.ids.tolist()
    ids = [*model.tokenizer.encode("hello"), *expected.ids, *model.tokenizer.encode("again")]
    again = model.generate(ids, 3, False)
    assert [token["token"] for token in second["tokens"]] == again.ids.tolist()
    assert (first["human"], first["ended"]) == ("hello", "length")
    assert "<eoh>" in run("chat", CODEGEN, "--plugin", "Solve", stdin="hello", code=2)[1]


def test_other_models_go_back_too() -> None:
    model = mossrt.Model.from_pretrained(CODEGEN)
    options: dict[str, Any] = {"do_sample": False, "max_new_tokens": 6}
    talk = Continuation(model, top_logprobs=3, **options)
    list(talk.stream("hello"))
    list(talk.stream("again"))
    tokens = talk.tokens
    events = list(talk.branch(2, tokens[2].top[1].token))
    prompt = [*model.tokenizer.encode("hello"), *model.generate("hello", **options).ids]
    prompt += model.tokenizer.encode("again").tolist()
    kept = [tokens[0].token, tokens[1].token, tokens[2].top[1].token]
    rest = model.generate([*prompt, *kept], **options).ids.tolist()
    assert [token.token for token in talk.tokens] == kept + rest
    assert talk.turn is not None
    assert "".join(event.text for event in events) == talk.turn.answer
    list(talk.again())
    assert talk.tokens == tokens  # greedy
    assert talk.undo()
    assert [turn["human"] for turn in talk.info["turns"]] == ["hello"]
    list(talk.stream("again"))
    assert talk.tokens == tokens
    cancelled = mossrt.Monitor()
    cancelled.cancel()
    before = talk.turn, talk.tokens, talk.info
    for events_of_none in (
        talk.again(monitor=cancelled),
        talk.again("other", monitor=cancelled),
        talk.branch(2, tokens[2].top[1].token, monitor=cancelled),
    ):
        list(events_of_none)
        assert (talk.turn, talk.tokens, talk.info) == before  # nothing new: the old turn stays
    list(talk.again("other"))
    assert [turn["human"] for turn in talk.info["turns"]] == ["hello", "other"]
    list(talk.again("again"))
    assert talk.tokens == tokens
    events_left = talk.stream("left")
    next(events_left)
    close(events_left)
    left = talk.turn
    assert left is not None
    assert (left.human, left.ended) == ("left", "cancelled")  # what came stays
    talk.close()


def test_a_full_context() -> None:
    out, err = run(*GREEDY, "--no-plugins", "--meta", os.devnull, "--context", 24, "--reserve", 1,
                   stdin="Hello!\n", code=1)  # fmt: skip
    assert "context" in err
    _, err = run(*GREEDY, "--context", 100, stdin="Hello!\n", code=1)
    assert "meta instruction" in err
    out, err = run("chat", CODEGEN, "--context", 12, "--greedy", stdin="hello hello\n", code=1)
    assert "context" in err
    assert out.strip()  # as far as it came


def test_what_is_at_hand_is_listed(tmp_path: Path) -> None:
    cache = tmp_path / "hub" / "models--owner--little" / "snapshots" / "abc"
    cache.parent.mkdir(parents=True)
    cache.symlink_to(MOSS)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "llama").symlink_to(LLAMA)
    (tmp_path / "own" / "some.mossrt").write_bytes(b"x")
    (tmp_path / "own" / "broken").mkdir()
    (tmp_path / "own" / "broken" / "config.json").write_text("{")
    environment = os.environ | {"HF_HOME": str(tmp_path), "MOSSRT_MODELS": str(tmp_path / "own")}
    environment.pop("HF_HUB_CACHE", None)
    environment.pop("HUGGINGFACE_HUB_CACHE", None)

    def listed(*options: Any, **more: str) -> list[list[str]]:
        done = subprocess.run(
            [*COMMAND, "chat", *map(str, options)], input="", capture_output=True, text=True,
            env=environment | more, cwd=ROOT,
        )  # fmt: skip
        assert (done.returncode, done.stdout) == (2, "")
        assert "no model was named" in done.stderr
        return [line.split() for line in done.stderr.splitlines() if line[:3].strip().isdigit()]

    found = listed()
    assert [one[1:3] for one in found] == [
        ["tiny-moss", "moss"],
        ["llama", "llama"],
        ["some.mossrt", "packed"],
        ["owner/little", "moss"],
    ]
    assert found[3][3] == str(cache)
    assert [one[1] for one in listed("--models", tmp_path / "hub")] == ["tiny-moss", "owner/little"]
    assert len(listed(HF_HOME="/nowhere")) == 3
    assert "nowhere" in run("chat", "--models", "nowhere", code=2)[1]


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["-o", "top_q=1"], 2, "top_q"),
        (["--meta", "nowhere.txt"], 2, "nowhere.txt"),
        (["--profile", "nowhere.json"], 2, "nowhere.json"),
        (["--plugin", "Frob"], 2, "NAME=MODULE:FUNCTION"),
        (["--plugin", "Frob=os:nothing"], 2, "nothing"),
        (["--plugin", "Frob=nowhere.py:f"], 2, "nowhere.py"),
        (["--plugin", "Frob=os:sep"], 2, "no function"),
        (["--plugin", "Solve", "--profile", "readme"], 2, "never runs"),
        (["--search-folder", "nowhere"], 2, "nowhere"),
        (["--search-folder", "docs", "--searxng", "http://localhost"], 2, "one of them"),
        (["--searxng", "ftp://x"], 2, "ftp"),
        (["--commands", "lax"], 2, "lax"),
        (["--on-full", "burst"], 2, "burst"),
    ],
)
def test_usage(options: list[str], code: int, text: str) -> None:
    out, err = run("chat", TRAINED, *options, stdin="Hello!", code=code)
    assert text in err
    assert out == ""


@pytest.mark.parametrize("option", ["--profile", "--resume"])
@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b'{"a": 1,\n oops}', ["line 2, column 2", "not JSON", "oops"]),
        (b"{", ["line 1, column 2", "not JSON", "the end of the text"]),
        (b"[1]", ["a JSON object", "[1]"]),
    ],
)
def test_files_of_json_are_named(
    tmp_path: Path, option: str, content: bytes, parts: list[str]
) -> None:
    file = tmp_path / "given.json"
    file.write_bytes(content)
    err = run("chat", TRAINED, option, file, stdin="Hello!", code=2)[1]
    for part in [str(file), "expect", "found", ";", *parts]:
        assert part in err
    assert "char " not in err


@pytest.mark.parametrize(
    ("content", "part"),
    [
        pytest.param('{"a": ' + "1" * 5000 + "}", "4300 digits", id="digits"),
        pytest.param("[" * 100_000, "recursion", id="brackets"),
    ],
)
def test_json_that_python_refuses_is_named(tmp_path: Path, content: str, part: str) -> None:
    file = tmp_path / "given.json"
    file.write_text(content)
    err = run("chat", TRAINED, "--profile", file, stdin="Hello!", code=2)[1]
    for text in [str(file), part, "docs/conversation.md"]:
        assert text in err


def test_input_that_is_no_utf8() -> None:
    assert "line 2 of the input is not UTF-8" in run(*GREEDY, stdin=b"Hello!\na\xff\n", code=2)[1]
    run("chat", "nowhere", stdin="Hello!", code=3)


def test_an_interrupt_ends_a_piped_conversation() -> None:
    with subprocess.Popen(
        [*COMMAND, "chat", str(TRAINED), "--json", "--backend", "reference", "--threads", "1",
         "-o", "min_new_tokens=200"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"Hello!\n")
        process.stdin.flush()
        assert process.stdout.readline()  # it has begun
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_line_editing_is_loaded_where_somebody_edits() -> None:
    program = (
        "import sys, mossrt, mossrt.chat, mossrt.cli.app\n"
        "print(any(name.startswith('prompt_toolkit') for name in sys.modules))\n"
    )
    done = subprocess.run([COMMAND[0], "-c", program], capture_output=True, text=True)
    assert done.stdout == "False\n", done.stderr
