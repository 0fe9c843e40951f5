"""What is asked of one store, read from the parameters of a request and written to those of another."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from engine.streams.queries.catalogue import StoreInfo
from engine.streams.queries.errors import InvalidQuery, NotReady, WrongKind
from engine.streams.queries.values import base64_of, bytes_of_base64, check_key, key_bytes_of
from engine.streams.serdes import BYTES, STRING
from engine.streams.stores.builders import (
    KIND_KEY_VALUE,
    KIND_SESSION,
    KIND_TIMESTAMPED_KEY_VALUE,
    KIND_TIMESTAMPED_WINDOW,
    KIND_VERSIONED_KEY_VALUE,
    KIND_WINDOW,
)

MAX_LIMIT: Final = 5_000
"""Entries of one answer: so that a query is over soon, as a worker's processing waits for it."""
DEFAULT_LIMIT: Final = 100
MAX_TIME: Final = 2**63 - 1


class Kind(StrEnum):
    """Ways to ask."""

    KEY = "key"
    RANGE = "range"
    WINDOW = "window"
    SESSION = "session"


_STORES: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.KEY: (KIND_KEY_VALUE, KIND_TIMESTAMPED_KEY_VALUE, KIND_VERSIONED_KEY_VALUE),
    Kind.RANGE: (KIND_KEY_VALUE, KIND_TIMESTAMPED_KEY_VALUE, KIND_VERSIONED_KEY_VALUE),
    Kind.WINDOW: (KIND_WINDOW, KIND_TIMESTAMPED_WINDOW),
    Kind.SESSION: (KIND_SESSION,),
}
_NAMES: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.KEY: ("key", "as_of"),
    Kind.RANGE: ("from", "to", "prefix", "limit", "reverse"),
    Kind.WINDOW: ("key", "from_ms", "to_ms", "limit", "reverse"),
    Kind.SESSION: ("key", "from_ms", "to_ms", "limit", "reverse"),
}
_WISHES: Final = ("local", "stale", "partial", "partition", "partitions")
_BYTES: Final = ("key", "from", "to", "prefix")


class Query(NamedTuple):
    """A question to a store. Keys are bytes as the store has them, times in ms, both ends inclusive."""

    store: str
    kind: Kind
    key: bytes | None = None
    low: bytes | None = None
    high: bytes | None = None
    prefix: bytes | None = None
    from_ms: int = 0
    to_ms: int = MAX_TIME
    limit: int = DEFAULT_LIMIT
    reverse: bool = False
    as_of: int | None = None
    """Of a versioned store: the value that held then; None: the newest."""


class Wishes(NamedTuple):
    """How it is to be asked."""

    local: bool = False
    """Only of the worker that is asked."""
    stale: bool = False
    """Standbys may answer, and stores that are still restored."""
    partial: bool = False
    """Better an answer without some partitions than none."""
    partitions: tuple[int, ...] | None = None
    """Only these; None for all."""


def read_kind(text: str) -> Kind:
    """The way to ask that a path names.

    Raises:
        InvalidQuery: there is no such way.
    """
    try:
        return Kind(text)
    except ValueError:
        raise InvalidQuery(f"{text}: a store is asked by {', '.join(Kind)}") from None


def read_query(info: StoreInfo, kind: Kind, given: Mapping[str, str]) -> tuple[Query, Wishes]:
    """The question of a request.

    Raises:
        WrongKind: the store is not asked in this way.
        InvalidQuery: a parameter is unknown, wrong or missing.
        NotReady: it is not known how keys are written (a serde is missing).
    """
    if info.kind not in _STORES[kind]:
        ways = [each for each, stores in _STORES.items() if info.kind in stores]
        hint = f"ask by {' or '.join(ways)}" if ways else "stores of this kind cannot be asked"
        raise WrongKind(f"store {info.name} is a {info.kind} store: {hint}, not by {kind}")
    if info.key_serde is None:
        raise NotReady(f"store {info.name} has no key serde", "ERROR")
    names = [*_NAMES[kind], *(f"{each}_base64" for each in _NAMES[kind] if each in _BYTES), *_WISHES]
    for name in given:
        if name not in names:
            raise InvalidQuery(f"{name}: no parameter of {kind} queries; known are {', '.join(names)}")
    keys = {name: _bytes(info, given, name) for name in _BYTES}
    query = Query(
        info.name,
        kind,
        key=keys["key"],
        low=keys["from"],
        high=keys["to"],
        prefix=keys["prefix"],
        from_ms=_number(given, "from_ms", 0, 0, MAX_TIME),
        to_ms=_number(given, "to_ms", MAX_TIME, 0, MAX_TIME),
        limit=_number(given, "limit", DEFAULT_LIMIT, 1, MAX_LIMIT),
        reverse=_flag(given, "reverse"),
        as_of=_number(given, "as_of", 0, 0, MAX_TIME) if "as_of" in given else None,
    )
    if query.as_of is not None and info.kind != KIND_VERSIONED_KEY_VALUE:
        raise WrongKind(f"store {info.name} is a {info.kind} store: it keeps no versions to be asked as of a time")
    if kind is Kind.KEY and query.key is None:
        raise InvalidQuery("key: say which, or key_base64")
    if query.prefix is not None and (query.low is not None or query.high is not None or query.reverse):
        raise InvalidQuery("prefix goes without from, to and reverse")
    return query, _wishes(given)


def _wishes(given: Mapping[str, str]) -> Wishes:
    text = given.get("partitions", given.get("partition"))
    partitions = None
    if text is not None:
        try:
            partitions = tuple(sorted({int(each) for each in text.split(",")}))
        except ValueError:
            raise InvalidQuery(f"partitions: {text!r} is not numbers with commas between") from None
    return Wishes(_flag(given, "local"), _flag(given, "stale"), _flag(given, "partial"), partitions)


def _bytes(info: StoreInfo, given: Mapping[str, str], name: str) -> bytes | None:
    raw, text = given.get(f"{name}_base64"), given.get(name)
    if raw is not None and text is not None:
        raise InvalidQuery(f"{name} and {name}_base64 exclude each other")
    assert info.key_serde is not None
    if raw is not None:
        data = bytes_of_base64(raw, f"{name}_base64")
        if name != "prefix":
            check_key(info.key_serde, data, f"{name}_base64")
        return data
    if text is None:
        return None
    if name == "prefix" and info.key_serde.name not in (STRING.name, BYTES.name):
        raise InvalidQuery(f"prefix: keys are {info.key_serde.name}, no text; give bytes as prefix_base64")
    return key_bytes_of(info.key_serde, text, name)


def _number(given: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = given.get(name)
    if text is None:
        return default
    try:
        number = int(text)
    except ValueError:
        raise InvalidQuery(f"{name}: {text!r} is no whole number") from None
    if not least <= number <= most:
        raise InvalidQuery(f"{name}: {number} is not between {least} and {most}")
    return number


def _flag(given: Mapping[str, str], name: str) -> bool:
    text = given.get(name, "false").lower()
    if text not in ("true", "false"):
        raise InvalidQuery(f"{name}: {text!r} is neither true nor false")
    return text == "true"


def write_query(query: Query, wishes: Wishes) -> dict[str, str]:
    """The parameters that :func:`read_query` makes the same of."""
    found = {
        f"{name}_base64": base64_of(data)
        for name, data in zip(_BYTES, (query.key, query.low, query.high, query.prefix), strict=True)
        if data is not None
    }
    if query.kind is not Kind.KEY:
        found["limit"] = str(query.limit)
        found["reverse"] = str(query.reverse).lower()
    if query.kind in (Kind.WINDOW, Kind.SESSION):
        found |= {"from_ms": str(query.from_ms), "to_ms": str(query.to_ms)}
    if query.as_of is not None:
        found["as_of"] = str(query.as_of)
    for name in ("local", "stale", "partial"):
        if getattr(wishes, name):
            found[name] = "true"
    if wishes.partitions is not None:
        found["partitions"] = ",".join(map(str, wishes.partitions))
    return found
