"""Search by a service that answers as SearXNG does."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import urllib.parse
from typing import Any

from mossrt._options import string
from mossrt.errors import Code, Error, InvalidArgument, SystemRefused
from mossrt.plugins._arguments import positive
from mossrt.plugins._snippets import shorten


class SearxngSearch:
    """Asks a search service for `<address>/search?q=...&format=json`.

    address: for example "http://localhost:8080". Redirections are not followed.
    timeout: seconds for the whole answer.
    max_bytes: a longer answer is an error.
    language: such as "zh"; without it the service decides.
    Errors: ValueError (the address), OSError (no answer, or not in time), mossrt.Error with
    `Code.FORMAT` (an answer of another form).
    """

    def __init__(
        self,
        address: str,
        *,
        timeout: float = 10.0,
        max_bytes: int = 1 << 20,
        language: str | None = None,
    ) -> None:
        parts = urllib.parse.urlsplit(string(address, "address"))
        try:
            port = parts.port
        except ValueError:
            port = 0
        if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
            raise InvalidArgument(
                f"address must be like http://localhost:8080, found {address!r}",
                Code.INVALID_ARGUMENT,
            )
        self.address = address
        self._https = parts.scheme == "https"
        self._host, self._port = parts.hostname, port
        self._path = parts.path.rstrip("/") + "/search"
        self._timeout = positive(timeout, "timeout")
        self._max_bytes = max_bytes
        self._language = language

    def __call__(self, query: str, limit: int = 3) -> list[str]:
        """Snippets of at most 400 characters each; a direct answer comes first."""
        fields = {"q": string(query, "query"), "format": "json"}
        if self._language is not None:
            fields["language"] = self._language
        body = self._fetch(f"{self._path}?{urllib.parse.urlencode(fields)}")
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            raise self._unfit("is not JSON") from None
        if not isinstance(found, dict) or not isinstance(found.get("results"), list):
            raise self._unfit('has no list "results"')
        return [s for s in map(shorten, _texts(found)) if s][:limit]

    def _unfit(self, what: str) -> Error:
        return Error(f"the answer of {self.address} {what}; is it a SearXNG?", Code.FORMAT)

    def _fetch(self, target: str) -> bytes:
        """The body, read on a thread of its own: names that do not resolve and bytes that trickle in
        would outlast any time limit of a socket."""
        kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
        connection = kind(self._host, self._port, timeout=self._timeout)
        outcome: list[bytes | Exception] = []

        def work() -> None:
            try:
                outcome.append(self._exchange(connection, target))
            except Exception as error:
                outcome.append(error)

        thread = threading.Thread(target=work, name="mossrt-search", daemon=True)
        thread.start()
        thread.join(self._timeout)
        late = thread.is_alive()
        if late and connection.sock is not None:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)  # ends the thread
        if late or not outcome or isinstance(outcome[0], TimeoutError):
            raise SystemRefused(
                f"{self.address} gave no answer within {self._timeout:g} seconds", Code.IO
            )
        if isinstance(outcome[0], Error):
            raise outcome[0]
        if isinstance(outcome[0], Exception):
            raise SystemRefused(f"{self.address} cannot be asked: {outcome[0]!r}", Code.IO)
        return outcome[0]

    def _exchange(self, connection: http.client.HTTPConnection, target: str) -> bytes:
        with contextlib.closing(connection):
            headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
            connection.request("GET", target, headers=headers)
            response = connection.getresponse()
            if response.status == 403:
                raise self._unfit('is 403: "json" must be among search.formats in its settings.yml')
            if response.status != 200:
                raise self._unfit(f"has the status {response.status}")
            body = response.read(self._max_bytes + 1)
        if len(body) > self._max_bytes:
            raise self._unfit(f"is longer than {self._max_bytes} bytes")
        if response.length:  # what Content-Length promised and read() did not get
            raise ConnectionError(f"{response.length} bytes of the answer are missing")
        return body


def _texts(found: dict[str, Any]) -> list[str]:
    """What the answer says, and nothing that is no text."""
    out: list[str] = []
    answers = found.get("answers")
    for answer in answers if isinstance(answers, list) else []:
        if isinstance(answer, dict):
            answer = answer.get("answer")
        if isinstance(answer, str):
            out.append(answer)
    for result in found["results"]:
        if isinstance(result, dict):
            content, title = result.get("content"), result.get("title")
            out += [t for t in (content, title) if isinstance(t, str) and t.strip()][:1]
    return out
