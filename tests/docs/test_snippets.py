"""The Python blocks of the README and the guide run against the bundled model."""

import pathlib
import re
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
MODEL = "examples/tiny-moss/model"  # relative to the repository, as a reader has it
PAGES = ("README.md", "docs/guide-python.md", "docs/conversation.md", "docs/plugins.md")

pytest.importorskip("mossrt", reason="the Python package is not installed")


def blocks(page):
    return re.findall(
        r"^```python\n(.*?)^```",
        (ROOT / page).read_text(encoding="utf-8"),
        re.MULTILINE | re.DOTALL,
    )


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run(page, tmp_path):
    """Blocks of one page run one after another in one program, as a reader would type them."""
    found = blocks(page)
    assert found, f"{page} has no Python block"
    program = "\n".join(found)
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
