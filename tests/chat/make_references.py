"""Writes tests/data/chat/repr.json: how Python quotes texts. Run with CPython 3.11 or newer."""

import json
import pathlib
import sys
import unicodedata

TEXTS = [
    "",
    "0.3",
    "it's",
    'say "hi"',
    'it\'s "both"',
    "back\\slash",
    "tab\tnewline\nreturn\rbell\x07null\x00delete\x7f",
    "中文，标点。",
    "é ß Ω ж",
    "\x80\x9f\xa0\xad\xff",
    "zero\u200bwidth\u2028line\u3000wide",
    "\ue000\uffff\ufffd\ufeff",
    "😀\U0001f468\u200d\U0001f469",
    "\U000e0001\U0010ffff",
    "' \\' \"",
]


def ranges(wanted):
    """[first, last] of each run of code points."""
    found = []
    for code in range(sys.maxunicode + 1):
        if 0xD800 <= code < 0xE000 or not wanted(chr(code)):
            continue
        if found and found[-1][1] == code - 1:
            found[-1][1] = code
        else:
            found.append([code, code])
    return found


def assigned(char):
    return unicodedata.category(char) != "Cn"


def main():
    data = {
        "unicode": unicodedata.unidata_version,
        "cases": [[text, repr(text)] for text in TEXTS],
        "printable": ranges(lambda c: c.isprintable()),
        "unprintable": ranges(lambda c: assigned(c) and not c.isprintable()),
    }
    path = pathlib.Path(__file__).parents[1] / "data" / "chat" / "repr.json"
    path.write_text(json.dumps(data, separators=(",", ":")) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
