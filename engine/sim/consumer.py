"""Consumers of the simulator: a reader of assigned partitions, and a member of a group by the classic protocol."""

from __future__ import annotations

import asyncio
from struct import Struct
from typing import NamedTuple

from engine.client.fetched_records import AbortedTransactions
from engine.model.errors import ErrorCode
from engine.record.batch import is_intact, iter_batches
from engine.record.reader import read_records
from engine.sim.clients import RETRY_S, SimClient, Unavailable
from engine.sim.history_recorder import ClientRecorder
from engine.sim.violation import Violation
from engine.wire import codec
from engine.wire.messages import consumer_protocol_assignment
from engine.wire.messages.consumer_protocol_assignment import ConsumerProtocolAssignment
from engine.wire.messages.consumer_protocol_subscription import ConsumerProtocolSubscription
from engine.wire.messages.fetch_request import FetchPartition, FetchRequest, FetchTopic
from engine.wire.messages.heartbeat_request import HeartbeatRequest
from engine.wire.messages.join_group_request import JoinGroupRequest, JoinGroupRequestProtocol
from engine.wire.messages.join_group_response import JoinGroupResponse
from engine.wire.messages.leave_group_request import LeaveGroupRequest, MemberIdentity
from engine.wire.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from engine.wire.messages.offset_fetch_request import OffsetFetchRequest, OffsetFetchRequestTopic
from engine.wire.messages.offset_fetch_response import OffsetFetchResponse
from engine.wire.messages.sync_group_request import SyncGroupRequest, SyncGroupRequestAssignment

_FETCH_VERSION = 12
_JOIN_VERSION, _SYNC_VERSION, _HEARTBEAT_VERSION, _LEAVE_VERSION = 7, 5, 4, 4
_COMMIT_VERSION, _OFFSET_FETCH_VERSION = 8, 7
_INT16 = Struct(">h")

Partition = tuple[str, int]

# Whether the coordinator refused a commit before it wrote anything.
_COMMIT_REFUSED = frozenset(
    {
        ErrorCode.ILLEGAL_GENERATION,
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.REBALANCE_IN_PROGRESS,
        ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
        ErrorCode.FENCED_INSTANCE_ID,
        ErrorCode.STALE_MEMBER_EPOCH,
        ErrorCode.GROUP_ID_NOT_FOUND,
    }
)


class Polled(NamedTuple):
    """A record that was read."""

    topic: str
    partition: int
    offset: int
    value: bytes
    key: bytes


class SimReader:
    """Reads partitions from positions of its own. ``recorder`` writes down every fetch as a poll."""

    def __init__(
        self, client: SimClient, *, read_committed: bool = False, recorder: ClientRecorder | None = None
    ) -> None:
        self.client = client
        self._isolation = 1 if read_committed else 0
        self.recorder = recorder
        self.positions: dict[Partition, int] = {}
        # As the last answers told.
        self.high_watermarks: dict[Partition, int] = {}

    async def poll(self, *, max_wait_ms: int = 200) -> list[Polled]:
        """What the leaders of the assigned partitions have now, in the order of their answers.

        A position before the log's start moves to it, as auto.offset.reset=earliest has it.
        """
        found: list[Polled] = []
        by_leader: dict[int, list[Partition]] = {}
        for each in list(self.positions):
            try:
                leader_id, _ = await self.client.leader(*each)
            except Unavailable:
                continue
            by_leader.setdefault(leader_id, []).append(each)
        for leader_id, partitions in by_leader.items():
            found += await self._fetch(leader_id, partitions, max_wait_ms // len(by_leader))
        return found

    async def _fetch(self, leader_id: int, partitions: list[Partition], max_wait_ms: int) -> list[Polled]:
        topics: dict[str, FetchTopic] = {}
        for name, number in partitions:
            topic = topics.setdefault(name, FetchTopic(topic=name))
            epoch = self.client.leaders[name, number][1]
            topic.partitions.append(
                FetchPartition(number, epoch, self.positions[name, number], partition_max_bytes=1 << 16)
            )
        request = FetchRequest(
            max_wait_ms=max_wait_ms,
            min_bytes=1,
            max_bytes=1 << 20,
            isolation_level=self._isolation,
            topics=list(topics.values()),
        )
        recorder = self.recorder
        poll = None
        if recorder is not None:
            poll = recorder.poll(isolation="read_committed" if self._isolation else "read_uncommitted")
        try:
            answer = await self.client.ask(leader_id, request, _FETCH_VERSION, max_wait_ms / 1000 + 2)
        except Unavailable as error:
            if poll is not None:
                # Positions are this side's: nothing was received, nothing has moved.
                poll.fail(str(error))
            for each in partitions:
                self.client.forget_leader(*each)
            await asyncio.sleep(RETRY_S)
            return []
        found: list[Polled] = []
        resets: dict[str, int] = {}
        for topic_answer in answer.responses:
            for data in topic_answer.partitions:
                each = (topic_answer.topic, data.partition_index)
                if data.error_code:
                    if self._on_error(each, ErrorCode(data.error_code), data.log_start_offset):
                        resets[f"{each[0]}-{each[1]}"] = self.positions[each]
                    continue
                self.high_watermarks[each] = data.high_watermark
                aborted = AbortedTransactions(data) if self._isolation else None
                for header, batch in iter_batches(data.records or b""):
                    is_aborted = aborted is not None and aborted.leaves_out(header, batch)
                    if header.is_control or is_aborted:
                        self.positions[each] = header.last_offset + 1
                        continue
                    if not is_intact(header, batch):
                        raise Violation("L2", f"a reader of {each} got a batch at {header.base_offset} that is corrupt")
                    for record in read_records(batch):
                        if record.offset >= self.positions[each]:
                            found.append(
                                Polled(*each, record.offset, bytes(record.value or b""), bytes(record.key or b""))
                            )
                    # A compaction may have taken the last records of a batch, or all of them.
                    self.positions[each] = header.last_offset + 1
        if poll is not None and recorder is not None:
            poll.ok([(f"{each.topic}-{each.partition}", each.offset, each.value.decode()) for each in found])
            if resets:
                recorder.seek(resets)
        return found

    def _on_error(self, each: Partition, code: ErrorCode, log_start_offset: int) -> bool:
        """Whether the position has moved. One behind the log's end stays: such a leader is of the past."""
        if code is ErrorCode.OFFSET_OUT_OF_RANGE and log_start_offset > self.positions[each]:
            self.positions[each] = log_start_offset
            return True
        self.client.forget_leader(*each)
        return False


class SimMember:
    """A member of a classic group: joins, reads what it is assigned, commits, and comes back after a rebalance.

    One with an ``instance_id`` is static (KIP-345): another life of it takes its place and its partitions.
    """

    _commit_version = _COMMIT_VERSION

    def __init__(
        self,
        client: SimClient,
        group_id: str,
        topics: dict[str, int],
        *,
        session_timeout_ms: int = 6000,
        instance_id: str | None = None,
        recorder: ClientRecorder | None = None,
    ) -> None:
        """``topics``: their partition counts, which a real client would take from metadata."""
        self.client = client
        self.group_id = group_id
        self._topics = topics
        self._session_timeout_ms = session_timeout_ms
        self._heartbeat_s = session_timeout_ms / 6000
        # A member that heartbeats rarely learns of a rebalance late.
        self._rebalance_timeout_ms = session_timeout_ms * 2 // 3
        self._join_timeout_s = self._rebalance_timeout_ms / 1000 + 4
        self._instance_id = instance_id
        self._recorder = recorder
        self.member_id = ""
        self.generation_id = -1
        self.assignment: list[Partition] = []
        self.reader = SimReader(client, recorder=recorder)
        self.in_group = False
        self._coordinator: int | None = None
        self._next_heartbeat_s = 0.0
        if recorder is not None:
            recorder.subscribe(group_id, sorted(topics), auto_offset_reset="earliest")

    async def _ask(self, request: object, version: int, timeout_s: float = 3.0) -> object:
        if self._coordinator is None:
            self._coordinator = await self.client.coordinator(self.group_id)
        try:
            return await self.client.ask(self._coordinator, request, version, timeout_s)  # type: ignore[arg-type]
        except Unavailable:
            self._coordinator = None
            raise

    def _on_error(self, code: ErrorCode) -> None:
        """Errors after which the member must join anew, or look for the coordinator."""
        if code in (ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE):
            self._coordinator = None
        elif code in (
            ErrorCode.UNKNOWN_MEMBER_ID,
            ErrorCode.ILLEGAL_GENERATION,
            ErrorCode.REBALANCE_IN_PROGRESS,
            ErrorCode.FENCED_INSTANCE_ID,
        ):
            self.in_group = False
            if code in (ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.FENCED_INSTANCE_ID):
                self.member_id = ""

    async def join(self) -> bool:
        """Take part in the next generation; whether this member has an assignment now. Raises: Unavailable."""
        request = JoinGroupRequest(
            group_id=self.group_id,
            session_timeout_ms=self._session_timeout_ms,
            rebalance_timeout_ms=self._rebalance_timeout_ms,
            member_id=self.member_id,
            group_instance_id=self._instance_id,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=self._subscription())],
        )
        joined = await self._ask(request, _JOIN_VERSION, self._join_timeout_s)
        assert isinstance(joined, JoinGroupResponse)
        code = ErrorCode(joined.error_code)
        if code is ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = joined.member_id
            return False
        if code is not ErrorCode.NONE:
            self._on_error(code)
            return False
        self.member_id, self.generation_id = joined.member_id, joined.generation_id
        plan = self._assign(joined) if joined.leader == joined.member_id else []
        synced = await self._ask(
            SyncGroupRequest(
                group_id=self.group_id,
                generation_id=self.generation_id,
                member_id=self.member_id,
                group_instance_id=self._instance_id,
                protocol_type="consumer",
                protocol_name="range",
                assignments=plan,
            ),
            _SYNC_VERSION,
            self._join_timeout_s,
        )
        code = ErrorCode(synced.error_code)  # type: ignore[attr-defined]
        if code is not ErrorCode.NONE:
            self._on_error(code)
            return False
        before, self.assignment = self.assignment, _decode_assignment(synced.assignment)  # type: ignore[attr-defined]
        owner = self._instance_id or self.member_id
        self.client.told.on_assigned(self.group_id, self.generation_id, owner, self.assignment)
        if self._recorder is not None:
            self._recorder.rebalance(revoked=names_of(before), assigned=names_of(self.assignment))
        self.in_group = True
        self._next_heartbeat_s = asyncio.get_running_loop().time() + self._heartbeat_s
        return True

    def _subscription(self) -> bytes:
        message = ConsumerProtocolSubscription(topics=sorted(self._topics))
        return _INT16.pack(1) + codec.encode(message, 1)

    def _assign(self, joined: JoinGroupResponse) -> list[SyncGroupRequestAssignment]:
        members = sorted(each.member_id for each in joined.members)
        partitions = [(name, number) for name, count in sorted(self._topics.items()) for number in range(count)]
        shares: dict[str, list[Partition]] = {each: [] for each in members}
        for at, each in enumerate(partitions):
            shares[members[at % len(members)]].append(each)
        return [
            SyncGroupRequestAssignment(member_id=member, assignment=_encode_assignment(share))
            for member, share in shares.items()
        ]

    async def committed(self) -> dict[Partition, int] | None:
        """Committed offsets of the assigned partitions, -1 for none; None if they could not be had."""
        by_topic: dict[str, list[int]] = {}
        for name, number in self.assignment:
            by_topic.setdefault(name, []).append(number)
        request = OffsetFetchRequest(
            group_id=self.group_id,
            topics=[
                OffsetFetchRequestTopic(name=name, partition_indexes=numbers) for name, numbers in by_topic.items()
            ],
        )
        asked = None if self._recorder is None else self._recorder.committed(self.group_id, names_of(self.assignment))
        found: dict[Partition, int] | None = None
        try:
            answer = await self._ask(request, _OFFSET_FETCH_VERSION)
            assert isinstance(answer, OffsetFetchResponse)
            found = self._committed_of(answer)
            return found
        except Unavailable:
            return None
        finally:
            if asked is not None:
                if found is None:
                    asked.fail("refused, or not answered")
                else:
                    asked.ok({f"{each[0]}-{each[1]}": offset for each, offset in found.items()})

    def _committed_of(self, answer: OffsetFetchResponse) -> dict[Partition, int] | None:
        if answer.error_code:
            self._on_error(ErrorCode(answer.error_code))
            return None
        found: dict[Partition, int] = {}
        for topic in answer.topics:
            for each in topic.partitions:
                if each.error_code:
                    return None
                found[topic.name, each.partition_index] = each.committed_offset
        return found

    async def commit(self, offsets: dict[Partition, int]) -> ErrorCode | None:
        """Commit; the error, or None if nobody answered: then it may have been done."""
        by_topic: dict[str, list[OffsetCommitRequestPartition]] = {}
        for (name, number), offset in offsets.items():
            by_topic.setdefault(name, []).append(OffsetCommitRequestPartition(number, offset))
        request = OffsetCommitRequest(
            group_id=self.group_id,
            generation_id_or_member_epoch=self.generation_id,
            member_id=self.member_id,
            group_instance_id=self._instance_id,
            topics=[OffsetCommitRequestTopic(name=name, partitions=each) for name, each in by_topic.items()],
        )
        generation_id, newest = self.generation_id, self.client.told.newest_generation(self.group_id)
        asked_at_s = asyncio.get_running_loop().time()
        commit = None
        if self._recorder is not None:
            named = {f"{each[0]}-{each[1]}": offset for each, offset in offsets.items()}
            commit = self._recorder.commit(self.group_id, named)
        try:
            answer = await self._ask(request, self._commit_version)
        except Unavailable as error:
            if commit is not None:
                commit.info(str(error))
            return None
        codes = [ErrorCode(each.error_code) for topic in answer.topics for each in topic.partitions]  # type: ignore[attr-defined]
        worst = next((code for code in codes if code is not ErrorCode.NONE), ErrorCode.NONE)
        if commit is not None:
            if worst is ErrorCode.NONE:
                commit.ok()
            elif all(code in _COMMIT_REFUSED for code in codes):
                commit.fail(worst.name)
            else:
                # A coordinator that changes, a log that is slow: it may have been written, and may still be.
                commit.info(worst.name)
        if worst is ErrorCode.NONE and generation_id >= 0:
            self._tell_committed(offsets, generation_id, newest, asked_at_s)
        self._on_error(worst)
        return worst

    def _tell_committed(
        self, offsets: dict[Partition, int], generation_id: int, newest: int, asked_at_s: float
    ) -> None:
        self.client.told.on_committed(self.group_id, generation_id, newest)

    async def heartbeat_if_due(self) -> None:
        """Keep the session; a rebalance is learned from the answer."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._next_heartbeat_s:
            return
        self._next_heartbeat_s = loop.time() + self._heartbeat_s
        request = HeartbeatRequest(
            group_id=self.group_id,
            generation_id=self.generation_id,
            member_id=self.member_id,
            group_instance_id=self._instance_id,
        )
        try:
            answer = await self._ask(request, _HEARTBEAT_VERSION, 1.5)
        except Unavailable:
            return
        self._on_error(ErrorCode(answer.error_code))  # type: ignore[attr-defined]

    async def leave(self) -> None:
        """Leave the group. Raises: Unavailable."""
        self.in_group = False
        if self._recorder is not None:
            self._recorder.rebalance(revoked=names_of(self.assignment))
        self.assignment = []
        if self.member_id:
            await self._ask(
                LeaveGroupRequest(group_id=self.group_id, members=[MemberIdentity(member_id=self.member_id)]),
                _LEAVE_VERSION,
            )
            self.member_id = ""


def names_of(partitions: list[Partition]) -> list[str]:
    """As the history names them."""
    return [f"{topic}-{number}" for topic, number in partitions]


def _encode_assignment(partitions: list[Partition]) -> bytes:
    by_topic: dict[str, list[int]] = {}
    for name, number in partitions:
        by_topic.setdefault(name, []).append(number)
    message = ConsumerProtocolAssignment(
        assigned_partitions=[
            consumer_protocol_assignment.TopicPartition(topic=name, partitions=numbers)
            for name, numbers in by_topic.items()
        ]
    )
    return _INT16.pack(1) + codec.encode(message, 1)


def _decode_assignment(data: bytes) -> list[Partition]:
    if len(data) < _INT16.size:
        return []
    message, _ = codec.decode(ConsumerProtocolAssignment, _INT16.unpack_from(data)[0], data, 2)
    return [(each.topic, number) for each in message.assigned_partitions for number in each.partitions]
