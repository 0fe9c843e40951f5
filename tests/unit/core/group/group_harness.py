"""One shard, virtual time, a log in memory: what the tests of the group coordinator stand on.

After every input the harness checks the law of the machine: replaying the log gives its durable state.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from engine.core.group.context import ClientContext, GroupLimits, Now
from engine.core.group.offsets import NO_PRODUCER_ID
from engine.core.group.records import GroupEffects, GroupRecord
from engine.core.group.shard import GroupCoordinatorShard
from engine.core.group.states import GroupState
from engine.model.errors import ErrorCode
from engine.model.ids import ZERO_UUID
from engine.model.notes import Note
from engine.wire.messages.heartbeat_request import HeartbeatRequest
from engine.wire.messages.join_group_request import JoinGroupRequest, JoinGroupRequestProtocol
from engine.wire.messages.leave_group_request import LeaveGroupRequest, MemberIdentity
from engine.wire.messages.offset_commit_request import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from engine.wire.messages.offset_fetch_request import OffsetFetchRequestGroup, OffsetFetchRequestTopics
from engine.wire.messages.sync_group_request import SyncGroupRequest, SyncGroupRequestAssignment
from engine.wire.messages.txn_offset_commit_request import (
    TxnOffsetCommitRequest,
    TxnOffsetCommitRequestPartition,
    TxnOffsetCommitRequestTopic,
)
from engine.wire.record_frames import decode_coordinator_record, encode_coordinator_key, encode_coordinator_value

EPOCH_WALL_MS = 1_750_000_000_000


def subscription(*topics: str) -> bytes:
    """A ConsumerProtocolSubscription of version 0."""
    body = b"\x00\x00" + len(topics).to_bytes(4, "big")
    for topic in topics:
        body += len(topic.encode()).to_bytes(2, "big") + topic.encode()
    return body + (-1).to_bytes(4, "big", signed=True)


class Logged(NamedTuple):
    """A record, or with a key of None the end of a transaction: ``value`` None aborts it."""

    key: bytes | None
    value: bytes | None
    producer_id: int = NO_PRODUCER_ID


class GroupHarness:
    """Feeds a shard and keeps what comes out."""

    def __init__(self, limits: GroupLimits | None = None) -> None:
        self.limits = limits or GroupLimits(group_initial_rebalance_delay_ms=0)
        self.now_ms = 0.0
        self.log: list[Logged] = []
        self.replies: dict[object, Any] = {}
        self.notes: list[Note] = []
        self._tokens = 0
        self._uuids = 0
        self.shard = self._new_shard()
        self.perform(self.shard.on_loaded(self.now))

    @property
    def now(self) -> Now:
        return Now(self.now_ms, EPOCH_WALL_MS + int(self.now_ms))

    def _uuid(self) -> bytes:
        self._uuids += 1
        return self._uuids.to_bytes(16, "big")

    def _new_shard(self) -> GroupCoordinatorShard:
        return GroupCoordinatorShard(self.limits, self._uuid)

    def token(self) -> int:
        self._tokens += 1
        return self._tokens

    # -- outputs ------------------------------------------------------------------------------------------------

    def perform(self, effects: GroupEffects) -> GroupEffects:
        for record in effects.append:
            self._log(record)
        self._tell(effects)
        self.check_law()
        return effects

    def _log(self, record: GroupRecord, producer_id: int = NO_PRODUCER_ID) -> None:
        value = None if record.value is None else encode_coordinator_value(record.value, record.value_version)
        self.log.append(Logged(encode_coordinator_key(record.key), value, producer_id))

    def _tell(self, effects: GroupEffects) -> None:
        for token, response in effects.reply:
            assert token not in self.replies, f"request {token} was answered twice"
            self.replies[token] = response
        self.notes += effects.notes

    def perform_in_transaction(self, effects: GroupEffects, producer_id: int) -> None:
        """What the runtime does with a transactional write: the log first, then the machine."""
        for record in effects.append:
            self._log(record, producer_id)
            self.shard.replay(record.key, record.value, record_offset=len(self.log) - 1, producer_id=producer_id)
        self._tell(effects)
        self.check_law()

    def end_transaction(self, producer_id: int, *, committed: bool) -> None:
        """A marker."""
        self.log.append(Logged(None, b"" if committed else None, producer_id))
        self.shard.replay_end_transaction_marker(producer_id, committed)
        self.check_law()

    def check_law(self) -> None:
        """Replay of the log equals the live durable state, for every group that is not in between."""
        live = self.shard.durable_state()
        replayed = self.replayed().durable_state()
        assert live["offsets"] == replayed["offsets"]
        assert live["pending"] == replayed["pending"]
        live_groups: Any = live["groups"]
        replayed_groups: Any = replayed["groups"]
        for group_id, group in live_groups.items():
            assert replayed_groups.get(group_id) == group, group_id
        for group_id in replayed_groups:
            assert group_id in self.shard.groups, f"{group_id} is only in the log"

    def replayed(self) -> GroupCoordinatorShard:
        shard = self._new_shard()
        for offset, (key, value, producer_id) in enumerate(self.log):
            if key is None:
                shard.replay_end_transaction_marker(producer_id, committed=value is not None)
                continue
            decoded = decode_coordinator_record(key, value, "group")
            assert decoded is not None
            shard.replay(decoded[0], decoded[1], record_offset=offset, producer_id=producer_id)
        return shard

    # -- time and failures --------------------------------------------------------------------------------------

    def advance(self, milliseconds: float) -> None:
        """Let time pass, stopping at every deadline."""
        until = self.now_ms + milliseconds
        while (deadline := self.shard.next_deadline_ms()) is not None and deadline <= until:
            self.now_ms = max(self.now_ms, deadline)
            self.perform(self.shard.on_timer(self.now))
        self.now_ms = until

    def fail_over(self) -> None:
        """Another broker takes over: parked requests are refused, the log is replayed."""
        for token, response in self.shard.on_unloaded().reply:
            assert token not in self.replies
            self.replies[token] = response
        self.shard = self.replayed()
        self.perform(self.shard.on_loaded(self.now))

    # -- requests -----------------------------------------------------------------------------------------------

    def join(
        self,
        member_id: str = "",
        *,
        group: str = "g",
        client: str = "c",
        version: int = 9,
        instance: str | None = None,
        protocols: dict[str, bytes] | None = None,
        protocol_type: str = "consumer",
        session_ms: int = 10_000,
        rebalance_ms: int = 60_000,
        reason: str | None = None,
    ) -> int:
        """Send a JoinGroup; returns its token."""
        token = self.token()
        request = JoinGroupRequest(
            group_id=group,
            session_timeout_ms=session_ms,
            rebalance_timeout_ms=rebalance_ms,
            member_id=member_id,
            group_instance_id=instance,
            protocol_type=protocol_type,
            protocols=[
                JoinGroupRequestProtocol(name=name, metadata=metadata)
                for name, metadata in ({"range": subscription("orders")} if protocols is None else protocols).items()
            ],
            reason=reason,
        )
        context = ClientContext(version, client, "/127.0.0.1")
        self.perform(self.shard.handle_join_group(context, request, self.now, token))
        return token

    def join_known(self, **arguments: Any) -> tuple[str, int]:
        """Both steps of a dynamic member's entry: fetch a member id, join with it. Returns the id and the token."""
        first = self.replies[self.join(**arguments)]
        assert first.error_code == ErrorCode.MEMBER_ID_REQUIRED
        return first.member_id, self.join(first.member_id, **arguments)

    def sync(
        self,
        member_id: str,
        generation: int,
        assignments: dict[str, bytes] | None = None,
        *,
        group: str = "g",
        instance: str | None = None,
        protocol_type: str | None = "consumer",
        protocol_name: str | None = "range",
    ) -> int:
        token = self.token()
        request = SyncGroupRequest(
            group_id=group,
            generation_id=generation,
            member_id=member_id,
            group_instance_id=instance,
            protocol_type=protocol_type,
            protocol_name=protocol_name,
            assignments=[
                SyncGroupRequestAssignment(member_id=each, assignment=data)
                for each, data in (assignments or {}).items()
            ],
        )
        self.perform(self.shard.handle_sync_group(request, self.now, token))
        return token

    def heartbeat(self, member_id: str, generation: int, *, group: str = "g", instance: str | None = None) -> ErrorCode:
        token = self.token()
        request = HeartbeatRequest(
            group_id=group, generation_id=generation, member_id=member_id, group_instance_id=instance
        )
        self.perform(self.shard.handle_heartbeat(request, self.now, token))
        return ErrorCode(self.replies[token].error_code)

    def leave(self, *members: tuple[str, str | None], group: str = "g", reason: str | None = None) -> list[ErrorCode]:
        token = self.token()
        request = LeaveGroupRequest(
            group_id=group,
            members=[
                MemberIdentity(member_id=member_id, group_instance_id=instance, reason=reason)
                for member_id, instance in members
            ],
        )
        self.perform(self.shard.handle_leave_group(request, self.now, token))
        return [ErrorCode(member.error_code) for member in self.replies[token].members]

    def commit(
        self,
        offsets: dict[tuple[str, int], int],
        *,
        group: str = "g",
        member_id: str = "",
        generation: int = -1,
        instance: str | None = None,
        version: int = 9,
        metadata: str | None = None,
        retention_ms: int = -1,
        topic_id: bytes = ZERO_UUID,
    ) -> list[ErrorCode]:
        token = self.token()
        topics: dict[str, OffsetCommitRequestTopic] = {}
        for (topic, partition), offset in offsets.items():
            entry = topics.setdefault(topic, OffsetCommitRequestTopic(name=topic, topic_id=topic_id, partitions=[]))
            entry.partitions.append(
                OffsetCommitRequestPartition(
                    partition_index=partition, committed_offset=offset, committed_metadata=metadata
                )
            )
        request = OffsetCommitRequest(
            group_id=group,
            generation_id_or_member_epoch=generation,
            member_id=member_id,
            group_instance_id=instance,
            retention_time_ms=retention_ms,
            topics=list(topics.values()),
        )
        context = ClientContext(version, "c", "/127.0.0.1")
        self.perform(self.shard.handle_offset_commit(context, request, self.now, token))
        return [ErrorCode(each.error_code) for topic in self.replies[token].topics for each in topic.partitions]

    def commit_in_transaction(
        self,
        offsets: dict[tuple[str, int], int],
        *,
        producer_id: int = 77,
        group: str = "g",
        member_id: str = "",
        generation: int = -1,
        instance: str | None = None,
        metadata: str | None = None,
    ) -> list[ErrorCode]:
        token = self.token()
        request = TxnOffsetCommitRequest(
            group_id=group,
            transactional_id="x",
            producer_id=producer_id,
            generation_id=generation,
            member_id=member_id,
            group_instance_id=instance,
            topics=[
                TxnOffsetCommitRequestTopic(topic, [TxnOffsetCommitRequestPartition(partition, offset, -1, metadata)])
                for (topic, partition), offset in offsets.items()
            ],
        )
        context = ClientContext(5, "c", "/127.0.0.1")
        effects = self.shard.handle_txn_offset_commit(context, request, self.now, token)
        self.perform_in_transaction(effects, producer_id)
        return [ErrorCode(each.error_code) for topic in self.replies[token].topics for each in topic.partitions]

    def fetch(
        self, *wanted: tuple[str, int], group: str = "g", require_stable: bool = False, topic_id: bytes = ZERO_UUID
    ) -> dict[tuple[str, int], int]:
        """Committed offsets of the partitions, or of all if none is named."""
        token = self.token()
        topics = None
        if wanted:
            topics = [
                OffsetFetchRequestTopics(name=topic, topic_id=topic_id, partition_indexes=[partition])
                for topic, partition in wanted
            ]
        request = OffsetFetchRequestGroup(group_id=group, topics=topics)
        self.perform(self.shard.handle_offset_fetch(request, require_stable, token))
        return {
            (topic.name, each.partition_index): each.committed_offset
            for topic in self.replies[token].topics
            for each in topic.partitions
        }

    # -- short cuts ---------------------------------------------------------------------------------------------

    def stable_group(self, size: int = 1, *, group: str = "g", **arguments: Any) -> list[str]:
        """A stable group of dynamic members, each assigned its own number; returns their ids, the leader first."""
        assert self.limits.group_initial_rebalance_delay_ms == 0 or size >= 1
        entries = [self.join_known(group=group, **arguments) for _ in range(size)]
        self.advance(self.limits.group_initial_rebalance_delay_ms * 2)
        members = [member_id for member_id, _ in entries]
        # Those who joined after the first generation started make the others rejoin.
        while True:
            state = self.shard.groups[group].state
            if state is not GroupState.PREPARING_REBALANCE:
                break
            for member_id in members:
                if self.shard.groups[group].members[member_id].awaiting_join is None:
                    self.join(member_id, group=group, **arguments)
        current = self.shard.groups[group]
        leader = current.leader_id
        assert leader is not None
        assignments = {member_id: member_id.encode() for member_id in members}
        for member_id in members:
            self.sync(
                member_id,
                current.generation_id,
                assignments if member_id == leader else None,
                group=group,
                protocol_type=None,
                protocol_name=None,
            )
        assert current.state is GroupState.STABLE
        return [leader, *(member_id for member_id in members if member_id != leader)]
