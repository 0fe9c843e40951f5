"""Messages without what must not be kept of them: contents of records, and secrets. Pure.

Who looks at the wire sees who asked what; what users wrote is theirs, and credentials are nobody's. Of records the
headers of their batches stay (offsets, counts, producer, checksum), of other things nothing.
"""

from __future__ import annotations

import re
from typing import Any

from engine.model.errors import KafkaError
from engine.record.batch import HEADER, read_header
from engine.wire.message import Message

# SASL's and SCRAM's bytes, tokens, and whole messages inside an Envelope, which may hold any of these.
_SECRET_BYTES = frozenset(
    ("auth_bytes", "salt", "salted_password", "server_key", "stored_key", "hmac", "request_data", "response_data")
)
# Values of configs whose names say that they are secret (type PASSWORD in Kafka, and those that people add).
_SECRET_NAME = re.compile(r"password|secret|jaas|credential|token|keystore\.key|private", re.IGNORECASE)
_VALUES = ("value", "config_value")
_NAMES = ("name", "config_name")
_MOST_BATCHES = 1_000

_holding: dict[type[Message], bool] = {}


def holds_secrets(cls: type[Message]) -> bool:
    """Whether messages of a class may have something in them that must not be kept."""
    found = _holding.get(cls)
    if found is None:
        # A struct that holds itself is not asked twice.
        _holding[cls] = False
        found = _holding[cls] = _is_config(cls) or any(
            field.type == "records"
            or field.name in _SECRET_BYTES
            or (isinstance(field.struct, type) and holds_secrets(field.struct))
            for field in cls.FIELDS
        )
    return found


def redacted(message: Message) -> Message:
    """The same message without: itself, if there is nothing to leave out."""
    return _copy(message) if holds_secrets(type(message)) else message


def _is_config(cls: type[Message]) -> bool:
    names = {field.name for field in cls.FIELDS}
    return not names.isdisjoint(_VALUES) and not names.isdisjoint(_NAMES)


def _copy(message: Message) -> Message:
    cls = type(message)
    if not holds_secrets(cls):
        return message
    copy: Any = cls.__new__(cls)
    copy.unknown_tagged_fields = None
    hides_value = _is_config(cls) and any(
        _SECRET_NAME.search(str(getattr(message, name, ""))) is not None for name in _NAMES
    )
    for field in cls.FIELDS:
        value: Any = getattr(message, field.name)
        if value is None:
            pass
        elif field.type == "records":
            value = batch_heads(value)
        elif field.name in _SECRET_BYTES:
            value = b"" if not isinstance(value, str) else ""
        elif hides_value and field.name in _VALUES:
            value = "(not kept)" if isinstance(value, str) else b""
        elif isinstance(value, Message):
            value = _copy(value)
        elif isinstance(value, list) and value and isinstance(value[0], Message):
            value = [_copy(each) for each in value]
        setattr(copy, field.name, value)
    made: Message = copy
    return made


def batch_heads(records: object) -> bytes:
    """The headers of the batches in ``records``, one after the other; nothing of what is no bytes in memory."""
    if not isinstance(records, bytes | bytearray | memoryview):
        return b""
    heads: list[bytes] = []
    position = 0
    try:
        while position + HEADER.size <= len(records) and len(heads) < _MOST_BATCHES:
            header = read_header(records, position)
            if header.magic != 2 or header.size_in_bytes < HEADER.size:
                break
            heads.append(bytes(records[position : position + HEADER.size]))
            position += header.size_in_bytes
    except KafkaError:
        pass
    return b"".join(heads)


def heads_lines(heads: object) -> list[str]:
    """What :func:`batch_heads` left, one line a batch."""
    if not isinstance(heads, bytes | bytearray | memoryview):
        return []
    lines = []
    for position in range(0, len(heads) - HEADER.size + 1, HEADER.size):
        each = read_header(heads, position)
        kinds = [word for word, has in (("control", each.is_control), ("transactional", each.is_transactional)) if has]
        producer = f", producer {each.producer_id} epoch {each.producer_epoch}" if each.has_producer_id else ""
        lines.append(
            f"batch at {each.base_offset}: {each.record_count} records, {each.size_in_bytes} bytes{producer}"
            f"{f' sequence {each.base_sequence}' if producer else ''}{''.join(f', {kind}' for kind in kinds)}"
        )
    return lines
