"""The fenced code blocks of the documentation. Each is run, or is listed here with a reason.

Python: test_snippets.py runs the blocks of a page as one program. C and C++: the consumers
(tests/consumers/consume.py) build each block as its users would and run it.
"""

import pathlib
import re

ROOT = pathlib.Path(__file__).resolve().parents[2]
LANGUAGES = ("python", "c", "cpp", "sh")
# Fences of what is no program.
OTHER = ("", "text", "cmake")
# Pages whose C++ needs the runtime's own headers (find_package's component "static").
RUNTIME_PAGES = ("docs/checkpoints.md",)
# (page, language, number on the page from 0) -> why nobody runs it.
NOT_RUN: dict[tuple[str, str, int], str] = {}


def pages() -> list[str]:
    """Relative to the repository."""
    found = [ROOT / "README.md", ROOT / "src/README.md"]
    found += [*ROOT.glob("docs/*.md"), *ROOT.glob("examples/**/README.md")]
    return sorted(str(page.relative_to(ROOT)) for page in found)


def fences(page: str) -> list[tuple[str, str]]:
    """(language, body) of every block."""
    text = (ROOT / page).read_text(encoding="utf-8")
    return parse(text)


def parse(text: str) -> list[tuple[str, str]]:
    return re.findall(r"^ *```([^\n`]*)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)


def listed(page: str) -> list[tuple[str, str, int, str]]:
    """(page, language, number, body) of the blocks in a language of LANGUAGES."""
    seen = dict.fromkeys(LANGUAGES, 0)
    found = []
    for language, body in fences(page):
        if language in seen:
            found.append((page, language, seen[language], body))
            seen[language] += 1
    return found


def to_run(page: str, language: str) -> list[str]:
    """Bodies in the page's order."""
    return [
        body
        for _, found, number, body in listed(page)
        if found == language and (page, language, number) not in NOT_RUN
    ]
