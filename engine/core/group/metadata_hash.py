"""The metadata hash of a group: what it knows of its topics, in 64 bits (KIP-1101; Kafka: coordinator.group.Utils).

A topic that is created, deleted, given partitions or moved to other racks changes the hash of the groups that subscribe
to it, and with it their epoch. The hash is Kafka's own, so that a log that goes from one to the other moves nobody.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct

from engine.core.group.group_topics import GroupTopic
from engine.core.group.xxh3 import xxh3_64

_INT = Struct("<i")
_LONG = Struct("<q")
_VERSION = b"\x00"
NO_TOPICS_HASH = 0


def topic_hash(topic: GroupTopic, racks: Sequence[Sequence[str]]) -> int:
    """Of one topic: id, name, partitions, and the racks of each partition's replicas."""
    most, least = topic.topic_id[:8][::-1], topic.topic_id[8:][::-1]
    parts = [_VERSION, most, least, *_string(topic.name), _INT.pack(topic.partition_count)]
    for number in range(topic.partition_count):
        parts.append(_INT.pack(number))
        for rack in sorted(racks[number]) if number < len(racks) else ():
            parts += (_INT.pack(_java_length(rack)), *_string(rack))
    return xxh3_64(b"".join(parts))


def group_hash(topics: Iterable[tuple[str, int]]) -> int:
    """Of topics by name with their hashes, as a signed number of 64 bits; 0 for no topics."""
    hashes = [_signed(each) for _, each in sorted(topics)]
    return _signed(xxh3_64(b"".join(_LONG.pack(each) for each in hashes))) if hashes else NO_TOPICS_HASH


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _java_length(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _string(text: str) -> tuple[bytes, bytes]:
    """UTF-16 units, then how many."""
    return text.encode("utf-16-le"), _INT.pack(_java_length(text))
