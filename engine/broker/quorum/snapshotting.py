"""Snapshots of the metadata on one node: when one is due, how it is written, what of the log may go then (KIP-630)."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import Any

from engine.broker.coordination import CoordinationListener
from engine.broker.metadata_log import MetadataLog
from engine.broker.quorum.snapshot_files import encode_snapshot
from engine.core.raft.identity import OffsetAndEpoch
from engine.core.raft.machine import RaftMachine
from engine.model.notes import Note, NoteKind
from engine.wire.message import Message
from engine.world import World


class QuorumSnapshots(ABC):
    """A part of :class:`engine.broker.quorum_host.QuorumHost`, which owns all that is named here."""

    _world: World
    _config: Any
    _listener: CoordinationListener
    _on_notes: Any
    _log: MetadataLog | None
    _worker: asyncio.Task[None] | None
    _applied: int
    _applied_epoch: int
    _applied_timestamp_ms: int
    _bytes_since_snapshot: int
    _last_snapshot_ms: float
    _snapshotting: asyncio.Task[None] | None

    @property
    @abstractmethod
    def machine(self) -> RaftMachine:
        """The machine."""

    @property
    @abstractmethod
    def _committed(self) -> int:
        """What may be noted as committed."""

    @abstractmethod
    def _fail(self, error: BaseException) -> None:
        """The disk failed."""

    def _load_snapshot(self, snapshot_id: OffsetAndEpoch) -> None:
        assert self._log is not None
        records = self._log.load_snapshot(snapshot_id)
        self._applied = snapshot_id.offset
        self._applied_epoch = snapshot_id.epoch
        self._bytes_since_snapshot = 0
        self._listener.on_snapshot_loaded(snapshot_id, records)

    def _snapshot_if_due(self) -> None:
        """metadata.log.max.record.bytes.between.snapshots, metadata.log.max.snapshot.interval.ms (KIP-876)."""
        if self._snapshotting is not None or self._bytes_since_snapshot == 0:
            return
        is_large = self._bytes_since_snapshot >= self._config.metadata_log_max_record_bytes_between_snapshots
        interval_ms = self._config.metadata_log_max_snapshot_interval_ms
        age_ms = self._world.clock.monotonic_ms() - self._last_snapshot_ms
        if is_large or 0 < interval_ms <= age_ms:
            self.make_snapshot("enough was committed" if is_large else "it was time")

    def make_snapshot(self, reason: str) -> asyncio.Task[None] | None:
        """Write a snapshot of what was applied, unless one is being written or there is nothing new."""
        assert self._log is not None
        snapshot_id = OffsetAndEpoch(self._applied, self._applied_epoch)
        ids = self._log.snapshot_ids
        if self._snapshotting is not None or snapshot_id.offset == 0 or (ids and ids[-1] >= snapshot_id):
            return None
        records = list(self._listener.snapshot_records())
        self._bytes_since_snapshot = 0
        self._last_snapshot_ms = self._world.clock.monotonic_ms()
        self._snapshotting = asyncio.get_running_loop().create_task(self._write_snapshot(snapshot_id, records, reason))
        return self._snapshotting

    async def _write_snapshot(self, snapshot_id: OffsetAndEpoch, records: list[Message], reason: str) -> None:
        metadata_log = self._log
        assert metadata_log is not None
        now_ms = self._world.clock.now_ms()
        voters = self.machine.history.at(snapshot_id.offset - 1)
        batches = encode_snapshot(
            records,
            epoch=snapshot_id.epoch,
            last_contained_log_timestamp_ms=self._applied_timestamp_ms,
            now_ms=now_ms,
            voters=() if voters is None else voters.control_records(),
        )
        try:
            committed = self._committed

            def write() -> int:
                metadata_log.note_committed(committed)
                return metadata_log.write_snapshot(snapshot_id, batches)

            size = await self._world.disk.run_blocking(write)
            metadata_log.add_snapshot(snapshot_id, size)
            self.machine.on_snapshot_made(snapshot_id)
            self._clean(now_ms)
        except Exception as error:
            self._fail(error)
            return
        finally:
            self._snapshotting = None
        if self._on_notes is not None:
            detail: dict[str, Any] = {"offset": snapshot_id.offset, "records": len(records), "bytes": size}
            self._on_notes([Note(NoteKind.SNAPSHOT_WRITTEN, f"offset {snapshot_id.offset}", reason, detail)])

    def _clean(self, now_ms: int) -> None:
        """metadata.max.retention.bytes, metadata.max.retention.ms."""
        assert self._log is not None
        while True:
            snapshot_id = self._log.snapshot_to_clean_to(
                now_ms, self._config.metadata_max_retention_bytes, self._config.metadata_max_retention_ms
            )
            if snapshot_id is None or self._worker is not None:
                return
            self.machine.on_log_cleaned(snapshot_id)
            self._log.delete_before(snapshot_id, now_ms)
