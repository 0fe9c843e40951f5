"""The framing that Confluent's serializers put before a value: a zero byte, the schema's id, and of Protobuf the path
to the message within its file (:mod:`engine.protobuf.message_path`). Pure.

Source: "Wire format" in the documentation of Confluent's Schema Registry.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from typing import NamedTuple

MAGIC = 0
HEADER_BYTES = 5
_MAGIC_OF_GUIDS = 1
_GUID_BYTES = 16


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
