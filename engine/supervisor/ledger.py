"""What became of numbered records: acknowledged, lost, duplicated, reordered, by reading everything back. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple


class Reading(NamedTuple):
    """One record read back: its number stands in its value."""

    partition: int
    offset: int
    number: int


class Account(NamedTuple):
    """The result. A duplicate is each occurrence after the first; a record is out of order if one with a higher number
    stands before it in its partition; ``unacknowledged`` ones were sent, never acknowledged, and may stand or not."""

    sent: int
    acknowledged: int
    lost: int
    duplicated: int
    reordered: int
    unacknowledged: int
    # where the lost ones should stand: ``partition:offset #number``
    lost_offsets: tuple[str, ...]


_NAMED_LOSSES = 100


def settle(sent: Iterable[int], acknowledged: Mapping[int, tuple[int, int]], readings: Iterable[Reading]) -> Account:
    """Compare.

    Args:
        sent: numbers handed to the producer.
        acknowledged: number to the (partition, offset) that the ack named; offset -1 where acks=0 names none.
        readings: all records of the partitions, in the order of their offsets within each partition.
    """
    sent_numbers = set(sent)
    seen: set[int] = set()
    highest: dict[int, int] = {}
    duplicated = reordered = 0
    for reading in readings:
        if reading.number not in sent_numbers:
            continue
        if reading.number in seen:
            duplicated += 1
            continue
        seen.add(reading.number)
        if reading.number < highest.get(reading.partition, -1):
            reordered += 1
        else:
            highest[reading.partition] = reading.number
    lost = sorted(number for number in acknowledged if number not in seen)
    return Account(
        len(sent_numbers),
        len(acknowledged),
        len(lost),
        duplicated,
        reordered,
        len(sent_numbers - acknowledged.keys()),
        tuple(f"{acknowledged[number][0]}:{acknowledged[number][1]} #{number}" for number in lost[:_NAMED_LOSSES]),
    )


def slowest_after(sent_ns: Sequence[int], acknowledged_ns: Mapping[int, int], from_ns: int | None) -> int | None:
    """The longest that an acknowledged record waited, of those that were not acknowledged before ``from_ns``; ``None``
    if there is none. What it waited before that does not count."""
    if from_ns is None:
        return None
    waits = [at - max(sent_ns[number], from_ns) for number, at in acknowledged_ns.items() if at >= from_ns]
    return max(waits, default=None)
