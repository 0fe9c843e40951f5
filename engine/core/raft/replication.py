"""Replication: fetches served and made, truncation by epoch, snapshots, high watermark, proposals (KIP-595, 630)."""

from __future__ import annotations

from typing import NamedTuple

from engine.core.raft.elections import Elections
from engine.core.raft.identity import OffsetAndEpoch
from engine.core.raft.leader import Leader, ParkedFetch
from engine.core.raft.log_view import ValidationKind
from engine.core.raft.messages import (
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    LogRange,
)
from engine.core.raft.node import RequestKind
from engine.core.raft.outputs import AppendRecords, InstallSnapshot, RaftEffects, TruncateLog, WriteSnapshotChunk
from engine.core.raft.states import Follower, SnapshotDownload
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import NoteKind
from engine.record.batch import BatchHeader, check_crc, read_header


class CommittedRecordsLost(Exception):
    """The leader's log lacks records that this replica knows to be committed: a majority lost its disks."""


class Proposed(NamedTuple):
    """Where a proposal went: not committed yet. ``effects`` has its append."""

    last_offset: int
    effects: RaftEffects


class Replication(Elections):
    """Inputs that move records."""

    # -- the leader: proposals and fsyncs -----------------------------------------------------------------------

    def propose(self, batches: bytes | bytearray, epoch: int, now_ms: float) -> Proposed:
        """Append whole record batches as leader of ``epoch``.

        Parked fetches are answered by :meth:`on_proposals_written`, once for all the proposals of a turn of the loop.

        Raises:
            KafkaError: NOT_CONTROLLER if this node does not lead ``epoch``.
        """
        self._enter(now_ms)
        if self.leader is None or self.epoch != epoch or self._is_shutting_down:
            raise KafkaError(ErrorCode.NOT_CONTROLLER, f"node {self.local.id} does not lead epoch {epoch}")
        last_offset = self._append_as_leader(batches)
        effects = self._out
        self._out = type(effects)()
        return Proposed(last_offset, effects)

    def on_proposals_written(self, now_ms: float) -> RaftEffects:
        """The appends of proposals reached the log's file: replicas may have them while the fsync runs."""
        self._enter(now_ms)
        return self._leave()

    def on_log_flushed(self, end_offset: int, now_ms: float) -> RaftEffects:
        """An fsync covered the log below ``end_offset``."""
        self._enter(now_ms)
        self.log.flushed(end_offset)
        leader = self.leader
        if leader is not None:
            self._update_high_watermark(leader)
        return self._leave()

    # -- fetches of others --------------------------------------------------------------------------------------

    def on_fetch_request(self, token: object, request: FetchRequest, now_ms: float) -> RaftEffects:
        """A replica fetches; the reply is a FetchResponse, at once if there is something to say."""
        self._enter(now_ms)
        leader = self.leader
        error = self._leader_error(request.epoch)
        if error == ErrorCode.NONE and (request.fetch_offset < 0 or request.last_fetched_epoch < 0):
            error = ErrorCode.INVALID_REQUEST
        if error == ErrorCode.NONE and request.last_fetched_epoch > request.epoch:
            error = ErrorCode.INVALID_REQUEST
        if error != ErrorCode.NONE or leader is None:
            self._reply(token, self._fetch_error(error))
            return self._leave()
        leader.on_heard_from(request.replica, self._now, self.timing.check_quorum_timeout_ms)
        response = self._fetch_records(request)
        if response.diverging_epoch is None and response.snapshot_id is None:
            leader.on_fetch(request, self.log.end_offset, self._now)
            self._update_high_watermark(leader)
            parked = ParkedFetch(token, request, self._now + request.max_wait_ms)
            # _leave answers it if it is due.
            leader.parked.append(parked)
        else:
            self._reply(token, response)
        leader.forget_silent_observers(self._now)
        return self._leave()

    def _leader_error(self, request_epoch: int) -> ErrorCode:
        """Kafka: validateLeaderOnlyRequest."""
        if self._is_shutting_down:
            return ErrorCode.BROKER_NOT_AVAILABLE
        if request_epoch < self.epoch:
            return ErrorCode.FENCED_LEADER_EPOCH
        if request_epoch > self.epoch:
            return ErrorCode.UNKNOWN_LEADER_EPOCH
        return ErrorCode.NONE if self.leader is not None else ErrorCode.NOT_LEADER_OR_FOLLOWER

    def _fetch_records(self, request: FetchRequest) -> FetchResponse:
        snapshot_id = self.log.latest_snapshot_id
        diverging = None
        if request.fetch_offset == 0 and snapshot_id is not None and snapshot_id.offset > 0:
            # Cheaper than all of the log, even where the log still has it.
            pass
        else:
            kind, position = self.log.validate(request.fetch_offset, request.last_fetched_epoch)
            snapshot_id = position if kind == ValidationKind.SNAPSHOT else None
            diverging = position if kind == ValidationKind.DIVERGING else None
        read = None
        if snapshot_id is None and diverging is None:
            end_offset = self.log.end_offset if request.replica.id >= 0 else self.high_watermark
            if end_offset > request.fetch_offset:
                read = LogRange(request.fetch_offset, end_offset, request.max_bytes)
        return FetchResponse(
            ErrorCode.NONE,
            self.local.id,
            self.epoch,
            self.high_watermark,
            self.log.start_offset,
            diverging,
            snapshot_id,
            read,
        )

    def on_fetch_snapshot_request(self, token: object, request: FetchSnapshotRequest, now_ms: float) -> RaftEffects:
        """A replica fetches a part of a snapshot; the reply is a FetchSnapshotResponse (KIP-630)."""
        self._enter(now_ms)
        error = self._leader_error(request.epoch)
        if error == ErrorCode.NONE and request.snapshot_id not in self.log.snapshot_ids:
            error = ErrorCode.SNAPSHOT_NOT_FOUND
        leader = self.leader
        if leader is not None and error == ErrorCode.NONE:
            leader.on_heard_from(request.replica, self._now, self.timing.check_quorum_timeout_ms)
        self._reply(
            token, FetchSnapshotResponse(error, self.leader_id, self.epoch, request.snapshot_id, request.position)
        )
        return self._leave()

    # -- fetches of this node -----------------------------------------------------------------------------------

    def on_fetch_response(self, node_id: int, request_id: int, response: FetchResponse, now_ms: float) -> RaftEffects:
        """The answer to a fetch: records, or where the logs diverge, or the snapshot to fetch instead.

        Raises:
            CommittedRecordsLost: following the leader would undo committed records.
        """
        self._enter(now_ms)
        slot = self._take_slot(RequestKind.FETCH, node_id, request_id)
        if slot is None or self._learn_leader(response.leader_id, response.epoch, node_id):
            return self._leave()
        state = self.state
        if not isinstance(state, Follower):
            self._ask_next_voter()
        elif state.leader_id != node_id or response.epoch < state.epoch or response.error != ErrorCode.NONE:
            self._slot_failed(RequestKind.FETCH, node_id, slot)
            self._on_fetch_error(state, node_id, response.error, response.leader_id)
        else:
            slot.failures = 0
            self._on_heard_from_leader(state)
            if response.diverging_epoch is not None:
                self._truncate(response.diverging_epoch)
            elif response.snapshot_id is not None:
                self._start_download(state, response.snapshot_id)
            else:
                self._recall(response.high_watermark)
                self._append_as_follower(response.records)
                self._raise_high_watermark(response.high_watermark)
        return self._leave()

    def on_fetch_snapshot_response(
        self, node_id: int, request_id: int, response: FetchSnapshotResponse, now_ms: float
    ) -> RaftEffects:
        """A part of the snapshot, or why there is none; then the follower goes back to fetching records."""
        self._enter(now_ms)
        slot = self._take_slot(RequestKind.FETCH, node_id, request_id)
        if slot is None or self._learn_leader(response.leader_id, response.epoch, node_id):
            return self._leave()
        state = self.state
        download = state.download if isinstance(state, Follower) else None
        if not isinstance(state, Follower) or download is None or state.leader_id != node_id:
            return self._leave()
        if response.error != ErrorCode.NONE:
            state.download = None
            self._slot_failed(RequestKind.FETCH, node_id, slot)
            self._on_fetch_error(state, node_id, response.error, response.leader_id)
        elif (
            response.snapshot_id != download.snapshot_id
            or response.position != download.position
            or not response.data
            or response.position + len(response.data) > response.size
            or not download.note_begin(response.data)
        ):
            state.download = None
            self._slot_failed(RequestKind.FETCH, node_id, slot)
        else:
            slot.failures = 0
            self._on_heard_from_leader(state)
            self._out.append.append(WriteSnapshotChunk(download.snapshot_id, download.position, response.data))
            download.position += len(response.data)
            if download.position == response.size:
                state.download = None
                self._install(download.snapshot_id, download.first_batch)
        return self._leave()

    def _on_fetch_error(self, state: Follower, node_id: int, error: ErrorCode, leader_id: int | None) -> None:
        is_resigned = error in (ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.BROKER_NOT_AVAILABLE)
        is_leader_itself = node_id == state.leader_id and leader_id in (None, node_id)
        if is_resigned and is_leader_itself and self.timing.connection_loss_detection:
            # The leader of this epoch answers that it is none: it resigned or was restarted.
            self._on_leader_lost(state)

    def _on_heard_from_leader(self, state: Follower) -> None:
        state.fetch_deadline_ms = self._now + self.timing.fetch_timeout_ms
        state.has_fetched = True
        state.leader_lost_deadline_ms = None
        self._election_retries = 0

    def _truncate(self, diverging: OffsetAndEpoch) -> None:
        offset = self.log.truncation_offset(diverging)
        if offset < self.high_watermark:
            raise CommittedRecordsLost(
                f"the leader's log diverges at {diverging}; truncating to {offset} would undo records that are "
                f"committed up to {self.high_watermark}"
            )
        if offset == self.log.end_offset:
            return
        removed = self.log.end_offset - offset
        self.log.truncate(offset)
        self.history.truncate(offset)
        self._out.append.append(TruncateLog(offset))
        self._note(
            NoteKind.LOG_TRUNCATED,
            f"the leader's epoch {diverging.epoch} ends at {diverging.offset}",
            offset=offset,
            removed_records=removed,
        )

    def _append_as_follower(self, records: bytes | bytearray | memoryview) -> None:
        """Append the batches that fit and are whole; what follows a bad one is fetched again (KAFKA-18723)."""
        view = memoryview(records)
        position = 0
        base_offset = next_offset = self.log.end_offset
        batches: list[BatchHeader] = []
        controls: list[tuple[BatchHeader, memoryview]] = []
        while position < len(view):
            try:
                header = read_header(view, position)
                end = position + header.size_in_bytes
                if end > len(view) or header.base_offset != next_offset:
                    break
                check_crc(view[position:end])
            except KafkaError:
                break
            if not self.log.latest_epoch <= header.partition_leader_epoch <= self.epoch:
                break
            if batches and header.partition_leader_epoch < batches[-1].partition_leader_epoch:
                break
            batches.append(header)
            if header.is_control:
                controls.append((header, view[position:end]))
            next_offset = header.last_offset + 1
            position = end
        for header in batches:
            self.log.append(header.base_offset, header.last_offset + 1, header.partition_leader_epoch)
        if batches:
            self._out.append.append(AppendRecords(base_offset, next_offset, view[:position]))
        for header, batch in controls:
            self._note_control(header, batch)

    def _raise_high_watermark(self, leaders: int) -> None:
        self.high_watermark = max(self.high_watermark, min(leaders, self.log.end_offset))

    def _recall(self, leaders_high_watermark: int) -> None:
        """A voter that had forgotten what it has may have caught up, by an answer to what its log, synced, reaches.

        With a record of the leader's epoch it has everything that was committed before, up to the leader's high
        watermark all of the epoch itself; and no fetch of before that is still under way says more than what it has.
        """
        end = self.log.end
        if (
            self._forgotten_below
            and end.offset >= max(leaders_high_watermark, self._forgotten_below)
            and end.epoch == self.epoch
        ):
            self._forgotten_below = 0

    def _start_download(self, state: Follower, snapshot_id: OffsetAndEpoch) -> None:
        if snapshot_id.offset < self.high_watermark or snapshot_id.epoch > self.epoch:
            raise CommittedRecordsLost(
                f"the leader offers the snapshot {snapshot_id} to a replica that knows of committed records up to "
                f"{self.high_watermark}"
            )
        state.download = SnapshotDownload(snapshot_id)

    def _install(self, snapshot_id: OffsetAndEpoch, first_batch: bytes | None) -> None:
        assert not isinstance(self.state, Leader), "a leader never loads a snapshot"
        assert snapshot_id.offset >= self.high_watermark
        if first_batch is not None:
            self.history.start_at(first_batch, snapshot_id.offset)
        self.log.start_at(snapshot_id)
        self.high_watermark = snapshot_id.offset
        self._out.append.append(InstallSnapshot(snapshot_id))

    # -- this node's own snapshots ------------------------------------------------------------------------------

    def on_snapshot_made(self, snapshot_id: OffsetAndEpoch) -> None:
        """The shell wrote a snapshot of committed records and it is durable."""
        assert snapshot_id.offset <= self.high_watermark, "a snapshot of records that are not committed"
        self.log.add_snapshot(snapshot_id)

    def on_log_cleaned(self, snapshot_id: OffsetAndEpoch) -> None:
        """The shell is about to remove the log and the snapshots before ``snapshot_id`` (KIP-630)."""
        self.log.delete_before(snapshot_id)
        self.history.forget_before(snapshot_id.offset)
