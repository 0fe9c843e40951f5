"""From the coordination to the node: what it commits goes to the metadata cache first, then to the controller."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.broker.broker import Broker
    from engine.core.raft.identity import OffsetAndEpoch
    from engine.wire.message import Message


class MetadataListener:
    """Hands what is committed to the metadata cache, then to the controller."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def on_committed(self, base_offset: int, epoch: int, append_time_ms: int, records: list[Message]) -> None:
        broker = self._broker
        if records:
            broker.metadata.on_committed(base_offset, epoch, append_time_ms, records)
        if broker.controller is not None:
            broker.controller.on_committed(base_offset, epoch, append_time_ms, records)

    def on_snapshot_loaded(self, snapshot_id: OffsetAndEpoch, records: list[Message]) -> None:
        # A snapshot's id is the offset after its last record.
        self._broker.metadata.on_snapshot_loaded(snapshot_id.offset - 1, snapshot_id.epoch, records)

    def on_leader_changed(
        self, leader_id: int | None, epoch: int, became_leader: bool, epoch_start_offset: int
    ) -> None:
        broker = self._broker
        broker.metadata.on_controller_changed(leader_id)
        if broker.controller is not None:
            broker.controller.on_leader_changed(leader_id, epoch, became_leader, epoch_start_offset)
        broker.on_leader_changed()

    def on_sessions_changed(self) -> None:
        if self._broker.controller is not None:
            self._broker.controller.on_sessions_changed()

    def snapshot_records(self) -> Iterable[Message]:
        return self._broker.metadata.image.to_records()
