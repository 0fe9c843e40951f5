"""The records of coordinators to and from the bytes of their topics."""

from __future__ import annotations

from typing import Any, Protocol

from engine.broker.coordinator_log import KeyValue
from engine.wire.record_frames import decode_coordinator_record, encode_coordinator_key, encode_coordinator_value
from engine.world import Buffer


class CoordinatorRecord(Protocol):
    """One record to append; ``value`` None is a tombstone, ``value_version`` then means nothing."""

    @property
    def key(self) -> Any: ...

    @property
    def value(self) -> Any: ...

    @property
    def value_version(self) -> int: ...


class CoordinatorRecordCodec:
    """Satisfies :class:`~engine.broker.coordinator_log.RecordCodec` for the records of one coordinator."""

    def __init__(self, coordinator: str) -> None:
        """``coordinator``: group, transaction or share."""
        self._coordinator = coordinator

    def encode(self, record: CoordinatorRecord) -> KeyValue:
        """Key and value bytes."""
        value = record.value
        return encode_coordinator_key(record.key), (
            None if value is None else encode_coordinator_value(value, record.value_version)
        )

    def decode(self, key: Buffer, value: Buffer | None) -> tuple[Any, Any] | None:
        """The record, or None for a type that this version does not know."""
        return decode_coordinator_record(key, value, self._coordinator)
