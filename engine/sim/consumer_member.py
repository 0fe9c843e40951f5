"""A member of a consumer group (KIP-848) in the simulator: one request says everything, the coordinator assigns."""

from __future__ import annotations

import asyncio

from engine.model.errors import ErrorCode
from engine.sim.clients import SimClient, Unavailable
from engine.sim.consumer import Partition, SimMember, names_of
from engine.sim.history_recorder import ClientRecorder
from engine.wire.messages.consumer_group_heartbeat_request import ConsumerGroupHeartbeatRequest, TopicPartitions
from engine.wire.messages.consumer_group_heartbeat_response import ConsumerGroupHeartbeatResponse

_HEARTBEAT_VERSION = 1
_TIMEOUT_S = 1.5
_LEAVE, _LEAVE_STATIC = -1, -2

# Errors after which a member owns nothing, and joins anew under its id.
_FENCED = frozenset(
    {
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.FENCED_MEMBER_EPOCH,
        ErrorCode.GROUP_ID_NOT_FOUND,
        ErrorCode.UNRELEASED_INSTANCE_ID,
        ErrorCode.FENCED_INSTANCE_ID,
    }
)


class SimConsumerMember(SimMember):
    """Joins with epoch 0, reconciles at heartbeats, commits in its member epoch.

    Partitions are given up where the answer that takes them away is read; the next heartbeat says so. ``has_changed``:
    its assignment is another, and positions have to be fetched. ``generation_id`` is the member epoch.
    """

    _commit_version = 9

    def __init__(
        self,
        client: SimClient,
        group_id: str,
        topics: dict[str, int],
        *,
        member_id: str,
        instance_id: str | None = None,
        recorder: ClientRecorder | None = None,
    ) -> None:
        """``member_id`` is made by the client, and used by no other life of it."""
        super().__init__(client, group_id, topics, instance_id=instance_id, recorder=recorder)
        self.member_id = member_id
        self.has_changed = False
        self._topic_names: dict[bytes, str] = {}
        self._reported: list[Partition] | None = None

    # -- heartbeats ---------------------------------------------------------------------------------------------

    async def join(self) -> bool:
        """Enter the group; whether it is in. Raises: Unavailable."""
        ids = self.client.topic_ids
        if any(name not in ids for name in self._topics):
            await self.client.refresh(sorted(self._topics))
        if any(name not in ids for name in self._topics):
            raise Unavailable("a broker that is behind does not know the topics yet")
        self._topic_names = {ids[name]: name for name in self._topics}
        self._lose_everything()
        request = ConsumerGroupHeartbeatRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            member_epoch=0,
            instance_id=self._instance_id,
            rebalance_timeout_ms=self._rebalance_timeout_ms,
            subscribed_topic_names=sorted(self._topics),
            topic_partitions=[],
        )
        return await self._heartbeat(request, [])

    async def heartbeat_if_due(self) -> None:
        """Keep the session, say what is owned where that is news, and take in what the answer tells."""
        if asyncio.get_running_loop().time() < self._next_heartbeat_s:
            return
        owned = list(self.assignment)
        request = ConsumerGroupHeartbeatRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            member_epoch=self.generation_id,
            instance_id=self._instance_id,
            topic_partitions=None if owned == self._reported else self._as_topics(owned),
        )
        try:
            await self._heartbeat(request, owned)
        except Unavailable:
            self._reported = None  # whether it was heard nobody knows: say it again

    async def _heartbeat(self, request: ConsumerGroupHeartbeatRequest, owned: list[Partition]) -> bool:
        loop = asyncio.get_running_loop()
        self._next_heartbeat_s = loop.time() + self._heartbeat_s
        owners = self.client.told.owners
        asked_at_s = loop.time()
        answer = await self._ask(request, _HEARTBEAT_VERSION, _TIMEOUT_S)
        assert isinstance(answer, ConsumerGroupHeartbeatResponse)
        code = ErrorCode(answer.error_code)
        if code is not ErrorCode.NONE:
            self._on_error(code)
            return False
        if request.topic_partitions is not None:
            self._reported = owned
        owners.on_heartbeat(self.group_id, self.member_id, request.member_epoch, answer.member_epoch, asked_at_s)
        self.generation_id = answer.member_epoch
        self.in_group = True
        if answer.assignment is not None:
            self._take(
                [
                    (self._topic_names[each.topic_id], number)
                    for each in answer.assignment.topic_partitions
                    for number in sorted(each.partitions)
                ]
            )
        return True

    def _take(self, assignment: list[Partition]) -> None:
        if sorted(assignment) == sorted(self.assignment):
            return
        before, self.assignment = self.assignment, sorted(assignment)
        now_s = asyncio.get_running_loop().time()
        self.client.told.owners.on_given(self.group_id, self.member_id, self.assignment, now_s)
        if self._recorder is not None:
            self._recorder.rebalance(revoked=names_of(before), assigned=names_of(self.assignment))
        self.reader.positions = {}
        self.has_changed = True

    def _lose_everything(self) -> None:
        if self.assignment and self._recorder is not None:
            self._recorder.rebalance(revoked=names_of(self.assignment))
        self.assignment, self.reader.positions, self._reported = [], {}, None
        self.client.told.owners.on_gone(self.group_id, self.member_id)

    def _on_error(self, code: ErrorCode) -> None:
        if code in (ErrorCode.NOT_COORDINATOR, ErrorCode.COORDINATOR_NOT_AVAILABLE):
            self._coordinator = None
        elif code in _FENCED:
            self.in_group = False
            self._lose_everything()

    def _as_topics(self, partitions: list[Partition]) -> list[TopicPartitions]:
        numbers: dict[str, list[int]] = {}
        for name, number in partitions:
            numbers.setdefault(name, []).append(number)
        ids = {name: topic_id for topic_id, name in self._topic_names.items()}
        return [TopicPartitions(topic_id=ids[name], partitions=each) for name, each in sorted(numbers.items())]

    # -- commits ------------------------------------------------------------------------------------------------

    def _tell_committed(
        self, offsets: dict[Partition, int], generation_id: int, newest: int, asked_at_s: float
    ) -> None:
        self.client.told.owners.on_committed(self.group_id, self.member_id, offsets, asked_at_s)

    async def leave(self) -> None:
        """Leave the group, for a while where it is static. Raises: Unavailable."""
        self.in_group = False
        self._lose_everything()
        request = ConsumerGroupHeartbeatRequest(
            group_id=self.group_id,
            member_id=self.member_id,
            member_epoch=_LEAVE if self._instance_id is None else _LEAVE_STATIC,
            instance_id=self._instance_id,
        )
        await self._ask(request, _HEARTBEAT_VERSION, _TIMEOUT_S)
