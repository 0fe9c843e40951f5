"""A consumer as the simulation of the group coordinator runs it: joins, syncs, heartbeats, fetches, processes, commits.

It behaves as a Java consumer does, with weaknesses that real ones have: it may stall (everything in it stands still),
be busy (its heartbeats go on, but it does not rejoin, or does not sync), and be careless (commit for what it owned
before under the generation that it has just joined).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from group_harness import subscription

from engine.core.group.context import ClientContext
from engine.model.errors import ErrorCode
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

if TYPE_CHECKING:
    from group_simulation import GroupSimulation

GROUP = "g"
TOPIC = "orders"
PARTITIONS = 6
# Nothing new comes into this partition: what is committed for it once must stand for as long as the group is in use.
QUIET_PARTITION = 0
QUIET_PARTITION_RECORDS = 5


def error_of(response: Any) -> ErrorCode:
    """The error at the top of a response; a broken connection gives None."""
    return ErrorCode.NETWORK_EXCEPTION if response is None else ErrorCode(response.error_code)


def commit_request(
    offsets: dict[int, int],
    topic_id: bytes,
    *,
    member_id: str = "",
    generation_id: int = -1,
    instance: str | None = None,
) -> OffsetCommitRequest:
    """An OffsetCommit for the topic."""
    partitions = [
        OffsetCommitRequestPartition(partition_index=partition, committed_offset=offset)
        for partition, offset in sorted(offsets.items())
    ]
    return OffsetCommitRequest(
        group_id=GROUP,
        generation_id_or_member_epoch=generation_id,
        member_id=member_id,
        group_instance_id=instance,
        topics=[OffsetCommitRequestTopic(name=TOPIC, topic_id=topic_id, partitions=partitions)],
    )


class Consumer:
    """One process. ``incarnation`` rises whenever what it waits for no longer matters."""

    def __init__(self, simulation: GroupSimulation, name: str, instance: str | None) -> None:
        self.simulation = simulation
        self.name = name
        self.instance = instance
        self.context = ClientContext(10, name, "/sim")
        self.incarnation = 0
        self.member_id = ""
        self.generation_id = -1
        self.assigned: list[int] = []
        self.topic_id = b""
        self.positions: dict[int, int] = {}
        self.committed: dict[int, int] = {}
        self.positions_before: dict[int, int] = {}
        self.alive = True
        self.dies_at_next_reply = False
        self.stalled_until_ms = 0.0
        self.busy_until_ms = 0.0
        self.sync_delay_ms = 0.0
        # The claim on a static member's place that gave this consumer its member id, and what may have undone it since.
        self.claim = 0
        self.synced_since_claim = False
        self.join()

    def _on_reply(self, handle: Callable[[Any], None]) -> Callable[[Any], None]:
        """A reply to an earlier incarnation is dropped; one that comes during a stall is handled afterwards."""
        incarnation = self.incarnation

        def deliver(response: Any) -> None:
            if not self.alive or incarnation != self.incarnation:
                return
            if self.dies_at_next_reply:
                self.alive = False
            elif self.simulation.now_ms < self.stalled_until_ms:
                self.simulation.at(self.stalled_until_ms, lambda: deliver(response))
            else:
                handle(response)

        return deliver

    def _later(self, delay_ms: float, action: Callable[[], None]) -> None:
        deliver = self._on_reply(lambda _: action())
        self.simulation.at(self.simulation.now_ms + delay_ms, lambda: deliver(None))

    # -- membership ---------------------------------------------------------------------------------------------

    def _rejoin(self, error: ErrorCode) -> None:
        """Join again, after an error as whom it says."""
        if error is ErrorCode.FENCED_INSTANCE_ID:
            self.alive = False
            self.simulation.on_fenced(self)
            return
        self.incarnation += 1
        self.positions_before, self.positions, self.committed, self.assigned = self.positions, {}, {}, []
        if error is ErrorCode.UNKNOWN_MEMBER_ID:
            self.member_id = ""
            self.generation_id = -1
        self._later(self.simulation.random.uniform(1, 200), self.join)

    def join(self) -> None:
        """Send a JoinGroup."""
        request = JoinGroupRequest(
            group_id=GROUP,
            session_timeout_ms=self.simulation.session_ms,
            rebalance_timeout_ms=self.simulation.rebalance_ms,
            member_id=self.member_id,
            group_instance_id=self.instance,
            protocol_type="consumer",
            protocols=[JoinGroupRequestProtocol(name="range", metadata=subscription(TOPIC))],
        )
        token = self.simulation.join(self, request, self._on_reply(lambda response: self._joined(response, token)))

    def _joined(self, response: Any, token: int) -> None:
        error = error_of(response)
        if error is ErrorCode.MEMBER_ID_REQUIRED:
            self.member_id = response.member_id
            self.join()
            return
        if error is not ErrorCode.NONE:
            self._rejoin(error)
            return
        if not self.member_id:
            self.claim, self.synced_since_claim = token, False
        self.member_id = response.member_id
        self.generation_id = response.generation_id
        if self.positions_before and self.simulation.random.random() < 0.2:
            self.simulation.commit(self, self.positions_before, careless=True)
        assignments = {}
        if response.leader == self.member_id and not response.skip_assignment:
            members = sorted(member.member_id for member in response.members)
            assignments = {
                member: bytes(p for p in range(PARTITIONS) if p % len(members) == index)
                for index, member in enumerate(members)
            }
        # The heartbeats begin here when the assignment takes its time.
        delay_ms, self.sync_delay_ms = self.sync_delay_ms, 0.0
        if delay_ms:
            self._heartbeat()
            self._later(delay_ms, lambda: self._sync(assignments, beats=True))
        else:
            self._sync(assignments, beats=False)

    def _sync(self, assignments: dict[str, bytes], *, beats: bool) -> None:
        request = SyncGroupRequest(
            group_id=GROUP,
            generation_id=self.generation_id,
            member_id=self.member_id,
            group_instance_id=self.instance,
            protocol_type="consumer",
            protocol_name="range",
            assignments=[SyncGroupRequestAssignment(member_id=m, assignment=a) for m, a in assignments.items()],
        )
        self.simulation.sync(self, request, self._on_reply(lambda response: self._synced(response, beats)))

    def _synced(self, response: Any, beats: bool) -> None:
        error = error_of(response)
        if error is not ErrorCode.NONE:
            self._rejoin(error)
            return
        self.synced_since_claim = True
        self.assigned = list(response.assignment)
        if not beats:
            self._heartbeat()
        self._process()
        self.on_topic(self.simulation.topic_id)

    def _heartbeat(self) -> None:
        request = HeartbeatRequest(
            group_id=GROUP,
            generation_id=self.generation_id,
            member_id=self.member_id,
            group_instance_id=self.instance,
        )

        def beaten(response: Any) -> None:
            error = error_of(response)
            rebalances = error is ErrorCode.REBALANCE_IN_PROGRESS
            if error in (ErrorCode.NONE, ErrorCode.NETWORK_EXCEPTION) or (
                rebalances and self.simulation.now_ms < self.busy_until_ms
            ):
                self._later(1_000, self._heartbeat)
            else:
                if rebalances:
                    self.commit()
                self._rejoin(error)

        self.simulation.send(
            "heartbeat",
            self.name,
            lambda shard, now, token: shard.handle_heartbeat(request, now, token),
            self._on_reply(beaten),
            on_answer=self.simulation.on_sign_of_life,
        )

    # -- records ------------------------------------------------------------------------------------------------

    def hear_of_topic(self, delay_ms: float) -> None:
        """Have this process learn of the topic after a while."""
        self._later(delay_ms, lambda: self.on_topic(self.simulation.topic_id))

    def on_topic(self, topic_id: bytes) -> None:
        """The metadata tell of the topic, perhaps of another one than before."""
        self.topic_id = topic_id
        self.positions, self.positions_before, self.committed = {}, {}, {}
        if self.assigned:
            self._fetch(self.assigned, topic_id)

    def _fetch(self, partitions: list[int], topic_id: bytes) -> None:
        topics = [OffsetFetchRequestTopics(name=TOPIC, topic_id=topic_id, partition_indexes=partitions)]
        request = OffsetFetchRequestGroup(group_id=GROUP, topics=topics)
        promises = self.simulation.promises
        floors = [promises.floor(partition) for partition in partitions]

        def fetched(response: Any) -> None:
            if topic_id != self.topic_id:
                return
            if response is None:
                self._later(self.simulation.random.uniform(50, 300), lambda: self._fetch(partitions, topic_id))
                return
            for each, floor in zip(response.topics[0].partitions, floors, strict=True):
                partition, offset = each.partition_index, each.committed_offset
                promises.on_fetched(partition, topic_id, offset, floor, self.simulation.committed)
                self.committed[partition] = offset
                self.positions[partition] = max(offset, 0)

        self.simulation.send(
            "fetch",
            self.name,
            lambda shard, _now, token: shard.handle_offset_fetch(request, True, token),
            self._on_reply(fetched),
        )

    def _process(self) -> None:
        rng = self.simulation.random
        for partition in sorted(self.positions):
            start = self.positions[partition]
            end = start + rng.randrange(4)
            if partition == QUIET_PARTITION:
                end = max(start, min(end, QUIET_PARTITION_RECORDS))
            self.simulation.promises.on_processed(partition, self.topic_id, range(start, end))
            self.positions[partition] = end
        if rng.random() < 0.5:
            self.commit()
        self._later(rng.uniform(100, 1_500) * self.simulation.leisure, self._process)

    def commit(self) -> None:
        """Commit the positions that have moved since the last commit."""
        moved = {p: offset for p, offset in self.positions.items() if offset != max(self.committed.get(p, 0), 0)}
        if moved:
            self.committed.update(moved)
            self.simulation.commit(self, moved, careless=False)

    # -- misfortunes --------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Close the consumer; a static member is removed by an administrator."""
        self.alive = False
        identity = MemberIdentity(member_id="" if self.instance else self.member_id, group_instance_id=self.instance)
        self.simulation.leave(self, LeaveGroupRequest(group_id=GROUP, members=[identity]))
