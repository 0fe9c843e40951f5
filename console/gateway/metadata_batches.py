"""Batches of metadata records in znodes, as plain documents."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from engine.model.errors import KafkaError
from engine.record.reader import read_records
from engine.storage.inspection.payloads import Decoder, decoded


def metadata_records(data: bytes) -> list[Mapping[str, Any]] | None:
    """The records of a batch, each with its offset; ``None`` if the bytes are no batch."""
    found: list[Mapping[str, Any]] = []
    try:
        for record in read_records(data):
            said = decoded(record, Decoder.METADATA, is_control=False)
            value = said.get("value")
            found.append({"offset": record.offset, **(value if isinstance(value, Mapping) else said)})
    except (KafkaError, ValueError, IndexError):
        return None
    return found
