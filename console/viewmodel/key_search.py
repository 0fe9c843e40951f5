"""Looking for a key: only the partition that producers put it into is read. Pure.

Which one that is, is the producer's choice: Kafka's own clients take murmur2, librdkafka's default is CRC-32
(``consistent_random``), and neither is right for what was written before the topic had its present partitions.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from console.viewmodel import text
from console.viewmodel.records import RecordView, as_text
from engine.model.topic_partition import TopicPartition


class KeyRule(StrEnum):
    """By which a key's partition is chosen."""

    MURMUR2 = "murmur2"
    CRC32 = "crc32"
    ALL = "all partitions"


RULE_HELP = "murmur2: Java's clients, kconsole's · crc32: librdkafka's default (C, Python, Go, .NET)"
_MASK = 0xFFFFFFFF


def murmur2(data: bytes) -> int:
    """The hash of ``org.apache.kafka.common.utils.Utils.murmur2``, as an unsigned number of 32 bits."""
    multiplier = 0x5BD1E995
    found = 0x9747B28C ^ len(data)
    whole = len(data) & ~3
    for at in range(0, whole, 4):
        part = int.from_bytes(data[at : at + 4], "little") * multiplier & _MASK
        part = (part ^ part >> 24) * multiplier & _MASK
        found = found * multiplier & _MASK ^ part
    if len(data) > whole:
        found = (found ^ int.from_bytes(data[whole:], "little")) * multiplier & _MASK
    found = (found ^ found >> 13) * multiplier & _MASK
    return found ^ found >> 15


def partition_of(key: bytes, rule: KeyRule, partitions: int) -> int | None:
    """Where a producer puts a key; ``None`` if any of them will do (CRC-32 of an empty key: librdkafka takes any)."""
    if rule is KeyRule.MURMUR2:
        return (murmur2(key) & 0x7FFFFFFF) % partitions
    if rule is KeyRule.CRC32 and key:
        return zlib.crc32(key) % partitions
    return None


def typed_key(written: str) -> bytes:
    """Text, or bytes as ``0x…``.

    Raises:
        ValueError: what follows ``0x`` is no hex.
    """
    if not written.startswith("0x"):
        return written.encode()
    try:
        return bytes.fromhex(written[2:])
    except ValueError:
        raise ValueError(f"{written} is no hex: two digits a byte behind 0x") from None


class KeyWish(NamedTuple):
    """Which key, and by which rule it was partitioned. ``typed``: as somebody wrote it."""

    key: bytes
    rule: KeyRule = KeyRule.MURMUR2
    typed: str = ""

    @property
    def words(self) -> str:
        """The key for people."""
        said = self.typed or as_text(self.key)
        return f"0x{self.key.hex()}" if said is None else said


class KeySearch:
    """What was read in search of a key, and what was found."""

    def __init__(self, wish: KeyWish) -> None:
        self.wish = wish
        self.total_partitions = 0
        self.partition: int | None = None
        self.read = self.found = 0
        self._positions: Mapping[TopicPartition, int | None] = {}
        self._ends: Mapping[TopicPartition, int] = {}

    def begin(self, partitions: int) -> tuple[int, ...] | None:
        """The topic has so many partitions; those to read (``None``: all)."""
        self.total_partitions = partitions
        self.partition = partition_of(self.wish.key, self.wish.rule, partitions)
        return None if self.partition is None else (self.partition,)

    def restart(self) -> None:
        """From another place."""
        self.read = self.found = 0
        self._positions, self._ends = {}, {}

    @property
    def positions(self) -> dict[TopicPartition, int]:
        """Where to go on after a break."""
        return {place: offset for place, offset in self._positions.items() if offset is not None}

    def take(
        self,
        records: list[RecordView],
        positions: Mapping[TopicPartition, int | None],
        ends: Mapping[TopicPartition, int],
    ) -> list[RecordView]:
        """Those with the key."""
        self._positions, self._ends = positions, ends
        self.read += len(records)
        found = [each for each in records if each.key == self.wish.key and not each.is_control]
        self.found += len(found)
        return found

    @property
    def to_go(self) -> int:
        """Offsets between what was read and the ends."""
        return sum(max(0, end - (self._positions.get(place) or 0)) for place, end in self._ends.items())

    @property
    def where(self) -> str:
        """``partition 3 of 6 (murmur2)``."""
        if not self.total_partitions:
            return "looking for its partition"
        if self.partition is None:
            return f"all {text.plural(self.total_partitions, 'partition')}"
        return f"partition {self.partition} of {self.total_partitions} ({self.wish.rule})"

    @property
    def words(self) -> str:
        """How far it is."""
        said = f"{self.found:,} found in {self.read:,} read of {self.where}"
        return f"{said}, {self.to_go:,} to go" if self.to_go else said

    @property
    def nothing(self) -> str:
        """What to say where nothing was found."""
        if self.to_go or not self.total_partitions:
            return f"looking for {self.wish.words} …"
        hint = "" if self.partition is None else ": its producer may choose partitions otherwise (K)"
        return f"no record with the key {self.wish.words} in {self.where}{hint}"
