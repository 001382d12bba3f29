"""Search in a folder of text files with SQLite's FTS5."""

from __future__ import annotations

import itertools
import logging
import os
import re
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from mossrt._options import string
from mossrt.errors import Code, Error, InvalidArgument
from mossrt.plugins._snippets import passages

_LOG = logging.getLogger("mossrt.plugins")
# Scripts that put no spaces between words: each character is a word of the index, and a query asks
# for pairs. FTS5's own trigram tokenizer would find no Chinese word of two characters.
_UNSPACED = "\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
_WORDS = re.compile(rf"[{_UNSPACED}]+|[^\W{_UNSPACED}]+")
_TABLES = """
CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, time INTEGER, size INTEGER);
CREATE VIRTUAL TABLE IF NOT EXISTS passages
    USING fts5(words, passage UNINDEXED, path UNINDEXED, tokenize = 'porter unicode61');
"""


def _is_unspaced(word: str) -> bool:
    return re.match(f"[{_UNSPACED}]", word) is not None


def _words(passage: str) -> str:
    """What the index holds of a passage."""
    return " ".join(
        " ".join(word) if _is_unspaced(word) else word for word in _WORDS.findall(passage)
    )


def _question(query: str) -> str:
    """FTS5's expression for a query: any of its words."""
    terms: list[str] = []
    for word in _WORDS.findall(query):
        if not _is_unspaced(word) or len(word) == 1:
            terms.append(f'"{word}"')
        else:
            terms += [f'"{a} {b}"' for a, b in itertools.pairwise(word)]
    return " OR ".join(dict.fromkeys(terms[:200]))


class FolderSearch:
    """Finds passages in the text files of a folder and those below it, Chinese ones too.

    folder: its files with one of the `suffixes` are read as UTF-8; hidden ones are not.
    index: a file that keeps the index for the next time; without it, it is made anew in memory.
    max_file_bytes: larger files are left out.
    `skipped` lists what was left out, and why; it is logged as well.
    Errors: FileNotFoundError, mossrt.Error (an SQLite without FTS5, an index of something else).

    >>> search = mossrt.plugins.FolderSearch("docs")
    >>> "bit" in search("Are logits equal for any number of threads?")[0]
    True
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        index: str | os.PathLike[str] | None = None,
        *,
        suffixes: tuple[str, ...] = (".txt", ".md", ".rst"),
        max_file_bytes: int = 10 << 20,
    ) -> None:
        self._folder = Path(folder)
        self._suffixes = tuple(suffix.lower() for suffix in suffixes)
        self._max_file_bytes = max_file_bytes
        self._lock = threading.Lock()  # searches of one turn run side by side
        self.skipped: list[tuple[str, str]] = []
        if not self._folder.is_dir():
            raise FileNotFoundError(f"{self._folder} is no folder")
        try:
            self._database = sqlite3.connect(
                ":memory:" if index is None else os.fspath(index), check_same_thread=False
            )
            self._database.executescript(_TABLES)
        except sqlite3.Error as error:
            raise Error(
                f"the search index {index or 'in memory'} cannot be used: {error}; it needs an "
                "SQLite with FTS5 and a file that is new or an index",
                Code.FORMAT,
            ) from None
        self.refresh()

    def __call__(self, query: str, limit: int = 3) -> list[str]:
        """The passages that fit a query best, of at most 400 characters each."""
        question = _question(string(query, "query"))
        if limit < 1:
            raise InvalidArgument(f"limit must be at least 1, found {limit}", Code.INVALID_ARGUMENT)
        if not question:
            return []
        with self._lock:
            rows = self._database.execute(
                "SELECT passage FROM passages WHERE passages MATCH ? ORDER BY rank, rowid LIMIT ?",
                (question, limit),
            )
            return [str(row[0]) for row in rows]

    def refresh(self) -> None:
        """Reads files that are new or have changed, and forgets those that are gone."""
        with self._lock, self._database as database:
            self.skipped = []
            known = {
                path: (time, size)
                for path, time, size in database.execute("SELECT path, time, size FROM files")
            }
            for path, file in self._files():
                state = file.stat()
                if known.pop(path, None) != (state.st_mtime_ns, state.st_size):
                    self._forget(path)
                    self._read(path, file, state)
            for path in known:
                self._forget(path)
        for path, reason in self.skipped:
            _LOG.warning("%s is not searched: %s", path, reason)

    def close(self) -> None:
        """Closes the index."""
        self._database.close()

    def _files(self) -> Iterator[tuple[str, Path]]:
        for folder, folders, names in os.walk(self._folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                file = Path(folder, name)
                if name.startswith(".") or file.suffix.lower() not in self._suffixes:
                    continue
                if file.is_file():  # no pipe, no dangling link
                    yield file.relative_to(self._folder).as_posix(), file

    def _forget(self, path: str) -> None:
        self._database.execute("DELETE FROM files WHERE path = ?", (path,))
        self._database.execute("DELETE FROM passages WHERE path = ?", (path,))

    def _read(self, path: str, file: Path, state: os.stat_result) -> None:
        if state.st_size > self._max_file_bytes:
            self.skipped.append((path, f"it is larger than {self._max_file_bytes} bytes"))
            return
        try:
            content = file.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            self.skipped.append((path, str(error)))
            return
        self._database.executemany(
            "INSERT INTO passages (words, passage, path) VALUES (?, ?, ?)",
            ((_words(passage), passage, path) for passage in passages(content)),
        )
        self._database.execute(
            "INSERT INTO files VALUES (?, ?, ?)", (path, state.st_mtime_ns, state.st_size)
        )
