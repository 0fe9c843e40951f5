"""The order in which Java's hash sets give strings: ``describe()`` prints them so, and people compare that.

``HashMap`` puts a string into bucket ``(h ^ h >>> 16) & (capacity - 1)`` and walks the buckets in order; within one,
the order is that of insertion.
"""

from __future__ import annotations

from collections.abc import Iterable


def string_hash(text: str) -> int:
    """``String.hashCode()`` as an unsigned 32-bit number."""
    value = 0
    data = text.encode("utf-16-be")
    for index in range(0, len(data), 2):
        value = (31 * value + (data[index] << 8 | data[index + 1])) & 0xFFFFFFFF
    return value


def hash_set_order(texts: Iterable[str], *, copied: bool = False) -> list[str]:
    """``texts``, without repetitions, in the order of a ``HashSet``.

    ``copied`` is for ``new HashSet<>(collection)``, whose capacity is reckoned from the collection's size.
    """
    distinct = list(dict.fromkeys(texts))
    capacity = 16
    if copied:
        wanted = max(int(len(distinct) / 0.75) + 1, 16)
        while capacity < wanted:
            capacity *= 2
    while len(distinct) > capacity * 0.75:
        capacity *= 2

    def bucket(text: str) -> int:
        value = string_hash(text)
        return (value ^ (value >> 16)) & (capacity - 1)

    return sorted(distinct, key=bucket)
