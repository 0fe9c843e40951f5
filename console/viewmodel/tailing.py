"""Reading a topic for a script: what is printed, and when it is over, with the reason. Pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from console.gateway.protocol import ReadFrom, Start, TailBatch
from console.viewmodel import text
from console.viewmodel.filters import Filter
from console.viewmodel.records import RecordView, part_data, record_data, record_part, record_text
from engine.model.topic_partition import TopicPartition

# A topic that was just created is not known everywhere at once; one that is longer unknown was mistyped.
_NO_TOPIC_MS = 2_000.0


class Ending(NamedTuple):
    """Why reading is over. ``complete``: all that was asked for was read."""

    said: str
    complete: bool


class TailRun:
    """Feed it every batch, and the time in between; it says what to print and when to stop.

    ``until`` is a place in each log that is not read any more: an offset, the first record that is not older than a
    moment, or the end as it was when reading began. Bounded reading (by ``until`` or ``count``) gives up when something
    has kept it from going on for ``patience_ms``; unbounded reading only if nothing was ever found.
    """

    def __init__(
        self,
        now_ms: float,
        *,
        until: ReadFrom | None = None,
        count: int | None = None,
        wanted: Filter | None = None,
        patience_ms: float = 10_000,
        stops: Mapping[TopicPartition, int] | None = None,
    ) -> None:
        """``stops``: the ends as they were when somebody looked before, for ``until`` the end."""
        # Only records that have it, if it is said before reading begins.
        self.key: bytes | None = None
        self._until = until
        self._count = count
        self._wanted = wanted or Filter()
        self._patience_ms = patience_ms
        self._progress_at_ms = now_ms
        self._last = TailBatch([])
        self._last_problem = ""
        self._stops: dict[TopicPartition, int] = dict(stops or {})
        self._over: set[TopicPartition] = set()
        self.found_any = False
        self.printed = 0
        self.read = 0
        self.ending: Ending | None = None

    @property
    def problem(self) -> str:
        """What does not come now, and why."""
        return self._last.problem

    @property
    def stops(self) -> Mapping[TopicPartition, int]:
        """The ends as they were when reading began."""
        return self._stops

    @property
    def positions(self) -> Mapping[TopicPartition, int | None]:
        """The offset to be read next, of each partition."""
        return self._last.positions

    @property
    def is_bounded(self) -> bool:
        """Whether it ends by itself."""
        return self._until is not None or self._count is not None

    @property
    def waits(self) -> bool:
        """Everything there is was read, and it is not over."""
        return self.ending is None and self._last.caught_up

    def on_batch(self, batch: TailBatch, now_ms: float) -> list[RecordView]:
        """Take a batch; returns the records to print."""
        self._last = batch
        self._last_problem = batch.problem or self._last_problem
        self.found_any = self.found_any or any(each is not None for each in batch.positions.values())
        for partition, end in batch.ends.items():
            self._stops.setdefault(partition, end)
        shown: list[RecordView] = []
        for record in batch.records:
            if self.ending is not None:
                break
            if self._is_beyond(record):
                continue
            self.read += 1
            # What comes of partitions that are read to their end already is no progress, nor is a problem that comes
            # and goes: a broker that hangs is asked again and again.
            self._progress_at_ms = now_ms
            if (self.key is None or record.key == self.key) and passes(self._wanted, record):
                shown.append(record)
                self.printed += 1
                if self._count is not None and self.printed >= self._count:
                    self.ending = Ending(f"{self._counted()}, as many as were asked for", True)
        return shown

    def on_time(self, now_ms: float, wall_ms: float) -> None:
        """Time went by (``now_ms`` as before, ``wall_ms`` on the wall clock)."""
        if self._last.caught_up and not self._last.problem:
            self._progress_at_ms = now_ms
        if self.ending is None and self._is_done(wall_ms):
            self.ending = Ending(f"{self._counted()}, {self._until_words()}", True)
        stuck = self._last.problem or not self.found_any or None in self._last.positions.values()
        no_topic = "UNKNOWN_TOPIC" in self._last.problem or "no partition" in self._last.problem
        patience_ms = min(self._patience_ms, _NO_TOPIC_MS) if no_topic else self._patience_ms
        waited = now_ms - self._progress_at_ms >= patience_ms
        if self.ending is None and stuck and waited and (self.is_bounded or not self.found_any):
            why = self._last_problem or "nobody answered"
            self.ending = Ending(f"{self._counted()}, and no more: {why}", False)

    def _is_beyond(self, record: RecordView) -> bool:
        until, place = self._until, TopicPartition(record.topic, record.partition)
        if until is None:
            return False
        if place in self._over:
            return True
        if until.start is Start.TIMESTAMP:
            beyond = record.timestamp_ms >= until.value
        elif until.start is Start.OFFSET:
            beyond = record.offset >= until.value
        else:
            beyond = record.offset >= self._stops.get(place, record.offset + 1)
        if beyond:
            self._over.add(place)
        return beyond

    def _is_done(self, wall_ms: float) -> bool:
        until, positions = self._until, self._last.positions
        if until is None or not positions or self._last.problem:
            return False
        for place, position in positions.items():
            if place in self._over:
                continue
            if position is None:
                return False
            if until.start is Start.OFFSET:
                stop: float = until.value
            elif until.start is Start.TIMESTAMP:
                # Nothing so young came; nothing older will, once that moment is over.
                stop = self._last.ends.get(place, position + 1) if wall_ms >= until.value else position + 1
            else:
                stop = self._stops.get(place, position + 1)
            if position < stop:
                return False
        return True

    def _counted(self) -> str:
        if self._wanted.is_active or self.key is not None:
            return f"{self.printed:,} of {text.plural(self.read, 'record')} matched"
        return text.plural(self.printed, "record")

    def _until_words(self) -> str:
        assert self._until is not None
        if self._until.start is Start.OFFSET:
            return f"up to offset {self._until.value}"
        return "up to that time" if self._until.start is Start.TIMESTAMP else "up to the end as it was"


def passes(wanted: Filter, record: RecordView) -> bool:
    """Whether a filter lets a record through."""
    return not wanted.is_active or wanted.matches(
        record_text(record), lambda part: record_part(record, part), lambda: record_data(record)
    )


def record_document(record: RecordView) -> dict[str, Any]:
    """A record as a line of JSON; what is not UTF-8 is base64, and says so. Where serdes or masks were at work, it has
    more: what they read and took."""
    key, key_encoding = _encoded(record.key)
    value, value_encoding = _encoded(record.value)
    document = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "timestamp_type": record.timestamp_type,
        "key": key,
        "key_encoding": key_encoding,
        "value": value,
        "value_encoding": value_encoding,
        "headers": [
            {"name": name, "value": content, "encoding": encoding}
            for name, raw in record.headers
            for content, encoding in (_encoded(raw),)
        ],
        "leader_epoch": record.leader_epoch,
        "compression": record.compression,
        "producer_id": record.producer_id,
        "transactional": record.is_transactional,
    }
    reading = record.reading
    if reading is not None:
        for part, read in (("key", reading.key), ("value", reading.value)):
            document[f"{part}_serde"] = read.serde or None
            document[f"{part}_decoded"] = part_data(record, part) if read.serde else None
            document[f"{part}_problem"] = read.problem or None
            document[f"{part}_schema"] = (
                None
                if read.schema_id is None
                else {"id": read.schema_id, "subject": read.subject or None, "version": read.version}
            )
        document["masked"] = list(reading.masked)
    return document


def decoded_text(document: dict[str, Any], part: str) -> str:
    """What a serde read, as one text; empty if none did."""
    found = document.get(f"{part}_decoded")
    return found if isinstance(found, str) else "" if found is None else json.dumps(found, ensure_ascii=False)


def _encoded(data: bytes | None) -> tuple[str | None, str | None]:
    if data is None:
        return None, None
    try:
        return data.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(data).decode(), "base64"


def record_line(record: RecordView) -> str:
    """A record in one line for people."""
    words: Sequence[str] = (
        text.clock_time(record.timestamp_ms),
        f"{record.topic}-{record.partition}@{record.offset}",
        _read(record, "key"),
        _read(record, "value"),
    )
    masked = record.reading.masked if record.reading is not None else ()
    return "  ".join((*words, *([f"(masked: {', '.join(masked)})"] if masked else [])))


def _read(record: RecordView, part: str) -> str:
    if record.reading is None:
        return _readable(record.key if part == "key" else record.value)
    data = record.readable_key if part == "key" else record.readable_value
    problem = getattr(record.reading, part).problem
    return f"{_readable(data)} ({problem})" if problem else _readable(data)


# A value is shown to people, whatever it would have their terminal do.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _readable(data: bytes | None) -> str:
    content, encoding = _encoded(data)
    if content is None:
        return "null"
    if encoding == "base64":
        return f"base64:{content}"
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", content.replace("\n", "\\n"))
