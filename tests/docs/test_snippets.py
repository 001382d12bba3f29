"""Every block of the documentation is run or listed; those in Python run here, with the bundled model."""

import subprocess
import sys

import pytest
from blocks import LANGUAGES, NOT_RUN, OTHER, ROOT, fences, listed, pages, parse, to_run

MODEL = "examples/tiny-moss/model"  # relative to the repository, as a reader has it
PAGES = [page for page in pages() if to_run(page, "python")]

pytest.importorskip("mossrt", reason="the Python package is not installed")


@pytest.mark.parametrize("page", pages())
def test_every_block_is_of_a_language_that_is_run(page):
    for language, body in fences(page):
        assert language in LANGUAGES + OTHER, f"{page}: write the language as one of these: {body}"
    for _, language, number, body in listed(page):
        assert language != "sh" or (page, language, number) in NOT_RUN, (
            f"{page}: no test runs sh; list the block in blocks.py with a reason: {body}"
        )


def test_the_pages_and_the_list():
    assert {"README.md", "docs/guide-python.md", "examples/tiny-moss/README.md"} <= set(PAGES)
    known = {block[:3] for page in pages() for block in listed(page)}
    assert set(NOT_RUN) <= known, "blocks.py lists a block that is not there"
    assert all(NOT_RUN.values()), "each with a reason"
    text = "a\n```c\nx;\n```\n\n  ```python\n  y\n  ```\n```\nz\n```\n"
    assert parse(text) == [("c", "x;\n"), ("python", "  y\n"), ("", "z\n")]


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run(page, tmp_path):
    """Blocks of one page run one after another in one program, as a reader would type them."""
    program = "\n".join(to_run(page, "python"))
    assert MODEL in program or page == "docs/plugins.md", "the page shows no model"
    program = program.replace(MODEL, str(ROOT / MODEL))
    file = tmp_path / "program.py"
    file.write_text(program, encoding="utf-8")
    result = subprocess.run(
        [sys.executable, file],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip(), "the blocks of a page show something"


def test_conversation_of_the_quickstart():
    program = ROOT / "examples/python/talk.py"
    result = subprocess.run(
        [sys.executable, program], capture_output=True, text=True, timeout=300, check=False
    )
    assert result.returncode == 0, result.stderr
    assert "日本的首都是东京。" in result.stdout
    assert "Calculate(\"127*38\") => '4826'" in result.stdout
    assert "The result is 4826." in result.stdout
