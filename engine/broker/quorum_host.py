"""The shell of the metadata quorum on one node: files, sockets and timers around :class:`RaftMachine`.

Order of things in here. Each input of the machine gives effects; those that must be durable before anything is said
(votes, truncations, snapshots) run in a worker thread, and all later effects queue behind them. Appended records are
written at once and fsynced in the background, one fsync at a time for all that was written since the last: the machine
itself waits for it before it counts them. Committed records are decoded from the log and handed to the listener.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from engine.broker.coordination import CoordinationListener
from engine.broker.metadata_log import MetadataLog, read_bootstrap_records
from engine.broker.quorum.address_book import AddressBook
from engine.broker.quorum.batches import decode_batch, encode_records, metadata_batch
from engine.broker.quorum.commit_waiters import CommitWaiters
from engine.broker.quorum.peers import PeerChannel, Peers
from engine.broker.quorum.request_handlers import QuorumRequestHandlers
from engine.broker.quorum.sessions import QuorumSessions
from engine.broker.quorum.snapshot_files import SnapshotCorrupt
from engine.broker.quorum.snapshotting import QuorumSnapshots
from engine.broker.quorum.timing import timing_from
from engine.broker.quorum.voters import control_encoder, leader_change_encoder
from engine.broker.quorum.wire_requests import METADATA_TOPIC
from engine.core.effects import Effects
from engine.core.raft import messages
from engine.core.raft.identity import Endpoint, LeaderAndEpoch, ReplicaKey, Voter, VoterSet
from engine.core.raft.machine import RaftMachine
from engine.core.raft.outputs import (
    AppendRecords,
    Durable,
    InstallSnapshot,
    PersistElection,
    RaftEffects,
    Send,
    TruncateLog,
    WriteSnapshotChunk,
)
from engine.core.raft.voter_history import VoterHistory
from engine.model.errors import ErrorCode, KafkaError
from engine.model.notes import Note, NoteKind
from engine.wire.message import Message
from engine.wire.messages.no_op_record import NoOpRecord
from engine.world import World

log = logging.getLogger(__name__)

# A record batch of the metadata log is at most this large (KafkaRaftClient.MAX_BATCH_SIZE_BYTES).
_MAX_BATCH_BYTES = 8 * 1024 * 1024
# Committed records are applied in slices, so that a long log does not keep the loop from heartbeats and elections.
_APPLY_SLICE_BYTES = 256 * 1024
# How long a leader that stops waits for the others to hear of it.
_RESIGN_WAIT_MS = 1000


class QuorumHost(QuorumRequestHandlers, QuorumSnapshots, QuorumSessions):
    """One voter or observer of the metadata quorum."""

    def __init__(
        self,
        world: World,
        config: Any,
        log_dir: str,
        node_id: int,
        directory_id: bytes,
        voters: Mapping[int, tuple[str, int]],
        channels: Callable[[int], PeerChannel],
        listener: CoordinationListener,
        *,
        local_voter: Voter | None = None,
        cluster_id: str | None = None,
        on_notes: Callable[[list[Note]], None] | None = None,
        on_fatal: Callable[[BaseException], None] | None = None,
    ) -> None:
        """Nothing is read or written before :meth:`start`.

        Args:
            config: attributes under Kafka's names (``controller_quorum_*``, ``metadata_log_*``, ``metadata_max_*``).
            log_dir: path of ``metadata.log.dir``, or of the first of ``log.dirs``.
            voters: ``controller.quorum.voters``: node id to (host, port). They count until the log names others.
            channels: makes a new channel to a node's controller listener; the host closes what it opened.
            local_voter: what this node tells of itself as a voter.
            on_fatal: called once if the disk failed or the log is beyond repair; the node must stop then.
        """
        self._world = world
        self._config = config
        self._log_dir = log_dir
        self.local = ReplicaKey(node_id, directory_id)
        listener_name = next(iter(getattr(config, "controller_listener_names", None) or ["CONTROLLER"]))
        self._static_voters = VoterSet({each: Endpoint(listener_name, *at) for each, at in voters.items()})
        self._local_voter = local_voter
        self.book = AddressBook(listener_name, voters, config.controller_quorum_bootstrap_servers, lambda: self.voters)
        self._listener = listener
        self._cluster_id = cluster_id
        self._on_notes = on_notes
        self._on_fatal = on_fatal
        self._timing = timing_from(config)
        self._peers = Peers(
            self._static_voters.endpoint(node_id) if local_voter is None else local_voter.endpoints[0],
            self.book,
            cluster_id,
            channels,
            on_response=self._on_response,
            on_connection_lost=lambda peer: self._step(lambda m, now: m.on_connection_lost(peer, now)),
            on_request_failed=lambda send: self._step(
                lambda m, now: m.on_request_failed(send.node_id, send.request_id, now)
            ),
        )
        self._machine: RaftMachine | None = None
        self._log: MetadataLog | None = None
        self._failure: BaseException | None = None
        self._stopping = False
        # Effects that wait for an earlier one to be durable.
        self._queue: deque[RaftEffects] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._proposals: list[AppendRecords] = []
        self._flushing: asyncio.Task[None] | None = None
        self._truncations = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_ms = float("inf")
        self._next_no_op_ms = float("inf")
        # Applied: everything below was handed to the listener.
        self._applied = 0
        self._applied_epoch = 0
        self._applied_timestamp_ms = 0
        self._applying_later = False
        self._announced: LeaderAndEpoch | None = None
        self._has_forgotten = False
        self._waiters = CommitWaiters()
        self._bytes_since_snapshot = 0
        self._last_snapshot_ms = 0.0
        self._snapshotting: asyncio.Task[None] | None = None
        # What formatting the directory wants a new cluster's log to begin with.
        self.bootstrap_records: list[Message] = []

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Recover the log, load the newest snapshot into the listener, take part in the quorum.

        Raises:
            OSError, QuorumStateError, SnapshotCorrupt, KafkaError: what is on disk cannot be used.
        """
        assert self._machine is None, "started twice"
        disk, clock = self._world.disk, self._world.clock
        self.bootstrap_records = read_bootstrap_records(disk, self._log_dir)
        await self._open_log()
        assert self._log is not None
        # What was read may have been written but never fsynced by the last process.
        await disk.run_blocking(self._log.flush)
        try:
            self._load_latest_snapshot()
        except SnapshotCorrupt as corrupt:
            if not self._may_forget or self._log.voters:
                raise
            self._log.close()
            await self._open_log(forgets_because=str(corrupt))
        self._last_snapshot_ms = clock.monotonic_ms()
        self._machine = RaftMachine(
            self.local,
            VoterHistory(self._static_voters, self._log.voters),
            self._timing,
            self._log.view(),
            self._log.read_election(),
            jitter=self._world.random.random,
            encode_leader_change=leader_change_encoder(clock),
            encode_control=control_encoder(clock),
            local_voter=self._local_voter,
            bootstrap_ids=self.book.bootstrap_ids,
            forgotten_below=self._log.forgotten_below,
        )
        self._has_forgotten = self._machine.has_forgotten
        if self._log.forgot_because is not None and not self._has_forgotten:
            self._tell_of_log(NoteKind.REPLICA_BEGUN_ANEW, "its snapshot has all that the log had: this voter votes")
        self._perform(self._machine.start(clock.monotonic_ms()))

    @property
    def _may_forget(self) -> bool:
        """Whether others have what is committed, or this node's word does not count."""
        return self.local.id not in self._static_voters or len(self._static_voters) > 2

    async def _open_log(self, forgets_because: str | None = None) -> None:
        disk, clock = self._world.disk, self._world.clock
        self._log = await disk.run_blocking(
            lambda: MetadataLog.open(
                disk,
                clock,
                self._log_dir,
                self._config,
                may_forget=self._may_forget,
                forgets_because=forgets_because,
            )
        )
        if self._log.forgot_because is not None:
            self._tell_of_log(NoteKind.REPLICA_CORRUPT, self._log.forgot_because)

    def _load_latest_snapshot(self) -> None:
        assert self._log is not None
        latest = self._log.view().latest_snapshot_id
        if latest is not None and latest.offset > 0:
            self._load_snapshot(latest)

    async def stop(self) -> None:
        """Leave the quorum: a leader resigns first and tells the others. Files are closed."""
        if self._stopping:
            return
        machine = self._machine
        if machine is not None and self._failure is None:
            was_leader = machine.leader is not None
            self._step(lambda m, now: m.on_shutdown(now))
            waited_ms = 0
            while was_leader and waited_ms < _RESIGN_WAIT_MS and getattr(machine.state, "unacknowledged", None):
                await asyncio.sleep(0.005)
                waited_ms += 5
        self._stopping = True
        if self._timer is not None:
            self._timer.cancel()
        self._peers.close()
        self._waiters.fail("the node is shutting down")
        for task in (self._worker, self._flushing, self._snapshotting):
            if task is not None:
                await asyncio.wait((task,))
        if self._log is not None:
            try:
                if self._failure is None:
                    self._log.note_committed(self._committed)
                self._log.close()
            except OSError as error:
                log.warning("the metadata log could not be closed in order, it is recovered next time: %s", error)

    # -- what others may read -----------------------------------------------------------------------------------

    @property
    def machine(self) -> RaftMachine:
        """The machine, for inspection."""
        assert self._machine is not None, "the host was not started"
        return self._machine

    @property
    def voters(self) -> VoterSet:
        """The voters as far as this node knows."""
        return self._static_voters if self._machine is None else self._machine.voters

    @property
    def kraft_version(self) -> int:
        """Whether the log names the voters (1) or controller.quorum.voters does (0)."""
        return 0 if self._machine is None else self._machine.kraft_version

    @property
    def leader_and_epoch(self) -> LeaderAndEpoch:
        """The leader as far as this node knows, and the epoch."""
        return LeaderAndEpoch(None, 0) if self._machine is None else self._machine.leader_and_epoch

    @property
    def is_leader(self) -> bool:
        """Whether this node leads the quorum."""
        return self._machine is not None and self._machine.leader is not None

    @property
    def high_watermark(self) -> int:
        """Records below are committed."""
        return 0 if self._machine is None else self._machine.high_watermark

    @property
    def log_end_offset(self) -> int:
        """Where the next record goes."""
        return 0 if self._machine is None else self._machine.log.end_offset

    @property
    def applied_offset(self) -> int:
        """Records below were handed to the listener."""
        return self._applied

    # -- proposals ----------------------------------------------------------------------------------------------

    def propose(self, records: Iterable[Message], *, epoch: int) -> int:
        """Append records as one batch, which is committed whole or not at all; the offset of the last one.

        Raises:
            KafkaError: NOT_CONTROLLER if this node does not lead ``epoch``; RECORD_LIST_TOO_LARGE above 8 MiB.
        """
        values = encode_records(records)
        if self._machine is None or self._failure is not None or self._stopping:
            raise KafkaError(ErrorCode.NOT_CONTROLLER, "the quorum is not running on this node")
        if not values:
            return self._machine.log.end_offset - 1
        clock = self._world.clock
        batch = metadata_batch(values, timestamp_ms=clock.now_ms())
        if len(batch) > _MAX_BATCH_BYTES:
            raise KafkaError(ErrorCode.RECORD_LIST_TOO_LARGE, f"{len(batch)} bytes of metadata records in one batch")
        proposed = self._machine.propose(batch, epoch, clock.monotonic_ms())
        if not self._proposals:
            asyncio.get_running_loop().call_soon(self._step, _write_what_was_proposed)
        self._proposals += [each for each in proposed.effects.append if isinstance(each, AppendRecords)]
        return proposed.last_offset

    async def wait_committed(self, offset: int, epoch: int) -> None:
        """Return once the record at ``offset``, proposed in ``epoch``, is committed and was applied here.

        Raises:
            KafkaError: NOT_CONTROLLER when leadership was lost before: whether it will be committed is not known.
        """
        if offset < self._applied:
            return
        if not self.is_leader or self.machine.epoch != epoch or self._failure is not None:
            raise KafkaError(ErrorCode.NOT_CONTROLLER, f"node {self.local.id} does not lead epoch {epoch} any more")
        await self._waiters.add(offset)

    def _write_proposals(self) -> None:
        """One write for all the proposals of this turn of the loop; then replicas may have them. Part of each step."""
        if not self._proposals or self._machine is None:
            return
        proposals, self._proposals = self._proposals, []
        effects: RaftEffects = Effects(append=list(proposals))
        self._perform(effects.merge(self._machine.on_proposals_written(self._world.clock.monotonic_ms())))

    # -- the machine's inputs -----------------------------------------------------------------------------------

    async def _ask(self, call: Callable[[RaftMachine, object, float], RaftEffects]) -> Any:
        if self._machine is None or self._failure is not None or self._stopping:
            raise KafkaError(ErrorCode.BROKER_NOT_AVAILABLE, "the quorum is not running on this node")
        token: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._step(lambda m, now: call(m, token, now))
        return await token

    def _step(self, call: Callable[[RaftMachine, float], RaftEffects]) -> None:
        """Give the machine one input and perform what it asks for."""
        if self._machine is None or self._failure is not None or self._stopping:
            return
        try:
            self._write_proposals()
            self._perform(call(self._machine, self._world.clock.monotonic_ms()))
        except Exception as error:
            self._fail(error)

    def _on_response(self, send: Send, response: messages.Response) -> None:
        peer, request_id = send.node_id, send.request_id
        if isinstance(response, messages.FetchResponse):
            self._step(lambda m, now: m.on_fetch_response(peer, request_id, response, now))
        elif isinstance(response, messages.VoteResponse):
            self._step(lambda m, now: m.on_vote_response(peer, request_id, response, now))
        elif isinstance(response, messages.FetchSnapshotResponse):
            self._step(lambda m, now: m.on_fetch_snapshot_response(peer, request_id, response, now))
        elif isinstance(response, messages.UpdateVoterResponse):
            self._step(lambda m, now: m.on_update_voter_response(peer, request_id, response, now))
        elif isinstance(response, messages.SupportedVersionsResponse):
            self._step(lambda m, now: m.on_supported_versions_response(request_id, response, now))
        elif isinstance(send.request, messages.BeginQuorumEpochRequest):
            self._step(lambda m, now: m.on_begin_quorum_epoch_response(peer, request_id, response, now))
        else:
            self._step(lambda m, now: m.on_end_quorum_epoch_response(peer, request_id, response, now))

    def _fail(self, error: BaseException) -> None:
        """The disk failed or the log is beyond repair: say nothing more, in case it is not true (L4)."""
        if self._failure is not None:
            return
        self._failure = error
        log.critical("the metadata quorum stopped on this node", exc_info=error)
        self._peers.close()
        if self._timer is not None:
            self._timer.cancel()
        self._waiters.fail(f"the metadata quorum failed on this node: {error}")
        if self._on_fatal is not None:
            self._on_fatal(error)

    # -- the machine's outputs ----------------------------------------------------------------------------------

    def _perform(self, effects: RaftEffects) -> None:
        if self._worker is None and all(isinstance(op, AppendRecords) for op in effects.append):
            for op in effects.append:
                assert isinstance(op, AppendRecords)
                self._append(op)
            self._tell(effects)
        else:
            self._truncations += sum(isinstance(op, (TruncateLog, InstallSnapshot)) for op in effects.append)
            self._queue.append(effects)
            if self._worker is None:
                self._worker = asyncio.get_running_loop().create_task(self._work())
        self._arm_timer()

    async def _work(self) -> None:
        """Perform queued effects one after the other; what must be durable is, before the next thing happens."""
        try:
            while self._queue:
                effects = self._queue.popleft()
                for op in effects.append:
                    await self._perform_durable(op)
                self._tell(effects)
        except Exception as error:
            self._worker = None
            self._fail(error)
            return
        self._worker = None
        if self._failure is None and not self._stopping:
            try:
                self._after_step()
            except Exception as error:
                self._fail(error)

    async def _perform_durable(self, op: Durable) -> None:
        metadata_log = self._log
        assert metadata_log is not None
        disk = self._world.disk
        if isinstance(op, AppendRecords):
            self._append(op)
        elif isinstance(op, PersistElection):
            named = self.voters, self.kraft_version
            await disk.run_blocking(lambda: metadata_log.write_election(op.election, *named))
        elif isinstance(op, WriteSnapshotChunk):
            metadata_log.write_snapshot_chunk(op.snapshot_id, op.position, op.data)
        else:
            # No fsync of the old content may be under way, nor a snapshot be cut from it.
            for task in (self._flushing, self._snapshotting):
                if task is not None:
                    await asyncio.wait((task,))
            if isinstance(op, TruncateLog):
                await disk.run_blocking(lambda: metadata_log.truncate(op.offset))
            else:
                await disk.run_blocking(lambda: metadata_log.install_snapshot(op.snapshot_id))
                self._load_snapshot(op.snapshot_id)

    def _append(self, op: AppendRecords) -> None:
        assert self._log is not None
        assert self._log.end_offset == op.base_offset, (self._log.end_offset, op.base_offset)
        self._log.append(op.data)
        assert self._log.end_offset == op.end_offset, (self._log.end_offset, op.end_offset)
        self._next_no_op_ms = self._world.clock.monotonic_ms() + self._no_op_interval_ms()

    def _tell(self, effects: RaftEffects) -> None:
        for send in effects.send:
            self._peers.send(send, self._timing.request_timeout_ms)
        for reply in effects.reply:
            token = reply.token
            assert isinstance(token, asyncio.Future)
            if not token.done():
                token.set_result(self._with_records(reply.response))
        if effects.notes and self._on_notes is not None:
            self._on_notes(effects.notes)
        self._flush_soon()
        self._after_step()

    def _with_records(self, response: object) -> object:
        if isinstance(response, messages.FetchResponse) and response.read is not None:
            assert self._log is not None
            offset, end_offset, max_bytes = response.read
            return response._replace(records=self._log.read(offset, end_offset, max_bytes), read=None)
        return response

    def _tell_of_log(self, kind: NoteKind, reason: str) -> None:
        if self._on_notes is not None:
            self._on_notes([Note(kind, f"{METADATA_TOPIC}-0", reason, {"directory": self._log_dir})])

    # -- fsync --------------------------------------------------------------------------------------------------

    def _flush_soon(self) -> None:
        if self._flushing is None and self._machine is not None and self._log is not None:
            view = self._machine.log
            if view.flushed_offset < min(view.end_offset, self._log.end_offset) and self._failure is None:
                self._flushing = asyncio.get_running_loop().create_task(self._flush())

    @property
    def _committed(self) -> int:
        """What may be noted as committed; a voter that has forgotten has noted more, which must stay."""
        return 0 if self._machine is None or self._machine.has_forgotten else self._machine.high_watermark

    async def _flush(self) -> None:
        assert self._log is not None
        metadata_log, end_offset = self._log, self._log.end_offset
        truncations = self._truncations
        committed, now_ms = self._committed, self._world.clock.monotonic_ms()
        try:
            await self._world.disk.run_blocking(lambda: metadata_log.flush(committed, now_ms))
        except Exception as error:
            self._flushing = None
            self._fail(error)
            return
        self._flushing = None
        if truncations == self._truncations:
            self._step(lambda m, now: m.on_log_flushed(end_offset, now))
        else:
            # What the fsync covered may be gone: the machine must not take it for what came in its place.
            self._flush_soon()

    # -- timers -------------------------------------------------------------------------------------------------

    def _arm_timer(self) -> None:
        if self._machine is None or self._stopping or self._failure is not None:
            return
        deadline_ms = self._machine.next_deadline_ms()
        if self._machine.leader is not None:
            deadline_ms = min(deadline_ms, self._next_no_op_ms)
        # An early wake-up is cheap and finds out; deadlines move with each message, so the timer is rarely moved.
        if self._timer is not None and self._timer_at_ms <= deadline_ms:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if deadline_ms == float("inf"):
            return
        delay_ms = max(0.5, deadline_ms - self._world.clock.monotonic_ms())
        self._timer_at_ms = deadline_ms
        self._timer = asyncio.get_running_loop().call_later(delay_ms / 1000, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        machine = self._machine
        if machine is None or self._stopping or self._failure is not None:
            return
        now_ms = self._world.clock.monotonic_ms()
        if now_ms >= machine.next_deadline_ms():
            self._step(lambda m, now: m.on_tick(now))
        # What was due may have failed to be written.
        if self._failure is None and machine.leader is not None and now_ms >= self._next_no_op_ms:
            # An idle leader's log goes on, so that everyone can see how far behind a replica is (KIP-835).
            self._next_no_op_ms = now_ms + self._no_op_interval_ms()
            if self._announced == machine.leader_and_epoch:
                self.propose([NoOpRecord()], epoch=machine.epoch)
        self._arm_timer()

    def _no_op_interval_ms(self) -> float:
        interval_ms: float = self._config.metadata_max_idle_interval_ms
        return interval_ms if interval_ms > 0 else float("inf")

    # -- what was committed -------------------------------------------------------------------------------------

    def _after_step(self) -> None:
        machine = self._machine
        if machine is None or self._worker is not None:
            return
        self._announce()
        if self._has_forgotten and not machine.has_forgotten:
            self._has_forgotten = False
            self._tell_of_log(NoteKind.REPLICA_BEGUN_ANEW, "caught up with what was committed: this voter votes again")
        if self._applied < machine.high_watermark and not self._applying_later:
            self._apply_committed()

    def _announce(self) -> None:
        """Tell the listener of a changed leader; of this node's own leadership only when it has caught up."""
        machine = self.machine
        current = machine.leader_and_epoch
        if current == self._announced:
            return
        if self._announced is not None and self._announced.leader_id == self.local.id:
            self._waiters.fail(f"node {self.local.id} lost the leadership of epoch {self._announced.epoch}")
        leader = machine.leader
        if leader is None:
            self._announced = current
            self._listener.on_leader_changed(current.leader_id, current.epoch, False, -1)
        elif self._applied == leader.epoch_start_offset and machine.high_watermark > self._applied:
            self._announced = current
            self._listener.on_leader_changed(current.leader_id, current.epoch, True, leader.epoch_start_offset)
        elif self._announced is not None and self._announced.leader_id is not None:
            self._announced = LeaderAndEpoch(None, current.epoch)
            self._listener.on_leader_changed(None, current.epoch, False, -1)

    def _apply_committed(self) -> None:
        """Hand committed batches to the listener, a slice at a time."""
        self._applying_later = False
        machine, metadata_log = self._machine, self._log
        if machine is None or metadata_log is None or self._worker is not None or self._failure is not None:
            return
        end_offset = machine.high_watermark
        metadata_log.set_high_watermark(end_offset)
        if self._applied < end_offset:
            for header, batch in metadata_log.read_batches(self._applied, end_offset, _APPLY_SLICE_BYTES):
                if header.base_offset >= end_offset:
                    break
                assert header.base_offset == self._applied, (header.base_offset, self._applied)
                self._announce()
                records = [] if header.is_control else decode_batch(batch)
                self._applied = header.last_offset + 1
                self._applied_epoch = header.partition_leader_epoch
                self._applied_timestamp_ms = header.max_timestamp
                self._bytes_since_snapshot += header.size_in_bytes
                self._listener.on_committed(
                    header.base_offset, header.partition_leader_epoch, header.max_timestamp, records
                )
                self._waiters.on_applied(self._applied)
        if self._applied < machine.high_watermark:
            self._applying_later = True
            asyncio.get_running_loop().call_soon(self._apply_again)
        else:
            self._snapshot_if_due()

    def _apply_again(self) -> None:
        if self._stopping:
            return
        try:
            self._apply_committed()
        except Exception as error:
            self._fail(error)


def _write_what_was_proposed(machine: RaftMachine, now_ms: float) -> RaftEffects:
    """The step that asks for nothing more than what every step begins with."""
    return Effects()
