"""Stores of an application over streams, what is asked of one in a line, and the entries that come back. Pure."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from console.viewmodel import text
from console.viewmodel.cells import EMPTY, UNKNOWN, Cell, Column, Span, cell
from console.viewmodel.moments import joined_dates, parse_moment

LIMIT = 200
_MOST = 5_000
# Kafka's Long.MAX_VALUE.
_NO_END_MS = 2**63 - 1
_JSON_BEGINS = ("{", "[", '"')


class StoreTold(NamedTuple):
    """A store as one worker tells it (``/v1/stores``). ``kind`` is in Kafka's words: ``timestamped-key-value``…"""

    name: str
    kind: str
    sub_topology: str
    partitions: tuple[int, ...]
    standby_partitions: tuple[int, ...]
    key_serde: str
    value_serde: str
    retention_ms: int | None
    window_size_ms: int | None
    entries: int | None
    is_global: bool = False


def store_told(document: Any) -> StoreTold:
    """Read one of what ``/v1/stores`` answered.

    Raises:
        ValueError: it is none.
    """
    try:

        def number(name: str) -> int | None:
            return None if document.get(name) is None else int(document[name])

        sub_topology = document.get("sub_topology")
        return StoreTold(
            str(document["name"]),
            str(document["kind"]),
            "" if sub_topology is None else str(sub_topology),
            tuple(map(int, document.get("partitions") or ())),
            tuple(map(int, document.get("standby_partitions") or ())),
            str(document.get("key_serde") or ""),
            str(document.get("value_serde") or ""),
            number("retention_ms"),
            number("window_size_ms"),
            number("entries"),
            bool(document.get("is_global")),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError("what it answers is no list of stores") from error


class StoreRow(NamedTuple):
    """A store over all workers. ``partitions`` have the place that answers for each (``host:port``), ``standbys`` count
    copies."""

    name: str
    kind: str
    sub_topology: str
    partitions: tuple[tuple[int, str], ...]
    standbys: int
    key_serde: str
    value_serde: str
    retention_ms: int | None
    window_size_ms: int | None
    entries: int | None
    is_global: bool = False
    age_ms: float = 0.0

    @property
    def key(self) -> str:
        """Its name."""
        return self.name

    @property
    def is_session(self) -> bool:
        """Whether its keys are sessions."""
        return "session" in self.kind

    @property
    def is_window(self) -> bool:
        """Whether its keys are windows of fixed size."""
        return "window" in self.kind and not self.is_session

    @property
    def is_versioned(self) -> bool:
        """Whether it may be asked for what a key had at a time."""
        return "versioned" in self.kind

    @property
    def is_timed(self) -> bool:
        """Whether there is a time in its keys."""
        return self.is_session or self.is_window


def store_rows(told: Mapping[str, Sequence[StoreTold]]) -> list[StoreRow]:
    """What workers told, by the place where each answers, as one row a store."""
    by_name: dict[str, list[tuple[str, StoreTold]]] = {}
    for endpoint, stores in sorted(told.items()):
        for each in stores:
            by_name.setdefault(each.name, []).append((endpoint, each))
    rows = []
    for name, parts in sorted(by_name.items()):
        first = parts[0][1]
        counts = [each.entries for _, each in parts if each.entries is not None]
        rows.append(
            StoreRow(
                name,
                first.kind,
                first.sub_topology,
                tuple(sorted((number, endpoint) for endpoint, each in parts for number in each.partitions)),
                sum(len(each.standby_partitions) for _, each in parts),
                first.key_serde,
                first.value_serde,
                first.retention_ms,
                first.window_size_ms,
                # Each worker has all of a global store.
                (max(counts) if first.is_global else sum(counts)) if counts else None,
                first.is_global,
            )
        )
    return rows


class QueryError(ValueError):
    """A line that asks nothing; the message says what would."""


class StoreQuery(NamedTuple):
    """What is asked: ``kind`` is key, range, window or session."""

    store: str
    kind: str
    key: str | None = None
    low: str | None = None
    high: str | None = None
    prefix: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    limit: int = LIMIT
    reverse: bool = False
    stale: bool = False
    partial: bool = False
    as_of_ms: int | None = None
    """Of a versioned store: the value that held then."""

    @property
    def path(self) -> tuple[str, ...]:
        """The segments of the path that answers it."""
        return ("v1", "stores", self.store, self.kind)

    @property
    def parameters(self) -> dict[str, str]:
        """What stands after the ``?``."""
        found: dict[str, str | None] = {
            "key": self.key,
            "from": self.low,
            "to": self.high,
            "prefix": self.prefix,
            "as_of": None if self.as_of_ms is None else str(self.as_of_ms),
            "from_ms": None if self.from_ms is None else str(self.from_ms),
            "to_ms": None if self.to_ms is None else str(self.to_ms),
            "limit": None if self.kind == "key" else str(self.limit),
            "reverse": "true" if self.reverse else None,
            "stale": "true" if self.stale else None,
            "partial": "true" if self.partial else None,
        }
        return {name: value for name, value in found.items() if value is not None}


def query_help(store: StoreRow, *, short: bool = False) -> str:
    """What a line may say, in one line."""
    if store.is_timed:
        return "KEY [FROM [TO]] · all [FROM [TO]]" + ("" if short else "   FROM: -5m, 14:03   limit=50 stale partial")
    if store.is_versioned:
        return "KEY [AS OF] · range FROM TO · prefix P · all" + (
            "" if short else "   AS OF: -5m, 14:03   limit=50 reverse stale partial"
        )
    return "KEY · range FROM TO · prefix P · all" + ("" if short else "   limit=50 reverse stale partial")


def parse_query(line: str, store: StoreRow, now_ms: int) -> StoreQuery:
    """Read a line. A key with blanks stands in double quotes, and so does one that is a word of the query language
    (``get all`` does the same); keys that are JSON are written as such.

    Raises:
        QueryError: the line asks nothing.
    """
    words = _words(line, keeps_quotes="json" in store.key_serde.lower())
    query, rest = _options(StoreQuery(store.name, "range"), words)
    if not rest:
        rest = [("all", False)]
    (verb, quoted), *arguments = rest
    if quoted or verb not in ("all", "get", "range", "prefix"):
        verb, arguments = "get", rest
    given = [word for word, _ in arguments]
    if store.is_timed:
        return _timed(query, store, verb, given, now_ms)
    if verb == "all":
        if given:
            raise QueryError(f"nothing stands after all; {query_help(store)}")
        return query
    if verb == "get":
        moments = joined_dates(given[1:])
        if store.is_versioned and len(moments) == 1:
            return query._replace(kind="key", key=given[0], as_of_ms=_moment(moments[0], now_ms))
        if len(given) != 1:
            said = "get needs a key" if not given else "a key with blanks stands in double quotes"
            raise QueryError(f"{said}; {query_help(store)}")
        return query._replace(kind="key", key=given[0])
    if verb == "prefix":
        if len(given) != 1:
            raise QueryError("prefix needs what keys begin with: prefix user-")
        return query._replace(prefix=given[0])
    if not 1 <= len(given) <= 2:
        raise QueryError("range needs from and to: range a m; .. leaves one of them open: range .. m")
    low, high = (None if word == ".." else word for word in (*given, "..")[:2])
    return query._replace(low=low, high=high)


def _timed(query: StoreQuery, store: StoreRow, verb: str, given: list[str], now_ms: int) -> StoreQuery:
    if verb in ("range", "prefix"):
        raise QueryError(f"{verb} is for keys alone, and {store.name} has windows; {query_help(store)}")
    key, times = (None, given) if verb == "all" else (given[0] if given else None, given[1:])
    if verb == "get" and key is None:
        raise QueryError(f"get needs a key; {query_help(store)}")
    if len(joined_dates(times)) > 2:
        raise QueryError(f"after the key there is a time, or two; {query_help(store)}")
    found = [None if word == ".." else _moment(word, now_ms) for word in joined_dates(times)]
    from_ms, to_ms = (*found, None, None)[:2]
    kind = "session" if store.is_session else "window"
    return query._replace(kind=kind, key=key, from_ms=from_ms, to_ms=to_ms)


def _moment(word: str, now_ms: int) -> int:
    try:
        return now_ms if word == "now" else parse_moment(word, now_ms, 0, now_ms)
    except ValueError as error:
        raise QueryError(str(error)) from None


def _options(query: StoreQuery, words: list[tuple[str, bool]]) -> tuple[StoreQuery, list[tuple[str, bool]]]:
    rest: list[tuple[str, bool]] = []
    for word, quoted in words:
        if not quoted and word.startswith("limit="):
            number = word.removeprefix("limit=")
            if not number.isdigit() or not 0 < int(number) <= _MOST:
                raise QueryError(f"{word}: a number from 1 to {_MOST:,} is needed")
            query = query._replace(limit=int(number))
        elif not quoted and rest and word == "reverse":
            query = query._replace(reverse=True)
        elif not quoted and rest and word == "stale":
            query = query._replace(stale=True)
        elif not quoted and rest and word == "partial":
            query = query._replace(partial=True)
        else:
            rest.append((word, quoted))
    return query, rest


def _words(line: str, *, keeps_quotes: bool) -> list[tuple[str, bool]]:
    """Words, each with whether it was quoted (then it is no word of the language)."""
    found: list[tuple[str, bool]] = []
    rest = line.strip()
    while rest:
        if rest.startswith(_JSON_BEGINS):
            try:
                value, end = json.JSONDecoder().raw_decode(rest)
            except ValueError:
                raise QueryError(f"{text.clip(rest, 30)}: the JSON, or what stands in quotes, is not closed") from None
            if end < len(rest) and not rest[end].isspace():
                raise QueryError(f"a blank is missing after {text.clip(rest[:end], 30)}")
            as_it_is = keeps_quotes or not isinstance(value, str)
            found.append((rest[:end] if as_it_is else value, True))
        else:
            blank = re.search(r"\s", rest)
            end = blank.start() if blank else len(rest)
            found.append((rest[:end], False))
        rest = rest[end:].lstrip()
    return found


class EntryRow(NamedTuple):
    """An entry of a store. ``window`` is start and end in ms; an end of ``None`` is not known."""

    entry_key: Any
    value: Any
    timestamp_ms: int | None
    partition: int | None
    window: tuple[int, int | None] | None
    worker: str = ""
    age_ms: float = 0.0
    valid_to_ms: int | None = None
    """Of a version: up to when it held; ``None`` is the newest."""

    @property
    def key(self) -> str:
        """The same as long as it is the same key (and window) of the same partition."""
        return f"{self.partition} {self.window} {shown(self.entry_key)}"


class Entries(NamedTuple):
    """An answer. ``truncated``: there are more; ``missing`` says which partitions did not answer."""

    rows: tuple[EntryRow, ...]
    truncated: bool = False
    missing: tuple[str, ...] = ()


def entries_told(document: Any) -> Entries:
    """Read what a query answered.

    Raises:
        ValueError: it is no answer.
    """
    try:
        if "found" in document:
            return Entries((_entry(document),) if document["found"] else ())
        missing = tuple(f"partition {each['partition']} {each['state']}" for each in document.get("missing") or ())
        return Entries(tuple(map(_entry, document["entries"])), bool(document.get("truncated")), missing)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ValueError("what it answers are no entries") from error


def _entry(document: Any) -> EntryRow:
    window = document.get("window")
    if isinstance(window, Mapping):
        start, end = window.get("start_ms", window.get("start")), window.get("end_ms", window.get("end"))
    else:
        start = document.get("window_start_ms", document.get("start_ms", document.get("start")))
        end = document.get("window_end_ms", document.get("end_ms", document.get("end")))
    timestamp, partition, valid_to = (document.get(name) for name in ("timestamp", "partition", "valid_to"))
    return EntryRow(
        document.get("key"),
        document.get("value"),
        None if timestamp is None else int(timestamp),
        None if partition is None else int(partition),
        None if start is None else (int(start), None if end is None else int(end)),
        valid_to_ms=None if valid_to is None else int(valid_to),
    )


def unpacked(value: Any) -> Any:
    """Bytes as text where they are text, else in hexadecimal digits."""
    if isinstance(value, Mapping) and set(value) == {"base64"} and isinstance(value["base64"], str):
        try:
            data = base64.b64decode(value["base64"], validate=True)
        except ValueError:
            return value
        try:
            decoded = data.decode()
        except UnicodeDecodeError:
            return f"0x{data.hex()}"
        return decoded if decoded.isprintable() else f"0x{data.hex()}"
    return value


def shown(value: Any) -> str:
    """A key or value in one line."""
    value = unpacked(value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _toned(value: Any) -> Cell:
    if value is None:
        return cell("null", "controller")
    tone = "leader" if isinstance(value, int | float) and not isinstance(value, bool) else "text"
    return cell(shown(value), tone)


def moment_words(at_ms: int) -> str:
    """A time; one that no calendar has (windows without end have the largest number) as its number."""
    try:
        said = text.date_time(at_ms)
    except (ValueError, OverflowError, OSError):
        return "no end" if at_ms >= _NO_END_MS else str(at_ms)
    return said.removesuffix(".000")


def _window(row: EntryRow) -> Cell:
    if row.window is None:
        return EMPTY
    start, end = row.window
    spans = [Span(moment_words(start))]
    if end is not None and end >= _NO_END_MS:
        spans.append(Span(" on", "muted"))
    elif end is not None:
        span = end - start
        spans.append(Span(f" +{text.milliseconds(span) if span < 1000 else text.age(max(2_000, span))}", "muted"))
    return tuple(spans)


_KEY = Column(
    "key", "KEY", lambda row: cell(shown(row.entry_key), "accent"), 16, lambda row: shown(row.entry_key), max_width=50
)
_VALUE = Column(
    "value", "VALUE", lambda row: _toned(row.value), 20, lambda row: _order(row.value), max_width=100, flashes=True
)
_WINDOW = Column("window", "WINDOW", _window, 24, lambda row: row.window or (0, 0))
_UNTIL = Column(
    "until",
    "UNTIL",
    lambda row: cell("newest" if row.valid_to_ms is None else moment_words(row.valid_to_ms), "muted"),
    23,
    lambda row: _NO_END_MS if row.valid_to_ms is None else row.valid_to_ms,
)
_OTHERS = (
    Column(
        "timestamp",
        "TIMESTAMP",
        lambda row: UNKNOWN if row.timestamp_ms is None else cell(moment_words(row.timestamp_ms), "muted"),
        23,
        lambda row: row.timestamp_ms or 0,
        priority=3,
        descending=True,
    ),
    Column(
        "partition",
        "PARTITION",
        lambda row: UNKNOWN if row.partition is None else cell(row.partition, "muted"),
        9,
        lambda row: row.partition or 0,
        right=True,
        priority=2,
    ),
    Column("worker", "WORKER", lambda row: cell(row.worker or "–", "muted"), 9, lambda row: row.worker, priority=1),
)


def _order(value: Any) -> tuple[int, float, str]:
    """Numbers by their size, all else as text."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return (0, float(value), "")
    return (1, 0.0, shown(value))


def entry_columns(store: StoreRow) -> tuple[Column, ...]:
    """With the window where there is one, and up to when a version held."""
    timestamp, *others = _OTHERS
    until = (_UNTIL,) if store.is_versioned else ()
    return (_KEY, *((_WINDOW,) if store.is_timed else ()), _VALUE, timestamp, *until, *others)


def _lasts(milliseconds: int | None) -> Cell:
    if milliseconds is None:
        return UNKNOWN
    return cell(text.milliseconds(milliseconds) if milliseconds < 1000 else text.age(max(2_000, milliseconds)))


STORE_COLUMNS: tuple[Column, ...] = (
    Column("store", "STORE", lambda row: cell(row.name, "accent"), 18, lambda row: row.name, max_width=46),
    Column(
        "kind",
        "KIND",
        lambda row: cell(f"global {row.kind}" if row.is_global else row.kind),
        21,
        lambda row: row.kind,
        max_width=32,
    ),
    Column(
        "entries",
        "ENTRIES",
        lambda row: UNKNOWN if row.entries is None else cell(f"≈{text.count(row.entries)}"),
        9,
        lambda row: row.entries or 0,
        right=True,
        descending=True,
    ),
    Column(
        "partitions",
        "PARTITIONS",
        lambda row: cell("all" if row.is_global else len(row.partitions)),
        10,
        right=True,
        priority=1,
        flashes=True,
    ),
    Column(
        "standbys",
        "STANDBYS",
        lambda row: cell(row.standbys, "text" if row.standbys else "muted"),
        8,
        right=True,
        priority=2,
    ),
    Column(
        "serdes",
        "KEY → VALUE",
        lambda row: cell(f"{row.key_serde or '?'} → {row.value_serde or '?'}", "muted"),
        15,
        max_width=40,
    ),
    Column("window", "WINDOW", lambda row: _lasts(row.window_size_ms), 7, right=True, priority=3),
    Column("retention", "RETENTION", lambda row: _lasts(row.retention_ms), 9, right=True, priority=4),
    Column("part", "PART", lambda row: cell(row.sub_topology or "–", "muted"), 4, priority=5),
)
