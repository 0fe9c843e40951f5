"""What is committed beside an offset: stream time, and times that nodes want to find again. Pure.

Kafka Streams' own bytes (``TopicPartitionMetadata``, ``ProcessorMetadata``): the next owner of a task, whatever it is
written in, goes on at the time at which the last one was, so that late records are late for it too.
"""

from __future__ import annotations

import base64
import binascii
import logging
import struct
from collections.abc import Mapping

from engine.streams.records import NO_TIMESTAMP

log = logging.getLogger(__name__)

_HEAD = struct.Struct(">bq")
_COUNT = struct.Struct(">i")
_TIME = struct.Struct(">q")
_TIME_ONLY, _WITH_NODES = 1, 2
# offset.metadata.max.bytes; a broker refuses more.
_MAX_BYTES = 4096


def encode_metadata(partition_time: int, times: Mapping[str, int]) -> str:
    """The text to commit. Where it would be too long for brokers it is without the nodes' times."""
    parts = [_HEAD.pack(_WITH_NODES, partition_time)]
    if times:
        parts.append(_COUNT.pack(len(times)))
        for name, time in times.items():
            key = name.encode()
            parts += [_COUNT.pack(len(key)), key, _TIME.pack(time)]
    text = base64.b64encode(b"".join(parts)).decode()
    if len(text) > _MAX_BYTES:
        log.warning("the times of %d nodes are too long for a committed offset: they begin anew elsewhere", len(times))
        return encode_metadata(partition_time, {})
    return text


def decode_metadata(text: str | None) -> tuple[int, dict[str, int]]:
    """Partition time (-1: unknown) and times by name; what is not Kafka Streams' counts as nothing."""
    if not text:
        return NO_TIMESTAMP, {}
    try:
        # confluent-kafka (2.16) commits the NUL at the end of its C string as well.
        data = base64.b64decode(text.rstrip("\0"), validate=True)
        version, partition_time = _HEAD.unpack_from(data)
        times: dict[str, int] = {}
        if version not in (_TIME_ONLY, _WITH_NODES):
            raise ValueError(f"version {version}")
        offset = _HEAD.size
        if version == _WITH_NODES and offset < len(data):
            (count,) = _COUNT.unpack_from(data, offset)
            offset += _COUNT.size
            for _ in range(count):
                (size,) = _COUNT.unpack_from(data, offset)
                offset += _COUNT.size
                name = data[offset : offset + size].decode()
                offset += size
                (times[name],) = _TIME.unpack_from(data, offset)
                offset += _TIME.size
    except (binascii.Error, struct.error, ValueError) as error:
        log.warning("the metadata of a committed offset, %.100r, is of somebody else: %s", text, error)
        return NO_TIMESTAMP, {}
    return partition_time, times
