"""Who hears of committed metadata."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from engine.core.raft.identity import OffsetAndEpoch
from engine.wire.message import Message


class QuorumListener(Protocol):
    """Who applies the metadata: called on the loop, in the order of the log."""

    def on_committed(self, base_offset: int, epoch: int, append_time_ms: int, records: list[Message]) -> None:
        """One committed batch; ``records`` is empty for a control batch."""

    def on_snapshot_loaded(self, snapshot_id: OffsetAndEpoch, records: list[Message]) -> None:
        """All that was applied before is replaced by a snapshot's records."""

    def on_leader_changed(
        self, leader_id: int | None, epoch: int, became_leader: bool, epoch_start_offset: int
    ) -> None:
        """A leader is known, or none is. On the leader itself this comes when everything before its epoch was applied,
        right before ``on_committed`` of the epoch's first batch (a control batch at ``epoch_start_offset``)."""

    def snapshot_records(self) -> Iterable[Message]:
        """The records of a snapshot of what was applied so far."""
