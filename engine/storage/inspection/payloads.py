"""What records say: metadata, control records, the coordinators' topics. Kafka: the decoders of DumpLogSegments."""

from __future__ import annotations

import base64
from enum import StrEnum
from struct import Struct
from typing import Any

from engine.model.errors import KafkaError
from engine.record.control import ControlRecordType, control_type_of
from engine.record.reader import Record
from engine.storage.inspection.fields import message_json, type_name
from engine.wire import codec
from engine.wire.codec import DecodeError
from engine.wire.message import Message
from engine.wire.messages.end_txn_marker import EndTxnMarker
from engine.wire.messages.k_raft_version_record import KRaftVersionRecord
from engine.wire.messages.leader_change_message import LeaderChangeMessage
from engine.wire.messages.snapshot_footer_record import SnapshotFooterRecord
from engine.wire.messages.snapshot_header_record import SnapshotHeaderRecord
from engine.wire.messages.voters_record import VotersRecord
from engine.wire.record_frames import decode_coordinator_record, decode_metadata_record

_INT16 = Struct(">h")


class Decoder(StrEnum):
    """How the bytes of keys and values are read."""

    NONE = "none"
    METADATA = "cluster-metadata"
    OFFSETS = "offsets"
    TRANSACTIONS = "transaction-log"
    SHARE_STATE = "share-group-state"


_COORDINATORS = {Decoder.OFFSETS: "group", Decoder.TRANSACTIONS: "transaction", Decoder.SHARE_STATE: "share"}
_TOPICS = {
    "__cluster_metadata": Decoder.METADATA,
    "__consumer_offsets": Decoder.OFFSETS,
    "__transaction_state": Decoder.TRANSACTIONS,
    "__share_group_state": Decoder.SHARE_STATE,
}
_CONTROL: dict[ControlRecordType, tuple[str, type[Message]]] = {
    ControlRecordType.ABORT: ("EndTxnMarker", EndTxnMarker),
    ControlRecordType.COMMIT: ("EndTxnMarker", EndTxnMarker),
    ControlRecordType.LEADER_CHANGE: ("LeaderChange", LeaderChangeMessage),
    ControlRecordType.SNAPSHOT_HEADER: ("SnapshotHeader", SnapshotHeaderRecord),
    ControlRecordType.SNAPSHOT_FOOTER: ("SnapshotFooter", SnapshotFooterRecord),
    ControlRecordType.KRAFT_VERSION: ("KRaftVersion", KRaftVersionRecord),
    ControlRecordType.KRAFT_VOTERS: ("KRaftVoters", VotersRecord),
}


def decoder_for(topic: str) -> Decoder:
    """The one for a topic's name."""
    return _TOPICS.get(topic, Decoder.NONE)


def decoded(record: Record, decoder: Decoder, *, is_control: bool) -> dict[str, Any]:
    """``key`` and ``value`` (or ``control``) for JSON, and ``problem`` where they are not what they should be.

    Bytes that are UTF-8 stand as text, others in base64 under ``keyBase64`` and ``valueBase64``.
    """
    try:
        if is_control:
            return {"control": control_json(record)}
        if decoder is Decoder.METADATA:
            message, version = decode_metadata_record(record.value or b"")
            value = {"type": type_name(message.NAME), "version": version, "data": message_json(message, version)}
            return {**_bytes("key", record.key), "value": value}
        if decoder in _COORDINATORS:
            return _coordinator_json(record, _COORDINATORS[decoder])
    except (DecodeError, KafkaError) as error:
        said = error.message if isinstance(error, KafkaError) else str(error)
        return {**_bytes("key", record.key), **_bytes("value", record.value), "problem": said}
    return {**_bytes("key", record.key), **_bytes("value", record.value)}


def control_json(record: Record) -> dict[str, Any]:
    """A control record: its ``type``, and the fields of its value.

    Raises:
        KafkaError: the key is none of a control record.
        DecodeError: the value is not what the key says.
    """
    kind = control_type_of(record.key)
    if kind is None:
        assert record.key is not None
        return {"type": f"unknown {_INT16.unpack_from(record.key, 2)[0]}", **_bytes("value", record.value)}
    name, message_class = _CONTROL[kind]
    value = record.value or b""
    if len(value) < 2:
        raise DecodeError(f"the value of {name} is shorter than its version")
    # Each of these messages begins with its own version, which is the version that it is encoded in.
    (version,) = _INT16.unpack_from(value)
    if kind in (ControlRecordType.ABORT, ControlRecordType.COMMIT):
        marker, _ = codec.decode(message_class, version, value, 2)
        return {"type": name, "marker": kind.name, "version": version, **message_json(marker, version)}
    message, _ = codec.decode(message_class, version, value)
    return {"type": name, **message_json(message, version)}


def _coordinator_json(record: Record, which: str) -> dict[str, Any]:
    found = decode_coordinator_record(record.key or b"", record.value, which)
    if found is None:
        (kind,) = _INT16.unpack_from(record.key or b"")
        problem = f"type {kind} of a key is not known"
        return {**_bytes("key", record.key), **_bytes("value", record.value), "problem": problem}
    key, value = found
    said: dict[str, Any] = {"key": {"type": str(key.API_KEY), "data": message_json(key, 0)}}
    if value is None:
        said["value"] = None
    else:
        assert record.value is not None
        (version,) = _INT16.unpack_from(record.value)
        said["value"] = {"version": str(version), "data": message_json(value, version)}
    return said


def _bytes(name: str, data: bytes | None) -> dict[str, Any]:
    if data is None:
        return {name: None}
    try:
        return {name: bytes(data).decode()}
    except UnicodeDecodeError:
        return {f"{name}Base64": base64.b64encode(data).decode()}
