"""Records that carry messages: the metadata log's values, and keys and values of the coordinators' topics."""

from __future__ import annotations

from struct import Struct
from typing import Any

from engine.wire import codec
from engine.wire.api_table import (
    GROUP_COORDINATOR_RECORDS,
    METADATA_RECORDS,
    SHARE_COORDINATOR_RECORDS,
    TRANSACTION_COORDINATOR_RECORDS,
)
from engine.wire.apis import message_class
from engine.wire.codec import DecodeError, decode_uvarint, encode_uvarint
from engine.wire.message import Message

_INT16 = Struct(">h")
# MetadataRecordSerde's only frame version.
_FRAME_VERSION = 1

_COORDINATORS = {
    "group": GROUP_COORDINATOR_RECORDS,
    "transaction": TRANSACTION_COORDINATOR_RECORDS,
    "share": SHARE_COORDINATOR_RECORDS,
}


def encode_metadata_record(record: Message, version: int | None = None) -> bytes:
    """Frame version, API key and version as unsigned varints, then the record (MetadataRecordSerde).

    ``version`` defaults to the one that Kafka's controller writes at metadata.version 30 (4.3-IV0).
    """
    chosen = _written_version(record) if version is None else version
    head = bytes((_FRAME_VERSION,)) + encode_uvarint(record.API_KEY) + encode_uvarint(chosen)
    return head + codec.encode(record, chosen)


def _written_version(record: Any) -> int:
    """The highest of the schema, but for this record, of which each change has the version that brought it
    (ReplicationControlManager)."""
    if record.NAME != "BrokerRegistrationChangeRecord":
        return int(record.MAX_VERSION)
    if record.cordoned_log_dirs is not None:
        return 3
    return 2 if record.log_dirs else 1 if record.in_controlled_shutdown else 0


def decode_metadata_record(buffer: bytes | memoryview) -> tuple[Message, int]:
    """The record and its version. Raises :class:`DecodeError` for an unknown frame version or type too."""
    frame_version, position = decode_uvarint(buffer, 0)
    if frame_version != _FRAME_VERSION:
        raise DecodeError(f"metadata frame version {frame_version} is not {_FRAME_VERSION}")
    key, position = decode_uvarint(buffer, position)
    version, position = decode_uvarint(buffer, position)
    name = METADATA_RECORDS.get(key)
    if name is None:
        raise DecodeError(f"metadata record type {key} is unknown")
    record, end = codec.decode(message_class(name), version, buffer, position)
    if end != len(buffer):
        raise DecodeError(f"{name} v{version} has {len(buffer) - end} bytes too many")
    return record, version


def encode_coordinator_key(key: Message) -> bytes:
    """The record's type as int16, then the key (in version 0, the only one keys have)."""
    return _INT16.pack(key.API_KEY) + codec.encode(key, 0)


def encode_coordinator_value(value: Message, version: int) -> bytes:
    """The value's version as int16, then the value."""
    return _INT16.pack(version) + codec.encode(value, version)


def decode_coordinator_record(
    key: bytes | bytearray | memoryview, value: bytes | bytearray | memoryview | None, which: str
) -> tuple[Any, Any] | None:
    """Key and value (``None`` for a tombstone) of a record of the ``which`` coordinator: group, transaction or share.

    Returns ``None`` for a type that this version does not know, which a coordinator skips. Raises :class:`DecodeError`.
    """
    if len(key) < 2:
        raise DecodeError("a coordinator's key is shorter than its type")
    (kind,) = _INT16.unpack_from(key)
    names = _COORDINATORS[which].get(kind)
    if names is None:
        return None
    decoded_key, _ = codec.decode(message_class(names[0]), 0, key, 2)
    if value is None:
        return decoded_key, None
    if len(value) < 2:
        raise DecodeError("a coordinator's value is shorter than its version")
    (version,) = _INT16.unpack_from(value)
    decoded_value, _ = codec.decode(message_class(names[1]), version, value, 2)
    return decoded_key, decoded_value
