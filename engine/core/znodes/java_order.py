"""The order in which Java's and Scala's hash maps give their keys: that of the fields in Kafka's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

_T = TypeVar("_T")

# The smallest table of both; it is doubled when three quarters of it are full.
_SMALLEST_TABLE = 16


def scala_ordered(mapping: Mapping[str, _T]) -> dict[str, _T]:
    """The entries in the order of scala.collection.mutable.HashMap, which sorts keys in the same slot by their hash."""
    table = _table_of(len(mapping))
    return {key: mapping[key] for key in sorted(mapping, key=lambda key: (_spread(key) & (table - 1), _spread(key)))}


def properties_ordered(mapping: Mapping[str, _T]) -> dict[str, _T]:
    """The entries in the order of java.util.Properties, where keys in the same slot stay as they came (in Java not
    always when there are a dozen or more)."""
    table = _table_of(len(mapping))
    return {key: mapping[key] for key in sorted(mapping, key=lambda key: _spread(key) & (table - 1))}


def _table_of(entries: int) -> int:
    table = _SMALLEST_TABLE
    while entries >= table * 3 // 4:
        table *= 2
    return table


def _spread(key: str) -> int:
    hashed = string_hash(key)
    return hashed ^ hashed >> 16


def string_hash(text: str) -> int:
    """java.lang.String.hashCode, as an unsigned number of 32 bits."""
    encoded = text.encode("utf-16-be")
    total = 0
    for at in range(0, len(encoded), 2):
        total = (31 * total + encoded[at] * 256 + encoded[at + 1]) & 0xFFFFFFFF
    return total
