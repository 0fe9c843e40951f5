"""Where in its file a message stands, as Confluent's serializers write it between a schema's id and a value. Pure.

Source: "Wire format" in the documentation of Confluent's Schema Registry; its ``MessageIndexes``.
"""

from __future__ import annotations

_MOST_INDEXES = 64


def message_path(payload: bytes) -> tuple[tuple[int, ...], bytes]:
    """Where the message stands in its file (``(1, 0)``: the first one within the second), and its bytes.

    Raises:
        ValueError: no such path.
    """
    count, at = _varint(payload, 0)
    if count == 0:
        # The first message of a file, written short.
        return (0,), payload[at:]
    if not 0 < count <= _MOST_INDEXES:
        raise ValueError
    path = []
    for _ in range(count):
        index, at = _varint(payload, at)
        if index < 0:
            raise ValueError
        path.append(index)
    return tuple(path), payload[at:]


def path_bytes(path: tuple[int, ...]) -> bytes:
    """The same, to be written."""
    if path == (0,):
        return b"\0"
    return b"".join(_zigzag(each) for each in (len(path), *path))


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint."""
    value = shift = 0
    while True:
        if at >= len(data) or shift > 28:
            raise ValueError
        value |= (data[at] & 0x7F) << shift
        at += 1
        if not data[at - 1] & 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7


def _zigzag(value: int) -> bytes:
    left = (value << 1) ^ (value >> 31)
    made = bytearray()
    while left > 0x7F:
        made.append(left & 0x7F | 0x80)
        left >>= 7
    made.append(left)
    return bytes(made)
