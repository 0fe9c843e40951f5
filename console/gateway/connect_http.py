"""Kafka Connect's REST, asked of workers of any kind: kconsole's and Java's. Blocks; the console asks in threads.

What answers is what a file or a user said, so an answer is read as anybody's: bounded, and followed nowhere else.
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlencode, urlsplit

_MOST_BYTES = 32 << 20
_READ_S = 10.0
_DEFAULT_PORTS = {"http": 80, "https": 443}
NOBODY = "no Connect worker is known here: `kconsole connect run` starts one, or --connect-url names one"


class ConnectRefused(Exception):
    """A worker said no; ``status`` is HTTP's, the message the worker's."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class NoConnectWorker(Exception):
    """No worker answered; the message says which was asked, and why it did not."""


class ConnectPlace(NamedTuple):
    """Where workers of one group answer, and what a request has to carry there."""

    urls: Sequence[str] = ()
    token: str | None = None


def place_of(urls: str, token: str | None = None) -> ConnectPlace:
    """From what a user wrote: URLs with commas between them; a name and password in one go along as HTTP's Basic.

    Raises:
        ValueError: one is no http or https URL.
    """
    found = []
    for each in (one.strip() for one in urls.split(",") if one.strip()):
        parts = urlsplit(each)
        try:
            well = parts.scheme in _DEFAULT_PORTS and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            well = False
        if not well or parts.query or parts.fragment:
            raise ValueError(f"{_without_user(each)!r} is not http://host:port")
        found.append(each.rstrip("/"))
    return ConnectPlace(tuple(found), token)


class ConnectRest:
    """Asks one worker after the other until one answers; a connection for each question."""

    def __init__(self, place: ConnectPlace, timeout_s: float = 95.0) -> None:
        """``timeout_s``: for each worker, longer than the 90 s that a worker gives itself; what is merely read is
        waited for ten seconds at the most, since a worker that hangs may have others that do not."""
        self.place = place
        self._timeout_s = timeout_s

    def ask(
        self,
        method: str,
        path: Sequence[str],
        body: Any = None,
        query: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ) -> Any:
        """What a worker answers; None where that is nothing.

        Args:
            path: its parts, as they are: names of connectors may hold what parts a path.

        Raises:
            ConnectRefused: a worker answered with an error.
            NoConnectWorker: none answered.
        """
        if not self.place.urls:
            raise NoConnectWorker(NOBODY)
        target = "/" + "/".join(quote(each, safe="") for each in path)
        if query:
            target += f"?{urlencode(query)}"
        problems = []
        for url in self.place.urls:
            try:
                return self._ask_one(url, method, target, body)
            except (OSError, http.client.HTTPException) as error:
                problems.append(f"{_without_user(url)} does not answer: {_words(error)}")
        raise NoConnectWorker("; ".join(problems))

    def _ask_one(self, url: str, method: str, target: str, body: Any) -> Any:
        parts = urlsplit(url)
        assert parts.hostname is not None, url
        port = parts.port or _DEFAULT_PORTS[parts.scheme]
        connection: http.client.HTTPConnection
        timeout_s = min(self._timeout_s, _READ_S) if method == "GET" else self._timeout_s
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection = http.client.HTTPSConnection(parts.hostname, port, timeout=timeout_s, context=context)
        else:
            connection = http.client.HTTPConnection(parts.hostname, port, timeout=timeout_s)
        headers = {"Accept": "application/json", **self._credentials(parts.username, parts.password)}
        data = None if body is None else json.dumps(body).encode()
        if data is not None:
            headers["Content-Type"] = "application/json"
        try:
            connection.request(method, parts.path.rstrip("/") + target, data, headers)
            response = connection.getresponse()
            text = response.read(_MOST_BYTES + 1)
        finally:
            connection.close()
        if len(text) > _MOST_BYTES:
            raise NoConnectWorker(f"{_without_user(url)} answers more than {_MOST_BYTES >> 20} MiB")
        if 300 <= response.status < 400:
            raise NoConnectWorker(f"{_without_user(url)} sends elsewhere ({response.status}): name the worker itself")
        return _read(response.status, text, _without_user(url))

    def _credentials(self, user: str | None, password: str | None) -> dict[str, str]:
        if user is not None or password is not None:
            both = f"{unquote(user or '')}:{unquote(password or '')}"
            return {"Authorization": "Basic " + base64.b64encode(both.encode()).decode()}
        return {} if self.place.token is None else {"Authorization": f"Bearer {self.place.token}"}


def _read(status: int, text: bytes, where: str) -> Any:
    try:
        document = json.loads(text) if text.strip() else None
    except ValueError:
        raise NoConnectWorker(f"{where} is no Connect worker: it answers {status} and no JSON") from None
    if status < 400:
        return document
    told = document if isinstance(document, dict) else {}
    message = str(told.get("message") or f"it answers {status}")
    if status in (401, 403):
        message = f"{where} does not let this in: {message}"
    raise ConnectRefused(status, message)


def _without_user(url: str) -> str:
    scheme, slashes, rest = url.partition("://")
    return f"{scheme}{slashes}{rest.rpartition('@')[2]}" if slashes else url.rpartition("@")[2]


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "not in time"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
