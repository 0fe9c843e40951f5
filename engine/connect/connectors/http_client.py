"""What both HTTP connectors need: their common configs, one request at a time, and what an answer means."""

from __future__ import annotations

import asyncio
import base64
import random
import ssl
import threading
import time
from collections.abc import Mapping
from email.message import Message
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple
from urllib.parse import urljoin, urlsplit

from engine.connect.config_def import NO_DEFAULT, ConfigDef, ConfigType, Importance, Width, between
from engine.connect.connectors.extras import needs_extra
from engine.connect.errors import ConfigError, ConnectError

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses that another try may change."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_OF_ALL = frozenset({307, 308})
_MOST_REDIRECTS = 5
_MOST_WAIT_S = 3600.0


class Unreachable(ConnectError):
    """No answer: the connection failed or broke off, or the time was over."""


class Stopped(ConnectError):
    """:meth:`HttpClient.stop` was called while a request was under way."""


class Response(NamedTuple):
    """An answer. Names of headers are in lower case, of several with one name the values are joined by commas."""

    url: str
    status: int
    headers: Mapping[str, str]
    body: bytes

    def text(self) -> str:
        """The body in the charset that ``Content-Type`` names, else in UTF-8; bytes that do not fit are replaced."""
        kind = Message()
        kind["content-type"] = self.headers.get("content-type", "")
        charset = kind.get_content_charset("utf-8")
        try:
            return self.body.decode("utf-8-sig" if charset in ("utf-8", "utf8") else charset, "replace")
        except (LookupError, ValueError):
            return self.body.decode("utf-8-sig", "replace")

    def excerpt(self) -> str:
        """How the body begins, for a message."""
        text = self.body[:300].decode("utf-8", "replace").strip()
        return f": {text}" if text else ""


def _url(name: str, value: Any) -> None:
    try:
        parts = urlsplit(value)
        valid = parts.scheme in ("http", "https") and parts.hostname is not None and parts.port != 0
    except ValueError:
        valid = False
    if not valid:
        raise ConfigError(name, value, "Expected http://HOST[:PORT]/… or https://…")
    if parts.username is not None:
        raise ConfigError(
            name, value.replace(parts.netloc, "[hidden]"), "Credentials belong into auth.user and auth.password"
        )


def _headers(name: str, value: Any) -> None:
    read_headers(value)


def read_headers(text: str) -> dict[str, str]:
    """``Name: value | Name: value``.

    Raises:
        ConfigError: one has no name.
    """
    found: dict[str, str] = {}
    for each in text.split("|") if text.strip() else ():
        name, colon, value = each.partition(":")
        if not colon or not name.strip() or "\n" in each or "\r" in each:
            raise ConfigError("headers", each.strip(), "Expected Name: value | Name: value")
        found[name.strip()] = value.strip()
    return found


def common_configs() -> ConfigDef:
    """Of the source and the sink."""
    return (
        ConfigDef()
        .define(
            "url",
            ConfigType.STRING,
            NO_DEFAULT,
            Importance.HIGH,
            "http:// or https://, with what is asked for behind a question mark",
            validator=_url,
            group="HTTP",
            width=Width.LONG,
        )
        .define(
            "headers",
            ConfigType.STRING,
            "",
            Importance.MEDIUM,
            "Sent with each request: Name: value | Name: value. Not for secrets: see auth.header.value",
            validator=_headers,
            group="HTTP",
            width=Width.LONG,
        )
        .define(
            "request.timeout.ms",
            ConfigType.INT,
            30_000,
            Importance.LOW,
            "How long an answer may take, in all",
            validator=between(1),
            group="HTTP",
        )
        .define(
            "response.max.bytes",
            ConfigType.INT,
            64 << 20,
            Importance.LOW,
            "A larger answer is an error",
            validator=between(1),
            group="HTTP",
        )
        .define(
            "auth.header.name",
            ConfigType.STRING,
            "Authorization",
            Importance.MEDIUM,
            "The header that auth.header.value goes into",
            group="Authentication",
        )
        .define(
            "auth.header.value",
            ConfigType.PASSWORD,
            None,
            Importance.HIGH,
            "Such as Bearer ${env:TOKEN}. Sent to the host of url alone, wherever an answer may lead",
            group="Authentication",
        )
        .define("auth.user", ConfigType.STRING, None, Importance.MEDIUM, "Basic authentication", group="Authentication")
        .define(
            "auth.password",
            ConfigType.PASSWORD,
            None,
            Importance.MEDIUM,
            "The password of auth.user",
            group="Authentication",
        )
        .define(
            "tls.ca.file",
            ConfigType.STRING,
            None,
            Importance.MEDIUM,
            "Who signs the server's certificate (PEM); those that the system knows if not given",
            group="TLS",
        )
        .define(
            "tls.certificate.file",
            ConfigType.STRING,
            None,
            Importance.LOW,
            "Our certificate, with its key and chain (PEM)",
            group="TLS",
        )
        .define(
            "retries.max",
            ConfigType.INT,
            10,
            Importance.MEDIUM,
            "So many tries in a row may fail, by status 408, 425, 429, 500, 502, 503, 504 or without an answer, before "
            "the task fails; -1: any number",
            validator=between(-1),
            group="Retries",
        )
        .define(
            "retry.backoff.ms",
            ConfigType.INT,
            500,
            Importance.LOW,
            "The wait before the first retry; it doubles each time. An answer's Retry-After comes first",
            validator=between(1),
            group="Retries",
        )
        .define(
            "retry.backoff.max.ms",
            ConfigType.INT,
            60_000,
            Importance.LOW,
            "The longest wait, but for Retry-After",
            validator=between(1),
            group="Retries",
        )
    )


class Backoff:
    """How long to wait after failures in a row."""

    def __init__(self, configs: Mapping[str, Any]) -> None:
        self._first_s: float = configs["retry.backoff.ms"] / 1000
        self._most_s: float = configs["retry.backoff.max.ms"] / 1000
        self._most: int = configs["retries.max"]
        self.failures = 0

    def succeeded(self) -> None:
        """Begin anew."""
        self.failures = 0

    def failed(self, why: str, response: Response | None = None) -> float:
        """Seconds to wait now, which the answer may tell.

        Raises:
            ConnectError: these were too many.
        """
        self.failures += 1
        if 0 <= self._most < self.failures:
            raise ConnectError(f"{why}; {self.failures} tries in a row failed (retries.max={self._most})")
        told = None if response is None else retry_after_s(response)
        if told is not None:
            return min(told, _MOST_WAIT_S)
        wait_s = min(self._first_s * 2.0 ** min(self.failures - 1, 30), self._most_s)
        return wait_s * random.uniform(0.8, 1.0)


def retry_after_s(response: Response) -> float | None:
    """Retry-After in seconds (RFC 9110, section 10.2.3), or None."""
    text = response.headers.get("retry-after", "").strip()
    if text.isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def origin(url: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port of a URL."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


class HttpClient:
    """Sends requests one after the other; :meth:`stop` alone may be called by another thread."""

    def __init__(self, configs: Mapping[str, Any]) -> None:
        """From configs of :func:`common_configs`.

        Raises:
            ConfigError: they contradict each other, or a file is not what it should be.
            ConnectError: aiohttp is not installed.
        """
        with needs_extra("connect"):
            import aiohttp
        self._aiohttp = aiohttp
        self._url: str = configs["url"]
        self._headers = read_headers(configs["headers"])
        self._secret_headers = _authentication(configs)
        self._most_bytes: int = configs["response.max.bytes"]
        self._timeout_s: float = configs["request.timeout.ms"] / 1000
        self._tls = _tls(configs)
        self._loop = asyncio.new_event_loop()
        self._session: Any = None
        self._stopping = threading.Event()
        self._running: asyncio.Task[Response] | None = None

    def request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Response:
        """An answer, of whatever status.

        Raises:
            Unreachable: there was none.
            Stopped: by :meth:`stop`.
            ConnectError: it is too large, or leads on and on.
        """
        if self._stopping.is_set():
            raise Stopped("stopped")
        try:
            self._running = self._loop.create_task(self._request(method, url, headers, body))
            return self._loop.run_until_complete(self._running)
        except asyncio.CancelledError:
            raise Stopped("stopped") from None
        except TimeoutError as error:
            raise Unreachable(f"{method} {_shown(url)}: no answer within {self._timeout_s:g} s") from error
        except (self._aiohttp.ClientError, OSError) as error:
            raise Unreachable(f"{method} {_shown(url)}: {error or type(error).__name__}") from error
        finally:
            self._running = None

    async def _request(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Response:
        if self._session is None:
            connector = self._aiohttp.TCPConnector(ssl=self._tls)
            self._session = self._aiohttp.ClientSession(connector=connector, auto_decompress=True)
        async with asyncio.timeout(self._timeout_s):
            for _ in range(_MOST_REDIRECTS + 1):
                all_headers = {**self._headers, **headers}
                if origin(url) == origin(self._url):
                    all_headers.update(self._secret_headers)
                async with self._session.request(
                    method, url, headers=all_headers, data=body, allow_redirects=False
                ) as answer:
                    to = answer.headers.get("Location")
                    # Others than these make a GET of whatever it was: what a POST carried would be nowhere.
                    followed = _REDIRECTS if method == "GET" else _REDIRECTS_OF_ALL
                    if answer.status not in followed or to is None:
                        return Response(url, answer.status, _joined(answer.headers), await self._body(answer))
                    url = urljoin(url, to)
                    if urlsplit(url).scheme not in ("http", "https"):
                        raise ConnectError(f"{_shown(self._url)} redirects to {_shown(url)}, which is not HTTP")
        raise ConnectError(f"{_shown(self._url)} redirects more than {_MOST_REDIRECTS} times")

    async def _body(self, answer: Any) -> bytes:
        found = bytearray()
        async for piece in answer.content.iter_chunked(1 << 16):
            found += piece
            if len(found) > self._most_bytes:
                raise ConnectError(f"The answer of {_shown(str(answer.url))} is larger than response.max.bytes")
        return bytes(found)

    def wait(self, seconds: float) -> None:
        """Until then, or until :meth:`stop`."""
        self._stopping.wait(seconds)

    def stop(self) -> None:
        """End what is under way; nothing can be requested any more."""
        self._stopping.set()
        running = self._running
        if running is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(running.cancel)

    def close(self) -> None:
        """Let go of connections; by the thread that requested, or when it does so no more."""
        self._stopping.set()
        if not self._loop.is_closed() and not self._loop.is_running():
            if self._session is not None:
                self._loop.run_until_complete(self._session.close())
            self._loop.close()


def _joined(headers: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in headers.items():
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


def _shown(url: str) -> str:
    """Without what stands behind the question mark: tokens often do."""
    return url.partition("?")[0]


def _authentication(configs: Mapping[str, Any]) -> dict[str, str]:
    value, user, password = configs["auth.header.value"], configs["auth.user"], configs["auth.password"]
    if value is not None and user is not None:
        raise ConfigError("auth.user", user, "auth.header.value is given as well: one of them")
    if value is not None:
        if "\n" in value.value or "\r" in value.value:
            raise ConfigError("auth.header.value", "[hidden]", "It has a line break")
        return {configs["auth.header.name"]: value.value}
    if user is not None:
        pair = f"{user}:{'' if password is None else password.value}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    return {}


def _tls(configs: Mapping[str, Any]) -> ssl.SSLContext | bool:
    if origin(configs["url"])[0] != "https":
        return True
    try:
        context = ssl.create_default_context(cafile=configs["tls.ca.file"])
    except (OSError, ssl.SSLError) as error:
        raise ConfigError("tls.ca.file", configs["tls.ca.file"], str(error)) from error
    if configs["tls.certificate.file"]:
        try:
            context.load_cert_chain(configs["tls.certificate.file"])
        except (OSError, ssl.SSLError) as error:
            raise ConfigError("tls.certificate.file", configs["tls.certificate.file"], str(error)) from error
    return context


_MISSING: Any = object()


def pointed(document: Any, pointer: str) -> Any:
    """What a JSON pointer (RFC 6901) leads to.

    Raises:
        LookupError: nothing.
    """
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(document, dict):
            document = document.get(name, _MISSING)
            if document is _MISSING:
                raise LookupError(f"there is no {name!r}")
        elif isinstance(document, list) and name.isdigit() and int(name) < len(document):
            document = document[int(name)]
        else:
            raise LookupError(f"there is no {name!r}")
    return document


def json_pointer(name: str, value: Any) -> None:
    """A validator: whether a text is a JSON pointer."""
    if value and not value.startswith("/"):
        raise ConfigError(name, value, "A JSON pointer begins with a slash, such as /data/items")
