"""What the records say that Kafka wrote for itself: offsets and members of groups, transactions, states, markers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from engine.record.reader import Record
from engine.storage.inspection.payloads import Decoder, decoded, decoder_for

if TYPE_CHECKING:
    from engine.client.fetched_records import FetchedRecord


def meaning_of(record: FetchedRecord) -> tuple[bytes | None, bytes | None] | None:
    """Key and value as JSON; ``None`` where they are a user's own, or not what they should be."""
    decoder = decoder_for(record.topic)
    if decoder is Decoder.NONE and not record.is_control:
        return None
    raw = Record(record.offset, record.timestamp_ms, record.key, record.value, [])
    said = decoded(raw, decoder, is_control=record.is_control)
    if "problem" in said:
        return None
    if record.is_control:
        return None, _json(said["control"])
    return _json(said["key"]), None if said.get("value") is None else _json(said["value"])


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()
