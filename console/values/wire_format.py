"""The framing that Confluent's serializers put before a value: a zero byte, the schema's id, and of Protobuf the path
to the message within its file. Pure.

Source: "Wire format" in the documentation of Confluent's Schema Registry; its ``MessageIndexes``.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple

MAGIC = 0
HEADER_BYTES = 5
_MAGIC_OF_GUIDS = 1
_GUID_BYTES = 16
_MOST_INDEXES = 64


class Framed(NamedTuple):
    """A value that may be framed: the magic byte is there. ``schema_id`` is a number, or a GUID of 36 characters."""

    schema_id: int | str
    payload: bytes


def unframed(data: bytes) -> Framed | None:
    """The schema's id and what follows; ``None`` without the magic byte. Ids begin with 1."""
    if len(data) < HEADER_BYTES or data[0] != MAGIC:
        return None
    schema_id = int.from_bytes(data[1:HEADER_BYTES], "big", signed=True)
    return Framed(schema_id, data[HEADER_BYTES:]) if schema_id > 0 else None


def named_by_header(headers: Sequence[tuple[str, bytes | None]], part: str, data: bytes) -> Framed | None:
    """The same where a header (``__value_schema_id``) names the schema of ``key`` or ``value``, by a one and a GUID;
    the path to a message of Protobuf stands behind it there."""
    for name, said in headers:
        if (
            name == f"__{part}_schema_id"
            and said is not None
            and len(said) > _GUID_BYTES
            and said[0] == _MAGIC_OF_GUIDS
        ):
            return Framed(str(uuid.UUID(bytes=said[1 : 1 + _GUID_BYTES])), said[1 + _GUID_BYTES :] + data)
    return None


def framed(schema_id: int, payload: bytes) -> bytes:
    """With the magic byte and the id before it."""
    return b"\0" + schema_id.to_bytes(4, "big") + payload


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
