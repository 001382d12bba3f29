"""The command: results on stdout, all else on stderr, exit codes."""

from __future__ import annotations

import json
import os
import pty
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import mossrt
from conftest import LLAMA, MOSS, TRAINED

COMMAND = [sys.executable, "-m", "mossrt"]
QUESTION = "<|Human|>: Hello!<eoh>\n<|MOSS|>:"


def run(*arguments: Any, stdin: str | bytes = b"", code: int = 0) -> tuple[str, str]:
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=stdin.encode() if isinstance(stdin, str) else stdin,
        capture_output=True,
        timeout=120,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert done.returncode == code, (done.returncode, out, err)
    assert "Traceback" not in err
    if code != 0:
        assert err.strip()
    return out, err


def test_help_and_version() -> None:
    out, err = run("--help")
    for command in (
        "generate",
        "chat",
        "tokenize",
        "inspect",
        "convert",
        "bench",
        "evaluate",
        "doctor",
    ):
        assert command in out
        assert "--help" in run(command, "--help")[0]
    assert err == ""
    assert run("--version")[0].strip() == mossrt.version


def test_shell_completion() -> None:
    environment = os.environ | {
        "_MOSSRT_COMPLETE": "complete_bash",
        "COMP_WORDS": "mossrt gen",
        "COMP_CWORD": "1",
    }
    done = subprocess.run(COMMAND, env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["generate"], done.stderr


def test_the_installed_script_is_the_same() -> None:
    program = "import sys; from mossrt.cli import main; sys.argv = ['mossrt', '--version']; main()"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout.strip()) == (0, mossrt.version)


def test_generate_prints_the_text_alone() -> None:
    out, err = run("generate", TRAINED, QUESTION, "--parse-special", "--greedy", "--quiet")
    model = mossrt.Model.from_pretrained(TRAINED)
    assert out == model.generate(QUESTION, parse_special=True, do_sample=False).text + "\n"
    assert err == ""
    echoed, _ = run("generate", TRAINED, QUESTION, "--parse-special", "--greedy", "--echo")
    assert echoed == QUESTION + out
    _, err = run("generate", TRAINED, QUESTION, "--parse-special", "--greedy", "--stats")
    assert "per second" in err


def test_generate_from_stdin_and_files(tmp_path: Path) -> None:
    expected, _ = run("generate", TRAINED, QUESTION, "--parse-special", "--greedy")
    piped, _ = run("generate", TRAINED, "--parse-special", "--greedy", stdin=QUESTION + "\n")
    dashed, _ = run("generate", TRAINED, "-", "--parse-special", "--greedy", stdin=QUESTION)
    file = tmp_path / "prompt.txt"
    file.write_text(QUESTION + "\n", encoding="utf-8")
    read, _ = run("generate", TRAINED, "-f", file, "--parse-special", "--greedy")
    assert piped == dashed == read == expected


def test_generate_as_json() -> None:
    out, err = run(
        "generate", MOSS, "hello", "--json", "-q", "-n", 4, "--seed", 3, "--do-sample", "-o",
        "top_logprobs=2", "--stop", "zzz", "--temperature", 1.5, "--top-p", 0.9,
    )  # fmt: skip
    found = json.loads(out)
    assert err == ""
    options = {option["key"]: option for option in found["options"]}
    assert options["seed"] == {"key": "seed", "value": 3, "origin": "argument"}
    assert options["stop"]["value"] == ["zzz"]
    assert options["temperature"]["value"] == 1.5
    assert len(found["ids"]) == len(found["logprobs"]) == len(found["top_logprobs"]) == 4
    assert found["finish_reason"] == "length"
    assert found["stats"]["new_tokens"] == 4
    model = mossrt.Model.from_pretrained(MOSS)
    out_here = model.generate("hello", 4, True, 3, stop=["zzz"], temperature=1.5, top_p=0.9)
    assert found["ids"] == [int(i) for i in out_here.ids]


def test_models_without_tokenizer_take_and_give_ids() -> None:
    out, _ = run("generate", LLAMA, "14, 15 16", "--ids", "-n", 3, "--greedy")
    expected = mossrt.Model.from_pretrained(LLAMA).generate([14, 15, 16], 3, False)
    assert out.split() == [str(i) for i in expected.ids]


def test_tokenize_both_ways() -> None:
    text = "Hello 世界 <eom>\n"
    tokenizer = mossrt.Tokenizer.from_pretrained(TRAINED)
    out, err = run("tokenize", TRAINED, stdin=text)
    assert [int(word) for word in out.split()] == [int(i) for i in tokenizer.encode(text)]
    assert err == ""
    assert run("tokenize", TRAINED, "--decode", stdin=out)[0] == text
    assert run("tokenize", TRAINED, "--count", stdin=text)[0] == f"{len(out.split())}\n"
    special, _ = run("tokenize", TRAINED, text, "--parse-special")
    assert str(tokenizer.token_id("<eom>")) in special.split()
    found = json.loads(run("tokenize", TRAINED, text, "--json")[0])
    assert found["count"] == len(found["ids"]) == len(found["tokens"]) == len(out.split())
    assert len(run("tokenize", TRAINED, "Hello", "--show")[0].splitlines()) == len(
        tokenizer.encode("Hello")
    )
    assert json.loads(run("tokenize", TRAINED, "39", "--decode", "--json")[0]) == {"text": "H"}


def test_inspect() -> None:
    out, err = run("inspect", MOSS)
    assert err == ""
    for word in ("moss", "float16", "transformer.h.*.attn.qkv_proj.weight", "memory needed"):
        assert word in out
    assert "transformer.h.1.attn.qkv_proj.weight" in run("inspect", MOSS, "--tensors")[0]
    found = json.loads(run("inspect", MOSS, "--json", "--context", 100)[0])
    need = found["memory_needed"]
    assert need["kv_cache"] == 100 * found["memory"]["kv_per_token"]
    assert need["peak"] >= need["weights"] + need["embedding"] + need["kv_cache"]
    assert {"name", "dtype", "shape", "bytes", "use", "held"} == set(found["tensors"][0])


def test_doctor() -> None:
    out, _ = run("doctor", "--no-bandwidth")
    for word in ("instruction set", "threads", "cgroup quota", "huge pages", "not measured"):
        assert word in out
    found = json.loads(run("doctor", "--json")[0])
    assert found["bandwidth"] > 1e8
    assert found["isa"] in {table["name"] for table in found["kernel_tables"]}


def test_bench() -> None:
    out, _ = run("bench", MOSS, "-p", 32, "-n", 8, "-r", 2)
    assert "pp32" in out
    assert "tg8" in out
    assert out.startswith("| model")
    found = json.loads(run("bench", MOSS, "-p", 32, "-n", 8, "-r", 2, "--json")[0])
    assert [one["test"] for one in found] == ["pp32", "tg8"]
    for one in found:
        assert one["tokens_per_second"] > 0
        assert len(one["samples"]) == 2
    assert found[0]["bandwidth_share"] is None
    assert found[1]["bandwidth_share"] > 0
    assert "--prompt (-p) of at most" in run("bench", MOSS, "-p", 5000, code=2)[1]


def test_bench_takes_options_of_loading() -> None:
    def weight_bytes(*options: str) -> int:
        out = run("bench", MOSS, "-p", 2, "-n", 0, "-r", 1, "--json", *options)[0]
        return int(json.loads(out)[0]["weight_bytes"])

    held = weight_bytes("--dtype", "float32")
    assert weight_bytes("--dtype", "float32", "-o", "overrides=lm_head.*=float16") < held


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["frob"], 2, "frob"),
        (["generate"], 2, "MODEL"),
        (["generate", MOSS, "hi", "--temprature", "1"], 2, "temprature"),
        (["generate", MOSS, "hi", "--temperature", "x"], 2, "temperature"),
        (["generate", MOSS, "hi", "--top-p", "2"], 2, "top-p"),
        (["generate", MOSS, "hi", "-o", "temprature=1"], 2, 'did you mean "temperature"'),
        (["generate", MOSS, "hi", "-o", "temperature"], 2, "KEY=VALUE"),
        (["generate", MOSS, "hi", "--dtype", "int3"], 2, "int3"),
        (["generate", MOSS, "1 x", "--ids"], 2, "numbers"),
        (["generate", MOSS, "99999", "--ids"], 2, "99999"),
        (["generate", MOSS, "9" * 30, "--ids"], 2, "beyond 64 bits"),
        (["generate", MOSS, "", "--ids"], 2, "empty"),
        (["generate", MOSS, "hi", "-o", "min_new_tokens=300"], 2, "max_new_tokens, 256"),
        (["generate", MOSS, "-f", "tests"], 2, "tests: Is a directory; give a text file"),
        (["convert", "nowhere", "no/folder/x"], 1, "there is no folder no/folder"),
        (["generate", MOSS, ""], 2, "empty"),
        (["generate", MOSS, "-f", "nowhere.txt"], 2, "nowhere.txt"),
        (["generate", MOSS, "hi", "-f", "README.md"], 2, "not both"),
        (["generate", MOSS], 2, "empty"),  # nothing piped in
        (["tokenize", MOSS, "--decode", "1 2 abc"], 2, "numbers"),
        (["generate", "nowhere", "hi"], 3, "nowhere"),
        (["generate", "tests", "hi"], 3, "config.json"),
        (["inspect", "nowhere"], 3, "nowhere"),
        (["tokenize", LLAMA, "hi"], 3, "tokenizer"),
        (["generate", LLAMA, "hi"], 3, "tokenizer"),
        (["bench", "nowhere"], 3, "nowhere"),
        (["bench", MOSS, "-p", 0, "-n", 0], 2, "--prompt"),
        (["bench", MOSS, "-p", 0, "-n", 0, "--json"], 2, "--new"),
        (["inspect", TRAINED, "--context", 1025], 2, "1024 positions, found 1025"),
        (["inspect", TRAINED, "--context", 1025, "--json"], 2, "1024 positions, found 1025"),
        (["generate", TRAINED, "hi", "--context", 1025], 2, "1024 positions (0: all), found 1025"),
        (["generate", MOSS, "hi", "--backend", "cblas:/nowhere/lib.so"], 2, "/nowhere/lib.so"),
        (["bench", MOSS, "--backend", "cblas:/nowhere/lib.so"], 2, "install a CBLAS library"),
        (["bench", MOSS, "--backend", "cblas:"], 2, "behind the colon"),
        (["bench", MOSS, "-o", "mmap"], 2, "KEY=VALUE"),
        (["bench", MOSS, "-o", "mmap=true"], 2, "option mmap"),
        (["bench", MOSS, "-o", "huge_page=false"], 2, 'did you mean "huge_pages"'),
        (["bench", MOSS, "-o", "threads=2"], 2, "--threads"),
        (["evaluate", MOSS, "-f", "README.md", "-o", "dtype=int8"], 2, "--dtype"),
        (["convert", MOSS, "x.mossrt", "-o", "dtype=int8"], 2, "--dtype"),
    ],
)
def test_exit_codes(arguments: list[Any], code: int, text: str) -> None:
    out, err = run(*arguments, code=code)
    assert text in err
    assert out == ""


def test_damaged_models_and_too_little_memory(tmp_path: Path) -> None:
    damaged = tmp_path / "moss"
    shutil.copytree(MOSS, damaged, ignore=shutil.ignore_patterns("reference"))
    shard = damaged / "pytorch_model-00001-of-00002.bin"
    shard.write_bytes(shard.read_bytes()[:1000])
    assert "pytorch_model-00001" in run("generate", damaged, "hi", code=3)[1]
    program = (
        "import sys, mossrt.cli.common as c, mossrt\n"
        "@c.command\n"
        f"def load(): mossrt.Model.from_pretrained({str(MOSS)!r}, memory_limit=1000)\n"
        "import typer\n"
        "try: load()\n"
        "except typer.Exit as e: sys.exit(e.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 4
    assert "weights" in done.stderr


@pytest.mark.parametrize(
    ("file", "text", "parts"),
    [
        ("generation_config.json", '{"temperature": ', ["line 1, column 17", "a value", "the end"]),
        ("generation_config.json", "", ["line 1, column 1", "a value", "the end"]),
        ("generation_config.json", "[1]", ["a JSON object", "[1]"]),
        ("generation_config.json", '{"temperature": "hot"}', ["temperature", "a number", '"hot"']),
        ("generation_config.json", '{"temperature": -3}', ["temperature", "0 or more", "-3"]),
        ("generation_config.json", '{"do_sample": true, "temperature": 0}', ["above 0", "0"]),
        ("generation_config.json", '{"eos_token_id": "x"}', ["eos_token_id", "an integer", '"x"']),
        ("generation_config.json", '{"a": "\udcff"}', ["line 1, column 8", "UTF-8", "0xFF"]),
        ("config.json", '{"a": 1,\n "b": oops}', ["line 2, column 7", "a value", '"oops"']),
        ("quantize_config.json", "", ["line 1, column 1", "a value", "the end"]),
        ("quantize_config.json", '{"bits": "x"}', ['"bits"', "an integer", '"x"']),
        ("pytorch_model.bin.index.json", "{'a': 1}", ["line 1, column 2", "a key in", "'a'"]),
        ("vocab.json", '{"a": 0,}', ["line 1, column 9", "a key in", '"}"']),
        ("added_tokens.json", "nul", ["line 1, column 1", "a value", '"nul"']),
        ("tokenizer_config.json", "{}}", ["line 1, column 3", "nothing after", '"}"']),
        ("special_tokens_map.json", "[", ["line 1, column 2", "a value", "the end"]),
    ],
)
def test_a_broken_file_of_a_model_is_named(
    tmp_path: Path, file: str, text: str, parts: list[str]
) -> None:
    """Where it is, what was expected and found, what to do; and no word of a library's."""
    broken = tmp_path / "moss"
    shutil.copytree(MOSS, broken, ignore=shutil.ignore_patterns("reference"))
    (broken / file).write_bytes(text.encode(errors="surrogateescape"))
    err = run("generate", broken, "hi", "-n", 1, code=3)[1]
    for part in (str(broken / file), *parts, "found", "correct the file"):
        assert part in err
    assert "exception" not in err


def test_settings_that_do_not_fit_can_be_given_with_the_call(tmp_path: Path) -> None:
    broken = tmp_path / "moss"
    shutil.copytree(MOSS, broken, ignore=shutil.ignore_patterns("reference"))
    config = broken / "generation_config.json"
    config.write_text('{"temperature": "hot"}')
    assert run("generate", broken, "hi", "-n", 1, "--temperature", 0.5, "-q")[1] == ""
    told = run("generate", broken, "hi", "-n", 1, "--temperature", 0.5)[1]
    assert "generation will fail" not in told  # it does not
    assert f"note: generation will fail: {config}" in run("inspect", broken)[0]
    assert mossrt.Model.from_pretrained(broken).info["notes"][-1].startswith("generation will fail")


def test_settings_that_are_left_out_are_notes(tmp_path: Path) -> None:
    model = tmp_path / "moss"
    shutil.copytree(MOSS, model, ignore=shutil.ignore_patterns("reference"))
    (model / "generation_config.json").write_text('{"num_beams": 4, "eos_token_id": 99999999}')
    notes = mossrt.Model.from_pretrained(model).info["notes"]
    config = model / "generation_config.json"
    assert f"{config} (ignored): num_beams 4" in notes
    assert f"{config} (ignored): eos_token_id 99999999" in notes
    assert f"note: {config} (ignored): num_beams 4" in run("inspect", model)[0]


def test_notes_are_told_wherever_stderr_goes(tmp_path: Path) -> None:
    model = tmp_path / "moss"
    shutil.copytree(MOSS, model, ignore=shutil.ignore_patterns("reference"))
    config = json.loads((model / "config.json").read_text())
    config["torch_dtype"] = "float64"
    (model / "config.json").write_text(json.dumps(config))
    note = f'note: {model}/config.json: "torch_dtype" says "float64"'
    text = tmp_path / "text"
    text.write_text("hello world")
    for arguments in (
        ("generate", model, "hi", "-n", 1),
        ("chat", model, "-n", 1, "--no-plugins", "--profile", "opencompass"),
        ("convert", model, tmp_path / "out.mossrt"),
        ("bench", model, "-p", 2, "-n", 0, "-r", 1),
        ("evaluate", model, "--text", text, "--dtype", "float32,float16"),
    ):
        told = run(*arguments, stdin="hi\n")[1]
        assert told.count(note) == 1, told
        assert note not in run(*arguments, "--quiet", stdin="hi\n")[1]
    assert note in run("inspect", model)[0]


def test_messages_about_names_that_are_no_utf8(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/a\xff"
    os.mkdir(folder)
    done = subprocess.run([*map(os.fsencode, COMMAND), b"inspect", folder], capture_output=True)
    assert done.returncode == 3
    assert b"config.json is missing" in done.stderr


def test_input_that_is_no_utf8() -> None:
    assert "UTF-8" in run("generate", MOSS, stdin=b"a\xff", code=2)[1]
    done = subprocess.run([*map(os.fsencode, COMMAND), b"tokenize", os.fsencode(MOSS), b"a\xff"],
                          capture_output=True)  # fmt: skip
    assert done.returncode == 2


def test_output_is_utf8_whatever_the_locale() -> None:
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    ids = mossrt.Tokenizer.from_pretrained(TRAINED).encode("世界")
    done = subprocess.run(
        [*COMMAND, "tokenize", str(TRAINED), "--decode", " ".join(map(str, ids))],
        env=environment,
        capture_output=True,
    )
    assert done.stdout.decode() == "世界"


def test_a_reader_that_leaves() -> None:
    with subprocess.Popen(
        [*COMMAND, "generate", str(MOSS), "hello", "-n", "1000", "--do-sample", "-q",
         "-o", "min_new_tokens=1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.read(1)
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


def test_ctrl_c() -> None:
    with subprocess.Popen(
        [*COMMAND, "generate", str(TRAINED), "hello", "--backend", "reference", "--threads", "1",
         "-n", "1000", "-o", "min_new_tokens=1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.read(1)  # it has begun, and hundreds of slow tokens are to come
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert b"Traceback" not in err


class Terminal:
    """A program that believes that somebody sits there."""

    def __init__(self, *arguments: Any) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
            os.execve(sys.executable, [*COMMAND, *map(str, arguments)], environment)
        self.seen = ""
        self.ended = False

    def wait_for(self, text: str, seconds: float = 60) -> str:
        """All that came up to and with `text`, which is then forgotten."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            ready, _, _ = select.select([self.fd], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"no {text!r} in {self.seen!r}"
            try:
                data = os.read(self.fd, 4096)
            except OSError:  # the other side has closed
                data = b""
            assert data, f"no {text!r} in {self.seen!r}"
            self.seen += data.decode(errors="replace")
        found, _, self.seen = self.seen.partition(text)
        return found + text

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())

    def exit_code(self, seconds: float = 60) -> int:
        """Reads until the program ends; kills it if it does not."""
        end = time.monotonic() + seconds
        try:
            while (left := end - time.monotonic()) > 0:
                if select.select([self.fd], [], [], left)[0] and not os.read(self.fd, 4096):
                    break
            else:
                os.kill(self.pid, signal.SIGKILL)
        except OSError:  # the other side has closed
            pass
        os.close(self.fd)
        self.ended = True
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def terminal() -> Iterator[Callable[..., Terminal]]:
    """Starts programs and leaves none behind."""
    started: list[Terminal] = []

    def start(*arguments: Any) -> Terminal:
        started.append(Terminal(*arguments))
        return started[-1]

    yield start
    for one in started:
        if not one.ended:
            os.kill(one.pid, signal.SIGKILL)
            os.waitpid(one.pid, 0)


def test_progress_of_a_long_prompt_on_a_terminal(terminal: Callable[..., Terminal]) -> None:
    prompt = " ".join(str(i % 1400) for i in range(1000))
    shown = terminal("generate", TRAINED, prompt, "--ids", "--backend", "reference",
                        "--threads", "1")  # fmt: skip
    shown.wait_for("prefill")
    shown.type("\x03")
    assert shown.exit_code() == 130


def test_convert(tmp_path: Path) -> None:
    packed = tmp_path / "tiny.mossrt"
    out, err = run(
        "convert", TRAINED, packed, "--dtype", "int8", "-o", "overrides=lm_head.*=float16"
    )
    assert out == ""
    assert str(packed) in err
    assert [p.name for p in tmp_path.iterdir()] == ["tiny.mossrt"]
    found = json.loads(run("inspect", packed, "--json")[0])
    assert found["packed"]["made_from"] == TRAINED.name
    assert found["packed"]["dtype"] == "int8"
    assert found["packed"]["overrides"] == ["lm_head.*=float16"]
    held = {tensor["name"]: tensor["held"] for tensor in found["tensors"]}
    assert held["lm_head.weight"] == "float16"
    assert "packed from" in run("inspect", packed)[0]
    assert run("tokenize", packed, "Hello!") == run("tokenize", TRAINED, "Hello!")
    ask = ("-n", "8", "--greedy", QUESTION)
    run("convert", TRAINED, tmp_path / "plain", "--dtype", "int8")
    plain = run("generate", tmp_path / "plain", *ask)[0]
    assert plain == run("generate", TRAINED, *ask, "--dtype", "int8")[0]
    assert "dtype auto" in run("generate", packed, *ask, "--dtype", "float32", code=2)[1]
    assert "mossrt convert" in run("inspect", TRAINED / "config.json", code=3)[1]
    assert "none" in run("convert", TRAINED, tmp_path / "none" / "x.mossrt", code=1)[1]
    run("convert", packed, packed, "--dtype", "int4", code=2)
    precious = tmp_path / "precious"
    precious.write_text("text")
    run("convert", TRAINED, precious, code=2)
    assert precious.read_text() == "text"
    large = tmp_path / "large"
    shutil.copytree(TRAINED, large)
    (large / "meta_instruction.txt").write_text("x" * 70000)
    told = run("convert", large, tmp_path / "large.mossrt", code=3)[1]
    assert f"{large}/meta_instruction.txt: has 70000 bytes, more than the 65536" in told
    assert not (tmp_path / "large.mossrt").exists()
    damaged = bytearray(packed.read_bytes())
    damaged[-1] ^= 1
    packed.write_bytes(damaged)
    assert "checksum" in run("generate", packed, *ask, code=3)[1]
