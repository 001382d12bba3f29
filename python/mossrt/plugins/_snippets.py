"""Text cut into pieces that a model can read."""

from __future__ import annotations

import re
import unicodedata

LONGEST = 400  # characters of a snippet, as MOSS was trained with

_ENDS = re.compile(r"(?<=[.!?])\s+|(?<=[。！？；])|\n\s*\n")


def tidy(text: str) -> str:
    """One line: runs of white space become one space, control characters and lone surrogates go."""
    kept = (
        " " if c.isspace() else c
        for c in text
        if c.isspace() or unicodedata.category(c) not in ("Cc", "Cs")
    )
    return re.sub(" +", " ", "".join(kept)).strip()


def shorten(text: str) -> str:
    """At most `LONGEST` characters, cut between words where there are some."""
    text = tidy(text)
    if len(text) <= LONGEST:
        return text
    cut = text[: LONGEST - 1]
    space = cut.rfind(" ")
    return (cut[:space] if space > LONGEST // 2 else cut).rstrip() + "…"


def passages(text: str) -> list[str]:
    """Whole sentences in pieces of at most `LONGEST` characters; a longer sentence is cut."""
    out: list[str] = []
    for sentence in map(tidy, _ENDS.split(text)):
        if out and len(out[-1]) + 1 + len(sentence) <= LONGEST:
            out[-1] = f"{out[-1]} {sentence}".strip()
        else:
            out += [sentence[i : i + LONGEST] for i in range(0, len(sentence), LONGEST)]
    return [passage for passage in out if passage]
