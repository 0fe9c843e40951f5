"""A quorum of machines in virtual time: seeded delivery, loss, duplication, partitions, crashes, and what must hold.

The invariants are checked after every event. The disk of a node keeps what a real one would after a power cut: the
election state, the snapshots and the log up to the last fsync, plus a random part of what was written since.
Compare Kafka's RaftEventSimulationTest.
"""

from __future__ import annotations

import heapq
import random
import struct
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import crc32c

from engine.core.raft.identity import ElectionState, Endpoint, OffsetAndEpoch, ReplicaKey, Voter, VoterSet
from engine.core.raft.leader import Leader
from engine.core.raft.log_view import LogView
from engine.core.raft.machine import RaftMachine
from engine.core.raft.messages import (
    AddVoterRequest,
    BeginQuorumEpochRequest,
    EndQuorumEpochRequest,
    FetchRequest,
    FetchResponse,
    FetchSnapshotRequest,
    FetchSnapshotResponse,
    RemoveVoterRequest,
    SupportedVersionsRequest,
    SupportedVersionsResponse,
    UpdateVoterRequest,
    VoterChangeResponse,
    VoteRequest,
    VoteResponse,
)
from engine.core.raft.outputs import (
    AppendRecords,
    InstallSnapshot,
    PersistElection,
    RaftEffects,
    Send,
    TruncateLog,
    WriteSnapshotChunk,
)
from engine.core.raft.timing import RaftTiming
from engine.core.raft.voter_history import ControlRecords, VoterHistory, VotersEntry, first_batch
from engine.model.errors import ErrorCode
from engine.record.batch import read_header
from engine.record.builder import NewRecord, build_batch
from engine.record.control import ControlRecordType, control_key

_HEADER = struct.Struct(">qiibIhiqqqhii")


def tiny_batch(value: int, count: int = 1) -> bytes:
    """A batch of ``count`` records whose bytes are just ``value``: all that a replica looks at is in the header."""
    body = struct.pack(">q", value)
    fields = (0, 49 + len(body), 0, 2, 0, 0, count - 1, 0, 0, -1, -1, -1, count)
    data = bytearray(_HEADER.pack(*fields) + body)
    struct.pack_into(">I", data, 17, crc32c.crc32c(bytes(data[21:])))
    return bytes(data)


def control_batch(records: ControlRecords) -> bytes:
    """A batch of control records, as the shell makes it."""
    return bytes(
        build_batch([NewRecord(control_key(kind), value, timestamp=0) for kind, value in records], is_control=True)
    )


def snapshot_of(offset: int, crc: int, entry: VotersEntry | None) -> bytes:
    """The content of a snapshot: who votes, if the log says so, and a checksum of what was committed."""
    state = struct.pack(">qI", offset, crc)
    if entry is None:
        return state
    return control_batch([(ControlRecordType.SNAPSHOT_HEADER, b""), *entry.control_records()]) + state


class Batch(NamedTuple):
    base: int
    end: int
    epoch: int
    value: int
    data: bytes


def split_batches(data: Any) -> list[Batch]:
    """The batches made by :func:`tiny_batch` in ``data``."""
    view = bytes(data)
    position = 0
    batches = []
    while position < len(view):
        fields = _HEADER.unpack_from(view, position)
        end = position + 12 + fields[1]
        value = struct.unpack_from(">q", view, position + 61)[0]
        batches.append(Batch(fields[0], fields[0] + fields[6] + 1, fields[2], value, view[position:end]))
        position = end
    return batches


class InvariantBroken(AssertionError):
    """A promise of docs/promises.md does not hold."""


class Disk:
    """What a node's process leaves behind."""

    def __init__(self) -> None:
        self.election = ElectionState()
        self.start_offset = 0
        self.batches: list[Batch] = []
        self.flushed = 0
        self.snapshots: dict[OffsetAndEpoch, bytes] = {}
        self.partial: dict[OffsetAndEpoch, bytearray] = {}
        # Where the log ended that was lost.
        self.forgotten_below = 0
        # What formatting wrote down of the voters.
        self.formatted: VotersEntry | None = None

    @property
    def end(self) -> int:
        return self.batches[-1].end if self.batches else self.start_offset

    def log_view(self) -> LogView:
        epochs: list[tuple[int, int]] = []
        for batch in self.batches:
            if not epochs or batch.epoch > epochs[-1][0]:
                epochs.append((batch.epoch, batch.base))
        return LogView(
            start_offset=self.start_offset, end_offset=self.end, epoch_starts=epochs, snapshot_ids=self.snapshots
        )

    def history(self, static: VoterSet) -> VoterHistory:
        """Who votes by what is on the disk."""
        made = VoterHistory(static, () if self.formatted is None else (self.formatted,))
        latest = max(self.snapshots, default=None)
        if latest is not None:
            begin = first_batch(self.snapshots[latest])
            if begin is not None:
                made.start_at(begin, latest.offset)
        for batch in self.batches:
            if latest is None or batch.base >= latest.offset:
                made.note_batch(read_header(batch.data), batch.data)
        return made


class Node:
    """One replica: machine while it is up, disk always."""

    def __init__(self, node_id: int) -> None:
        self.id = node_id
        self.directory_id = bytes([node_id]) * 16
        self.disk = Disk()
        self.machine: RaftMachine | None = None
        self.incarnation = 0
        self.epoch_seen = 0
        self.hw_seen = 0
        self.checked_up_to = 0
        self.tick_at = float("inf")
        self.flush_running = False
        self.truncations = 0
        self.paused_until = 0.0


class Simulation:
    """``voters`` plus ``observers`` under one seed. ``trace`` gathers lines if it is a list."""

    def __init__(
        self,
        seed: int,
        *,
        voters: int = 3,
        observers: int = 0,
        timing: RaftTiming | None = None,
        loss: float = 0.0,
        duplication: float = 0.0,
        slow: float = 0.0,
        is_dynamic: bool = False,
        trace: list[str] | None = None,
        machine_class: type[RaftMachine] = RaftMachine,
    ) -> None:
        self.random = random.Random(seed)
        self.now = 0.0
        self.voters = VoterSet(range(1, voters + 1))
        self.timing = timing or RaftTiming()
        self.loss = loss
        self.duplication = duplication
        self.slow = slow
        self.trace = trace
        self.machine_class = machine_class
        self.nodes = {node_id: Node(node_id) for node_id in range(1, voters + observers + 1)}
        self.is_dynamic = is_dynamic
        if is_dynamic:
            formatted = VotersEntry(-1, 1, VoterSet.of(self.voter(each) for each in self.voters))
            for each in self.voters:
                self.nodes[each].disk.formatted = formatted
            self.voters = VoterSet()
        # What administrators were told, in order, and of what.
        self.told: list[tuple[str, int, VoterChangeResponse]] = []
        self.blocked: set[tuple[int, int]] = set()
        self.leaders: dict[int, int] = {}
        self.votes: dict[tuple[int, bytes, int], int] = {}
        self.committed: list[tuple[int, int, int]] = []
        self.committed_crc: list[int] = [0]
        self.next_value = 1
        self.events = 0
        self._queue: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = 0

    # -- driving ------------------------------------------------------------------------------------------------

    def at(self, delay_ms: float, action: Callable[[], None]) -> None:
        self._sequence += 1
        heapq.heappush(self._queue, (self.now + delay_ms, self._sequence, action))

    def run(self, duration_ms: float, until: Callable[[], bool] | None = None) -> bool:
        """Run for virtual ``duration_ms`` or until a condition holds; whether it held."""
        end = self.now + duration_ms
        while self._queue and self._queue[0][0] <= end:
            if until is not None and until():
                return True
            when, _, action = heapq.heappop(self._queue)
            self.now = max(self.now, when)
            self.events += 1
            action()
        if until is not None and until():
            return True
        self.now = end
        return False

    def log(self, line: str) -> None:
        if self.trace is not None:
            self.trace.append(f"{self.now:8.1f} {line}")

    def start(self, node_id: int) -> None:
        node = self.nodes[node_id]
        assert node.machine is None
        node.incarnation += 1
        node.checked_up_to = 0
        node.hw_seen = 0
        node.flush_running = False
        node.disk.partial.clear()
        node.machine = self.machine_class(
            ReplicaKey(node_id, node.directory_id),
            node.disk.history(self.voters),
            self.timing,
            node.disk.log_view(),
            node.disk.election,
            jitter=self.random.random,
            encode_leader_change=lambda leader, voters, granting, more: (
                control_batch([(ControlRecordType.LEADER_CHANGE, b""), *more]) if more else tiny_batch(-leader)
            ),
            encode_control=control_batch,
            local_voter=self.voter(node_id) if self.is_dynamic else None,
            bootstrap_ids=tuple(-each for each in self.nodes) if self.is_dynamic else (),
            forgotten_below=node.disk.forgotten_below,
        )
        self.log(f"n{node_id} starts with {node.disk.election}")
        self._perform(node, node.machine.start(self.now))

    def start_all(self) -> None:
        for node_id, node in self.nodes.items():
            if node.machine is None:
                self.start(node_id)

    def crash(self, node_id: int) -> None:
        """Power cut: what was not fsynced survives only in part."""
        node = self.nodes[node_id]
        if node.machine is None:
            return
        self.log(f"n{node_id} crashes")
        node.machine = None
        node.incarnation += 1
        node.tick_at = float("inf")
        disk = node.disk
        keep = self.random.randint(0, 3)
        flushed = [batch for batch in disk.batches if batch.end <= disk.flushed]
        rest = [batch for batch in disk.batches if batch.end > disk.flushed]
        disk.batches = flushed + rest[:keep]
        disk.flushed = disk.end
        for other in self.nodes.values():
            if other.id != node_id and self.random.random() < 0.8:
                self._connection_lost_soon(other, node_id)

    def forget(self, node_id: int) -> None:
        """A crash, and the log is found corrupt: all of it goes, but votes and snapshots. Of one node at a time."""
        self.crash(node_id)
        disk = self.nodes[node_id].disk
        disk.forgotten_below = disk.end
        disk.batches = []
        disk.start_offset = disk.flushed = max((each.offset for each in disk.snapshots), default=0)
        disk.snapshots = {each: content for each, content in disk.snapshots.items() if each.offset == disk.flushed}
        self.log(f"n{node_id} forgets what is below {disk.forgotten_below}")

    def pause(self, node_id: int, duration_ms: float) -> None:
        """SIGSTOP: the process does nothing, its connections stay."""
        self.nodes[node_id].paused_until = self.now + duration_ms
        self.log(f"n{node_id} pauses for {duration_ms:.0f} ms")

    def partition(self, node_id: int, *, inbound: bool = True, outbound: bool = True) -> None:
        for other in self.nodes:
            if other != node_id:
                if outbound:
                    self.blocked.add((node_id, other))
                if inbound:
                    self.blocked.add((other, node_id))
        self.log(f"n{node_id} is cut off (in={inbound} out={outbound})")

    def heal(self) -> None:
        self.blocked.clear()
        self.log("network healed")

    def voter(self, node_id: int) -> Voter:
        """What a node tells of itself."""
        key = ReplicaKey(node_id, self.nodes[node_id].directory_id)
        return Voter(key, (Endpoint("CONTROLLER", f"host{node_id}", 1),), 0, 1)

    def add_voter(self, leader: Node, node_id: int, *, ack_when_committed: bool = True) -> None:
        """An administrator asks a node that leads to let another one vote."""
        voter = self.voter(node_id)
        request = AddVoterRequest(voter, voter.endpoints[0], ack_when_committed)
        self.log(f"add n{node_id}")
        token = ("add", node_id)
        self._step(leader, leader.incarnation, lambda m: m.on_add_voter_request(token, request, self.now))

    def remove_voter(self, leader: Node, key: ReplicaKey) -> None:
        """An administrator asks a node that leads to take a vote away."""
        self.log(f"remove n{key.id}")
        token = ("remove", key.id)
        request = RemoveVoterRequest(key)
        self._step(leader, leader.incarnation, lambda m: m.on_remove_voter_request(token, request, self.now))

    def reformat(self, node_id: int) -> None:
        """A node that is no voter loses its disk, and comes back with another directory."""
        self.crash(node_id)
        node = self.nodes[node_id]
        node.disk = Disk()
        node.directory_id = bytes([node_id]) * 8 + self.random.randbytes(8)
        node.epoch_seen = 0
        self.log(f"n{node_id} is formatted anew")

    def leader(self) -> Node | None:
        """The leader of the highest epoch among running nodes."""
        leading = [n for n in self.nodes.values() if n.machine is not None and n.machine.leader is not None]
        return max(leading, key=lambda n: n.machine.epoch, default=None)  # type: ignore[union-attr]

    def propose(self, node: Node, count: int = 1) -> int:
        """Append one batch on a node that leads; its last offset."""
        assert node.machine is not None
        value = self.next_value
        self.next_value += 1
        last_offset, effects = node.machine.propose(tiny_batch(value, count), node.machine.epoch, self.now)
        self._perform(node, effects)
        self._perform(node, node.machine.on_proposals_written(self.now))
        return last_offset

    def snapshot(self, node: Node, *, clean: bool) -> None:
        """Make a snapshot at the high watermark of a node, and optionally remove the log before it."""
        machine = node.machine
        assert machine is not None
        offset = machine.high_watermark
        if offset <= machine.log.start_offset:
            return
        snapshot_id = OffsetAndEpoch(offset, machine.log.epoch_at(offset - 1))
        voters = machine.history.at(offset - 1)
        node.disk.snapshots[snapshot_id] = snapshot_of(offset, self.committed_crc[offset], voters)
        machine.on_snapshot_made(snapshot_id)
        if clean:
            machine.on_log_cleaned(snapshot_id)
            node.disk.batches = [batch for batch in node.disk.batches if batch.end > offset]
            node.disk.start_offset = offset
            node.disk.snapshots = {k: v for k, v in node.disk.snapshots.items() if k >= snapshot_id}
            node.disk.flushed = max(node.disk.flushed, offset)
        self.log(f"n{node.id} made snapshot {tuple(snapshot_id)} clean={clean}")
        self._check(node)

    # -- the shell of one node ----------------------------------------------------------------------------------

    def _step(self, node: Node, incarnation: int, call: Callable[[RaftMachine], RaftEffects]) -> None:
        if node.machine is None or node.incarnation != incarnation:
            return
        if node.paused_until > self.now:
            self.at(node.paused_until - self.now + self.random.random(), lambda: self._step(node, incarnation, call))
            return
        self._perform(node, call(node.machine))

    def _perform(self, node: Node, effects: RaftEffects) -> None:
        machine = node.machine
        assert machine is not None
        disk = node.disk
        for op in effects.append:
            self._write(node, machine, disk, op)
        for note in effects.notes:
            self.log(f"n{node.id} {note.kind} {note.subject}: {note.reason}")
        for send in effects.send:
            self._send(node, send)
        for reply in effects.reply:
            self._answer(node, reply.token, reply.response)
        self._check(node)
        if not machine.has_forgotten:
            disk.forgotten_below = 0
        if disk.flushed < disk.end and not node.flush_running:
            self._start_flush(node)
        deadline = machine.next_deadline_ms()
        if deadline < node.tick_at or node.tick_at <= self.now:
            node.tick_at = max(deadline, self.now)
            self._schedule_tick(node)

    def _schedule_tick(self, node: Node) -> None:
        if node.tick_at == float("inf"):
            return
        incarnation = node.incarnation
        wanted = node.tick_at

        def tick(machine: RaftMachine) -> RaftEffects:
            if node.tick_at == wanted:
                node.tick_at = float("inf")
            return machine.on_tick(self.now)

        self.at(max(0.0, wanted - self.now) + 0.01, lambda: self._step(node, incarnation, tick))

    def _start_flush(self, node: Node) -> None:
        node.flush_running = True
        covers = node.disk.end
        truncations = node.truncations
        incarnation = node.incarnation

        def flushed(machine: RaftMachine) -> RaftEffects:
            node.flush_running = False
            if node.truncations == truncations:
                node.disk.flushed = max(node.disk.flushed, covers)
                return machine.on_log_flushed(covers, self.now)
            return machine.on_tick(self.now)

        self.at(0.1 + self.random.random() * 3, lambda: self._step(node, incarnation, flushed))

    def _write(self, node: Node, machine: RaftMachine, disk: Disk, op: Any) -> None:
        if isinstance(op, PersistElection):
            if op.election.epoch < disk.election.epoch:
                raise InvariantBroken(f"K2: n{node.id} persists {op.election} after {disk.election}")
            disk.election = op.election
        elif isinstance(op, AppendRecords):
            batches = split_batches(op.data)
            assert batches[0].base == op.base_offset == disk.end and batches[-1].end == op.end_offset
            disk.batches += batches
        elif isinstance(op, TruncateLog):
            node.truncations += 1
            disk.batches = [batch for batch in disk.batches if batch.end <= op.offset]
            assert disk.end == op.offset, "truncation inside a batch"
            disk.flushed = min(disk.flushed, op.offset)
        elif isinstance(op, WriteSnapshotChunk):
            if op.position == 0:
                disk.partial[op.snapshot_id] = bytearray()
            assert len(disk.partial[op.snapshot_id]) == op.position
            disk.partial[op.snapshot_id] += op.data
        else:
            assert isinstance(op, InstallSnapshot)
            if isinstance(machine.state, Leader):
                raise InvariantBroken(f"K7: leader n{node.id} loads snapshot {op.snapshot_id}")
            content = bytes(disk.partial.pop(op.snapshot_id))
            state = struct.pack(">qI", op.snapshot_id.offset, self.committed_crc[op.snapshot_id.offset])
            if content[-len(state) :] != state:
                raise InvariantBroken(f"K9: n{node.id} installed another state than what was committed")
            node.truncations += 1
            disk.snapshots[op.snapshot_id] = content
            disk.batches = []
            disk.start_offset = disk.flushed = op.snapshot_id.offset
            self.log(f"n{node.id} installed snapshot {tuple(op.snapshot_id)}")

    def _connection_lost_soon(self, node: Node, peer: int) -> None:
        incarnation = node.incarnation

        def lost(machine: RaftMachine) -> RaftEffects:
            if self.nodes[peer].machine is not None:
                return machine.on_tick(self.now)
            return machine.on_connection_lost(peer, self.now)

        self.at(0.3 + self.random.random() * 3, lambda: self._step(node, incarnation, lost))

    def _delay(self) -> float:
        if self.random.random() < self.slow:
            return self.random.random() * 1500
        return 0.2 + self.random.random() * 2

    def _copies(self, source: int, target: int) -> int:
        if (source, target) in self.blocked or self.random.random() < self.loss:
            return 0
        return 2 if self.random.random() < self.duplication else 1

    def _send(self, node: Node, send: Send) -> None:
        target = self.nodes[abs(send.node_id)]
        self.log(f"n{node.id} -> n{send.node_id} {describe(send.request)}")
        incarnation = node.incarnation
        if target.machine is None and (node.id, target.id) not in self.blocked:

            def refused(machine: RaftMachine) -> RaftEffects:
                lost = machine.on_connection_lost(send.node_id, self.now)
                return lost.merge(machine.on_request_failed(send.node_id, send.request_id, self.now))

            self.at(0.5, lambda: self._step(node, incarnation, refused))
            return
        for _ in range(self._copies(node.id, target.id)):
            token = (node.id, incarnation, send.request_id, send.request, send.node_id)
            self.at(self._delay(), lambda token=token: self._deliver_request(target, send.request, token))  # type: ignore[misc]

    def _deliver_request(self, target: Node, request: Any, token: Any) -> None:
        inputs = {
            VoteRequest: RaftMachine.on_vote_request,
            BeginQuorumEpochRequest: RaftMachine.on_begin_quorum_epoch_request,
            EndQuorumEpochRequest: RaftMachine.on_end_quorum_epoch_request,
            FetchRequest: RaftMachine.on_fetch_request,
            FetchSnapshotRequest: RaftMachine.on_fetch_snapshot_request,
            UpdateVoterRequest: RaftMachine.on_update_voter_request,
        }
        if isinstance(request, SupportedVersionsRequest):
            self._answer(target, token, SupportedVersionsResponse(ErrorCode.NONE, (0, 1)))
            return
        call = inputs[type(request)]
        self._step(target, target.incarnation, lambda machine: call(machine, token, request, self.now))

    def _answer(self, node: Node, token: Any, response: Any) -> None:
        if isinstance(response, VoterChangeResponse):
            self.log(f"n{node.id} tells of {token}: {response}")
            self.told.append((*token, response))
            return
        source_id, incarnation, request_id, request, asked_id = token
        if isinstance(response, FetchResponse) and response.read is not None:
            response = response._replace(records=self._read(node, response), read=None)
        elif isinstance(response, FetchSnapshotResponse) and response.error == ErrorCode.NONE:
            content = node.disk.snapshots[response.snapshot_id]
            part = content[response.position : response.position + (200 if self.is_dynamic else 5)]
            response = response._replace(size=len(content), data=part)
        elif isinstance(response, VoteResponse) and response.granted and not request.pre_vote:
            self._note_vote(node, request)
        self.log(f"n{node.id} => n{source_id} {describe(response)}")
        source = self.nodes[source_id]
        inputs: dict[type, Callable[..., RaftEffects]] = {
            VoteRequest: RaftMachine.on_vote_response,
            BeginQuorumEpochRequest: RaftMachine.on_begin_quorum_epoch_response,
            EndQuorumEpochRequest: RaftMachine.on_end_quorum_epoch_response,
            FetchRequest: RaftMachine.on_fetch_response,
            FetchSnapshotRequest: RaftMachine.on_fetch_snapshot_response,
            UpdateVoterRequest: RaftMachine.on_update_voter_response,
            SupportedVersionsRequest: lambda machine, _, *answer: machine.on_supported_versions_response(*answer),
        }
        call = inputs[type(request)]
        for _ in range(self._copies(node.id, source_id)):
            self.at(
                self._delay(),
                lambda: self._step(
                    source, incarnation, lambda machine: call(machine, asked_id, request_id, response, self.now)
                ),
            )

    def _read(self, node: Node, response: FetchResponse) -> bytes:
        assert response.read is not None
        batches = [b for b in node.disk.batches if response.read.offset <= b.base < response.read.end_offset]
        assert batches and batches[0].base == response.read.offset
        return b"".join(batch.data for batch in batches[: self.random.randint(1, 4)])

    # -- invariants ---------------------------------------------------------------------------------------------

    def _note_vote(self, node: Node, request: VoteRequest) -> None:
        key = (node.id, node.directory_id, request.epoch)
        if self.votes.setdefault(key, request.candidate.id) != request.candidate.id:
            raise InvariantBroken(f"K8: n{node.id} voted twice in epoch {request.epoch}")
        voted = node.disk.election.voted
        if node.disk.election.epoch != request.epoch or voted is None or voted.id != request.candidate.id:
            raise InvariantBroken(f"K8: n{node.id} tells a vote that is not persisted")

    def _check(self, node: Node) -> None:
        machine = node.machine
        assert machine is not None
        if machine.leader is not None and self.leaders.setdefault(machine.epoch, node.id) != node.id:
            raise InvariantBroken(f"K1: n{node.id} and n{self.leaders[machine.epoch]} lead epoch {machine.epoch}")
        if machine.epoch < node.epoch_seen:
            raise InvariantBroken(f"K2: n{node.id} went from epoch {node.epoch_seen} to {machine.epoch}")
        node.epoch_seen = machine.epoch
        if machine.high_watermark < node.hw_seen:
            raise InvariantBroken(f"K3: high watermark of n{node.id} {node.hw_seen} -> {machine.high_watermark}")
        disk = node.disk
        if disk.start_offset > 0 and all(each.offset != disk.start_offset for each in disk.snapshots):
            raise InvariantBroken(f"K6: log of n{node.id} starts at {disk.start_offset} without a snapshot")
        assert machine.log.end_offset == disk.end and machine.log.start_offset == disk.start_offset
        assert machine.log.flushed_offset <= disk.flushed, "the machine believes in an fsync that did not happen"
        if machine.high_watermark > node.hw_seen or machine.high_watermark > node.checked_up_to:
            self._check_committed(node, machine.high_watermark)
        node.hw_seen = machine.high_watermark

    def _check_committed(self, node: Node, high_watermark: int) -> None:
        for batch in node.disk.batches:
            if batch.end <= node.checked_up_to or batch.base >= high_watermark:
                continue
            for offset in range(batch.base, min(batch.end, high_watermark)):
                record = (offset, batch.epoch, batch.value)
                if offset < len(self.committed):
                    if self.committed[offset] != record:
                        raise InvariantBroken(f"K5: n{node.id} has {record}, committed was {self.committed[offset]}")
                    continue
                assert offset == len(self.committed)
                assert node.machine is not None
                # Who commits is who leads, by the voters that it knows.
                voters = node.machine.voters
                holders = sum(self._has_durably(self.nodes[voter_id], record) for voter_id in voters)
                # What one of them had and forgot does not count, and does not come undone.
                if holders + any(each.disk.forgotten_below for each in self.nodes.values()) < voters.majority:
                    raise InvariantBroken(f"K4: n{node.id} committed {record}, durable on {holders} voters only")
                self.committed.append(record)
                self.committed_crc.append(zlib.crc32(repr(record).encode(), self.committed_crc[-1]))
        node.checked_up_to = max(node.checked_up_to, high_watermark)

    @staticmethod
    def _has_durably(node: Node, record: tuple[int, int, int]) -> bool:
        offset, epoch, value = record
        for batch in reversed(node.disk.batches):
            if batch.base <= offset < batch.end:
                return batch.end <= node.disk.flushed and (batch.epoch, batch.value) == (epoch, value)
        return offset < node.disk.start_offset


def describe(message: Any) -> str:
    """One short line."""
    name = type(message).__name__
    if isinstance(message, VoteRequest):
        kind = "pre-vote" if message.pre_vote else "vote"
        return f"{kind} epoch={message.epoch} log=({message.last_offset_epoch}, {message.last_offset})"
    fields = []
    for field, value in zip(message._fields, message, strict=True):
        if field in ("replica", "voter", "max_bytes", "max_wait_ms", "data") or value is None:
            continue
        if field == "records":
            if value:
                fields.append(f"records={[(b.base, b.end) for b in split_batches(value)]}")
        elif field == "preferred_candidates":
            fields.append(f"preferred={[each.id for each in value]}")
        elif isinstance(value, ErrorCode):
            if value != ErrorCode.NONE:
                fields.append(f"error={value.name}")
        else:
            fields.append(f"{field}={tuple(value) if isinstance(value, tuple) else value}")
    return f"{name} {' '.join(fields)}"
