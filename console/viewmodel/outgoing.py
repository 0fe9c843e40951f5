"""Records on their way into a topic, in numbers: what is sent, how much it is, and how fast it may go. Pure."""

from __future__ import annotations

from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.records import RecordView

Headers = tuple[tuple[str, bytes | None], ...]


class Outgoing(NamedTuple):
    """A record to send. Without a ``partition`` the key's hash (murmur2, as Kafka's clients) decides; without
    ``timestamp_ms`` it is the time at which it is sent."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    partition: int | None = None
    timestamp_ms: int | None = None


def size_of(record: RecordView | Outgoing) -> int:
    """Bytes of key, value and headers; what the batch adds is not counted."""
    headers = sum(len(name) + len(value or b"") for name, value in record.headers)
    return len(record.key or b"") + len(record.value or b"") + headers


def stays(record: RecordView) -> bool:
    """Whether it cannot be sent: it does not decode, is a control record, or a mask took some of its bytes."""
    masked = record.reading is not None and bool(record.reading.masked)
    return record.is_unreadable or record.is_control or masked


class Rate(NamedTuple):
    """At most so many records, or bytes, a second."""

    records: int | None = None
    bytes: int | None = None

    @property
    def words(self) -> str:
        """``500 records/s``."""
        if self.records is not None:
            return f"{self.records:,} records/s"
        return "as fast as it goes" if self.bytes is None else text.rate(self.bytes)

    @property
    def option(self) -> str:
        """As it is typed."""
        return str(self.records) if self.records is not None else f"{self.bytes}b" if self.bytes is not None else ""


def parse_rate(written: str) -> Rate:
    """``500`` are records a second, ``20M``, ``512k`` or ``1000b`` bytes a second; empty is no limit.

    Raises:
        ValueError: it is neither; the message says what is.
    """
    words = written.strip().lower().removesuffix("/s")
    try:
        if words.isdigit():
            if int(words) == 0:
                raise ValueError(words)
            return Rate(records=int(words))
        return Rate(bytes=text.rate_bytes(words))
    except ValueError:
        raise ValueError(f"'{written}' is no rate: 500 for records a second, 20M for bytes a second") from None


class Throttle:
    """How long to wait so that a rate is kept from the beginning on. Times are milliseconds that only go forward."""

    def __init__(self, rate: Rate, now_ms: float) -> None:
        self._rate = rate
        self._began_ms = now_ms
        self._records = 0
        self._bytes = 0

    def delay_ms(self, now_ms: float, records: int, size_bytes: int) -> float:
        """So much is about to be sent: wait so long before."""
        due_s = 0.0
        if self._rate.records is not None:
            due_s = self._records / self._rate.records
        elif self._rate.bytes is not None:
            due_s = self._bytes / self._rate.bytes
        self._records += records
        self._bytes += size_bytes
        return max(0.0, self._began_ms + due_s * 1000 - now_ms)

    @property
    def portion(self) -> int:
        """As many records as may go at once, so that a slow rate is no row of bursts."""
        if self._rate.records is None:
            return 500 if self._rate.bytes is None else 20
        return max(1, min(500, self._rate.records // 10))


class Share(NamedTuple):
    """What there is of one partition: ``[first, last]`` are the offsets of the records that are meant."""

    records: int = 0
    size_bytes: int = 0
    first: int = -1
    last: int = -1
    largest_bytes: int = 0
    oldest_ms: int = -1

    def plus(self, offset: int, size_bytes: int, timestamp_ms: int) -> Share:
        """One record more."""
        return Share(
            self.records + 1,
            self.size_bytes + size_bytes,
            offset if self.first < 0 else min(self.first, offset),
            max(self.last, offset),
            max(self.largest_bytes, size_bytes),
            timestamp_ms if self.oldest_ms < 0 else min(self.oldest_ms, timestamp_ms),
        )


class Tally:
    """Counts records by topic and partition."""

    def __init__(self) -> None:
        self.shares: dict[tuple[str, int], Share] = {}

    def add(self, record: RecordView) -> None:
        """Count one."""
        place = (record.topic, record.partition)
        self.shares[place] = self.shares.get(place, Share()).plus(record.offset, size_of(record), record.timestamp_ms)

    @property
    def records(self) -> int:
        """How many."""
        return sum(each.records for each in self.shares.values())

    @property
    def size_bytes(self) -> int:
        """How large together."""
        return sum(each.size_bytes for each in self.shares.values())

    @property
    def largest_bytes(self) -> int:
        """How large the largest is."""
        return max((each.largest_bytes for each in self.shares.values()), default=0)

    @property
    def oldest_ms(self) -> int | None:
        """When the oldest is from, on the wall clock."""
        return min((each.oldest_ms for each in self.shares.values() if each.oldest_ms >= 0), default=None)

    @property
    def words(self) -> str:
        """``1,234 records, 1.2 MiB``."""
        return f"{text.plural(self.records, 'record')}, {text.size(self.size_bytes)}"
