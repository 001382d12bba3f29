"""Searches: a folder of texts, and a service on loopback that answers well, ill or not at all."""

from __future__ import annotations

import http.server
import json
import os
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mossrt
from mossrt.plugins import FolderSearch, SearxngSearch
from mossrt.plugins._snippets import LONGEST, passages, shorten

TEXTS = {
    "cities.txt": "Paris is the capital of France.\n\nTokyo is the capital of Japan. It is large.",
    "中文/城市.md": "北京是中国的首都。上海是中国最大的城市。\n\n长城有两万多公里长。",
    "long.rst": "word " * 500 + "needle. " + "字" * 1000,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in TEXTS.items():
        file = tmp_path / "texts" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    return tmp_path / "texts"


def test_words_and_chinese_are_found(folder: Path) -> None:
    search = FolderSearch(folder)
    assert search("capital France")[0].startswith("Paris is the capital of France.")
    assert "Tokyo" in search("What is Tokyo?", limit=1)[0]
    assert "Paris" in search("capitals")[0], "words are found in other forms"
    assert search("首都")[0].startswith("北京是中国的首都。")
    assert "长城" in search("长城有多长", limit=1)[0]
    assert "needle" in search("needle")[0]
    assert search("xylophone") == []
    assert search("  ?!  ") == []
    assert all(len(s) <= LONGEST for s in search("word 字 capital", limit=50))
    assert search.skipped == []


def test_signs_of_the_query_language_are_words(folder: Path) -> None:
    search = FolderSearch(folder)
    for query in (
        '"',
        "a AND",
        "NEAR(",
        "words:Paris",
        "*",
        "^Paris",
        "-x OR",
        "'; DROP TABLE files",
    ):
        search(query)
    assert search('"Paris" NOT (')[0].startswith("Paris")


@settings(max_examples=300)
@given(st.text(max_size=1500))
def test_passages_hold_all_text(text: str) -> None:
    pieces = passages(text)
    assert all(0 < len(piece) <= LONGEST for piece in pieces)
    kept = "".join(shorten(c) for c in text)
    assert "".join("".join(pieces).split()) == kept
    assert len(shorten(text)) <= LONGEST


@settings(max_examples=200)
@given(st.text(max_size=60))
def test_any_query_is_answered(query: str) -> None:
    search = any_search()
    assert all(isinstance(s, str) for s in search(query))


def any_search(cache: list[FolderSearch] = []) -> FolderSearch:  # noqa: B006
    if not cache:
        cache.append(FolderSearch("docs"))
    return cache[0]


def test_the_index_follows_the_files(folder: Path, tmp_path: Path) -> None:
    index = tmp_path / "index.sqlite"
    FolderSearch(folder, index).close()
    (folder / "cities.txt").unlink()
    (folder / "new.txt").write_text("Rome is the capital of Italy.")
    search = FolderSearch(folder, index)
    assert search("Paris") == []
    assert search("Rome") == ["Rome is the capital of Italy."]
    (folder / "new.txt").write_text("Rome is old.")
    search.refresh()
    assert search("Rome") == ["Rome is old."]
    assert len(search("北京")) == 1


def test_what_cannot_be_read_is_said(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "bad.txt").write_bytes(b"\xff\xfe\x00")
    (folder / "huge.txt").write_text("x" * 2000)
    (folder / ".hidden.txt").write_text("secret")
    (folder / "other.bin").write_text("secret")
    os.mkfifo(folder / "pipe.txt")
    search = FolderSearch(folder, max_file_bytes=1000)
    assert [path for path, _ in search.skipped] == ["bad.txt", "huge.txt", "long.rst"] or [
        path for path, _ in search.skipped
    ] == ["bad.txt", "huge.txt", "long.rst", "中文/城市.md"]
    assert "huge.txt is not searched: it is larger than 1000 bytes" in caplog.text
    assert search("secret") == []
    with pytest.raises(FileNotFoundError, match="is no folder"):
        FolderSearch(folder / "none")
    with pytest.raises(mossrt.Error, match="cannot be used"):
        FolderSearch(folder, folder / "bad.txt")
    with pytest.raises(ValueError, match="limit must be at least 1"):
        search("x", limit=0)
    with pytest.raises(TypeError, match="query must be str"):
        search(3)  # type: ignore[arg-type]


def test_searches_run_side_by_side(folder: Path) -> None:
    search = FolderSearch(folder)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(search, ["Paris", "Tokyo", "首都", "长城"] * 20))
    assert found == [search(query) for query in ["Paris", "Tokyo", "首都", "长城"]] * 20


Respond = Callable[[http.server.BaseHTTPRequestHandler], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Respond], str]]:
    """Starts a server on loopback and gives its address."""
    servers = []

    def start(respond: Respond) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                respond(self)

            def log_message(self, format: str, *args: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def body(content: bytes, status: int = 200) -> Respond:
    def respond(request: http.server.BaseHTTPRequestHandler) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    return respond


def test_snippets_of_a_service(serve: Callable[[Respond], str]) -> None:
    asked = []

    def respond(request: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        found = {
            "answers": ["42", {"answer": "forty-two"}, 7],
            "results": [
                {"title": "t", "content": "a \n b\t\u0000c"},
                {"title": "only a title", "content": ""},
                {"title": None, "content": 3},
                "no result",
                {"content": "长" * 1000},
                {"content": "\ud800lone"},
            ],
        }
        body(json.dumps(found).encode())(request)

    search = SearxngSearch(serve(respond) + "/base/", language="zh")
    found = search("首都 & more?", limit=20)
    assert found[:4] == ["42", "forty-two", "a b c", "only a title"]
    assert found[4] == "长" * (LONGEST - 1) + "…"
    assert found[5:] == ["lone"]
    assert search("x", limit=1) == ["42"]
    path, _, query = asked[0].partition("?")
    assert path == "/base/search"
    assert urllib.parse.parse_qs(query) == {
        "q": ["首都 & more?"],
        "format": ["json"],
        "language": ["zh"],
    }


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (body(b"<html>"), "is not JSON"),
        (body(b"\xff\xfe"), "is not JSON"),
        (body(b"[" * 100000), "is not JSON"),
        (body(b"[]"), 'no list "results"'),
        (body(b'{"results": 3}'), 'no list "results"'),
        (body(b"", 403), "search.formats"),
        (body(b"", 500), "status 500"),
        (body(b'{"results": []}' + b" " * 5000), "longer than 1000 bytes"),
    ],
)
def test_unfit_answers(serve: Callable[[Respond], str], answer: Respond, words: str) -> None:
    search = SearxngSearch(serve(answer), max_bytes=1000 if "1000" in words else 1 << 20)
    with pytest.raises(mossrt.Error, match=words) as caught:
        search("x")
    assert caught.value.code == mossrt.Code.FORMAT


def test_redirections_are_not_followed(serve: Callable[[Respond], str]) -> None:
    asked = []

    def respond(request: http.server.BaseHTTPRequestHandler) -> None:
        asked.append(request.path)
        request.send_response(302)
        request.send_header("Location", "/elsewhere")
        request.end_headers()

    with pytest.raises(mossrt.Error, match="status 302"):
        SearxngSearch(serve(respond))("x")
    assert len(asked) == 1


def silent(request: http.server.BaseHTTPRequestHandler) -> None:
    time.sleep(20)


def trickle(request: http.server.BaseHTTPRequestHandler) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b" " * 100000:
        request.wfile.write(bytes([byte]))
        request.wfile.flush()
        time.sleep(0.1)


def endless(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b" " * 65536)


def closing(request: http.server.BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.send_header("Content-Length", "1000")
    request.end_headers()
    request.wfile.write(b"{")


@pytest.mark.parametrize("answer", [silent, trickle])
def test_slow_services_end_in_time(serve: Callable[[Respond], str], answer: Respond) -> None:
    search = SearxngSearch(serve(answer), timeout=0.5)
    start = time.monotonic()
    with pytest.raises(mossrt.SystemRefused, match=r"no answer within 0\.5 seconds"):
        search("x")
    assert time.monotonic() - start < 10


def test_endless_and_broken_services(serve: Callable[[Respond], str]) -> None:
    with pytest.raises(mossrt.Error, match="longer than"):
        SearxngSearch(serve(endless))("x")
    with pytest.raises(mossrt.SystemRefused, match="999 bytes of the answer are missing"):
        SearxngSearch(serve(closing))("x")
    with pytest.raises(mossrt.SystemRefused, match="cannot be asked"):
        SearxngSearch("http://127.0.0.1:9")("x")


@pytest.mark.parametrize(
    "address", ["localhost:8080", "file:///etc", "http://", "http://x:99999", ""]
)
def test_addresses(address: str) -> None:
    with pytest.raises(ValueError, match="address must be like"):
        SearxngSearch(address)
