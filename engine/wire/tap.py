"""Requests and their answers as they pass, the last ones of a bounded number of bytes. Pure: the time is told.

A tap is there only while somebody looks: who makes one puts it where the requests pass, and takes it away again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from engine.model.errors import ErrorCode
from engine.wire import apis, codec
from engine.wire.message import Message
from engine.wire.redaction import holds_secrets, redacted

KEPT_BYTES = 4 << 20
# Of a longer message so many bytes are kept: it can still be seen who asked, no longer what.
_MOST_BYTES = 256 << 10
# An exchange itself costs about so much, whatever is in it.
_OVERHEAD_BYTES = 400


class Asker(NamedTuple):
    """Who asks: the connection's number, its other end, the listener that it came by (of a client: empty)."""

    connection: int
    peer: str
    listener: str
    client_id: str


class Exchange:
    """One request with its answer. Times are monotonic nanoseconds, 0 where something has not happened."""

    __slots__ = (
        "answered_ns",
        "api_key",
        "arrived_ns",
        "asker",
        "at_ms",
        "began_ns",
        "correlation_id",
        "note",
        "number",
        "request",
        "request_bytes",
        "response",
        "response_bytes",
        "sent_ns",
        "version",
    )

    def __init__(self, asker: Asker, api_key: int, version: int, correlation_id: int, at_ms: int) -> None:
        self.number = 0
        self.asker = asker
        self.api_key = api_key
        self.version = version
        self.correlation_id = correlation_id
        self.at_ms = at_ms
        self.arrived_ns = self.began_ns = self.answered_ns = self.sent_ns = 0
        self.request_bytes = 0
        self.response_bytes: int | None = None
        # Header and body, without what must not be kept; empty of what was too long.
        self.request = b""
        self.response = b""
        self.note = ""

    @property
    def kept_bytes(self) -> int:
        """What it costs to keep it."""
        return _OVERHEAD_BYTES + len(self.request) + len(self.response)


class Tap:
    """The ring. Exchanges are numbered, from 1 on, in the order in which they were over."""

    def __init__(self, kept_bytes: int = KEPT_BYTES) -> None:
        self._limit = kept_bytes
        self._ring: deque[Exchange] = deque()
        self._bytes = 0
        self.last_number = 0
        # Requests that were too many at a time to be kept.
        self.passed_over = 0
        # By connection: answers that wait for the socket.
        self._unsent: dict[int, list[Exchange]] = {}

    @property
    def bytes_kept(self) -> int:
        """What all of it costs."""
        return self._bytes

    # -- as requests pass -----------------------------------------------------------------------------------------

    def asked(self, exchange: Exchange, frame: memoryview | bytes, body_at: int, request: Message) -> None:
        """The request was read: ``frame`` is header and body, which begins at ``body_at``."""
        exchange.request_bytes = len(frame)
        if holds_secrets(type(request)):
            exchange.request = self._kept(
                [frame[:body_at], codec.encode(redacted(request), exchange.version)], exchange
            )
        else:
            exchange.request = self._kept([frame], exchange)

    def answered(
        self, exchange: Exchange, response: Message | None, parts: Sequence[Any], size: int, at_ns: int
    ) -> None:
        """The answer is made, ``size`` bytes; ``parts`` are its body. Without ``response`` it was bytes from the
        beginning, and holds no secret."""
        exchange.answered_ns = at_ns
        exchange.response_bytes = size
        if response is not None and holds_secrets(type(response)):
            exchange.response = self._kept(codec.encode_parts(redacted(response), exchange.version), exchange)
        else:
            exchange.response = self._kept(parts, exchange)

    def queued(self, exchange: Exchange) -> None:
        """Its answer's turn has come, and goes to the socket as far as that takes it."""
        self._unsent.setdefault(exchange.asker.connection, []).append(exchange)

    def drained(self, connection: int, at_ns: int) -> None:
        """The socket has taken all that was queued for it."""
        for each in self._unsent.pop(connection, ()):
            self.over(each, at_ns)

    def over(self, exchange: Exchange, at_ns: int = 0, note: str = "") -> None:
        """Nothing more happens to it: it was sent, needs no answer, or gets none (``note`` says why)."""
        exchange.sent_ns = at_ns
        exchange.note = exchange.note or note
        self.last_number += 1
        exchange.number = self.last_number
        self._ring.append(exchange)
        self._bytes += exchange.kept_bytes
        while self._bytes > self._limit and self._ring:
            self._bytes -= self._ring.popleft().kept_bytes

    def lost(self, connection: int) -> None:
        """A connection is gone, with answers that it had not taken."""
        for each in self._unsent.pop(connection, ()):
            self.over(each, 0, "the connection was lost before the answer was taken")

    @staticmethod
    def _kept(parts: Iterable[Any], exchange: Exchange) -> bytes:
        size = sum(map(len, parts := list(parts)))
        if size > _MOST_BYTES:
            exchange.note = f"a message of {size:,} bytes was too long to be kept"
            return b""
        return b"".join(parts)

    # -- for who looks --------------------------------------------------------------------------------------------

    def since(self, number: int, limit: int) -> list[Exchange]:
        """The last exchanges after ``number``, ``limit`` at most, in their order."""
        found: list[Exchange] = []
        for each in reversed(self._ring):
            if each.number <= number or len(found) >= limit:
                break
            found.append(each)
        return found[::-1]

    def find(self, number: int) -> Exchange | None:
        """One of them; ``None`` if it is no longer there."""
        if not self._ring:
            return None
        at = number - self._ring[0].number
        return self._ring[at] if 0 <= at < len(self._ring) else None


def decode_response(exchange: Exchange) -> Message | None:
    """The answer's body as a message; ``None`` if there is none, or it does not parse."""
    if not exchange.response:
        return None
    try:
        return codec.decode(
            apis.response_class(exchange.api_key, exchange.version), exchange.version, exchange.response
        )[0]
    except (codec.DecodeError, KeyError, ValueError):
        return None


def errors_of(message: Message) -> list[str]:
    """Kafka's names of all errors in an answer, each once, in their order."""
    found: dict[str, None] = {}
    _gather(message, found)
    return list(found)


def _gather(message: Message, found: dict[str, None]) -> None:
    for field in message.FIELDS:
        value = getattr(message, field.name)
        if field.name in ("error_code", "partition_error_code") and value:
            try:
                found[ErrorCode(value).name] = None
            except ValueError:
                found[str(value)] = None
        elif isinstance(value, Message):
            _gather(value, found)
        elif isinstance(value, list) and value and isinstance(value[0], Message):
            for each in value:
                _gather(each, found)


def row_of(exchange: Exchange) -> list[Any]:
    """An exchange as plain data for JSON, without its bytes: number, time, connection, peer, listener, client, API
    key, version, correlation id, bytes asked and answered, microseconds queued, handled, sent, throttled ms, errors,
    note."""
    response = decode_response(exchange)
    return [
        exchange.number,
        exchange.at_ms,
        *exchange.asker,
        exchange.api_key,
        exchange.version,
        exchange.correlation_id,
        exchange.request_bytes,
        exchange.response_bytes,
        _micros(exchange.arrived_ns, exchange.began_ns),
        _micros(exchange.began_ns, exchange.answered_ns),
        _micros(exchange.answered_ns, exchange.sent_ns),
        getattr(response, "throttle_time_ms", 0) if response is not None else 0,
        errors_of(response) if response is not None else [],
        exchange.note,
    ]


def _micros(begin_ns: int, end_ns: int) -> int | None:
    return (end_ns - begin_ns) // 1_000 if begin_ns and end_ns >= begin_ns else None
