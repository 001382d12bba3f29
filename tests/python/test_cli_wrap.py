"""Text as a terminal shows it: breaks between words, widths, nothing that a terminal obeys."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mossrt.cli.chat.wrap import Wrapped

ESCAPE = re.compile(r"\x1b\[(\d*)([A-Za-z])")


def width(text: str) -> int:
    """By hand, for the characters of these tests."""
    return sum(2 if ord(char) >= 0x2E80 else 0 if char == "\u0301" else 1 for char in text)


def shown(output: str) -> list[str]:
    """The lines of a terminal that is wide enough, after the escapes that are used."""
    lines = [""]
    at = 0
    while at < len(output):
        if escape := ESCAPE.match(output, at):
            at = escape.end()
            if escape[2] == "D":
                gone = int(escape[1])
                while gone > 0:
                    gone -= width(lines[-1][-1])
                    lines[-1] = lines[-1][:-1]
                assert gone == 0, "the cursor would stand within a wide character"
            continue
        if output[at] == "\n":
            lines.append("")
        else:
            lines[-1] += output[at]
        at += 1
    return lines


def wrapped(pieces: list[str], columns: int, style: str = "") -> list[str]:
    stream = io.StringIO()
    writer = Wrapped(stream, columns)
    for piece in pieces:
        writer.write(piece, style)
    return [line.rstrip(" ") for line in shown(stream.getvalue())]


def test_words_move_whole() -> None:
    assert wrapped(["the quick brown fox"], 12) == ["the quick", "brown fox"]
    assert wrapped(list("the quick brown fox"), 12) == ["the quick", "brown fox"]
    assert wrapped(["the quick bro", "wn fox"], 12, "\x1b[2m") == ["the quick", "brown fox"]
    assert wrapped(["a" * 25], 11) == ["a" * 10, "a" * 10, "a" * 5]
    assert wrapped(["ab ", "c" * 12], 11) == ["ab", "c" * 10, "cc"]


def test_chinese_breaks_anywhere_but_at_punctuation() -> None:
    assert wrapped(["北京是中国的首都"], 9) == ["北京是中", "国的首都"]
    assert wrapped(["北京是中。国的首都"], 9) == ["北京是", "中。国的", "首都"]
    assert wrapped(["北京是（中国）"], 9) == ["北京是", "（中国）"]
    assert wrapped(["结果是Paris吗"], 10) == ["结果是", "Paris吗"]


def test_nothing_is_obeyed() -> None:
    stream = io.StringIO()
    writer = Wrapped(stream, 80)
    writer.write("a\x1b[2Jb\x07c\x9bd\u202ee\rf\tg\r\nh")
    assert stream.getvalue() == "a\ufffd[2Jb\ufffdc\ufffdd\ufffde\ufffdf    g\nh"


def test_lines_of_others() -> None:
    stream = io.StringIO()
    writer = Wrapped(stream, 11)
    writer.write("12345678")
    writer.moved()  # somebody pressed Enter
    writer.write("12345678")
    writer.fresh_line()
    writer.fresh_line()
    assert stream.getvalue() == "1234567812345678\n"


WORDS = st.text("abcdefgh", min_size=1, max_size=8)
PIECES = st.one_of(
    WORDS, st.sampled_from([" ", "字", "国", "。", "（", "\n", "e\u0301", "，", "OK", "1"])
)


@given(st.lists(PIECES, max_size=60), st.integers(12, 30))
def test_any_text_keeps_its_characters(pieces: list[str], columns: int) -> None:
    lines = wrapped(pieces, columns)
    text = "".join(pieces)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "").replace("\n", "")
    assert all(width(line) < columns for line in lines)
    # A word that fits into a line is never cut, but for brackets that must stay with it.
    text = text if "（（" not in text else ""
    words = [word for word in re.findall("[A-Za-z0-9\u0301]+", text) if width(word) < columns - 4]
    assert all(any(word in line for line in lines) for word in words)


@pytest.mark.parametrize("char", ["。", "，"])
def test_closing_punctuation_begins_no_line(char: str) -> None:
    for length in range(1, 40):
        lines = wrapped(["字" * length + char + "国" * 5], 21)
        assert not any(line.startswith(char) for line in lines)
